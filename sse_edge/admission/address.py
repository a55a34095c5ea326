"""Where a request comes from, past the proxies in front: what per-address limits count by.

Only X-Forwarded-For and X-Forwarded-Proto are read, and only from trusted peers.  Reading RFC 7239's
Forwarded as well would let a client choose which of the two a proxy did not overwrite.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .settings import strings, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..asgi import Request

UNIX = "unix"
"""The peer on a unix socket, as a setting and as a key."""

UNKNOWN = "unknown"
"""The key of whoever had left before the server asked for its address."""

_MAX_HOPS = 32  # entries of X-Forwarded-For that are looked at, from the right
_MAX_ENTRY = 64  # characters; the longest address with brackets and port has 53
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class TrustedProxies:
    """Who is believed about where a request came from.

    ``networks`` are CIDR networks, single addresses, or the word ``unix`` for unix sockets.  An IPv6
    client is known by its first ``ipv6_prefix`` bits, since a household or a server usually has a whole
    /64 to choose its address from.
    """

    def __init__(self, networks: Sequence[str] = (), *, ipv6_prefix: int = 64) -> None:
        entries = strings("trusted_proxies", networks)
        self._unix = UNIX in entries
        self._networks = tuple(_network(text) for text in entries if text != UNIX)
        self._prefix = whole("ipv6_prefix", ipv6_prefix, 128)
        self._mask = (1 << 128) - (1 << (128 - ipv6_prefix))
        self._key = lru_cache(maxsize=4096)(self._name)

    def client(self, request: Request) -> str:
        """The key of the client's address: ``192.0.2.1``, ``2001:db8:0:1::/64``, ``unix``.

        Walks X-Forwarded-For from the right for as long as trusted hops vouch for the next entry.
        What is no address ends the walk, and the hop before it is the client.
        """
        hop = request.peer or (UNKNOWN if _is_gone(request) else "")
        if self.trusts_peer(request):
            forwarded = ",".join(request.all(b"x-forwarded-for")).rsplit(",", _MAX_HOPS)
            for entry in reversed(forwarded[-_MAX_HOPS:]):
                before = _address(entry)
                if before is None:
                    break
                hop = entry
                if not self._trusts(before):
                    break
        return self._key(hop)

    def _name(self, hop: str) -> str:
        address = _address(hop)
        if address is None:
            # A test client's name, or a unix socket.
            return hop.lower()[:_MAX_ENTRY] or UNIX
        if isinstance(address, IPv6Address):
            return f"{IPv6Address(int(address) & self._mask)}/{self._prefix}"
        return str(address)

    def scheme(self, request: Request) -> str:
        """``https`` or ``http`` as the client used it."""
        if self.trusts_peer(request):
            said = ",".join(request.all(b"x-forwarded-proto")).rpartition(",")[2].strip().lower()
            if said in ("http", "https"):
                return said
        return request.scheme

    def trusts_peer(self, request: Request) -> bool:
        """Whether the other end of the socket is in one of the networks."""
        peer = request.peer
        if not peer:
            return self._unix and not _is_gone(request)
        return bool(self._networks) and self._trusts(_address(peer))

    def _trusts(self, hop: IPv4Address | IPv6Address | None) -> bool:
        return hop is not None and any(hop in network for network in self._networks)


def _is_gone(request: Request) -> bool:
    """Whether it has no address because its connection was reset before the server asked for that.

    This end of a unix socket has no port (ASGI HTTP, ``server``); without this a client could count as one by
    leaving at once.
    """
    return request.peer is None and request.server is not None and bool(request.server[1])


def is_loopback(text: str) -> bool:
    """Whether this is an address of 127.0.0.0/8 or ::1, with brackets and port or without."""
    address = _address(text)
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in one entry, without quotes and port; None if there is none."""
    text = text.strip().strip('"')
    return None if len(text) > _MAX_ENTRY else _parsed(text)


@lru_cache(maxsize=4096)  # one request asks for its peer's three times
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 clients as ::ffff:192.0.2.1; without this they would share a /64.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        # Without its cause: a traceback would repeat what was given.
        raise ConfigError("trusted_proxies", f"not a network, an address or unix: {error}", text) from None
    if network.prefixlen == 0:
        raise ConfigError("trusted_proxies", "would let every client choose its own address", text)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise ConfigError("trusted_proxies", "write an IPv4 network the IPv4 way", text)
    return network
