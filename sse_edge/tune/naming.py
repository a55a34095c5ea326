"""Where others are, for a proxy; and upstreams by name: nginx asks for their addresses again as it runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from ..errors import ConfigError

RESOLVE = (1, 27, 3)
"""The nginx from which on a server of an upstream may say ``resolve``; before, the commercial one alone."""

SOCKET_PATH = 107
"""Bytes of a unix socket's path (Linux, sun_path)."""

_FORM = "with IPv6 in brackets, and a port from 1 to 65535"
_PLACE = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
_SOCKET = re.compile(r"unix:/[^\s\x00-\x1f\x7f;{}#\"'`\\$]+")
_RESOLVER = re.compile(r"^(?P<indent> *)# resolver \S+ (?P<valid>valid=\S+;)$", re.MULTILINE)
_SERVER = re.compile(r"^(?P<server> *server (?P<place>\S+))(?P<rest> max_fails=)", re.MULTILINE)


def upstreams(places: Sequence[str]) -> list[str]:
    """Workers' addresses: host, host:port or unix:/path.  Raises ConfigError for what no proxy can reach."""
    for place in places:
        socket = _SOCKET.fullmatch(place) and len(place.encode()) <= len("unix:") + SOCKET_PATH
        if not socket and _host(place) is None:
            raise ConfigError("--upstream", f"must be host:port or unix:/path, {_FORM}", place)
    return list(places)


def name_server(place: str) -> str:
    """A name server's address.  Raises ConfigError for what is none."""
    if _host(place) is None:
        raise ConfigError("--resolver", f"must be a name server's host or host:port, {_FORM}", place)
    return place


def resolving(text: str, resolver: str | None) -> str:
    """An ``nginx.conf`` that asks ``resolver`` (host, host:port) again and again for its upstreams' names.

    Without one the text as it is.  Raises ConfigError for what is no name server.
    """
    if resolver is None:
        return text
    text = _RESOLVER.sub(rf"\g<indent>resolver {name_server(resolver)} \g<valid>", text)

    def resolved(server: re.Match[str]) -> str:
        again = " resolve" if _is_name(server["place"]) else ""
        return f"{server['server']}{again}{server['rest']}"

    return _SERVER.sub(resolved, text)


def _host(place: str) -> str | None:
    """The host of a place: an address, IPv6 in brackets, or a name; None if it is no place."""
    match = _PLACE.fullmatch(place)
    if match is None or (match["port"] is not None and not 1 <= int(match["port"]) <= 65535):
        return None
    host = match["host"]
    if host.startswith("["):
        return host if _version(host[1:-1]) == 6 else None
    numeric = host.rstrip(".").rpartition(".")[2].isdecimal()
    return host if _NAME.fullmatch(host) and (not numeric or _version(host) == 4) else None


def _is_name(place: str) -> bool:
    """Whether a name server is asked for it: this machine knows localhost by itself."""
    host = _host(place)
    return host is not None and host[0] != "[" and _version(host) is None and host != "localhost"


def _version(address: str) -> int | None:
    """4 or 6; None for what is no address that nginx reads."""
    try:
        return None if "%" in address else ip_address(address).version
    except ValueError:
        return None
