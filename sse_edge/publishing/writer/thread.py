"""An iterator that blocks, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

AHEAD = 64
"""Pieces that the thread is ahead of who reads them, at most."""

WAIT = 3.0
"""Seconds that closing waits for an iterator.  One that blocks for longer is closed when it does no more."""


class Threaded:
    """A sync iterable as an async iterator: one thread asks it for all its pieces, and closes it.

    A piece can be an exception that is raised in its stead, and then nothing follows.
    """

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterable = iterable
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[tuple[Any, BaseException | None]] = deque()
        self._room = threading.Semaphore(AHEAD)
        self._closed = False
        self._bell, self._ended = asyncio.Event(), asyncio.Event()
        self._thread: threading.Thread | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self._begin()
        while not self._pieces:
            self._bell.clear()
            if not self._pieces:  # still: the thread rings where it finds the bell silent
                await self._bell.wait()
        piece, end = self._pieces.popleft()
        if end is not None:
            raise end
        self._room.release()
        return piece

    async def aclose(self) -> None:
        """Have the thread close the iterator, and wait for it, but not for ever."""
        self._closed = True
        self._room.release()
        self._begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT):
                await self._ended.wait()

    def _begin(self) -> None:
        if self._thread is None:
            run = contextvars.copy_context().run
            # A daemon: one that blocks for ever does not keep the process from ending.
            self._thread = threading.Thread(
                target=run, args=(self._run,), name="sse_edge-writer", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        end: BaseException = StopAsyncIteration()
        iterator = None
        try:
            while not self._closed:
                if iterator is None:
                    iterator = iter(self._iterable)
                try:
                    piece = next(iterator)
                except StopIteration:
                    break
                self._room.acquire()
                self._hand(piece, None)
        except BaseException as error:  # noqa: BLE001 - told to who reads
            end = error if isinstance(error, Exception) else _ended_by(error)
        try:
            close(self._iterable if iterator is None else iterator)
        except Exception as error:  # noqa: BLE001 - the same
            end = error
        self._hand(None, end)
        self._tell(self._ended.set)

    def _hand(self, piece: Any, end: BaseException | None) -> None:
        self._pieces.append((piece, end))
        if not self._bell.is_set():
            self._tell(self._bell.set)

    def _tell(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop was closed
            self._loop.call_soon_threadsafe(what)


def close(iterator: object) -> None:
    """Close what can be closed, such as a generator or a response that is read."""
    end = getattr(iterator, "close", None)
    if callable(end):
        end()


def _ended_by(error: BaseException) -> Exception:
    """What ends a thread, as an error of its iterator: an event loop would end with it."""
    wrapped = RuntimeError(f"the iterator raised {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped
