"""One worker's streams: which channel goes to whom, and how each comes and ends."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ..backends.base import CONTROL, NO_FIRST, Backend, Reset
from ..event import FINISHED as LAST
from ..event import MAX_EVENT_BYTES, EventId, Place
from ..outcome import CLIENT_GONE, DRAIN, FINISHED, FORBIDDEN_SINCE, Ending
from ..tracing import delivering
from . import frames
from .audience import Audience
from .backlog import Bounds
from .clock import Clock
from .compression import Gzip
from .drain import Drain
from .ends import Ends
from .few import listed
from .heard import Heard
from .history import History
from .lifetime import Lifetime
from .patterns import Labels, Patterns
from .poll import Poll
from .rounds import Rounds
from .sink import Sink
from .source import Sources
from .stream import Stream

SPREAD = 64
"""Different silences before a keep-alive, each one object for all streams that have it."""


class Hub:
    """Delivers a backend's events to the streams of one worker.

    ``users`` and ``sessions`` find its streams by name, and ``census`` counts them.  ``bounds`` are on what
    may wait for one client before its stream ends as ``slow``.  ``sources`` plays what streams have of their
    own.  ``drain`` ends them all.  ``labels`` are what their channels are counted with.
    ``on_recheck`` is called with a stream whose right to its channels is to be asked again, ``on_closed``
    with each whose response is over, when nothing of it is left, ``on_control`` with each message to all
    workers, or None when some may have been lost, and ``on_stopping`` for each stream that the server waits
    for to stop.
    """

    def __init__(
        self,
        backend: Backend,
        lifetime: Lifetime,
        *,
        bounds: Bounds | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
        labels: Labels | None = None,
        chance: Callable[[], float] = random.random,
        on_recheck: Callable[[Stream], None] | None = None,
        on_closed: Callable[[Stream], None] | None = None,
        on_control: Callable[[bytes | None], None] | None = None,
        on_stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_closed = on_closed
        self._on_control = on_control
        self.stopping = on_stopping
        self.lifetime = lifetime
        self.bounds = bounds or Bounds()
        self._patterns = Patterns(labels)
        self._audience = audience = Audience(self._patterns)
        self.streams = audience.streams
        self.users, self.sessions, self.census = audience.users, audience.sessions, audience.census
        self._feeds = audience.feeds
        self.opened = 0
        self.endings: Counter[str] = Counter()
        self.subscriber = backend.subscriber(self)
        if max_event_bytes < MAX_EVENT_BYTES:
            self.subscriber.bound(max_event_bytes)
        self._chance = chance
        self._silences = [lifetime.silence(n / SPREAD) for n in range(SPREAD)]
        loop = asyncio.get_running_loop()
        self._rounds = Rounds(loop, self.bounds, self._end_in_turn, self.subscriber.measure)
        self.sources = Sources(self._rounds, self.bounds, self.end, self._patterns, max_event_bytes)
        self._ends = Ends(self.subscriber, lambda stream: self.end(stream, FINISHED))
        self._history = History(self.subscriber, self._rounds, self._ends, self.end)
        self._clock = Clock(
            loop, self.streams, self.subscriber, self._rounds, self._ends, self.bounds, self.end, on_recheck
        )
        self.drain = Drain(audience, self._clock, self.end, self.end_soon)

    @property
    def now(self) -> float:
        """The hub's clock: monotonic seconds, so that a jump of the wall clock moves nothing."""
        return self._clock.now

    @property
    def delivered(self) -> int:
        """Events written, each counted for every stream."""
        return self._rounds.delivered

    def figures(self) -> dict[str, Any]:
        """What is counted and measured here; see the catalogue."""
        hearing = self.subscriber.hearing
        counts = chain(self._audience.by_pattern(), self.sources.by_pattern())
        return {
            "connected": self.subscriber.connected,
            "streams": len(self.streams),
            "users": len(self.users),
            "channels": self._audience.channels,
            "settling": hearing.settling,
            "held": hearing.held,
            "position_age": hearing.age,
            "opened": self.opened,
            "delivered": self.delivered,
            "endings": dict(self.endings),
            "dropped": self.subscriber.dropped,
            "pattern_streams": self._patterns.streams(counts),
            "pattern_events": self._patterns.events,
            "delivery": self._rounds.latency.told(),
            "replay": self._history.found.told(),
            "unsent": self._rounds.unsent.told(),
        }

    async def start(self) -> None:
        """Begin to listen and to watch the clock."""
        await self.subscriber.start()
        self.subscriber.want([CONTROL])
        self._clock.start()

    async def close(self) -> None:
        """End what is open and stop; the clock runs until the last stream is let go of."""
        self.drain.refuse()
        self._rounds.end_soon(self.streams, DRAIN)
        while self._rounds.end_few():  # noqa: ASYNC110 - nothing is waited for
            await asyncio.sleep(0)
        self._clock.stop()
        await self.sources.close()
        await self.subscriber.close()

    # Streams

    def new_stream(
        self,
        channels: tuple[str, ...],
        sink: Sink,
        remaining: float | None,
        user: str | None,
        session: str | None,
        address: str = "",
        path: str = "",
        *,
        compress: bool = False,
        wait: float | None = None,
        cursor: Place | None = None,
    ) -> Stream:
        """A stream that is not open yet; ``remaining`` seconds are left of its session (None: no end).

        ``compress``: its bytes are to be gzip.  ``wait``: it is a poll that waits for so many seconds, of a
        client that has come to ``cursor``.
        """
        now = self.now
        life, last_ending = self.lifetime.deadline(remaining, self._chance())
        make = Stream if wait is None else functools.partial(Poll, wait=wait, cursor=cursor)
        return make(
            channels,
            sink,
            opened=now,
            deadline=now + life,
            last_ending=last_ending,
            silence=self._silences[int(self._chance() * len(self._silences))],
            user=user,
            session=session,
            address=_shared(address),
            path=_shared(path),
            hub=self,
            gzip=Gzip(self.greeting()) if compress else None,
        )

    async def subscribe(self, stream: Stream, after: Place | None = None) -> bool:
        """Make ``stream`` hear its channels, holding what arrives.  Raises BackendError.

        To be undone by ``close_stream``, unless it raises, or is False: all channels have finished, and its
        client has had that ``after``.
        """
        self._listen(stream)
        try:
            stream.begin = await self.subscriber.subscribe(stream.channels)
        except BaseException:
            self._audience.leave(stream)
            self._clock.forget(stream)  # where it was ended meanwhile
            raise
        over = None if after is None or stream.ending else self.subscriber.finished(stream.channels)
        self._opened(stream)
        if over is not None and after is not None and after.tag == over.tag and after.id >= over.id:
            self.undo(stream)
            return False
        return True

    def adopt(self, stream: Stream) -> None:
        """Like ``subscribe``, for as soon as the backend is there."""
        self._listen(stream)
        self.subscriber.want(stream.channels)
        self._opened(stream)

    def own(self, stream: Stream) -> None:
        """Take ``stream``, which hears no channel: what it is given is its own.  Its ``channels`` say who it
        is for."""
        self._audience.own(stream)
        self._opened(stream)

    def undo(self, stream: Stream) -> None:
        """Let go of a stream whose response did not begin, as if it had not come."""
        self.opened -= 1
        self._audience.leave(stream)
        self._clock.forget(stream)
        stream.forget()
        if stream.feeds:
            self.subscriber.unsubscribe(stream.channels)

    def on(self, channel: str) -> list[Stream]:
        """The streams that hear ``channel``, or are for those who may."""
        return self._audience.on(channel)

    def _listen(self, stream: Stream) -> None:
        stream.seen = self._rounds.number
        self._audience.listen(stream)

    def _opened(self, stream: Stream) -> None:
        self.opened += 1
        if stream.ending is None:
            self._clock.place(stream)

    def greeting(self) -> bytes:
        """A stream's first bytes."""
        return frames.greeting(self._retry_ms())

    def give_first(self, stream: Stream, said: Sequence[bytes]) -> None:
        """Give ``stream`` events of its own before all others, as soon as its response has begun."""
        if said and stream.ending is None:
            stream.queue(*said)
            self._rounds.flush(stream, self.now)

    def catch_up(
        self, stream: Stream, after: Place | None, first: Mapping[str, int] = NO_FIRST
    ) -> Awaitable[None]:
        """Give ``stream`` what it missed after ``after``, or without that what comes ``first``; then let it
        go live."""
        return self._history.catch_up(stream, after, first)

    def catch_up_later(
        self, stream: Stream, after: Place | None, first: Mapping[str, int] = NO_FIRST
    ) -> None:
        """The same once the backend is there; until then the stream is open and silent."""
        stream.first = first or NO_FIRST
        stream.waiting = asyncio.create_task(self._history.catch_up_later(stream, after, first))

    def close_stream(self, stream: Stream, ending: Ending = CLIENT_GONE) -> None:
        """Let go of a stream whose response is over; ``ending`` if it has no other yet."""
        if stream not in self.streams:
            return
        if stream.ending is None:
            stream.ending = ending
        self.endings[stream.ending.reason] += 1
        self._audience.leave(stream)
        self._ends.forget(stream)
        self._clock.forget(stream)
        if stream.waiting is not None:
            stream.waiting.cancel()
        stream.forget()
        if stream.feeds:
            self.subscriber.unsubscribe(stream.channels)
        if self._on_closed is not None:
            self._on_closed(stream)

    def end(self, stream: Stream, ending: Ending) -> None:
        """End an open stream; the first ending counts."""
        if stream.ending is not None or stream not in self.streams:  # as one that was undone
            return
        if stream.waiting is not None:
            stream.waiting.cancel()
        if ending.told:
            # First the position: finding it may bring in events, which then go before it.
            position = self.subscriber.position
            self._rounds.settle(stream)
            stream.ending = ending
            proven = position if stream.proves(position) else None
            stream.goodbye = frames.goodbye(ending, proven, self._retry_ms())
            self._audience.unlisten(stream)
            self._clock.part(stream)
            self._rounds.flush(stream, self.now)
        else:
            stream.ending = ending
            stream.forget()
            stream.sink.abort()

    def _end_in_turn(self, stream: Stream, ending: Ending) -> None:
        if ending is FINISHED:  # as one of its channels had; it may go on by now
            self._ends.look(stream, self.now)
        else:
            self.end(stream, ending)

    def end_soon(self, streams: Iterable[Stream], ending: Ending) -> int:
        """End many streams, a few in every turn of the loop; how many of them nobody had ended yet."""
        return self._rounds.end_soon(streams, ending)

    def drop_channel(self, stream: Stream, channel: str) -> None:
        """Let a stream go on without a channel that it may not read any more."""
        if stream.ending is not None or channel not in stream.channels:
            return
        if len(stream.channels) == 1:
            self.end(stream, FORBIDDEN_SINCE)
            return
        self._rounds.settle(stream)
        self._audience.drop(stream, channel)
        self.subscriber.unsubscribe([channel])
        self._rounds.queue(stream, frames.dropped(channel, FORBIDDEN_SINCE))
        self._ends.look(stream, self.now)

    def recheck_at(self, stream: Stream, seconds: float) -> None:
        """Ask again in so many seconds whether ``stream`` may go on."""
        stream.recheck = self.now + seconds
        if stream.ending is None and stream in self.streams:
            self._clock.place(stream)

    # Events: the backend's Receiver

    def deliver(self, channel: str, id: EventId | None, frame: bytes, except_user: str | None = None) -> None:
        """See ``Receiver.deliver``."""
        if channel == CONTROL:
            if self._on_control is not None:
                self._on_control(frame)
            return
        feed = self._feeds.get(channel)
        if feed is None:
            return
        if except_user is None or not (excepted := feed.of(self.users.of(except_user))):
            self._rounds.hear(feed, id, frame)
        else:
            heard = Heard(id, frame, except_user=except_user, pattern=feed.pattern)
            self._rounds.append(feed, heard, excepted)
        if frame.endswith(LAST):
            self._rounds.end_soon(listed(feed.live), FINISHED)

    def deliver_late(self, channel: str, id: EventId, frame: bytes, except_user: str | None = None) -> None:
        """See ``Receiver.deliver_late``."""
        if channel == CONTROL:
            self.deliver(channel, id, frame)
            return
        self._hear(channel, Heard(id, frame, "late", except_user=except_user))

    def traced(self, channel: str, trace: str) -> None:
        """See ``Receiver.traced``."""
        feed = self._feeds.get(channel)
        end = None if feed is None else delivering(channel, feed.pattern.name, trace, feed.count)
        if feed is not None and end is not None:
            self._rounds.end_after(feed, end)

    def reset(self, reset: Reset) -> None:
        """See ``Receiver.reset``."""
        if reset.channel == CONTROL:
            if self._on_control is not None:
                self._on_control(None)
            return
        heard = Heard(None, frames.reset(reset), "reset", reset.head, reset.channel, reset.first)
        self._hear(reset.channel, heard)

    def flush(self) -> None:
        """See ``Receiver.flush``."""
        self._rounds.flush_now()

    def _hear(self, channel: str, heard: Heard) -> None:
        feed = self._feeds.get(channel)
        if feed is not None:
            user, heard = heard.except_user, heard._replace(pattern=feed.pattern)
            self._rounds.append(feed, heard, () if user is None else feed.of(self.users.of(user)))
            if heard.is_last:
                self._rounds.end_soon(listed(feed.live), FINISHED)

    # Bytes

    def _retry_ms(self) -> int:
        return self.lifetime.retry_ms(self._chance())


@functools.lru_cache(1024)
def _shared(text: str) -> str:
    """The same text as one object for all who have it: paths and addresses repeat."""
    return text
