"""Where a stream's bytes go: the one place that knows the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from ..asgi import Headers, Receive, Send
from ..leash import Leash
from ..logline import about, reason, why
from .peer import reset

logger = logging.getLogger("sse_edge")

START = 10.0
"""Seconds for a client to take the first few hundred bytes; afterwards bytes are counted instead."""


LAST = b"0\r\n\r\n"
"""The last chunk of a body in HTTP/1.1."""


def framed(data: bytes) -> bytes:
    """``data`` as one chunk; of nothing nothing, since an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Owner(Protocol):
    """Whose response it is."""

    def closed(self) -> None:
        """The response is over, however it ended: nothing can be sent any more."""

    def stopping(self) -> None:
        """The server stops, and waits for this response to end; not every server says so."""


class Sink(Protocol):
    """Takes bytes at once and sends them as the client reads.  Only ``start`` and ``run`` wait."""

    @property
    def unsent(self) -> int:
        """Bytes taken that have not left this machine, as far as can be known."""

    def write(self, data: bytes, chunk: bytes | None = None) -> int:
        """Send ``data`` after everything before it; how many bytes now wait, at a glance.

        ``chunk`` is ``framed(data)``, if whoever writes it to many has it.
        """

    def when_ready(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the server would have more; not in this turn, and never when it is over."""

    def finish(self, data: bytes) -> None:
        """Send ``data``, then end the response cleanly."""

    def abort(self) -> None:
        """Forget what is unsent and let go of the client."""

    async def start(self, first: bytes, owner: Owner) -> None:
        """Send the response's start and its first bytes.  ``owner`` is told once when it is over."""

    async def run(self) -> None:
        """Do what needs the request's own task; it returns when there is nothing more of it."""


class TaskSink:
    """A sink for any ASGI server and any wrapped ``send``: the request's own task does the sending.

    It awaits every ``send``, as the ASGI specification asks, while a second task waits in
    ``receive`` for the client to leave.
    """

    __slots__ = (
        "_finishing",
        "_headers",
        "_is_running",
        "_leash",
        "_over",
        "_owner",
        "_queue",
        "_ready",
        "_receive",
        "_send",
        "_transport",
        "_unsent",
        "_waiter",
    )

    def __init__(self, send: Send, receive: Receive, headers: Headers) -> None:
        self._send = send
        self._receive = receive
        self._transport = _transport(send, receive)
        self._headers = headers
        self._queue: list[bytes] = []
        self._unsent = 0
        self._finishing = False
        self._is_running = False
        self._over = False
        self._waiter: asyncio.Future[None] | None = None
        self._leash: Leash | None = None
        self._ready: Callable[[], None] | None = None
        self._owner: Owner | None = None

    @property
    def unsent(self) -> int:
        """See ``Sink.unsent``."""
        return self._unsent

    def write(self, data: bytes, chunk: bytes | None = None) -> int:
        """See ``Sink.write``; the server frames it itself."""
        if not (self._over or self._finishing):
            self._queue.append(data)
            self._unsent += len(data)
            self._rouse()
        return self._unsent

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``: when every send has returned."""
        if not self._over:
            self._ready = then
            self._rouse()

    def finish(self, data: bytes) -> None:
        """See ``Sink.finish``."""
        self.write(data)
        self._finishing = True
        self._rouse()

    def abort(self) -> None:
        """See ``Sink.abort``."""
        # Before its head is out, what is unsent may be another response's.
        if self._transport is not None and self._is_running and not self._over:
            reset(self._transport)  # or the server waits until the client has read what it was given
        self._let_go()

    async def start(self, first: bytes, owner: Owner) -> None:
        """See ``Sink.start``."""
        # A send can hang already here: behind a response on the same connection that nobody reads.
        try:
            with Leash() as self._leash:
                async with asyncio.timeout(START):
                    await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
                    await self._send({"type": "http.response.body", "body": first, "more_body": True})
        except Exception as error:  # noqa: BLE001
            self._leash = None
            self._lost(error)
        finally:
            self._leash = None
        self._owner = owner

    async def run(self) -> None:
        """See ``Sink.run``: it returns when the response is over."""
        owner, self._owner = self._owner, None
        if not self._over:
            await self._serve()
        if owner is not None:
            owner.closed()

    async def _serve(self) -> None:
        self._is_running = True
        listener = asyncio.create_task(self._listen())
        try:
            with Leash() as self._leash:
                await self._write_out()
        except Exception as error:  # noqa: BLE001
            self._leash = None
            self._lost(error)
        finally:
            self._forget()
            listener.cancel()
            await asyncio.wait([listener])

    async def _write_out(self) -> None:
        queue, loop = self._queue, asyncio.get_running_loop()
        while True:
            while queue:
                data = queue[0] if len(queue) == 1 else b"".join(queue)
                queue.clear()
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
                self._unsent -= len(data)
                if self._transport is not None and self._transport.is_closing():
                    raise ConnectionResetError("the connection is closed")
            if self._ready is not None:
                ready, self._ready = self._ready, None
                ready()
                continue
            if self._finishing:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            self._waiter = loop.create_future()
            await self._waiter

    def _rouse(self) -> None:
        # A bare future: an asyncio.Event costs each write a microsecond more.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _listen(self) -> None:
        # uvicorn repeats http.disconnect for ever and hypercorn never does: ask no second time.
        try:
            while (message := await self._receive())["type"] != "http.disconnect":
                if message.get("body"):  # which no stream's request has
                    self.finish(b"")
                    await asyncio.sleep(0)  # and read on: hypercorn's last send waits for it
        except Exception as error:  # noqa: BLE001
            self._lost(error)
        else:
            self._let_go()

    def _lost(self, error: Exception) -> None:
        # Servers say in many ways that a client is gone (OSError in ASGI 2.4, RuntimeError from uvloop
        # after a pipelined request); none of them is the operator's concern.
        if not self._over:
            text = "a send or receive failed, so the client counts as gone: %s"
            logger.debug(text, why(error), extra=about("client-lost", detail=reason(error)))
            self._let_go()

    def _let_go(self) -> None:
        if self._over:
            return
        self._forget()
        if self._leash is not None:
            # Whatever the request's task waits for, a stuck send included, ends now.
            self._leash.pull()

    def _forget(self) -> None:
        self._over = True
        self._queue.clear()
        self._unsent = 0
        self._ready = None


def _transport(send: Send, receive: Receive) -> asyncio.Transport | None:
    """The connection, if ``receive`` is uvicorn's own, or of gunicorn's own worker, whatever ``send`` is; or
    if ``send`` is hypercorn's own, and the connection one stream's.

    It says whether it is closed: behind a pipelined request uvicorn tells nobody, and on asyncio's loop a
    write to a closed connection does nothing.  And it can be cut where a client does not read.
    """
    owner = getattr(receive, "__self__", None)
    stream = getattr(send, "__self__", None)
    transport = (
        getattr(owner, "transport", None)
        or getattr(getattr(owner, "protocol", None), "transport", None)
        or getattr(getattr(_connection(stream), "writer", None), "transport", None)
    )
    has_both = hasattr(transport, "is_closing") and hasattr(transport, "abort")
    return cast(asyncio.Transport, transport) if has_both else None


def _connection(stream: object) -> object:
    """What hypercorn's protocol for HTTP/1.1 sends by, which its stream sends by.

    With HTTP/2, whose protocol does not have one stream, others are on the same connection.
    """
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    is_alone = stream is not None and getattr(protocol, "stream", None) is stream
    return getattr(getattr(protocol, "send", None), "__self__", None) if is_alone else None
