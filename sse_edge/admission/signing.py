"""What is signed by HMAC-SHA-256 and read back, as a text of which one spelling is valid."""

from __future__ import annotations

import hmac
import json
import string
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_encode, int_to_bytes

from .secret import checked

if TYPE_CHECKING:
    from .secret import Secret

LONGEST = 4096
"""Bytes that are worth verifying, and before anything is unpacked."""

_SIGNATURE = 43  # characters of SHA-256 in base64
_STAMP = 11  # characters of a time at most
_SHORTEST = 17  # characters of what is signed, at least: none is as short
_LETTERS = (string.ascii_letters + string.digits + "-_").encode()  # base64url's
_URL = bytes.maketrans(b"+/", b"-_")  # RFC 4648: base64's letters in base64url
_STANDARD = bytes.maketrans(b"-_", b"+/")
_read = json.JSONDecoder().raw_decode  # without the whitespace that may surround a document


class Signer:
    """Signs for one purpose, which ``salt`` names: what was signed for another is not valid here.

    ``secret`` is one secret, or a list from oldest to newest; ConfigError is what ``secret.checked`` raises.
    The text is what itsdangerous' URLSafeTimedSerializer makes of the same.
    """

    def __init__(self, secret: Secret, salt: bytes, *, weak_secret: bool = False) -> None:
        keys = [hmac.digest(key, salt, "sha256") for key in checked(secret, weak=weak_secret)]
        # The newest first.  A copy of what has its key already signs in two thirds of the time.
        self._keys = [hmac.new(key, digestmod="sha256") for key in reversed(keys)]
        self._payload = URLSafeSerializer(b"")  # the form of the content; it signs nothing

    def sign(self, content: Any, issued: int) -> str:
        """The text that says ``content``, something that JSON has, and was issued then, in Unix seconds."""
        signed = b".".join((self._payload.dump_payload(content), base64_encode(int_to_bytes(issued))))
        return b".".join((signed, signature(self._keys[0], signed))).decode()

    def read(self, text: str) -> tuple[int, Any]:
        """When a text was issued, and what it says.  Raises BadData for what is not signed here."""
        if len(text) > LONGEST or not text.isascii():
            raise BadData("not one of ours")
        signed, _, given = text.encode().rpartition(b".")
        content, _, stamp = signed.rpartition(b".")
        spelled = b"%s%s%s" % (content.removeprefix(b"."), stamp, given)
        if (
            len(given) != _SIGNATURE
            or not 1 <= len(stamp) <= _STAMP
            or len(content) < _SHORTEST
            or spelled.translate(None, _LETTERS)
        ):
            raise BadData("not one of ours")
        # Signatures are compared as they were written, or one text would have several spellings.
        if not is_signed(self._keys, signed, given):
            raise BadData("not signed by us")
        return int.from_bytes(_decoded(stamp), "big"), self._content(content)

    def _content(self, content: bytes) -> Any:
        # What is not compressed is read here: by itsdangerous it takes three times as long.
        if content.startswith(b"."):
            return self._payload.load_payload(content)
        try:
            text = _decoded(content).decode()
            said, end = _read(text)
        except (ValueError, RecursionError) as error:
            raise BadData("no JSON") from error
        if end != len(text):
            raise BadData("no JSON")
        return said


def _decoded(text: bytes) -> bytes:
    """What base64url without its padding stands for; too much of that does no harm."""
    return a2b_base64(text.translate(_STANDARD) + b"==")


def signature(key: hmac.HMAC, signed: bytes) -> bytes:
    """What proves by ``key`` that it is ours, in base64url."""
    copy = key.copy()
    copy.update(signed)
    return b2a_base64(copy.digest(), newline=False).translate(_URL).rstrip(b"=")


def is_signed(keys: Iterable[hmac.HMAC], signed: bytes, given: bytes) -> bool:
    """Whether the signature that is ``given`` was made with one of ``keys``."""
    return any(hmac.compare_digest(signature(key, signed), given) for key in keys)
