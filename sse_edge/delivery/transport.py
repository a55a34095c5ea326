"""A stream without its request: where the server is recognisably uvicorn, its connection is taken over."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from ..asgi import CLOSE, Headers, Receive, Send
from ..errors import ConfigError
from ..logline import about, reason, why
from .peer import bound, descriptor, in_kernel, is_plain, reset
from .sink import LAST, START, Owner, Sink, TaskSink, framed

logger = logging.getLogger("sse_edge")

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_CYCLE = ("scope", "flow", "disconnected", "default_headers", "access_log")
_FLOW = ("read_paused", "write_paused", "drain")
_PROTOCOL = ("cycle", "scope", "server_state", "connection_lost", "loop")
_STATE = ("connections", "total_requests")
_TRANSPORT = (
    "write",
    "close",
    "abort",
    "is_closing",
    "get_write_buffer_size",
    "set_write_buffer_limits",
    "get_extra_info",
    "get_protocol",
    "set_protocol",
)

HEADS = 64
"""Different heads that are remembered: they differ in the origin that may read them."""

_write = os.write


def takes_over(said: str) -> bool:
    """What the environment variable SSE_EDGE_SINK says: ``auto`` or ``handover`` to take connections over
    where that is possible, or ``task`` to leave them to the server, should a new release of one turn out to
    be different inside.  There is no third: a uvicorn that can be written to can be taken over.  Raises
    ConfigError.
    """
    if said not in ("auto", "handover", "task"):
        raise ConfigError("SSE_EDGE_SINK", "must be auto, handover or task", said)
    return said != "task"


def open_sink(send: Send, receive: Receive, headers: Headers, *, handover: bool = True) -> Sink:
    """The best sink for what the server gave; ``handover`` is whether the connection may be taken over."""
    cycle = getattr(send, "__self__", None) if handover else None
    if cycle is None or getattr(receive, "__self__", None) is not cycle or not _judge(cycle):
        return TaskSink(send, receive, headers)
    return HandoverSink(cycle, headers)


def is_own(send: Send) -> bool:
    """Whether ``send`` is uvicorn's own, which nothing is wrapped around."""
    return type(getattr(send, "__self__", None)).__module__.startswith("uvicorn.")


