"""Start-up and shutdown around an app that may or may not have its own (ASGI lifespan)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .asgi import ASGIApp, Message, Receive, Scope, Send
from .errors import ConfigError

NEEDS_ASYNCIO = (
    "sse_edge needs asyncio, or uvloop, and this server runs something else: hypercorn without -k trio"
)


def has_loop() -> bool:
    """Whether an event loop of asyncio's runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Lifespan:
    """Runs ``start`` before the server is told that start-up is complete, and ``stop`` at shutdown.

    The inner app's lifespan runs as if it were alone.  An app that raises or returns before it
    answers the start-up has no lifespan, as the specification says, and is answered for; one that
    says ``startup.failed`` fails the server's start as it would alone.  So does a server without asyncio.

    Raises ConfigError for an app that is none.
    """

    def __init__(
        self, app: ASGIApp | None, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
    ) -> None:
        if app is not None and not callable(app):
            raise ConfigError("app", "must be an ASGI app or None", app)
        self._app = app
        self._start = start
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ``lifespan`` scope."""
        if not has_loop():
            await receive()
            await send({"type": "lifespan.startup.failed", "message": NEEDS_ASYNCIO})
            return
        run = _Run(self._start, self._stop, receive, send)
        try:
            if self._app is not None:
                await self._app(scope, run.receive, run.send)
        except Exception:
            if run.started or run.failed:
                raise
        finally:
            if run.started and run.asked_to_stop:
                await run.stop()
        if run.failed:
            return
        if not run.started:
            if not run.asked_to_start:
                await receive()
            await run.start()
            await send({"type": "lifespan.startup.complete"})
        if not run.answered_stop:
            if not run.asked_to_stop:
                await receive()
            await run.stop()
            await send({"type": "lifespan.shutdown.complete"})


class _Run:
    """One lifespan: what the server asked and what the app answered."""

    def __init__(
        self,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        receive: Receive,
        send: Send,
    ) -> None:
        self._start = start
        self._stop = stop
        self._receive = receive
        self._send = send
        self._stopped = False
        self.started = False
        self.failed = False
        self.asked_to_start = False
        self.asked_to_stop = False
        self.answered_stop = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            self.asked_to_start = True
        elif message["type"] == "lifespan.shutdown":
            self.asked_to_stop = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            await self.start()
        elif kind == "lifespan.startup.failed":
            self.failed = True
        elif kind.startswith("lifespan.shutdown."):
            self.answered_stop = True
            await self.stop()
        await self._send(message)

    async def start(self) -> None:
        await self._start()
        self.started = True

    async def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            await self._stop()
