"""Starlette's sessions, and so FastAPI's: JSON in base64, signed by itsdangerous' TimestampSigner."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from itsdangerous import TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int, int_to_bytes

from ...errors import ConfigError
from ..claims import Claims, Entry
from ..secret import checked
from ..settings import Age
from .signed import Format, SignedSessions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import Secret as StarlettesSecret

FORMAT = Format(
    separator=".",
    signers=lambda secret: [TimestampSigner(secret)],
    read=lambda content: json.loads(b64decode(content, validate=True)),
    write=lambda said: b64encode(json.dumps(said).encode()),
    time=lambda stamp: bytes_to_int(base64_decode(stamp)),
    stamp=lambda issued: base64_encode(int_to_bytes(issued)),
)


class StarletteSession(SignedSessions):
    """Sessions of Starlette's ``SessionMiddleware``, and so of FastAPI.

    ``secret``, ``name`` and ``max_age`` are that middleware's ``secret_key`` (its own kind of secret, too),
    ``session_cookie`` and ``max_age``, and have to be given as there; of a list of secrets, from oldest to
    newest, all verify.  ``user`` is the entry of the session that names the user: its key, or a function of
    the session.  ``session`` is the one that names the sign-in, without which no session can be revoked;
    ``channels`` one with a list of patterns that may be read, as in SignedCookie's.  Raises ConfigError.
    """

    def __init__(
        self,
        secret: str | StarlettesSecret | Sequence[str | StarlettesSecret],
        user: Entry = "user_id",
        *,
        session: Entry = "sid",
        channels: Entry | None = None,
        name: str = "session",
        max_age: Age | None = 14 * 86400,
        weak_secret: bool = False,
    ) -> None:
        given = list(map(_text, secret if isinstance(secret, list | tuple) else [secret]))
        keys = checked(given, weak=weak_secret)
        if any(isinstance(each, bytes) for each in given):
            raise ConfigError("secret", "must be text: Starlette signs with str(secret_key)", secret=True)
        super().__init__(FORMAT, keys, Claims(user, session, channels), name, max_age)


def _text(secret: object) -> object:
    """What a ``starlette.datastructures.Secret`` holds, and else what is given."""
    names = [(kind.__module__, kind.__name__) for kind in type(secret).__mro__]
    return str(secret) if ("starlette.datastructures", "Secret") in names else secret
