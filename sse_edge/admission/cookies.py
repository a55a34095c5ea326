"""Who a request comes from: sessions in signed cookies, or nobody in particular."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Literal

from itsdangerous import BadData

from ..errors import ConfigError, FieldError
from ..identity import Identity
from .authenticator import Scoped, quick
from .secret import Secret
from .settings import matching
from .signing import Signer
from .text import is_text, patterns, text

if TYPE_CHECKING:
    from ..asgi import Headers, Request

_SALT = "sse_edge.session:"  # and the cookie's name
_MAX_OUTPUT = 3800  # browsers drop cookies above 4096 bytes, name and attributes included
_MAX_KNOWN = 4096  # verified cookies that are remembered, about 1 KB each
CLOCK_SKEW = 60  # seconds that the clock of the issuing host may be ahead
COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 6265 section 4.1.1, RFC 2616 section 2.2
WHY_NAME = "must be a cookie name: letters, digits and !#$%&'*+-.^_`|~"
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)*", re.IGNORECASE | re.ASCII)


def newest(
    values: Iterable[str], known: Callable[[str], tuple[int, float, Identity | None]], now: float
) -> tuple[str, Identity | None]:
    """The newest of several cookies that is valid at Unix time ``now``, "" where none is, and whose it is.

    ``known`` says of a value when it was signed, when it ends, and for whom it was; BadData for what is none.
    """
    last: tuple[int, str] | None = None
    found = None
    for value in values:
        try:
            issued, end, identity = known(value)
        except BadData:
            continue
        if issued - CLOCK_SKEW <= now < end and (last is None or (issued, value) > last):
            last, found = (issued, value), identity
    return "" if last is None else last[1], found


class Anonymous(Scoped):
    """Lets everybody in, as nobody in particular, to read channels that match ``channels``."""

    anonymous = True
    max_age = 0.0  # it has no sessions

    def __init__(self, channels: Sequence[str] = ()) -> None:
        try:
            self._identity = Identity(None, tuple(patterns("channels", channels)))
        except FieldError as error:
            raise ConfigError(error.field, error.why, error.value) from error

    @quick
    def identify(self, request: Request, now: float) -> Identity | None:
        """The same identity for everyone."""
        return self._identity

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """Nothing has to be said to be nobody in particular."""
        return []


class SignedCookie(Scoped):
    """Sessions that sse_edge signs itself, by HMAC-SHA-256.

    ``secret`` is one secret, or a list from oldest to newest; ``weak_secret=True`` lets one pass that others
    could find.  ``max_age`` is a session's life in seconds: its end is signed, so that another ``max_age``
    may shorten it later and never lengthens it.  ``name``, ``path``, ``domain``, ``secure`` and ``samesite``
    are the cookie's; what was issued under another name is not valid.  Raises ConfigError.

    A cookie is what itsdangerous' URLSafeTimedSerializer makes of user, session, patterns and end, and valid
    as that text alone.  Of several valid ones that a browser sends, the newest counts.
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
        weak_secret: bool = False,
    ) -> None:
        self.name = matching("name", name, COOKIE_NAME, WHY_NAME)
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
        self._signer = Signer(secret, f"{_SALT}{name}".encode(), weak_secret=weak_secret)
        self._known = lru_cache(maxsize=_MAX_KNOWN)(self._verify)

    @property
    def max_age(self) -> float:
        """A session's life in seconds, at most."""
        return self._max_age

    @quick
    def identify(self, request: Request, now: float) -> Identity | None:
        """Who the newest valid cookie of this name was issued for."""
        return newest(request.cookies(self.name), self._known, now)[1]

    def issue(
        self, user: str, channels: Sequence[str] = (), *, session: str | None = None, now: float | None = None
    ) -> str:
        """A cookie value that lets ``user`` in, and to channels that match the patterns ``channels``.

        In a pattern ``*`` stands for any run of characters; ``literal`` puts in what was given by others.
        ``session`` names this sign-in, so that it can be ended alone; 128 random bits by default.
        Raises ValueError, naming what cannot be put into a cookie.
        """
        session = token_urlsafe(16) if session is None else session
        given = patterns("channels", channels)
        issued = int(time.time() if now is None else now)
        end = math.ceil(issued + self._max_age)
        payload = [text("user", user), text("session", session), given, end]
        value = self._signer.sign(payload, issued)
        if len(value) > _MAX_OUTPUT:
            raise FieldError("channels", f"would make a cookie of more than {_MAX_OUTPUT} bytes", len(value))
        return value

    def set_cookie(
        self, user: str, channels: Sequence[str] = (), *, session: str | None = None, now: float | None = None
    ) -> str:
        """The whole Set-Cookie header for what ``issue`` makes."""
        value = self.issue(user, channels, session=session, now=now)
        return f"{self.name}={value}; Max-Age={math.ceil(self._max_age)}; {self._attributes}"

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """The headers of a request that signs ``user`` in, for tests."""
        return [(b"cookie", f"{self.name}={self.issue(user, channels)}".encode())]

    def clear_cookie(self) -> str:
        """The Set-Cookie header that makes a browser forget the cookie."""
        return f"{self.name}=; Max-Age=0; {self._attributes}"

    def _verify(self, value: str) -> tuple[int, float, Identity]:
        """When a cookie was issued and when it ends, in Unix seconds, and for whom.  Raises BadData.

        True for ever, so that it is remembered: a session opens a stream with each of its pages.  What
        is no valid cookie pushes nothing out, because exceptions are not remembered, and a valid one has
        one spelling.
        """
        issued, said = self._signer.read(value)
        try:
            user, session, channels, signed_end = said
        except (TypeError, ValueError):
            raise BadData("not a session") from None
        # Not a match statement, which takes two microseconds for this.
        if type(signed_end) is not int or type(channels) is not list:
            raise BadData("not a session")
        if not all(map(is_text, [user, session, *channels])):
            raise BadData("not a session")
        end = min(signed_end, issued + self._max_age)
        return issued, end, Identity(user, tuple(channels), session, end)
