"""Streams that are given what an iterator of the application's makes, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from ..errors import ENDS, EventError, is_end
from ..event import MAX_EVENT_BYTES, as_event, is_cursor
from ..leash import leashed
from ..logline import About, about, value
from ..outcome import ERROR, FINISHED, Ending
from .backlog import Bounds
from .patterns import Pattern, Patterns
from .rounds import Rounds
from .stream import Stream

logger = logging.getLogger("sse_edge")

AHEAD = 65_536
"""Bytes that may wait for a client before its iterator is asked for more."""

SOONEST, LATEST = 0.01, 0.32
"""Seconds between looks whether a client has read: the kernel tells nobody."""

PATIENCE = 1.0
"""Seconds for an iterator to close once its stream has ended."""

End = Callable[[Stream, Ending], None]


class Sources:
    """The iterators of a worker's streams, whose events have ``largest`` bytes at most.

    ``end`` is called with a stream whose iterator is over.
    """

    def __init__(
        self,
        rounds: Rounds,
        bounds: Bounds,
        end: End,
        patterns: Patterns,
        largest: int = MAX_EVENT_BYTES,
    ) -> None:
        self._patterns = patterns
        self._largest = largest
        self._rounds = rounds
        self._most = min(AHEAD, bounds.max_unsent // 2)  # who is slower than its iterator is not slow
        self._end = end
        self._pumps: set[Pump] = set()

    def add(self, stream: Stream, iterator: AsyncIterator[Any]) -> None:
        """``iterator`` is for ``stream``, and closed with it."""
        pump = Pump(
            stream,
            iterator,
            self._rounds,
            self._most,
            self._largest,
            self._end,
            self._pumps.discard,
            self._patterns.of_path(stream.path),
        )
        self._pumps.add(pump)
        stream.waiting = pump
        if stream.ending is not None:
            pump.cancel()

    def begin(self, stream: Stream) -> None:
        """Its response has begun: play it."""
        if isinstance(stream.waiting, Pump):
            stream.waiting.begin()

    def by_pattern(self) -> Iterator[tuple[Pattern, int]]:
        """Each stream that is open, with its pattern."""
        return ((pump.pattern, 1) for pump in self._pumps if not pump.stopped)

    async def close(self) -> None:
        """Wait until those of streams that have ended are closed, or let go of."""
        while closing := [pump.task for pump in self._pumps if pump.stopped and pump.task is not None]:
            await asyncio.wait(closing)


class Pump:
    """Asks an iterator for one item after the other while its stream is open and the client reads, in a task
    of its own; then closes it.

    All of an iterator runs in that task, so that its time-outs and scopes may stay open while it gives items:
    what cancels the task then, but the end of its stream, is theirs, and meets them as soon as they wait.

    An iterator that is waiting when its stream ends is cancelled there.  One that does not end then within
    PATIENCE is let go of: whatever it swallows, the task ends.
    """

    __slots__ = (
        "_abandoned", "_done", "_end", "_iterator", "_largest", "_most", "_playing", "_rounds", "_stream",
        "_timer", "pattern", "stopped", "task",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        iterator: AsyncIterator[Any],
        rounds: Rounds,
        most: int,
        largest: int,
        end: End,
        done: Callable[[Pump], None],
        pattern: Pattern,
    ) -> None:
        self.pattern = pattern
        self.task: asyncio.Task[None] | None = None
        self.stopped = False
        self._stream = stream
        self._iterator = iterator
        self._rounds = rounds
        self._most = most
        self._largest = largest
        self._end = end
        self._done = done
        self._playing = False
        self._abandoned = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin to ask."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._run())
            self.task.add_done_callback(self._over)

    def cancel(self) -> None:
        """Ask for no more, and close it."""
        if self.stopped:
            return
        self.stopped = True
        self.begin()  # which closes it, where nothing was asked yet
        if self._playing and self.task is not None:
            self.task.cancel()
        self._limit()

    async def _run(self) -> None:
        ending = await self._play()
        while self.task is not None and self.task.cancelling():
            self.task.uncancel()  # it was meant for what is over now, and not for closing
        if ending is not None:
            self._end(self._stream, ending)
        await self._close()

    async def _play(self) -> Ending | None:
        """How the stream is to end; None if it has."""
        self._playing = True
        before: asyncio.CancelledError | None = None
        cancelled: asyncio.CancelledError | None = None
        try:
            while not self.stopped:
                self._give(await leashed(self._next(cancelled, again=before is not None), self._is_let_go))
                before, cancelled = cancelled, await self._room()
        except StopAsyncIteration:
            return FINISHED
        except (Exception, *ENDS, BaseExceptionGroup) as error:
            if not is_end(error):
                # As what is cancelled may, and nobody hears of it.
                failed = "failed to stop" if self.stopped else "failed"
                logger.exception("source %s for %s, user=%s", failed, *self._whose, extra=self._about())
            elif not self.stopped:
                text = "source failed for %s, something in it was cancelled, user=%s"
                logger.error(text, *self._whose, extra=self._about())
            return None if self.stopped else ERROR
        finally:
            self._playing = False
        return None

    def _next(self, cancelled: asyncio.CancelledError | None, *, again: bool) -> Awaitable[Any]:
        """What gives the next item; what has ``cancelled`` the task meanwhile is raised where that waits, or
        if it came back ``again``, since nothing waited, where the last one was given."""
        if cancelled is not None and again:
            throw: Callable[[BaseException], Awaitable[Any]] | None = getattr(self._iterator, "athrow", None)
            if throw is None:
                raise cancelled
            return throw(cancelled)
        if cancelled is not None and self.task is not None:
            self.task.uncancel()  # a scope counts how often it has cancelled
            self.task.cancel(*cancelled.args)  # and knows its own by the message
        return anext(self._iterator)

    def _give(self, item: object) -> None:
        if self._stream.ending is not None:  # it was not heard when it was cancelled
            return
        event = as_event(item, self._largest)
        if event.id is not None and not is_cursor(event.id):
            raise EventError("id", "is none that a client could come back with", event.id)
        self._rounds.queue(self._stream, event.encode(), self.pattern)

    async def _room(self) -> asyncio.CancelledError | None:
        """Let what was given be written, and others have their turn; then wait for the client, or until
        something of the iterator's own cancels it: its time-out, or a group with a task that failed."""
        try:
            await asyncio.sleep(0)
            wait = SOONEST
            while self._stream.queued + self._stream.sink.unsent > self._most:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LATEST)
        except asyncio.CancelledError as error:
            if self.stopped:
                raise
            return error
        return None

    async def _close(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is None or self._abandoned:
            return
        self._limit()
        try:
            closing = close()
            if inspect.isawaitable(closing):
                await leashed(closing, self._is_let_go)
        except (Exception, *ENDS, BaseExceptionGroup) as error:
            if not is_end(error):
                text = "source failed to close for %s, user=%s"
                logger.exception(text, *self._whose, extra=self._about())

    def _is_let_go(self) -> bool:
        return self._abandoned

    def _limit(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._let_go)

    def _let_go(self) -> None:
        text = "source did not stop within %.0f s and was let go of, for %s, user=%s"
        logger.warning(text, PATIENCE, *self._whose, extra=self._about("source-let-go", seconds=PATIENCE))
        self._abandoned = True
        if self.task is not None:
            self.task.cancel()

    def _over(self, task: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._done(self)
        if not task.cancelled() and (error := task.exception()) is not None:
            text = "source failed for %s, user=%s"
            logger.error(text, *self._whose, exc_info=error, extra=self._about())

    @property
    def _whose(self) -> tuple[str, str]:
        return value(self._stream.path), value(self._stream.user)

    def _about(self, event: str = "source-failed", **more: object) -> dict[str, About]:
        return about(event, path=self._stream.path, user=self._stream.user, **more)
