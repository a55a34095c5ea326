"""What a client sends while its stream is open: there is nothing that it should."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

from ..asgi import Message

logger = logging.getLogger("sse_edge")

_RESET = struct.pack("ii", 1, 0)


class Incoming(asyncio.Protocol):
    """Stands in for uvicorn's protocol on the connection of an open stream: whoever sends more has left.

    uvicorn keeps a request that comes behind another until that one is answered, which takes half an
    hour here.  Meanwhile it reads no more, and so does not see the client leave; and when the connection
    is gone it tells the last request of it, and not the one that is open.

    ``send`` is the request cycle's own, and by what it is given this knows when the stream begins and ends.
    """

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._protocol: Any = None

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self._begin()
        elif not message.get("more_body"):
            self._end()
        await self._cycle.send(message)

    def data_received(self, data: bytes) -> None:
        """More came: a body, another request, or a part of one."""
        logger.debug("a client sent more on the connection of its stream, so it counts as gone")
        self._leave()

    def eof_received(self) -> bool | None:
        """The client has closed its side.  Whoever does not read either is not waited for."""
        if self._cycle.transport.get_write_buffer_size():
            self._leave()
            return None
        keep_open: bool | None = self._protocol.eof_received()
        return keep_open

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; uvicorn may think of another request of it."""
        self._disconnect()
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._protocol.resume_writing()

    def _begin(self) -> None:
        transport = self._cycle.transport
        self._protocol = protocol = transport.get_protocol()
        if protocol is None or transport.is_closing():
            return
        transport.set_protocol(self)
        # It may have come while it was decided whether to let the client in, or with the request.
        cycle = self._cycle
        if (
            cycle.flow.read_paused
            or getattr(protocol, "cycle", cycle) is not cycle
            or getattr(protocol, "scope", cycle.scope) is not cycle.scope
        ):
            self.data_received(b"")

    def _end(self) -> None:
        transport = self._cycle.transport
        if transport.get_protocol() is self and not transport.is_closing():
            transport.set_protocol(self._protocol)

    def _leave(self) -> None:
        self._disconnect()
        reset(self._cycle.transport)

    def _disconnect(self) -> None:
        if not self._cycle.response_complete:
            self._cycle.disconnected = True
            self._cycle.message_event.set()


def reset(transport: Any) -> None:
    """Cut a connection, and free all that is held for it at once."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):  # gone already; uvloop says ValueError
            # Without it the kernel would go on offering what it holds, for a minute.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