class HandoverSink(asyncio.Protocol):
    """The protocol of a connection whose request is over: all that is left of it is the stream.

    uvicorn writes the response's head.  Then it is told that the connection is lost, and what it had for it
    (a task, a scope, a parser) is freed when the app returns.  In its books this stays a connection, so
    that a shutdown waits for it and ``limit_concurrency`` counts it.  Nothing a client sends is read: it
    ends the stream.

    Bytes go to the socket itself while the transport holds none, which saves what its own ``write`` costs;
    through TLS, and where nothing is known of the transport, they go through that.
    """

    __slots__ = (
        "_direct",
        "_early",
        "_over",
        "_owner",
        "_paused",
        "_ready",
        "_request",
        "_state",
        "_transport",
    )

    def __init__(self, cycle: Any, headers: Headers) -> None:
        self._transport: Any = cycle.transport
        self._request: tuple[Any, Headers] | None = (cycle, headers)  # until it is answered
        self._state: Any = None  # the server's: its connections, and how many requests there were
        self._owner: Owner | None = None
        self._early: list[bytes] | None = []  # until the first bytes have left
        self._direct: int | None = None  # the descriptor, while it may be written to
        self._paused = False
        self._ready: Callable[[], None] | None = None
        self._over = False  # takes no more

    @property
    def unsent(self) -> int:
        """See ``Sink.unsent``: what the transport holds, and on Linux what the kernel still holds."""
        transport = self._transport
        if transport is None:
            return 0
        held: int = transport.get_write_buffer_size()
        return held + sum(map(len, self._early or ())) + in_kernel(transport)

    def write(self, data: bytes, chunk: bytes | None = None) -> int:
        """See ``Sink.write``: what the transport holds; the kernel is not asked."""
        if chunk is None:
            chunk = framed(data)
        direct = self._direct
        if direct is None:
            return 0 if self._over else self._pass(chunk)
        try:
            sent = _write(direct, chunk)
        except BlockingIOError:
            return self._pass(chunk)
        except OSError as error:
            return self._gone(error)
        return 0 if sent == len(chunk) else self._pass(chunk[sent:])

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``: when the transport holds so little that it asks for more."""
        if not self._over:
            self._ready = then
            if not self._paused:
                asyncio.get_running_loop().call_soon(self._ask)

    def finish(self, data: bytes) -> None:
        """See ``Sink.finish``; the connection ends with it."""
        if self._over:
            return
        self.write(data, framed(data) + LAST)
        self._over, self._direct, self._ready = True, None, None
        if self._early is None:
            self._close()

    def abort(self) -> None:
        """See ``Sink.abort``: the connection is reset, and all that is held for it is freed at once."""
        transport, self._transport = self._transport, None
        self._over, self._direct, self._ready, self._early = True, None, None, None
        if transport is None:
            return
        request, self._request = self._request, None
        if request is not None:
            # uvicorn would find out a turn later, and complain of a response without an end meanwhile.
            request[0].disconnected = True
        reset(transport)

    async def start(self, first: bytes, owner: Owner) -> None:
        """See ``Sink.start``.

        What is written before the event loop turns leaves in one piece with the head.
        """
        request, head = self._request, b""
        try:
            if request is not None:  # and not aborted already
                head = await self._head(*request)
            if request is not None and head:
                loop = self._take_over(request[0])
                self._early = [head, framed(first), *(self._early or ())]
                loop.call_soon(self._begin)
        except Exception as error:  # noqa: BLE001
            extra = about("client-lost", detail=reason(error))
            logger.debug("a response could not be started: %s", why(error), extra=extra)
            head = b""
        self._owner = owner  # not before: whoever is cancelled knows
        if not head:
            self.abort()
            self.connection_lost(None)
        self._request = None

    async def run(self) -> None:
        """See ``Sink.run``: there is nothing that the request's task is needed for."""

    # The connection's side, see asyncio

    def data_received(self, data: bytes) -> None:
        """More came: a body, another request, or a part of one."""
        text = "a client sent more on the connection of its stream, so it counts as gone"
        logger.debug(text, extra=about("client-lost"))
        self.abort()

    def eof_received(self) -> None:
        """The client has closed its side.  Whoever does not read either is not waited for."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.abort()
        self._over, self._direct = True, None

    def connection_lost(self, exc: Exception | None) -> None:
        """The response is over, however it went."""
        transport, self._transport = self._transport, None
        self._over, self._direct, self._ready, self._early = True, None, None, None
        if self._state is not None:
            self._state.connections.discard(self)
        if transport is not None and not transport.is_closing():
            transport.close()  # with TLS it would be said that nobody did
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.closed()

    def pause_writing(self) -> None:
        """The transport holds more than it likes; where it is written past, anything at all."""
        self._paused, self._direct = True, None

    def resume_writing(self) -> None:
        """It holds less."""
        self._paused = False
        if not self._over and self._early is None:
            self._direct = descriptor(self._transport)
        if self._ready is not None:
            # Not now: a transport of asyncio that is closed in here loses its connection twice.
            asyncio.get_running_loop().call_soon(self._ask)

    def shutdown(self) -> None:
        """uvicorn stops, and waits for its connections: at a signal, and after so many requests."""
        if self._owner is not None:
            self._owner.stopping()

    # Inside

    async def _head(self, cycle: Any, headers: Headers) -> bytes:
        """The response's head as uvicorn writes it, to go out with the first bytes; nothing if it is over."""
        if cycle.flow.write_paused:  # behind a response on this connection that nobody reads
            async with asyncio.timeout(START):
                await cycle.flow.drain()
        told = tuple(headers)
        known = _heads.beside(cycle.default_headers)
        if told in known and not cycle.access_log:  # else it has a line to write as well
            return known[told]
        transport = cycle.transport
        cycle.transport = kept = _Kept(transport)
        try:
            await cycle.send({"type": "http.response.start", "status": 200, "headers": [*headers, CLOSE]})
        finally:
            cycle.transport = transport
        if kept.data and _CHUNKED not in kept.data.lower():
            raise RuntimeError("the response is not chunked")
        if kept.data and len(known) < HEADS:
            known[told] = kept.data
        return kept.data

    def _take_over(self, cycle: Any) -> asyncio.AbstractEventLoop:
        transport = self._transport
        protocol = transport.get_protocol()
        # It may have come while it was decided whether to let the client in, or with the request.
        more = cycle.flow.read_paused or protocol.cycle is not cycle or protocol.scope is not cycle.scope
        transport.set_protocol(self)
        if transport.get_protocol() is not self:
            raise RuntimeError("the connection cannot be taken over")
        self._state = protocol.server_state
        # As for a client that has left: uvicorn expects no more of the app, and forgets the rest.
        cycle.disconnected = True
        protocol.connection_lost(ConnectionError("taken over"))
        self._state.connections.add(self)
        if more:
            raise RuntimeError("the client sent more")
        if is_plain(transport):
            transport.set_write_buffer_limits(high=0)  # so that it says when it holds anything
        bound(transport)
        loop: asyncio.AbstractEventLoop = protocol.loop  # asked for, it costs a system call before 3.12
        return loop

    def _begin(self) -> None:
        """Pass on what was written so far; from here on nothing waits."""
        early, self._early = self._early, None
        transport = self._transport
        if not early or transport is None or transport.is_closing():
            return
        self._pass(b"".join(early))
        if self._over:
            self._close()
        elif not self._paused:
            self._direct = descriptor(transport)

    def _pass(self, chunk: bytes) -> int:
        """Have the transport send it, or what is left of it."""
        transport, early = self._transport, self._early
        if transport is None:
            return 0
        if early is not None:
            early.append(chunk)
            return sum(map(len, early))
        try:
            transport.write(chunk)
            held: int = transport.get_write_buffer_size()
        except Exception as error:  # noqa: BLE001 - uvloop raises RuntimeError, others OSError
            return self._gone(error)
        return held

    def _close(self) -> None:
        if self._transport is not None:
            self._state.total_requests += 1
            self._transport.close()

    def _ask(self) -> None:
        if self._ready is not None and not self._paused:
            ready, self._ready = self._ready, None
            ready()

    def _gone(self, error: Exception) -> int:
        extra = about("client-lost", detail=reason(error))
        logger.debug("a write failed, so the client counts as gone: %s", why(error), extra=extra)
        self.abort()
        return 0


