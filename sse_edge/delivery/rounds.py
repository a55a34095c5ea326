"""The loop that writes: what streams have of their own, and what their feeds have for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType

from ..backends.base import Replay
from ..event import EventId, Place
from ..figures import BYTES, LATENCY, Histogram
from ..outcome import FINISHED, SLOW, Ending
from .backlog import Backlog, Bounds
from .feed import NOTHING, Feed
from .heard import Heard
from .patterns import Pattern
from .stream import PIECE, Stream

SLICE = 150
"""Streams written before other tasks get a turn.  A count and not a clock: the server's loop holds
writes back until it turns, so that a clock misleads (measured: 50 to 200 are best)."""

FEW = 50
"""Streams ended before other tasks get a turn: each costs more than a write, and so does what its request
does when it is over."""


NO_REACH: Mapping[str, EventId] = MappingProxyType({})


class Rounds:
    """Writes to the streams of one worker, some of them in every turn of the event loop.

    ``number`` is the newest event's in the order of all feeds, ``excepted`` that of the newest which not all
    streams of its feed are to hear, and ``delivered`` how many events were written.  ``end`` is called with a
    stream that is too slow, or whose turn it is to end.  ``measure`` tells how long ago an event of a
    channel was published.

    ``latency`` is how long events took from there until all streams of their feed had them, in seconds: of
    one round in each turn, the event that it was begun for; of what is written at once the first in a turn.
    ``unsent`` are the bytes that wait for clients, wherever somebody takes a ``look``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bounds: Bounds,
        end: Callable[[Stream, Ending], None],
        measure: Callable[[str, EventId, Callable[[float], None]], None],
    ) -> None:
        self.latency = Histogram(LATENCY)
        self.unsent = Histogram(BYTES)
        self._age = measure
        self.number = 0
        self.excepted = 0
        self.delivered = 0
        self._loop = loop
        self._bounds = bounds
        self._end = end
        self._ends: dict[Stream, Ending] = {}
        self._dirty: deque[Stream] = deque()
        self._feeds: deque[tuple[Feed, EventId | None]] = deque()
        self._after: list[tuple[Feed, int, Callable[[], None]]] = []
        self._flushing: asyncio.Handle | None = None
        self._under_way = False
        self._now = 0.0  # of this turn, and how many streams may be written at once in it
        self._left = SLICE

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._dirty and not self._feeds and not self._ends

    def append(self, feed: Feed, heard: Heard, excepted: Sequence[Stream] = ()) -> None:
        """Give to the streams of ``feed`` what was heard on it, but to those that are ``excepted``.

        Those take what came before as their own, and have seen this; who is owed history will pass it over.
        """
        for stream in excepted:
            self.settle(stream)
        self.number += 1
        if excepted:
            self.excepted = self.number
        for stream in excepted:
            if not stream.owed:
                stream.pass_over(self.number)
                if stream.pending:
                    self.mark(stream)
        feed.append(self.number, heard)
        if not feed.waits:
            feed.waits = True
            self._feeds.append((feed, heard.id))
        self._flush_soon()

    def hear(self, feed: Feed, id: EventId | None, frame: bytes) -> None:
        """Give to the streams of ``feed`` an event that was heard on it.

        A stream that listens alone, as to its user's own channel, is written it at once: nobody shares it,
        and one event on each of thousands of channels needs no round on each.  What more comes for it in the
        same turn is joined.
        """
        stream = feed.lone()
        if stream is None or stream.behind or stream.stalled:  # what is new does not wait yet
            self.append(feed, Heard(id, frame, pattern=feed.pattern))
            return
        if stream.ending is not None:
            return
        marked = stream.pending
        if stream.seen != self.number:
            self.settle(stream)
        now = self._now or self._begin_turn(feed, id)
        if stream.wary or stream.pending or stream.last_write == now or not self._left:
            stream.take(Heard(id, frame, pattern=feed.pattern))
            if not marked:
                self.mark(stream)
            return
        self._left -= 1
        self.delivered += 1
        feed.pattern.events += 1
        if stream.gzip is not None:
            stream.give(frame, 1, now)
            return
        # Stream.give, without the call.
        stream.events += 1
        stream.last_write = now
        stream.size += len(frame)
        stream.behind = stream.sink.write(frame)

    def end_after(self, feed: Feed, then: Callable[[], None]) -> None:
        """Call ``then`` once all that was heard on ``feed`` is written to its live streams."""
        if feed.waits:
            self._after.append((feed, self.number, then))
        else:
            then()

    def queue(self, stream: Stream, frame: bytes, pattern: Pattern | None = None) -> None:
        """Give ``stream`` something of its own after all that it is to be given before."""
        self.settle(stream)
        stream.queue(frame, pattern=pattern)
        self.mark(stream)

    def mark(self, stream: Stream) -> None:
        """``stream`` has something of its own."""
        self._dirty.append(stream)
        self._flush_soon()

    def end_soon(self, streams: Iterable[Stream], ending: Ending) -> int:
        """End streams, a few in every turn; how many of them nobody had ended yet."""
        count = 0
        for stream in streams:
            # Whether a stream has finished is found out in its turn; until then any other ending counts.
            if stream.ending is None and self._ends.get(stream, FINISHED) is FINISHED:
                self._ends[stream] = ending
                count += 1
        self._flush_soon()
        return count

    def end_few(self) -> bool:
        """End the next of them; whether more are left."""
        for stream in list(islice(self._ends, FEW)):
            self._end(stream, self._ends.pop(stream))
        return bool(self._ends)

    def settle(self, stream: Stream) -> None:
        """Take what its feeds have for it as its own."""
        if stream.seen != self.number and not stream.owed:
            for heard in self.heard(stream):
                stream.take(heard)

    def heard(self, stream: Stream, replay: Replay | None = None) -> list[Heard]:
        """What the feeds of ``stream`` have for it, in their common order; it has seen it now.

        Not what a ``replay`` has given that reaches further on some channels than on others.
        """
        if stream.seen == self.number:
            return []
        reach = NO_REACH if replay is None else replay.reach
        excepts = self.excepted > stream.seen and stream.user is not None
        heard: list[tuple[int, Heard]] = []
        for channel, feed in zip(stream.channels, stream.feeds, strict=False):  # a source's has none
            found = feed.after(stream.seen)
            if found and reach:
                found = [each for each in found if not each[1].is_within(reach.get(channel))]
            if found and excepts:
                found = [each for each in found if each[1].except_user != stream.user]
            heard = found if not heard else heard + found
        if len(stream.feeds) > 1:
            heard.sort()
        stream.seen = self.number
        return [each for _, each in heard]

    def _begin_turn(self, feed: Feed, id: EventId | None) -> float:
        self._now, self._left = self._loop.time(), SLICE
        self._measure(feed, id)  # it is written with the next few lines
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)
        return self._now

    def _flush_soon(self) -> None:
        if self._flushing is None and not self.idle:
            self._flushing = self._loop.call_soon(self._flush)

    def flush_now(self) -> None:
        """Write in this turn what would be written in the next one.

        Not when that goes on from turn to turn already: then this one would be longer.
        """
        self._now = 0.0
        if self._flushing is not None and not self._under_way:
            self._flushing.cancel()
            self._flushing = None
            if not self.idle:
                self._flush()

    def _flush(self) -> None:
        dirty, feeds, now, left = self._dirty, self._feeds, self._loop.time(), SLICE
        self._now = 0.0
        self.end_few()
        kept = SLICE // 2 if feeds else 0  # neither waits for the other for long
        while dirty and left > kept:
            self.write(dirty.popleft(), now)
            left -= 1
        written: tuple[Feed, EventId | None] | None = None
        while feeds and left > 0:
            feed = feeds[0][0]
            streams = feed.next(left)
            self._give_round(feed, streams, now)
            left -= max(1, len(streams))
            if feed.end_round():
                written = feeds.popleft()
                if feed.waits:
                    feeds.append((feed, feed.due))
                if self._after:
                    self._tell_written(feed)
        if written is not None and written[0].live:
            self._measure(*written)
        self._flushing, self._under_way = None, not self.idle
        self._flush_soon()

    def _tell_written(self, feed: Feed) -> None:
        over = [each for each in self._after if each[0] is feed and each[1] <= feed.written]
        self._after = [each for each in self._after if each not in over]
        for _, _, then in over:
            then()

    def _give_round(self, feed: Feed, streams: list[Stream], now: float) -> None:
        """Write what ``feed`` has to these streams.  A broadcast spends its time in this loop."""
        number, last, turn, only = self.number, feed.last, feed.turn, feed.only
        delivered, at, cut = 0, -1, NOTHING
        data, events, chunk = cut.data, cut.events, cut.chunk
        place: Place | None = None
        kept = False
        for stream in streams:
            seen = stream.seen
            if seen >= last or stream.ending is not None:
                continue
            if (
                seen < turn
                or stream.pending
                or stream.behind > PIECE
                or not (stream.feeds is only or _alone(feed, stream))
            ):
                self.write(stream, now)
                continue
            # What waited before counts, not what is new.
            if stream.behind and self.is_slow(stream, now):
                self._end(stream, SLOW)
                continue
            if seen != at:
                cut, at, place = feed.cut(seen), seen, feed.place(seen)
                data, events, chunk = cut.data, cut.events, cut.chunk
                if len(data) > PIECE:  # too much at a time, also for those that have seen less
                    turn = seen + 1
                    self.write(stream, now)
                    continue
            # As each is until its first event, which nearly always is newer than what history gave.
            if stream.wary and not stream.trusts(place):
                self.write(stream, now)
                continue
            delivered += events
            gzip = stream.gzip
            if gzip is not None:
                if not kept:
                    feed.keep_window()
                    kept = True
                stream.give_compressed(gzip, cut, feed, now)
                stream.seen = number
                continue
            stream.seen = number
            # Stream.give, without the call.
            stream.events += events
            stream.last_write = now
            stream.size += len(data)
            stream.behind = stream.sink.write(data, chunk)
        self.delivered += delivered
        feed.pattern.events += delivered

    def _measure(self, feed: Feed, id: EventId | None) -> None:
        """An event of ``feed`` is written to everybody."""
        if id is not None:
            self._age(feed.name[0], id, self.latency.observe)

    def write(self, stream: Stream, now: float) -> None:
        """Write what ``stream`` is to be given, a piece at most."""
        if stream.ending is None:
            # What waited before counts, not what is new.
            if stream.behind and self.is_slow(stream, now):
                self._end(stream, SLOW)
                return
            self.settle(stream)
        self.flush(stream, now)

    def flush(self, stream: Stream, now: float) -> None:
        """Write what ``stream`` has of its own; what is more than a piece follows as the client reads."""
        if stream.stalled:
            return
        if stream.behind <= PIECE:
            self.delivered += stream.flush(now)
        if stream.pending:
            stream.stalled = True
            stream.sink.when_ready(partial(self._go_on, stream))
        elif stream.goodbye is not None:
            self.delivered += stream.end_response()

    def _go_on(self, stream: Stream) -> None:
        stream.stalled = False
        stream.behind = min(stream.behind, PIECE)
        self.mark(stream)

    def look(self, stream: Stream, now: float) -> bool:
        """``is_slow``, and how much waits is measured: each stream is to be looked at as often."""
        unsent = stream.sink.unsent + stream.queued
        self.unsent.observe(unsent)
        return self._exceeds(stream, unsent, now)

    def is_slow(self, stream: Stream, now: float) -> bool:
        """Whether too much waits for the client of ``stream``, or for too long."""
        return self._exceeds(stream, stream.sink.unsent + stream.queued, now)

    def _exceeds(self, stream: Stream, unsent: int, now: float) -> bool:
        if not unsent:
            stream.backlog = None
            return False
        written = stream.size + stream.queued
        if stream.backlog is None:
            stream.backlog = Backlog(written, now)
        return stream.backlog.exceeds(self._bounds, written, unsent, now)


def _alone(feed: Feed, stream: Stream) -> bool:
    """Whether ``feed`` is the only one that has anything for ``stream``."""
    seen, hears = stream.seen, False
    for other in stream.feeds:  # not all(): this is asked for each event and stream
        if other is feed:
            hears = True
        elif other.last > seen:
            return False
    return hears
