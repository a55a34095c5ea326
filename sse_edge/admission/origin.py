"""Which pages may open a stream.

A stream is opened with the user's cookies, and neither SameSite=Strict nor ``__Host-`` stops a sibling
subdomain or port from doing it, so the page's origin is checked before anything else is looked at.

Sources: RFC 6454 (Origin), W3C Fetch Metadata (Sec-Fetch-Site), WHATWG Fetch (CORS).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import ConfigError
from ..outcome import BAD_REQUEST, ORIGIN, Refusal
from .address import is_loopback
from .settings import matching, one_of, strings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..asgi import Headers, Request

ALLOWED_HEADERS = ("last-event-id", "cache-control")
"""What clients of event streams add to fetch(); pages of an allowed origin may always send it."""

_VARY = (b"vary", b"Origin")
_CORS = (
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", b"retry-after, edge-identity"),
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]"
_HOST_ONLY = re.compile(_HOST)
_ORIGIN = re.compile(rf"(https?)://({_HOST})(?::([1-9][0-9]{{0,4}}))?")
_APPS = {
    "app": r"[a-z0-9._-]+",  # Electron's, most often
    "capacitor": r"[a-z0-9.-]+",
    "ionic": r"[a-z0-9.-]+",
    "tauri": r"[a-z0-9.-]+",
    "chrome-extension": r"[a-p]{32}",
    "moz-extension": r"[0-9a-f-]{36}",  # another in every browser
    "safari-web-extension": r"[0-9a-f-]{36}",
}
_APP = re.compile("|".join(f"{scheme}://{host}" for scheme, host in _APPS.items()))
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
_ANY = ("0.0.0.0", "[::]")  # noqa: S104 - browsers reach this machine by them; no name is involved
_MAX_ORIGIN = 300  # characters; a DNS name has at most 253
_MAX_KNOWN = 1024  # kinds of pages that are remembered, 1 KB each at most
_SAID = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode")


def own_origin(scheme: str, host: str | None) -> str | None:
    """The origin that a Host header names, ``scheme://host[:port]``; None if it names none."""
    if host is None or len(host) > _MAX_ORIGIN:
        return None
    return _named(scheme, host)


@lru_cache(maxsize=256)  # a server has few names
def _named(scheme: str, host: str) -> str | None:
    return _canonical(f"{scheme}://{host}")


def is_rebound(request: Request) -> bool:
    """Whether a page may have sent this from a name of its own that it gave this machine's address.

    Such a page (DNS rebinding) has the origin that it asks, so Origin and Sec-Fetch-Site say nothing
    against it; but the browser, on this machine, comes to a loopback address, and its Host has the page's
    name and the very port that it connects to.  A proxy on this machine passes on its own port, or none;
    where it has the same, ``hosts`` or ``trusted_proxies`` have to name what is right.
    """
    if request.server is None:
        return False
    # Not the peer's address, where it can be helped: uvicorn takes it from X-Forwarded-For by itself, which a
    # page can send; so it does the scheme.  But granian says only what it was told to listen on.
    address, port = request.server
    if address in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        address = request.peer or ""
    return is_loopback(address) and any(_names_other(host, str(port)) for host in request.all(b"host"))


def rebound(request: Request) -> str:
    """What is to be done about it, in words."""
    return f"{_named_host(request)} is not localhost and no loopback address; name it and localhost in hosts"


def _named_host(request: Request) -> str:
    hosts = request.all(b"host")
    return f"Host {hosts[0][:100]!r}" if hosts else "no Host"


@lru_cache(maxsize=256)  # a server has few names
def _names_other(host: str, port: str) -> bool:
    # Looser than _ORIGIN: a browser looks up, and sends, names with almost any character in them.
    name, colon, digits = host.lower().rpartition(":")
    if not colon or "]" in digits:
        name, digits = host.lower(), ""
    if is_loopback(name) or name in _ANY or f".{name.removesuffix('.')}".endswith(".localhost"):
        return False
    return digits == port if digits else port in ("80", "443")


class Page(NamedTuple):
    """What is thought of the page that asks: why it may not, if so, and what every answer to it carries."""

    refusal: Refusal | None
    headers: Headers


