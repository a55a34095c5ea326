"""Sessions that live in the cookie itself, signed by a framework: what is the same for all of them."""

from __future__ import annotations

import hmac
import math
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, Signer

from ..authenticator import Scoped, quick
from ..claims import Claims
from ..cookies import COOKIE_NAME, WHY_NAME, newest
from ..settings import Age, matching, seconds
from ..signing import is_signed, signature

if TYPE_CHECKING:
    from ...asgi import Headers, Request
    from ...identity import Identity

MAX_KNOWN = 4096
"""Verified cookies that are remembered: most have a few hundred bytes."""

_MAX_INPUT = 4096  # bytes: browsers keep no longer cookie, name and attributes included
_MAX_CONTENT = 262_144  # bytes that a session may unpack to
_STAMP = 11  # characters of a time at most
_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Format:
    """How a framework writes a session into a cookie: content, time and signature, and ``separator`` between.

    ``signers`` are what derives a secret's keys, first the one that signs; ``read`` and ``write`` are for the
    content, ``time`` and ``stamp`` for when it was signed, in Unix seconds; ``quote`` and ``unquote`` are for
    all of it as it stands in a header.
    """

    separator: str
    signers: Callable[[bytes], Sequence[Signer]]
    read: Callable[[bytes], object]
    write: Callable[[Mapping[str, Any]], bytes]
    time: Callable[[bytes], int]
    stamp: Callable[[int], bytes]
    quote: Callable[[str], str] = str
    unquote: Callable[[str], str] = str


class SignedSessions(Scoped):
    """Sessions in cookies called ``name`` of one format, of which the newest that is valid counts.

    ``secrets`` are from oldest to newest, and all of them verify.  A session is over ``max_age`` seconds
    after it was signed last, or never where that is None, and earlier where ``ends`` says so, which is told
    what it holds and when it was signed.  Raises ConfigError.
    """

    anonymous = False

    def __init__(
        self,
        form: Format,
        secrets: Sequence[bytes],
        claims: Claims,
        name: str,
        max_age: Age | None,
        *,
        ends: Callable[[Mapping[str, Any], int], float] | None = None,
    ) -> None:
        self._form = form
        self._claims = claims
        self.name = matching("name", name, COOKIE_NAME, WHY_NAME)
        self._max_age = None if max_age is None else seconds("max_age", max_age)
        self._ends = ends
        signers = [signer for secret in reversed(secrets) for signer in form.signers(secret)]
        # The newest first.  A copy of what has its key already signs in two thirds of the time.
        self._keys = [hmac.new(each.derive_key(), digestmod=each.digest_method) for each in signers]
        self._length = len(signature(self._keys[0], b""))  # characters of a signature
        self._known = lru_cache(maxsize=MAX_KNOWN)(self._verify)

    @property
    def max_age(self) -> float | None:
        """Seconds for which a session lives after it was signed last; None where it has no end."""
        return self._max_age

    @quick
    def identify(self, request: Request, now: float) -> Identity | None:
        """Who the newest valid session of this name says."""
        return self.newest(request, now)[1]

    def newest(self, request: Request, now: float) -> tuple[str, Identity | None]:
        """That session's cookie, "" if there is none, and whose it is."""
        return newest(request.cookies(self.name), self._known, now)

    def session_name(self, session: Mapping[str, Any]) -> str | None:
        """What ``events.revoke`` takes for a view's session, ``request.session``; None if it has no name."""
        return self._claims.session(session)

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """A request's headers with a new session of ``user``, as the framework would have made it.

        Raises ConfigError where it cannot be made: user, or channels, are read by a function.
        """
        said = self._claims.said(user, token_urlsafe(16), channels)
        return [(b"cookie", f"{self.name}={self.sign(said)}".encode())]

    def sign(self, said: Mapping[str, Any], now: float | None = None) -> str:
        """A cookie's value with this session."""
        stamp = self._form.stamp(int(time.time() if now is None else now))
        signed = self._form.separator.encode().join((self._form.write(said), stamp))
        made = (signed.decode(), signature(self._keys[0], signed).decode())
        return self._form.quote(self._form.separator.join(made))

    def read(self, value: str) -> tuple[int, float, Mapping[str, Any]]:
        """When a cookie was signed, when it ends, and what it holds.  Raises BadData for what is none."""
        if len(value) > _MAX_INPUT or not value.isascii():
            raise BadData("no session")
        before, _, given = self._form.unquote(value).rpartition(self._form.separator)
        content, _, stamp = before.rpartition(self._form.separator)
        if len(given) != self._length or not content or not 1 <= len(stamp) <= _STAMP:
            raise BadData("no session")
        if not is_signed(self._keys, before.encode(), given.encode()):
            raise BadData("not signed with these secrets")
        try:
            issued = self._form.time(stamp.encode())
            said = self._form.read(content.encode())
            if not isinstance(said, dict):
                raise BadData("not a session")
            end = math.inf if self._max_age is None else issued + self._max_age
            if self._ends is not None:
                end = min(end, self._ends(said, issued))
        except _UNREADABLE as error:
            raise BadData("not a session") from error
        return issued, end, said

    def _verify(self, value: str) -> tuple[int, float, Identity | None]:
        issued, end, said = self.read(value)
        return issued, end, self._claims.identity(said, None if end == math.inf else end)


def unpacked(content: bytes) -> bytes:
    """What base64url without its padding stands for, inflated where a dot comes before it.

    Raises ValueError or zlib.error for what is none, or is too long.
    """
    data = urlsafe_b64decode(content.removeprefix(b".") + b"==")
    if not content.startswith(b"."):
        return data
    inflating = zlib.decompressobj()
    whole = inflating.decompress(data, _MAX_CONTENT)
    if not inflating.eof:
        raise ValueError("too long, or without its end")
    return whole


def packed(data: bytes) -> bytes:
    """As ``unpacked`` reads it, deflated where that is shorter."""
    deflated = zlib.compress(data)
    if len(deflated) < len(data) - 1:
        return b"." + _encoded(deflated)
    return _encoded(data)


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
