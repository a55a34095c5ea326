"""One HTTP request to an ASGI app, without a server, and what has come of the answer so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from .response import first

PATIENCE = 5.0
"""Seconds for an app to return once its client has left."""

UNREAD = 1_048_576
"""Bytes of a stream that nobody has taken before a ``send`` waits."""


class Exchange:
    """Runs the app in a task of its own.  ``body`` are the bytes of the answer that nobody has taken yet.

    ``status`` is None until the head is there.  ``unread``: bytes that are taken in ahead of the test, None
    for all.  What the app raises is raised here once, by ``wait`` or ``close``, if ``tells``.
    """

    def __init__(
        self, app: ASGIApp, scope: Scope, body: bytes = b"", *, unread: int | None = None, tells: bool = True
    ) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.body = bytearray()
        self.complete = False
        self._request: bytes | None = body
        self._unread = unread
        self._tells = tells
        self._left = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(_run(app, scope, self._receive, self._send))
        self._task.add_done_callback(self._done)

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.complete or self.done

    @property
    def done(self) -> bool:
        """Whether the app has returned."""
        return self._task.done()

    def header(self, name: str) -> str:
        """The first value of a header of the answer, or ""."""
        return first(self.headers, name)

    def take(self) -> bytes:
        """What has come of the body since this was asked last."""
        body = bytes(self.body)
        self.body.clear()
        self._changed.set()
        return body

    async def wait(self, there: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``there`` holds, or nothing more can come; whether it holds.  Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not there():
                if self.over:
                    self._tell()
                    return False
                await self._change()
        return True

    async def returned(self, timeout: float) -> None:
        """Wait until the app has returned; for no longer, but that is no fault."""
        await asyncio.wait([self._task], timeout=timeout)
        self._tell()

    async def close(self) -> None:
        """Leave, as a client does, and wait until the app has returned; TimeoutError where it does not."""
        self._left = True
        self._changed.set()
        await asyncio.wait([self._task], timeout=PATIENCE)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=PATIENCE)
            raise TimeoutError(f"the app did not return within {PATIENCE} s after its client had left")
        self._tell()

    def _tell(self) -> None:
        tells, self._tells = self._tells, False
        if tells and self._task.done() and not self._task.cancelled():
            self._task.result()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # asked for here, so that asyncio does not log it as never retrieved
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _receive(self) -> Message:
        if self._request is not None:
            body, self._request = self._request, None
            return {"type": "http.request", "body": body, "more_body": False}
        while not (self._left or self.complete):
            await self._change()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(0)  # an app that has always more to send lets the test have a turn
        if self._left or self.complete:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        self._changed.set()
        while (
            self._unread is not None and len(self.body) > self._unread and not (self._left or self.complete)
        ):
            await self._change()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
