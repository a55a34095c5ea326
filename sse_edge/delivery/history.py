"""What streams are given before they go live: what they missed, or what comes first."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from ..backends.base import NO_FIRST, Replay, Reset, Subscriber, id_of
from ..errors import BackendError
from ..event import EventId, Place, without_id
from ..figures import LATENCY, Histogram
from ..outcome import BACKEND_LOST, Ending
from .backlog import Backlog
from .ends import Ends
from .heard import Heard
from .rounds import Rounds
from .stream import PIECE, Stream

AGAIN = 0.2
"""Seconds before a stream that was taken while the backend was away asks again."""


class History:
    """Asks ``subscriber`` for what a stream is owed, and gives it that and what its feeds heard meanwhile.

    ``after`` is the place that a stream's client has, if it has any, ``begin`` the one after which all is
    heard, and ``first`` how many events come first on which channels where there is no ``after``.  ``found``
    is how long it took to find what clients that came back had missed, in seconds.  ``end`` is called with a
    stream for which nobody can be asked, and ``ends`` look at each that has gone live.
    """

    def __init__(
        self, subscriber: Subscriber, rounds: Rounds, ends: Ends, end: Callable[[Stream, Ending], None]
    ) -> None:
        self.found = Histogram(LATENCY)
        self._subscriber = subscriber
        self._rounds = rounds
        self._ends = ends
        self._end = end

    async def catch_up(self, stream: Stream, after: Place | None, first: Mapping[str, int]) -> None:
        """Give ``stream`` what it is owed, and let it go live."""
        begin, stream.begin = stream.begin, None
        stream.first = first or NO_FIRST  # an empty one of its own would be there as long as it is
        if self._is_owed(stream, after, begin, first):
            try:
                replay = await self._read(stream, after, first)
            except BackendError:
                self._end(stream, BACKEND_LOST)
                return
        else:
            replay = Replay([], [], begin)
        self._let_live(stream, replay, after, begin)

    async def catch_up_later(self, stream: Stream, after: Place | None, first: Mapping[str, int]) -> None:
        """The same of a stream that does not hear its channels yet, once the backend is there."""
        replay, begin = await self._owed_later(stream, after, first)
        self._let_live(stream, replay, after, begin)

    def _let_live(self, stream: Stream, replay: Replay, after: Place | None, begin: Place | None) -> None:
        if stream.ending is None:
            now = asyncio.get_running_loop().time()
            self._give(stream, replay, after, begin, now)
            self._ends.look(stream, now)

    def _is_owed(
        self, stream: Stream, after: Place | None, begin: Place | None, first: Mapping[str, int]
    ) -> bool:
        """Whether history may have something for ``stream``: else all that it is owed is heard since it
        ``begin``s."""
        finished = self._subscriber.finished
        if after is not None or begin is None or first:
            return True
        return any(finished((name,)) for name in stream.channels)

    async def _read(self, stream: Stream, after: Place | None, first: Mapping[str, int]) -> Replay:
        """What history has for ``stream``.  Raises BackendError."""
        began = time.monotonic()
        replay = await self._subscriber.replay(stream.channels, after, first, stream.user)
        if after is not None:
            self.found.observe(time.monotonic() - began)
        return replay

    async def _owed_later(
        self, stream: Stream, after: Place | None, first: Mapping[str, int]
    ) -> tuple[Replay, Place | None]:
        """The same of a stream that does not hear its channels yet, once the backend is there, and the place
        after which it does."""
        while True:
            channels = stream.channels
            try:
                # Heard first: what is published between the reading and that would be lost.
                begin = await self._subscriber.subscribe(channels)
                self._subscriber.unsubscribe(channels)  # counted when the stream was adopted
                replay = Replay([], [], begin)
                if self._is_owed(stream, after, begin, first):
                    replay = await self._read(stream, after, first)
            except BackendError:
                await asyncio.sleep(AGAIN)
                continue
            if after is None:
                # It was promised everything from a moment on that nobody can name any more.
                gaps = [Reset(channel, "gap", replay.upto) for channel in channels]
                replay = replay._replace(resets=gaps)
            return replay, begin

    def _give(
        self, stream: Stream, replay: Replay, after: Place | None, begin: Place | None, now: float
    ) -> None:
        """Give it to ``stream``, and let it go live."""
        events = stream.events
        if after is None and begin is not None and replay.upto is not None and replay.upto.tag == begin.tag:
            heard, after = self._rounds.heard(stream), begin
            replay = opening(replay, begin, heard)
            size = stream.queue_history(replay, begins=True)
        else:
            heard = self._rounds.heard(stream, replay)
            size = stream.queue_history(replay)
        stream.go_live(replay.upto, after or begin, heard)
        for feed in stream.feeds:
            feed.let_live(stream)
        # A piece more or less than there are events says where it is; flushing counts pieces.
        self._rounds.delivered += stream.events - events
        # At once: it leaves the machine together with the first bytes, where history was at hand.
        self._rounds.flush(stream, now)
        if replay.events and (stream.behind or stream.pending):
            stream.backlog = Backlog(stream.size + stream.queued, now, replayed=size)
        if stream.behind <= PIECE:
            stream.behind = 0  # it waits for the head only; the next write says what has not left


def opening(replay: Replay, begin: Place, heard: Sequence[Heard]) -> Replay:
    """What comes first to a stream that is given all it ``heard`` since ``begin`` afterwards.

    So nothing comes twice, and nothing since then is missed, however few events come first.  ``begin`` and
    ``replay`` are of the same data set.
    """
    if not replay.events:
        return Replay([], replay.resets, begin)
    known = {(each.id, without_id(each.frame)) for each in heard}
    before = bisect_right(replay.events, begin.id, key=id_of)
    # Events of several partitions say a place only up to where the slowest of all is, and may share an id; to
    # this stream those it listens to matter.  After its beginning none does: the others are ahead of it.
    placed = before
    while placed and not replay.events[placed - 1][2].startswith(b"id: "):
        placed -= 1
    events = list(replay.events[:placed])  # as history has them: there may be thousands, for each page
    unplaced = replay.events[placed:before]
    last = {(ms, n): number for number, (ms, n, _) in enumerate(unplaced)}
    events += [
        (ms, n, Place(EventId(ms, n), begin.tag).line() + frame if last[ms, n] == number else frame)
        for number, (ms, n, frame) in enumerate(unplaced)
    ]
    events += [
        (ms, n, without_id(frame))
        for ms, n, frame in replay.events[before:]
        if ((ms, n), without_id(frame)) not in known
    ]
    return replay._replace(events=events, upto=begin, reach={})
