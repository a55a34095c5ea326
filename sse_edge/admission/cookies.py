"""Who a request comes from: sessions in signed cookies, or nobody in particular."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Literal, Protocol

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, bytes_to_int
from itsdangerous.signer import Signer, SigningAlgorithm

from ..errors import ConfigError, FieldError
from ..identity import Identity
from ..pattern import WHY_ESCAPE, well_formed
from .settings import matching, strings

if TYPE_CHECKING:
    from ..asgi import Request

Secret = str | bytes | Sequence[str | bytes]
"""One secret, or several from oldest to newest: all of them verify and the newest signs."""

_SALT = b"sse_edge.session"
_MAX_INPUT = 4096  # bytes of a cookie that are worth verifying, and before anything is unpacked
_MAX_OUTPUT = 3800  # browsers drop cookies above 4096 bytes, name and attributes included
_MAX_TRIES = 4  # cookies of the same name; a sibling subdomain can add some of its own
_MAX_KNOWN = 4096  # verified cookies that are remembered, about 1 KB each
_CLOCK_SKEW = 60  # seconds that the clock of the issuing host may be ahead
_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}")
_WHY_TEXT = "must be text of 1 to 256 characters, without control characters"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 6265 section 4.1.1, RFC 2616 section 2.2
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)*", re.IGNORECASE | re.ASCII)


class Authenticator(Protocol):
    """Says who a request comes from."""

    @property
    def anonymous(self) -> bool:
        """True when its identities have no user."""

    def identify(self, request: Request, now: float) -> Identity | None:
        """Who asks, at Unix time ``now``; None if nothing valid proves it.  Never waits."""


class Anonymous:
    """Lets everybody in, as nobody in particular, to read channels that match ``channels``."""

    anonymous = True

    def __init__(self, channels: Sequence[str] = ()) -> None:
        for pattern in strings("channels", channels):
            matching("channels", pattern, _TEXT, _WHY_TEXT)
            if not well_formed(pattern):
                raise ConfigError("channels", WHY_ESCAPE, pattern)
        self._identity = Identity(None, tuple(channels))

    def identify(self, request: Request, now: float) -> Identity | None:
        """The same identity for everyone."""
        return self._identity


class SignedCookie:
    """Sessions that sse_edge signs itself, by HMAC-SHA-256 with itsdangerous.

    ``secret`` is one secret, or a list from oldest to newest.  ``max_age`` is a session's life in
    seconds.  ``name``, ``path``, ``domain``, ``secure`` and ``samesite`` are the cookie's.  Raises
    ConfigError.
    """

    anonymous = False

    def __init__(
        self,
        secret: Secret,
        name: str = "session",
        max_age: float = 86400,
        *,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        samesite: Literal["Strict", "Lax", "None"] = "Lax",
    ) -> None:
        why = "must be a cookie name: letters, digits and !#$%&'*+-.^_`|~"
        self._name = matching("name", name, _TOKEN, why)
        matching("path", path, _PATH, "must begin with / and have no spaces or semicolons")
        if domain is not None:
            matching("domain", domain, _DOMAIN, "must be a domain name")
        if type(max_age) not in (int, float) or not 0 < max_age < math.inf:
            raise ConfigError("max_age", "must be a positive number of seconds", max_age)
        self._max_age = max_age
        if samesite not in ("Strict", "Lax", "None"):
            raise ConfigError("samesite", 'must be "Strict", "Lax" or "None"', samesite)
        if not secure and (samesite == "None" or name.lower().startswith(("__host-", "__secure-"))):
            raise ConfigError("secure", "browsers demand it for SameSite=None, __Host- and __Secure-", secure)
        if name.lower().startswith("__host-") and (domain is not None or path != "/"):
            raise ConfigError("name", 'browsers take a __Host- cookie only with path "/" and no domain', name)
        scope = f"Path={path}" + (f"; Domain={domain}" if domain else "")
        self._attributes = f"{scope}; HttpOnly{'; Secure' if secure else ''}; SameSite={samesite}"
        self._serializer = URLSafeTimedSerializer(
            _secrets(secret),
            _SALT,
            signer=_Signer,
            signer_kwargs={
                "key_derivation": "hmac",
                "digest_method": hashlib.sha256,
                "algorithm": _HMACSHA256(),
            },
        )
        self._verifier = self._signer()
        self._known = lru_cache(maxsize=_MAX_KNOWN)(self._verify)

    def identify(self, request: Request, now: float) -> Identity | None:
        """Who the first valid cookie of this name was issued for."""
        for value in request.cookies(self._name)[:_MAX_TRIES]:
            try:
                issued, identity = self._known(value)
            except BadData:
                continue
            if issued - _CLOCK_SKEW <= now < issued + self._max_age:
                return identity
        return None

    def issue(
        self, user: str, channels: Sequence[str] = (), *, session: str | None = None, now: float | None = None
    ) -> str:
        """A cookie value that lets ``user`` in, and to channels that match the patterns ``channels``.

        In a pattern ``*`` stands for any run of characters; ``literal`` puts in what was given by others.
        ``session`` names this sign-in, so that it can be ended alone; 128 random bits by default.
        Raises FieldError, naming what cannot be put into a cookie.
        """
        session = token_urlsafe(16) if session is None else session
        patterns = [_text("channels", pattern) for pattern in strings("channels", channels)]
        for pattern in patterns:
            if not well_formed(pattern):
                raise FieldError("channels", WHY_ESCAPE, pattern)
        payload = [_text("user", user), _text("session", session), patterns]
        signer = self._signer()
        signer.now = int(time.time() if now is None else now)
        value = signer.sign(self._serializer.dump_payload(payload)).decode()
        if len(value) > _MAX_OUTPUT:
            raise FieldError("channels", f"would make a cookie of more than {_MAX_OUTPUT} bytes", len(value))
        return value

    def set_cookie(
        self, user: str, channels: Sequence[str] = (), *, session: str | None = None, now: float | None = None
    ) -> str:
        """The whole Set-Cookie header for what ``issue`` makes."""
        value = self.issue(user, channels, session=session, now=now)
        return f"{self._name}={value}; Max-Age={math.ceil(self._max_age)}; {self._attributes}"

    def clear_cookie(self) -> str:
        """The Set-Cookie header that makes a browser forget the cookie."""
        return f"{self._name}=; Max-Age=0; {self._attributes}"

    def _signer(self) -> _Signer:
        signer = self._serializer.make_signer(_SALT)
        assert isinstance(signer, _Signer)
        return signer

    def _verify(self, value: str) -> tuple[float, Identity]:
        """When a cookie was issued, in Unix seconds, and for whom.  Raises BadData.

        True for ever, so that it is remembered: a session opens a stream with each of its pages.  What
        is no valid cookie pushes nothing out, because exceptions are not remembered.
        """
        if len(value) > _MAX_INPUT:
            raise BadData("too long")
        # What the serializer's own loads() does, with one signer for all cookies and without a datetime.
        body, _, stamp = Signer.unsign(self._verifier, value).rpartition(b".")
        if not 0 < len(stamp) <= 11:  # 64 bits
            raise BadData("no time")
        issued = bytes_to_int(base64_decode(stamp))
        payload = self._serializer.load_payload(body)
        match payload:
            case [str(user), str(session), list(patterns)] if all(map(_is_text, [user, session, *patterns])):
                return issued, Identity(user, tuple(patterns), session, issued + self._max_age)
        raise BadData("not a session")


class _Signer(TimestampSigner):
    """Signs with the time it is given; verifying reads no time at all.  Derives each key once."""

    now = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._derived: dict[str | bytes | None, bytes] = {}

    def get_timestamp(self) -> int:
        return self.now

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        key = self._derived.get(secret_key)
        if key is None:
            key = self._derived[secret_key] = super().derive_key(secret_key)
        return key


class _HMACSHA256(SigningAlgorithm):
    """What itsdangerous does itself, in one call instead of four (measured: 2 µs less a cookie)."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


def _secrets(secret: object) -> list[bytes]:
    keys = [secret] if isinstance(secret, str | bytes) else secret
    if not isinstance(keys, list | tuple) or not keys:
        raise ConfigError("secret", "must be a secret, or a list of them from oldest to newest", secret=True)
    for key in keys:
        if not isinstance(key, str | bytes) or not key.strip():
            raise ConfigError("secret", "each must be non-empty text or bytes", secret=True)
    return [key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key for key in keys]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise FieldError(field, _WHY_TEXT, value)
    return value
