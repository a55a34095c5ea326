"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from . import greenlets
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
        try:
            loop = self._running()
        except BaseException:
            work.close()
            raise
        return greenlets.wait(work, loop)

    def stop(self) -> None:
        """End the thread; a later call begins a new one."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            greenlets.end_loop(loop)

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
                self._loop = greenlets.begin_loop()
            return self._loop
