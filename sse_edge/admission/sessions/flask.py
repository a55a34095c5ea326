"""Flask's and Quart's sessions: JSON with tagged types, signed like itsdangerous' URLSafeTimedSerializer."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from email.utils import parsedate_to_datetime
from hashlib import sha1
from typing import TYPE_CHECKING, Any
from uuid import UUID

from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int, int_to_bytes

from ..claims import Claims, Entry
from ..secret import Secret, checked
from ..settings import Age, seconds
from .signed import Format, SignedSessions, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _date(text: str) -> datetime:
    # As HTTP writes it, and Quart before 0.19 as ISO 8601 does.
    return datetime.fromisoformat(text) if "T" in text[:12] else parsedate_to_datetime(text)


_TAGS: Mapping[str, Callable[[Any], object]] = {
    " t": tuple,
    " b": b64decode,
    " m": str,
    " u": UUID,
    " d": _date,
    " di": lambda value: {key.removesuffix("__"): each for key, each in value.items()},
}
"""Flask's types beyond JSON's, each the only key of an object; the last is for a dict that looks like one."""


def _untagged(read: dict[str, Any]) -> object:
    if len(read) == 1:
        ((key, value),) = read.items()
        if key in _TAGS:
            return _TAGS[key](value)
    return read


FORMAT = Format(
    separator=".",
    signers=lambda secret: [Signer(secret, b"cookie-session", key_derivation="hmac", digest_method=sha1)],
    read=lambda content: json.loads(unpacked(content), object_hook=_untagged),
    write=lambda said: packed(json.dumps(said, separators=(",", ":")).encode()),
    time=lambda stamp: bytes_to_int(base64_decode(stamp)),
    stamp=lambda issued: base64_encode(int_to_bytes(issued)),
)


class FlaskSession(SignedSessions):
    """Sessions of Flask and Quart, as they are kept by default: in the cookie.

    ``secret`` is the app's ``SECRET_KEY``, or a list from oldest to newest (``[*SECRET_KEY_FALLBACKS,
    SECRET_KEY]``); ``name`` and ``max_age`` are its ``SESSION_COOKIE_NAME`` and
    ``PERMANENT_SESSION_LIFETIME``, which ends sessions that are not permanent, too.  ``user`` is the entry of
    the session that names the user: its key (Flask-Login's is ``"_user_id"``), or a function of the session.
    ``session`` is the one that names the sign-in, without which no session can be revoked; ``channels`` one
    with a list of patterns that may be read, as in SignedCookie's.  Raises ConfigError.
    """

    def __init__(
        self,
        secret: Secret,
        user: Entry = "user_id",
        *,
        session: Entry = "sid",
        channels: Entry | None = None,
        name: str = "session",
        max_age: Age = 31 * 86400,
        weak_secret: bool = False,
    ) -> None:
        keys = checked(secret, weak=weak_secret)
        super().__init__(FORMAT, keys, Claims(user, session, channels), name, seconds("max_age", max_age))
