"""Where a URL leads."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from ..admission.address import is_loopback
from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.  ``authority`` is the Host header, ``name`` the TLS server name."""

    scheme: str
    host: str
    port: int
    path: str
    authority: str
    name: str
    context: ssl.SSLContext | None

    @property
    def origin(self) -> str:
        """The origin of a page that came from there."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine get there, by where it leads, whatever they ask for."""
        return self.host == "localhost" or self.host.endswith(".localhost") or is_loopback(self.host)

    def unverified(self) -> Target:
        """The same, whoever answers: for no secrets."""
        if self.context is None:
            return self
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return replace(self, context=context)

    @classmethod
    def of(cls, url: str, *, host: str | None = None, cacert: str | None = None) -> Self:
        """Read a URL.  ``host`` replaces its name in Host and TLS, but not where to connect.

        ``cacert``: file of a private authority.  Raises ConfigError naming what cannot be right.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError("URL", f"is none: {error}", url) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("URL", "must be http(s)://host[:port]/path", url)
        if parts.username is not None:
            raise ConfigError("URL", "must be without user and password", secret=True)
        netloc = host if host is not None else parts.netloc
        asked = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        if not (asked + netloc).isascii() or any(char <= " " or char == "\x7f" for char in asked + netloc):
            raise ConfigError("URL", "must be ASCII without spaces; percent-encode the rest", url)
        name = _name(netloc)
        if not name:
            raise ConfigError("--host", "must be a host name, with a port if it is not the usual one", host)
        context = _context(cacert) if parts.scheme == "https" else None
        if cacert is not None and context is None:
            raise ConfigError("--cacert", "is for https URLs", cacert)
        usual = 443 if context else 80
        return cls(parts.scheme, parts.hostname, port or usual, asked, netloc, name, context)


def _name(netloc: str) -> str | None:
    """The host of a netloc; None if that is none."""
    try:
        parts = urlsplit(f"//{netloc}")
        alone = parts.netloc == netloc and "@" not in netloc
        return parts.hostname if alone and (parts.port is None or parts.port) else None
    except ValueError:
        return None


def _context(cacert: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cacert)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("--cacert", f"is no file of certificates: {error}", cacert) from None
    return context
