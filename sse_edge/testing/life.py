"""An app's lifespan, as its server runs it."""

from __future__ import annotations

import asyncio
from typing import Any

from ..asgi import ASGIApp, Message


class Life:
    """Runs the lifespan of an app in a task of its own; ``state`` is what the app leaves for its requests.

    An app that raises or returns before it answers has none, as ASGI says, and servers go on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app up.  Raises what it raised when it said that this failed, or RuntimeError."""
        self._task = asyncio.create_task(self._run())
        said = await self._step("startup")
        if said is None:
            self._task = None
        elif said["type"] == "lifespan.startup.failed":
            await self._task
            raise RuntimeError(f"the app's start-up failed: {said.get('message', '')}")

    async def stop(self) -> None:
        """Shut it down.  Raises what it raises."""
        task, self._task = self._task, None
        if task is None:
            return
        said = await self._step("shutdown", task)
        await task
        if said is not None and said["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the app's shutdown failed: {said.get('message', '')}")

    async def _step(self, name: str, task: asyncio.Task[None] | None = None) -> Message | None:
        """Ask for it; what the app said, or None if it returned or raised without a word."""
        running = task or self._task
        assert running is not None
        self._asked.put_nowait({"type": f"lifespan.{name}"})
        said = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait([said, running], return_when=asyncio.FIRST_COMPLETED)
            if said.done():
                return said.result()
            return None if self._said.empty() else self._said.get_nowait()
        finally:
            said.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._asked.get, self._said.put)
