"""Writing straight to uvicorn's transport, where the server is recognisably uvicorn."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import sys
import termios
from collections.abc import Callable
from typing import Any

from ..asgi import Headers, Message, Receive, Send
from ..errors import ConfigError
from ..logline import why
from .incoming import Incoming, reset
from .sink import START, Sink, TaskSink

logger = logging.getLogger("sse_edge")

DEAD_MS = 60_000
"""Milliseconds after which the kernel drops a peer that acknowledges nothing, or reads nothing
(TCP_USER_TIMEOUT).  TCP alone would wait a quarter of an hour."""

SEND_BUFFER = 262_144
"""Bytes for SO_SNDBUF, which the kernel doubles and caps at net.core.wmem_max.  Left to itself it lets
2.8 MB pile up for a client on a fast network that does not read (measured), beyond any ``max_unsent``."""

_SIOCOUTQ: int | None = getattr(termios, "TIOCOUTQ", None) if sys.platform == "linux" else None
_CYCLE = ("transport", "flow", "message_event", "response_complete", "disconnected")
_TRANSPORT = (
    "write",
    "abort",
    "is_closing",
    "get_write_buffer_size",
    "get_extra_info",
    "get_protocol",
    "set_protocol",
)
_FLOW = ("read_paused", "write_paused", "drain")


def writes_directly(said: str) -> bool:
    """What the environment variable SSE_EDGE_SINK says: ``auto``, or ``task`` to write to no server
    directly, should a new release of one turn out to be different inside.  Raises ConfigError.
    """
    if said not in ("auto", "task"):
        raise ConfigError("SSE_EDGE_SINK", "must be auto or task", said)
    return said == "auto"


def open_sink(send: Send, receive: Receive, headers: Headers, *, directly: bool = True) -> Sink:
    """The best sink for what the server gave; ``directly`` is whether one may bypass its ``send``."""
    cycle = getattr(send, "__self__", None) if directly else None
    if cycle is None or getattr(receive, "__self__", None) is not cycle:
        return TaskSink(send, receive, headers)
    heard, written = _judge(cycle)
    if heard:
        send = Incoming(cycle).send
    return UvicornSink(cycle, send, receive, headers) if written else TaskSink(send, receive, headers)


class UvicornSink:
    """Writes chunks to uvicorn's transport, without a task or a queue of its own.

    uvicorn's ``send`` does the response's start and its end; in between its state is not touched, as
    nothing in it changes while a body goes on, but that a client which is let go of has disconnected.
    The request's task waits in ``receive``.
    """

    __slots__ = (
        "_cycle",
        "_early",
        "_finishing",
        "_headers",
        "_open",
        "_over",
        "_ready",
        "_receive",
        "_send",
        "_transport",
        "_wire",
    )

    def __init__(self, cycle: Any, send: Send, receive: Receive, headers: Headers) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._send = send
        self._receive = receive
        self._headers: Headers | None = headers
        self._wire: socket.SocketType | None = None
        self._early: list[bytes] = []
        self._open = False  # between the first bytes and the last
        self._ready: asyncio.Task[None] | None = None
        self._finishing = False
        self._over = False

    @property
    def unsent(self) -> int:
        """See ``Sink.unsent``: what the transport holds, and on Linux what the kernel still holds."""
        if self._over:
            return 0
        held: int = self._transport.get_write_buffer_size()
        return held + sum(map(len, self._early)) + self._in_kernel()

    def write(self, data: bytes) -> int:
        """See ``Sink.write``: what the transport holds; the kernel is not asked."""
        wire, transport, chunk = self._wire, self._transport, _chunk(data)
        if not self._open:
            if not (self._over or self._finishing):
                self._early.append(chunk)
            return sum(map(len, self._early))
        # Behind a pipelined request uvicorn does not tell the first one that the connection is gone.
        if transport.is_closing():
            self._let_go()
            return 0
        try:
            if wire is not None and not transport.get_write_buffer_size():
                sent = wire.send(chunk)
                if sent == len(chunk):
                    return 0
                chunk = chunk[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            self._gone(error)
            return 0
        try:
            transport.write(chunk)
            held: int = transport.get_write_buffer_size()
        except Exception as error:  # noqa: BLE001 - uvloop raises RuntimeError, others OSError
            self._gone(error)
            return 0
        return held

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``: when the transport holds so little that it asks for more."""
        if not self._over:
            self._ready = asyncio.create_task(self._when_drained(then))

    async def _when_drained(self, then: Callable[[], None]) -> None:
        await self._cycle.flow.drain()
        self._ready = None
        then()

    def finish(self, data: bytes) -> None:
        """See ``Sink.finish``."""
        self.write(data)
        self._finishing, self._open = True, False
        self._cycle.message_event.set()

    def abort(self) -> None:
        """See ``Sink.abort``: the connection is reset, and all that is held for it is freed at once."""
        if self._over:  # the connection may serve another request already
            return
        self._let_go()
        reset(self._transport)

    async def start(self, first: bytes) -> None:
        """See ``Sink.start``.

        What is written before the event loop turns leaves in one piece with the head.
        """
        headers, self._headers = self._headers, None
        try:
            head = await self._head({"type": "http.response.start", "status": 200, "headers": headers})
            if self._cycle.chunked_encoding is not True:
                raise RuntimeError("the response is not chunked")
            self._bound_peer()
        except Exception as error:  # noqa: BLE001
            logger.debug("a response could not be started: %s", why(error))
            self.abort()
            return
        if not self._over:
            self._early[:0] = [head, _chunk(first)]
            asyncio.get_running_loop().call_soon(self._begin)

    async def run(self) -> None:
        """See ``Sink.run``."""
        wire = None
        try:
            self._wire = wire = self._open_wire()
            while not self._over:
                if self._finishing:
                    self._begin()
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                message = await self._receive()
                if message["type"] == "http.disconnect" or message.get("body"):
                    return
        except Exception as error:  # noqa: BLE001
            logger.debug("a send or receive failed, so the client counts as gone: %s", why(error))
        finally:
            self._close()
            self._wire = None
            if wire is not None:
                wire.detach()
            if not self._cycle.response_complete and not self._transport.is_closing():
                # Cut, not ended: uvicorn would wait for the client to take what is left.
                self._cut()
                self._transport.abort()

    async def _head(self, message: Message) -> bytes:
        """The response's head as uvicorn writes it, which goes out with the first bytes."""
        cycle = self._cycle
        if cycle.flow.write_paused:  # behind a response on this connection that nobody reads
            async with asyncio.timeout(START):
                await self._send(message)
            return b""
        cycle.transport = kept = _Kept(self._transport)
        try:
            await self._send(message)  # does not wait
        finally:
            cycle.transport = self._transport
        return kept.data

    def _begin(self) -> None:
        """Pass on what was written so far; from here on nothing waits."""
        early, self._early = self._early, []
        if self._over:
            return
        self._open = not self._finishing
        if early:
            try:
                self._transport.write(b"".join(early))
            except Exception as error:  # noqa: BLE001 - as above
                self._gone(error)

    def _open_wire(self) -> socket.SocketType | None:
        """The connection's socket itself, while ``run`` lasts; None where bytes go through TLS or asyncio.

        uvloop's transport costs each write half a microsecond more than the socket (measured).  As long
        as the transport is not closing the descriptor is this connection's, and as long as the transport
        holds nothing no byte is overtaken.
        """
        kind = type(self._transport)
        if kind.__module__ != "uvloop.loop" or kind.__name__ not in ("TCPTransport", "UnixTransport"):
            return None
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return None
        wire = socket.SocketType(sock.family, sock.type, sock.proto, sock.fileno())
        wire.setblocking(False)  # whatever socket.setdefaulttimeout() was told
        return wire

    def _in_kernel(self) -> int:
        """Bytes that the peer has not acknowledged (SIOCOUTQ, tcp(7)); 0 where that cannot be asked."""
        sock = self._socket()
        if sock is None or _SIOCOUTQ is None:
            return 0
        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):  # gone already
            return 0

    def _bound_peer(self) -> None:
        """Bound what the kernel holds for the client, and how long it waits for one that is dead."""
        sock = self._socket()
        if sock is None:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, DEAD_MS)

    def _socket(self) -> Any:
        """The connection's socket, if it is TCP."""
        sock = self._transport.get_extra_info("socket")
        return sock if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) else None

    def _gone(self, error: Exception) -> None:
        logger.debug("a write failed, so the client counts as gone: %s", why(error))
        self._let_go()

    def _let_go(self) -> None:
        self._close()
        self._early.clear()
        self._cut()

    def _close(self) -> None:
        self._over, self._open = True, False
        if self._ready is not None:
            self._ready.cancel()
            self._ready = None

    def _cut(self) -> None:
        # uvicorn would find out a turn later, and complain of a response without an end meanwhile.
        self._cycle.disconnected = True
        self._cycle.message_event.set()


