"""Who a request comes from, as a JSON Web Token says (RFC 7519), checked as RFC 8725 has it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..authenticator import Scoped
from ..claims import Claims, Entry, digest
from ..cookies import CLOCK_SKEW
from ..settings import Age, seconds, strings

if TYPE_CHECKING:
    from ...asgi import Headers, Request
    from ...identity import Identity
    from .keys import Key, KeyServer

_Said = tuple[float, float, "Identity | None"]  # from when to when, and who
_MAX_INPUT = 8192  # bytes of a header that are worth looking at
_MAX_KNOWN = 1024  # verified tokens that are remembered, one or two KB each
_BEARER = re.compile(r"bearer +([\w-]+\.[\w-]+\.[\w-]+)", re.IGNORECASE | re.ASCII)  # RFC 6750, section 2.1
_INVALID = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)


class _InvalidError(Exception):
    """A token that is none, or not for here."""


class BearerJWT(Scoped):
    """Takes ``Authorization: Bearer`` with a JSON Web Token, and from nowhere else.

    ``key`` is the secret for HS256, or a public key in PEM for RS256, ES256, EdDSA, …; a list of them; or a
    key set as a dict.  ``jwks_url`` in its place is where a server publishes its keys.  ``algorithms`` are
    those that the tokens are signed by.  ``audience`` and ``issuer``, text or a list, are what ``aud`` and
    ``iss`` must say; without ``audience`` a token that has one is not for here.

    ``user`` is the claim that names the user: its name, or a function of all claims.  ``session`` is the one
    that names the sign-in, ``sid`` or ``jti`` by default, and where it is not there a digest of the token.
    ``channels`` is one with a list of patterns that may be read.  A token needs an ``exp``, which may be
    ``leeway`` seconds ago; with ``max_age`` one that ends later than so many seconds from now is refused.

    Needs PyJWT: ``pip install 'sse_edge[jwt]'``.  Raises ConfigError.
    """

    anonymous = False

    def __init__(
        self,
        key: Any = None,
        *,
        algorithms: Sequence[str],
        audience: str | Sequence[str] | None = None,
        issuer: str | Sequence[str] | None = None,
        user: Entry = "sub",
        session: Entry | tuple[str, ...] = ("sid", "jti"),
        channels: Entry | None = None,
        jwks_url: str | None = None,
        leeway: float = 0.0,
        max_age: Age | None = None,
        weak_secret: bool = False,
    ) -> None:
        try:
            import jwt  # noqa: PLC0415 - optional

            from .keys import KeyServer, checked_algorithms, given  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("auth", "BearerJWT needs PyJWT: pip install 'sse_edge[jwt]'") from error
        names = checked_algorithms(algorithms)
        if (key is None) == (jwks_url is None):
            raise ConfigError("key", "either key or jwks_url is needed, and not both", secret=True)
        if type(leeway) not in (int, float) or not 0 <= leeway < math.inf:
            raise ConfigError("leeway", "must be a number of seconds", leeway)
        self._jwt = jwt
        self._audience = _texts("audience", audience)
        self._issuer = _texts("issuer", issuer)
        self._claims = Claims(user, session, channels)
        self._leeway = leeway
        self._max_age = None if max_age is None else seconds("max_age", max_age)
        self._server = None if jwks_url is None else KeyServer(jwks_url, names)
        self._keys = [] if jwks_url is not None else given(key, names, weak=weak_secret)
        self._known = lru_cache(maxsize=_MAX_KNOWN)(self._read)
        self.answers_later = self._server is not None

    @property
    def max_age(self) -> float | None:
        """How long a token lives at most, in seconds; None where that is the issuer's to say."""
        return None if self._max_age is None else self._max_age + self._leeway

    # Not quick: a signature by a public key takes a tenth of a millisecond, and forged ones cost nothing.
    def identify(self, request: Request, now: float) -> Any:
        """Who the token was issued for; with ``jwks_url`` to be awaited.

        Raises OSError while its server has told no keys.
        """
        token = _token(request)
        if self._server is not None:
            return self._identify(token, self._server, now)
        try:
            return None if token is None else self._timely(self._known(token), now)
        except _InvalidError:
            return None

    async def _identify(self, token: str | None, server: KeyServer, now: float) -> Identity | None:
        if token is None:
            return None
        try:
            keys = await server.keys(*self._named(token), now)
            # What a key server has verified is not remembered: it may take a key back.
            return self._timely(self._said(token, keys), now)
        except _InvalidError:
            return None

    def _timely(self, said: _Said, now: float) -> Identity | None:
        begin, end, identity = said
        if not begin - CLOCK_SKEW - self._leeway <= now < end:
            return None
        return None if self._max_age is not None and end - now > self._max_age + self._leeway else identity

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """A request's headers with a token of ``user``, good for an hour.

        Raises ConfigError where it cannot be made: keys are public, or functions read the claims.
        """
        key = next((key for key in self._keys if key.secret is not None), None)
        if key is None:
            raise ConfigError("key", "is public, and signs nobody in; use a secret in tests", secret=True)
        said = self._claims.said(user, token_urlsafe(16), channels)
        said["exp"] = int(time.time() + min(3600, self._max_age or 3600))
        for claim, values in (("aud", self._audience), ("iss", self._issuer)):
            if values:
                said[claim] = values[0]
        token = self._jwt.encode(said, key.prepared, key.algorithm)
        return [(b"authorization", f"Bearer {token}".encode())]

    def _read(self, token: str) -> _Said:
        algorithm, name = self._named(token)
        return self._said(token, [key for key in self._keys if key.fits(algorithm, name)])

    def _said(self, token: str, keys: Sequence[Key]) -> _Said:
        try:
            said = self._verified(token, keys)
            begin = max(_time(said.get("nbf", 0)), _time(said.get("iat", 0)))
            end = _time(said["exp"]) + self._leeway
        except (self._jwt.PyJWTError, *_INVALID) as error:
            raise _InvalidError from error
        # Not of the signature, which may be written in several ways, or made anew.
        unnamed = digest(token.rpartition(".")[0])
        return begin, end, self._claims.identity(said, end, unnamed)

    def _named(self, token: str) -> tuple[object, object]:
        """The algorithm and the key that it says it is signed by."""
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, *_INVALID) as error:
            raise _InvalidError from error
        if "crit" in header:  # no extension is known here, and PyJWT 2.10 passes over it
            raise _InvalidError
        return header.get("alg"), header.get("kid")

    def _verified(self, token: str, keys: Sequence[Key]) -> Mapping[str, Any]:
        # Times are compared where the time is known.
        options: Any = {
            "require": ["exp"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        for key in keys:
            try:
                said: dict[str, Any] = self._jwt.decode(
                    token,
                    key.prepared,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options=options,
                )
            except self._jwt.InvalidSignatureError:
                continue
            return said
        raise self._jwt.InvalidSignatureError("no key of ours")


def _token(request: Request) -> str | None:
    headers = request.all(b"authorization")
    if len(headers) != 1 or len(headers[0]) > _MAX_INPUT:
        return None
    match = _BEARER.fullmatch(headers[0].strip(" \t"))
    return None if match is None else match[1]


def _texts(field: str, value: object) -> list[str] | None:
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else list(strings(field, value))
    if not texts or not all(texts):
        raise ConfigError(field, "must be text, or a list of texts", value)
    return texts


def _time(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError("no time")
    return float(value)  # type: ignore[arg-type]