class OriginPolicy:
    """Decides by Origin, Sec-Fetch-Site and Host.

    ``origins`` may open streams beside the request's own origin: ``https://app.example.com``,
    ``https://*.example.com`` for every subdomain of it, or an app's, such as ``capacitor://localhost``, as it
    stands.  ``hosts``, if given, are the only names this server answers to, without port; ``*.example.com``
    works too.  ``missing`` says what happens to a request with neither Origin nor Sec-Fetch-Site: other
    programs than browsers, and pages that came over plain http.  ``allow_headers`` are request headers that
    pages of an allowed origin may add.
    """

    def __init__(
        self,
        origins: Sequence[str] = (),
        *,
        hosts: Sequence[str] | None = None,
        missing: Literal["allow", "refuse"] = "allow",
        allow_headers: Sequence[str] = (),
    ) -> None:
        entries = strings("origins", origins)
        self._exact = frozenset(_exact(text) for text in entries if "*" not in text)
        self._suffixes = tuple(_suffix(text) for text in entries if "*" in text)
        self._hosts: frozenset[str] | None = None
        self._host_suffixes: tuple[str, ...] = ()
        if hosts is not None:
            names = [_host(text) for text in strings("hosts", hosts)]
            if not names:
                raise ConfigError("hosts", "an empty list refuses everybody; None is off", hosts)
            self._hosts = frozenset(name for name in names if not name.startswith("."))
            self._host_suffixes = tuple(name for name in names if name.startswith("."))
        one_of("missing_origin", missing, "allow", "refuse")
        self._missing = missing
        why = "each is the name of a request header, not *: with credentials that is one, too"
        added = strings("allow_headers", allow_headers)
        headers = [matching("allow_headers", name, _HEADER, why).lower() for name in added]
        if "*" in headers:
            raise ConfigError("allow_headers", why, "*")
        allowed = ", ".join(dict.fromkeys((*ALLOWED_HEADERS, *headers)))
        self.preflight: Headers = [
            (b"access-control-allow-methods", b"GET, HEAD"),
            (b"access-control-allow-headers", allowed.encode()),
            (b"access-control-max-age", b"600"),
        ]
        """What the answer to a preflight has beyond the headers of every answer."""
        self._known: dict[tuple[str, tuple[bytes | None, ...]], Page] = {}

    def page(self, request: Request, scheme: str) -> Page:
        """What ``judge`` and ``headers`` say, remembered: the pages of an application ask alike.

        Only of who may, in few bytes; a program that makes up hosts costs others what they save by this.
        """
        said = request.once(_SAID)
        key = None if said is None else (scheme, said)
        known = None if key is None else self._known.get(key)
        if known is not None:
            return known
        hosts = request.all(b"host")
        own = own_origin(scheme, hosts[0]) if len(hosts) == 1 else None
        page = Page(self.judge(request, own), self.headers(request, own))
        if key is not None and page.refusal is None and sum(map(len, filter(None, key[1]))) <= _MAX_ORIGIN:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = page
        return page

    def judge(self, request: Request, own: str | None) -> Refusal | None:
        """Why the request is refused, or None; ``own`` is the request's own origin."""
        if not self.serves(own):
            return ORIGIN.because(f"{_named_host(request)} is not in hosts")
        origins = request.all(b"origin")
        if len(origins) > 1:
            return BAD_REQUEST.because("repeated Origin")
        if origins:
            if self._allows(origins[0], own):
                return None
            other = f"origin {origins[0][:200]!r} is neither this server's own"
            return ORIGIN.because(f"{other} ({own or 'unknown'}) nor among the allowed ones")
        return self._judge_without_origin(request)

    def _judge_without_origin(self, request: Request) -> Refusal | None:
        # A same-origin page sends none; neither does a no-cors trick (an image, a script, a prefetch),
        # which carries cookies all the same.  Sec-Fetch-Site, which no page can set, tells them apart.
        if "navigate" in request.all(b"sec-fetch-mode"):
            return ORIGIN.because("a stream is opened by a page, not by navigating to it")
        sites = request.all(b"sec-fetch-site")
        if sites == ["same-origin"]:
            return None
        if sites:
            return ORIGIN.because(f"no Origin, and Sec-Fetch-Site is {sites[0][:200]!r}")
        if self._missing == "refuse":
            return ORIGIN.because("neither Origin nor Sec-Fetch-Site says where the request comes from")
        return None

    def headers(self, request: Request, own: str | None) -> Headers:
        """The headers of every answer, errors included: Vary, and CORS for an origin that is allowed."""
        origins = request.all(b"origin")
        if len(origins) == 1 and self._allows(origins[0], own):
            return [_VARY, (b"access-control-allow-origin", origins[0].encode("latin-1")), *_CORS]
        return [_VARY]

    def _allows(self, text: str, own: str | None) -> bool:
        origin = _canonical(text)  # None for "null" too
        if origin is None:
            return len(text) <= _MAX_ORIGIN and text.isascii() and text.lower() in self._exact
        return (
            origin == own
            or origin in self._exact
            or (origin.startswith("https://") and origin.endswith(self._suffixes))
        )

    @property
    def any_host(self) -> bool:
        """Whether no ``hosts`` are given."""
        return self._hosts is None

    def serves(self, own: str | None) -> bool:
        """Whether this server answers to the Host of this origin."""
        if self._hosts is None:
            return True
        match = own and _ORIGIN.fullmatch(own)
        if not match:
            return False
        host = match[2]
        return host in self._hosts or host.endswith(self._host_suffixes)


def _canonical(text: str) -> str | None:
    """The origin in lower case and without a default port; None if it is not one."""
    if len(text) > _MAX_ORIGIN or not text.isascii():
        return None
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, digits = match.groups()
    default = _DEFAULT_PORTS[scheme]
    port = default if digits is None else int(digits)
    if port > 65535:
        return None
    return f"{scheme}://{host}" if port == default else f"{scheme}://{host}:{port}"


def _exact(text: str) -> str:
    app = text.lower() if len(text) <= _MAX_ORIGIN and text.isascii() else ""
    origin = app if _APP.fullmatch(app) else _canonical(text)
    if origin is None:
        why = f"each is http(s)://host[:port], or an app's ({', '.join(_APPS)}), with nothing after it"
        raise ConfigError("origins", why, text)
    return origin


def _suffix(text: str) -> str:
    """``.example.com`` for ``https://*.example.com``: the dot keeps the match on label boundaries."""
    origin = _canonical(text.replace("*.", "", 1)) if text.lower().startswith("https://*.") else None
    host = origin and origin.removeprefix("https://")
    if not host or "." not in host:
        raise ConfigError("origins", "a wildcard has the form https://*.example.com[:port]", text)
    return "." + host


def _host(text: str) -> str:
    name = text.lower().removeprefix("*.")
    if not text.isascii() or not _HOST_ONLY.fullmatch(name):
        raise ConfigError("hosts", "each is a name or address without port, or *.example.com", text)
    return "." + name if text.startswith("*.") else name