class _Kept:
    """Stands in for a transport while uvicorn writes a head."""

    __slots__ = ("_transport", "data")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.data = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.data += data


_last: tuple[bytes, bytes] = (b"", b"")


def _chunk(data: bytes) -> bytes:
    """``data`` as one HTTP/1.1 chunk; streams that are written the same bytes share it."""
    global _last  # noqa: PLW0603 - one entry, so that a fan-out frames an event once
    known, chunk = _last
    if known is not data:
        # An empty chunk would be the response's end.
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        _last = (data, chunk)
    return chunk


_judged: dict[tuple[type, type], tuple[bool, bool]] = {}


def _judge(cycle: Any) -> tuple[bool, bool]:
    """Whether what comes in on its connection can be heard, and whether what goes out can be written."""
    kind = type(cycle)
    if not kind.__module__.startswith("uvicorn."):
        return False, False
    transport = getattr(cycle, "transport", None)
    kinds = (kind, type(transport))
    known = _judged.get(kinds)
    if known is None:
        heard = (
            all(hasattr(cycle, name) for name in _CYCLE)
            and all(hasattr(transport, name) for name in _TRANSPORT)
            and all(hasattr(cycle.flow, name) for name in _FLOW)
        )
        # h11 has a state of its own, which each write changes.
        known = _judged[kinds] = (heard, heard and hasattr(cycle, "chunked_encoding"))
        if not known[1]:
            logger.info("this uvicorn is not written to directly (%s)", kind.__module__)
    return known
