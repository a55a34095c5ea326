"""A connection's socket: what the kernel holds for a client, for how long, and writing past the transport."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Any

DEAD_MS = 60_000
"""Milliseconds after which the kernel drops a peer that acknowledges nothing, or reads nothing
(TCP_USER_TIMEOUT).  TCP alone would wait a quarter of an hour."""

SEND_BUFFER = 262_144
"""Bytes for SO_SNDBUF, which the kernel doubles and caps at net.core.wmem_max.  Left to itself it lets
2.8 MB pile up for a client on a fast network that does not read (measured), beyond any ``max_unsent``."""

_RESET = struct.pack("ii", 1, 0)
_SIOCOUTQ: int | None = getattr(termios, "TIOCOUTQ", None) if sys.platform == "linux" else None
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
_INET = (socket.AF_INET, socket.AF_INET6)

_PLAIN = {
    ("uvloop.loop", "TCPTransport"),
    ("uvloop.loop", "UnixTransport"),
    ("asyncio.selector_events", "_SelectorSocketTransport"),
}
"""Transports that have nothing between them and their socket, and leave it open until ``connection_lost``."""


def is_plain(transport: Any) -> bool:
    """Whether there is nothing between a transport and its socket."""
    kind = type(transport)
    known = _known.get(kind)
    if known is None:
        known = _known[kind] = (kind.__module__, kind.__name__) in _PLAIN
    return known


_known: dict[type, bool] = {}


def descriptor(transport: Any) -> int | None:
    """The connection's socket itself; None where bytes have to go through the transport."""
    if not is_plain(transport):
        return None
    sock = transport.get_extra_info("socket")
    return None if sock is None else sock.fileno()


def _inet(transport: Any) -> Any:
    """The connection's socket, if it is TCP."""
    sock = transport.get_extra_info("socket")
    return sock if sock is not None and sock.family in _INET else None


def in_kernel(transport: Any) -> int:
    """Bytes that the peer has not acknowledged (SIOCOUTQ, tcp(7)); 0 where that cannot be asked."""
    sock = _inet(transport)
    if sock is None or _SIOCOUTQ is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # gone already
        return 0


def bound(transport: Any) -> None:
    """Bound what the kernel holds for the client, and how long it waits for one that is dead."""
    sock = _inet(transport)
    if sock is None:
        return
    # uvloop would make such an object for each of the two, which takes twice as long as all this.
    own = socket.SocketType(sock.family, sock.type, sock.proto, sock.fileno())
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if _USER_TIMEOUT is not None:
            own.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, DEAD_MS)
    finally:
        own.detach()


def reset(transport: Any) -> None:
    """Cut a connection, and free all that is held for it at once."""
    sock = _inet(transport)
    if sock is not None:
        with contextlib.suppress(OSError, ValueError):  # gone already; uvloop says ValueError
            # Without it the kernel would go on offering what it holds, for a minute.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
