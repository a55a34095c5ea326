"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .fork import disown_after_fork

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines for threads without an event loop, all on one loop, so that they share its
    connections.  The thread begins with the first call, and anew in a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        disown_after_fork(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or its exception.  Not to be called from an event loop's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def stop(self) -> None:
        """End the thread; a later call begins a new one."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    @property
    def is_running(self) -> bool:
        """Whether there is a loop in this process."""
        return self._loop is not None

    def disown(self) -> tuple[object, tuple[()]]:
        """See ``Inherited.disown``: the thread is not there, and may have held the lock."""
        old = self._loop, self._lock
        self._loop, self._lock = None, threading.Lock()
        return old, ()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_serve, args=(self._loop,), name="sse_edge-redis", daemon=True
                ).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