class _Heads:
    """What uvicorn made of headers: the same for all streams that begin in one second."""

    def __init__(self) -> None:
        self._defaults: object = None
        self._known: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}

    def beside(self, defaults: object) -> dict[tuple[tuple[bytes, bytes], ...], bytes]:
        """Heads by headers, beside the server's own, Date among them, which are another list each second."""
        if defaults is not self._defaults:
            self._defaults, self._known = defaults, {}
        return self._known


_heads = _Heads()


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


def _judge(cycle: Any) -> bool:
    """Whether this uvicorn has what it takes for its connection to be taken over."""
    kind = type(cycle)
    if not kind.__module__.startswith("uvicorn."):
        return False
    transport: Any = getattr(cycle, "transport", None)
    protocol = transport.get_protocol() if hasattr(transport, "get_protocol") else transport
    if protocol is None and transport is not None:  # the client has left
        return False
    kinds = (kind, type(transport), type(protocol))
    known = _judged.get(kinds)
    if known is None:
        known = _judged[kinds] = (
            _has(cycle, _CYCLE)
            and _has(cycle.flow, _FLOW)
            and _has(transport, _TRANSPORT)
            and _has(protocol, _PROTOCOL)
            and _has(protocol.server_state, _STATE)
            and _gives(transport, protocol)
        )
        if not known:
            text = "the connections of this uvicorn are not taken over (%s)"
            logger.info(text, kind.__module__, extra=about("not-taken-over", detail=kind.__module__))
    # Other answers have no chunks; see ``unframed``.
    return known and cycle.scope["http_version"] == "1.1" and cycle.scope["method"] != "HEAD"


_judged: dict[tuple[type, type, type], bool] = {}


def _has(what: Any, names: tuple[str, ...]) -> bool:
    return all(hasattr(what, name) for name in names)


def _gives(transport: Any, protocol: Any) -> bool:
    """Whether a transport takes another protocol, as far as can be tried with the one that it has."""
    try:
        transport.set_protocol(protocol)
    except Exception as error:  # noqa: BLE001 - whatever it says
        extra = about("not-taken-over", detail=reason(error))
        logger.debug("a connection cannot be taken over: %s", why(error), extra=extra)
        return False
    return transport.get_protocol() is protocol
