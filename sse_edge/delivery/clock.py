"""What streams come to with time: signs of life, deadlines, looks at what waits, rights asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from ..backends.base import Subscriber
from ..event import Place
from ..outcome import FINISHED, SLOW, Ending
from . import frames
from .backlog import Bounds
from .ends import Ends
from .joint import beside
from .lifetime import NEVER
from .rounds import FEW, Rounds
from .stream import Stream
from .wheel import TICK, Wheel

GOODBYE = 5.0
"""Seconds for a client to take the last bytes of an ended stream, after which it is let go of."""


class Clock:
    """Goes round all streams of a worker, each at its time: one timer for all of them.

    ``end`` is called with each whose time is over, and ``on_recheck`` with each whose right to its channels
    is to be asked again.  Who was said goodbye to is not waited for after ``latest``.  It goes until it is
    stopped and the last of the ``streams`` has gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        streams: Collection[Stream],
        subscriber: Subscriber,
        rounds: Rounds,
        ends: Ends,
        bounds: Bounds,
        end: Callable[[Stream, Ending], None],
        on_recheck: Callable[[Stream], None] | None = None,
    ) -> None:
        self.latest = NEVER
        self.on_recheck = on_recheck
        self._loop = loop
        self._streams = streams
        self._subscriber = subscriber
        self._rounds = rounds
        self._ends = ends
        self._bounds = bounds
        self._end = end
        self._wheel: Wheel[Stream] = Wheel(loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def now(self) -> float:
        """Monotonic seconds, so that a jump of the wall clock moves nothing."""
        return self._loop.time()

    def start(self) -> None:
        """Begin to go."""
        self._timer = self._loop.call_later(TICK, self._on_tick)

    def stop(self) -> None:
        """Go no longer than until the last stream is let go of."""
        self._stopped = True
        if self._timer is not None and not self._streams:
            self._timer.cancel()

    def place(self, stream: Stream) -> None:
        """Look at an open stream when it is due."""
        look = self.now + self._bounds.age / 2  # at what waits
        due = min(stream.last_write + stream.silence, stream.deadline, stream.recheck, look)
        self._wheel.place(stream, due)

    def part(self, stream: Stream) -> None:
        """Wait for one that was said goodbye to."""
        self._wheel.place(stream, min(self.now + GOODBYE, self.latest))

    def forget(self, stream: Stream) -> None:
        """It has gone."""
        self._wheel.remove(stream)

    def _let_go(self, stream: Stream, now: float) -> None:
        """Wait no longer for what was said goodbye to, unless a client reads on to its channels' end."""
        reads = stream.ending is FINISHED and (stream.pending or stream.sink.unsent)
        if reads and now < stream.deadline and not self._rounds.is_slow(stream, now):
            self._wheel.place(stream, now + GOODBYE)
        else:
            stream.sink.abort()

    def _on_tick(self) -> None:
        if self._stopped and not self._streams:
            return
        now = self.now
        self._rounds.end_soon(self._ends.waiting, FINISHED)
        due = self._wheel.due(now, FEW)
        # Others get a turn before the rest of those that are due.
        self._timer = self._loop.call_later(TICK if len(due) < FEW else 0, self._on_tick)
        if not due:
            return
        position = self._subscriber.position
        # With the position in it a quiet client resumes from here and not from its last event.
        placed = frames.keep_alive(position)
        for stream in due:
            if stream.ending is not None:
                self._let_go(stream, now)
                continue
            if now >= stream.deadline:
                self._end(stream, stream.last_ending)
                continue
            if self._rounds.look(stream, now):
                self._end(stream, SLOW)
                continue
            if now >= stream.recheck:
                stream.recheck = NEVER
                if self.on_recheck is not None:
                    self.on_recheck(stream)
            if now >= stream.last_write + stream.silence:
                self._keep_alive(stream, stream.silence, position, placed, now)
                for other in beside(stream.sink):  # together, so that a phone's radio wakes up once
                    self._keep_alive(other, other.silence / 2, position, placed, now)
            self.place(stream)

    def _keep_alive(
        self, stream: Stream, silence: float, position: Place | None, placed: bytes, now: float
    ) -> None:
        """Give a sign of life where there was none for so many seconds; ``placed`` has the ``position``."""
        if now >= stream.last_write + silence:
            self._rounds.write(stream, now)  # an id must not go out before an event that is older
        if stream.ending is None and now >= stream.last_write + silence:
            if stream.pending:  # its client has not read what it was given: it needs no sign of life
                stream.last_write = now
            else:
                stream.give(placed if stream.proves(position) else frames.KEEP_ALIVE, 0, now)
