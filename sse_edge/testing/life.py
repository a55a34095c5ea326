"""An app's lifespan, as its server runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..asgi import ASGIApp, Message

PATIENCE = 1.0
"""Seconds for an app to return that was cancelled, or has said that it failed."""


class Life:
    """Runs the lifespan of an app in a task of its own; ``state`` is what the app leaves for its requests.

    An app that raises or returns before it answers has none, as ASGI says, and servers go on.  ``timeout``:
    seconds for start-up, and for shutdown; the app is cancelled then.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._timeout = timeout
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app up.  Raises what it raised when it said that this failed, or RuntimeError; and
        TimeoutError."""
        self._task = asyncio.create_task(self._run())
        await self._in_time(self._task, self._start(self._task), "start-up")

    async def stop(self) -> None:
        """Shut it down.  Raises what it raises, and TimeoutError."""
        task, self._task = self._task, None
        if task is not None:
            await self._in_time(task, self._stop(task), "shutdown")

    async def _in_time(self, task: asyncio.Task[None], step: Coroutine[Any, Any, None], name: str) -> None:
        ours = asyncio.timeout(self._timeout)
        try:
            async with ours:
                await step
        except TimeoutError:
            if not ours.expired():  # the app's own
                raise
            raise TimeoutError(f"the app's {name} took longer than {self._timeout} s") from None
        finally:
            if ours.expired() and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=PATIENCE)

    async def _start(self, task: asyncio.Task[None]) -> None:
        said = await self._step("startup", task)
        if said is None:
            self._task = None
        elif said["type"] == "lifespan.startup.failed":
            await asyncio.wait([task], timeout=PATIENCE)
            if task.done():
                task.result()
            task.cancel()
            raise RuntimeError(f"the app's start-up failed: {said.get('message', '')}")

    async def _stop(self, task: asyncio.Task[None]) -> None:
        said = await self._step("shutdown", task)
        await asyncio.wait([task])  # not the task itself, which a timeout would cancel without a bound
        task.result()
        if said is not None and said["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the app's shutdown failed: {said.get('message', '')}")

    async def _step(self, name: str, task: asyncio.Task[None]) -> Message | None:
        """Ask for it; what the app said, or None if it returned or raised without a word."""
        self._asked.put_nowait({"type": f"lifespan.{name}"})
        said = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait([said, task], return_when=asyncio.FIRST_COMPLETED)
            if said.done():
                return said.result()
            return None if self._said.empty() else self._said.get_nowait()
        finally:
            said.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._asked.get, self._said.put)
