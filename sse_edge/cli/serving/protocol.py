"""uvicorn's HTTP/1.1, with bounds on what a client may send, and take its time for, besides bodies.

uvicorn has none: a head may be endless, or never come.  A body is the application's matter: it waits in the
kernel, 64 KiB of it aside, until the application reads, and may take as long as the application allows.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ...asgi import LINGER

if TYPE_CHECKING:
    from uvicorn.server import ServerState

HEAD_LIMIT = 65_536
"""Bytes; nginx takes 32 KiB and Node 16 KiB."""

HEAD_TIMEOUT = 10
"""Seconds; Apache takes 20 to 40."""

LEFTOVER = 1_048_576
"""Bytes of a body that are still taken after the answer, so that a client that sends first and reads then
gets to know it.  Go's server takes 256 KiB."""

PIPELINED = 32
"""Requests that may wait behind one that is being answered.  Browsers send none."""

FIELDS = 512
"""Header fields of all requests that wait on a connection: each takes 100 bytes, however short it is."""

AT_ONCE = 100
"""Connections that are cut off in one turn of the event loop, so that none is long."""

TOO_LARGE = b"Request header fields too large.\n"


class Bounded(Config):
    """uvicorn's settings, and the bounds of ``Protocol``; each worker loads them, and the application too."""

    def __init__(
        self, app: Any, *, head_limit: int = HEAD_LIMIT, head_timeout: float = HEAD_TIMEOUT, **settings: Any
    ) -> None:
        super().__init__(app, http=Protocol, **settings)
        self.head_limit = head_limit
        self.head_timeout = head_timeout

    def load(self) -> None:
        """See uvicorn."""
        super().load()
        self.debtors = Debtors(self.head_timeout)


class Debtors:
    """The connections that owe a head, each for ``timeout`` seconds at most.

    One timer for all of them: one for each would cost every connection 7 µs (measured, uvloop).
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since: dict[Protocol, float] = {}  # in the order in which they began, and so will end
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, connection: Protocol) -> bool:
        return connection in self._since

    def add(self, connection: Protocol) -> None:
        """Its time begins now."""
        self._since[connection] = connection.loop.time()
        if self._timer is None:
            self._timer = connection.loop.call_later(self._timeout, self._look, connection.loop)

    def discard(self, connection: Protocol) -> None:
        """It owes none, or is gone."""
        self._since.pop(connection, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for connection, began in list(islice(self._since.items(), AT_ONCE)):
            if began + self._timeout > now:
                self._timer = loop.call_at(began + self._timeout, self._look, loop)
                return
            del self._since[connection]
            connection.transport.abort()
        if self._since:
            self._timer = loop.call_later(0, self._look, loop)


class Protocol(HttpToolsProtocol):
    """One connection.

    In ``head_limit`` bytes there must be a request's whole head, or some of its body: that bounds heads,
    trailers, chunk extensions and empty lines alike.  A connection on which nothing is being answered has
    ``head_timeout`` seconds from its beginning, or from the first byte after an answer, to send a head.
    """

    def __init__(
        self,
        config: Bounded,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limit = config.head_limit
        self._debtors = config.debtors
        self._idle_bytes = 0  # since the last that was a head or of a body
        self._leftover = 0  # bytes of a body since its request was answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._debtors.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._debtors.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._idle_bytes + len(data) < self._limit:  # as a rule
            self._idle_bytes += len(data)
            super().data_received(data)
        else:
            self._receive_in_pieces(data)
        # Also where it is closing: who does not read a refusal is not waited for.
        if not self._is_answering and self not in self._debtors and self._is_ours:
            self._debtors.add(self)

    def _receive_in_pieces(self, data: bytes) -> None:
        """The same up to the limit, again and again as long as it begins anew."""
        at = 0
        while at < len(data) and self._is_ours and not self.transport.is_closing():
            piece = data[at : at + self._limit - self._idle_bytes]
            at += len(piece)
            self._idle_bytes += len(piece)
            super().data_received(piece)
            if self._idle_bytes >= self._limit and not self.transport.is_closing():
                self._refuse(431, TOO_LARGE)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_too_much(self) -> bool:
        """Whether what waits behind the request that is being answered is more than one head may be."""
        waiting = [cycle.scope["headers"] for cycle, _ in self.pipeline] + [self.headers]
        sizes = [len(name) + len(value) for headers in waiting for name, value in headers]
        return len(waiting) > PIPELINED or len(sizes) > FIELDS or sum(sizes) > self._limit

    @property
    def _is_ours(self) -> bool:
        """Whether it has not become a WebSocket."""
        return self.transport.get_protocol() is self

    # What the parser finds.  An error here ends the parsing and becomes uvicorn's 400.

    def on_header(self, name: bytes, value: bytes) -> None:
        """See uvicorn."""
        if len(self.headers) >= FIELDS:
            raise ValueError("too many header fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        if self._is_answering and self._is_too_much():
            raise ValueError("too many requests at once")
        self._debtors.discard(self)
        self._idle_bytes = self._leftover = 0
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # and so no WebSocket, which still needs them
            # Trailers are found as headers are.  They must not become some (RFC 9110, section 6.5.1).
            self.headers = []

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        self._idle_bytes = 0
        if not self._is_answering:
            self._leftover += len(body)
            if self._leftover > LEFTOVER:
                raise ValueError("a body that nobody reads")
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """See uvicorn."""
        self._refuse(400, msg.encode() + b"\n")

    def _refuse(self, status: int, text: bytes) -> None:
        """Say so, and end the connection; at once where it would be taken for another request's answer."""
        if self._leftover or (self._is_answering and (self.cycle.response_started or self.pipeline)):
            self.transport.abort()
            return
        if self._is_answering:  # what the application will say comes too late
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        head = [STATUS_LINE[status], *(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)]
        head += [b"content-type: text/plain\r\nconnection: close\r\n"]
        head += [b"content-length: %d\r\n\r\n" % len(text), text]
        self.transport.write(b"".join(head))
        self.transport.set_protocol(Parting(self))


class Parting(asyncio.Protocol):
    """Takes the place of a Protocol that has said its last: what still comes is dropped, for LINGER at most.

    See ``lingering`` for why: closed at once, the connection would be reset.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._room = LEFTOVER
        self._timer = protocol.loop.call_later(LINGER, protocol.transport.abort)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._room -= len(data)
        if self._room < 0:
            self._protocol.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._timer.cancel()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._protocol.resume_writing()
