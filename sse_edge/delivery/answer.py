"""One whole response in place of a stream's bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..asgi import Headers, Receive, Send, respond
from ..logline import about, reason, why
from .lifetime import NEVER
from .sink import Owner

logger = logging.getLogger("sse_edge")


class Answer:
    """A sink that sends nothing until it is finished, and then one response with a length.

    So the connection is left as it was found, and the next request comes on it.  ``patience``: seconds for a
    client to take the answer.  Its owner writes nothing before the end.
    """

    __slots__ = ("_body", "_headers", "_owner", "_patience", "_receive", "_send", "_sending")

    def __init__(self, send: Send, receive: Receive, headers: Headers, patience: float) -> None:
        self._send = send
        self._receive = receive
        self._headers = headers
        self._patience = None if patience == NEVER else patience
        self._body: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._sending: asyncio.Timeout | None = None
        self._owner: Owner | None = None

    @property
    def unsent(self) -> int:
        """See ``Sink.unsent``."""
        return 0

    def write(self, data: bytes, chunk: bytes | None = None) -> int:
        """See ``Sink.write``."""
        return 0

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``: never."""

    def finish(self, data: bytes) -> None:
        """See ``Sink.finish``: ``data`` is the answer."""
        self._end(data)

    def abort(self) -> None:
        """See ``Sink.abort``; an answer that is on its way has its own time."""
        self._end(None)

    async def start(self, first: bytes, owner: Owner) -> None:
        """See ``Sink.start``; the response starts when it is finished."""
        self._owner = owner

    async def run(self) -> None:
        """See ``Sink.run``: it returns when the response is over."""
        owner, self._owner = self._owner, None
        listener = asyncio.create_task(self._listen())
        try:
            body = await self._body
            if body is not None:
                async with asyncio.timeout(self._patience) as self._sending:
                    await respond(self._send, 200, self._headers, body)
        except Exception as error:  # noqa: BLE001 - servers say in many ways that a client is gone
            extra = about("client-lost", detail=reason(error))
            text = "an answer could not be sent, so the client counts as gone: %s"
            logger.debug(text, why(error), extra=extra)
        finally:
            self._sending = None
            listener.cancel()
            await asyncio.wait([listener])
            if owner is not None:
                owner.closed()

    async def _listen(self) -> None:
        # Bodies are read and dropped, also while the answer is sent: hypercorn waits for that.
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    break
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001
            extra = about("client-lost", detail=reason(error))
            logger.debug("a receive failed, so the client counts as gone: %s", why(error), extra=extra)
        self._end(None)
        if self._sending is not None:
            self._sending.reschedule(0)  # the send may never return

    def _end(self, body: bytes | None) -> None:
        if not self._body.done():
            self._body.set_result(body)
