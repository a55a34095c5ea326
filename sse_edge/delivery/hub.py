"""One worker's streams: which channel goes to whom, and the loops that write and watch the clock."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable

from ..backends.base import Backend, Replay, Reset
from ..errors import BackendError
from ..event import Event, EventId, comment
from ..outcome import BACKEND_LOST, DRAIN, SLOW, Ending
from .lifetime import Lifetime
from .sink import Sink
from .stream import Stream
from .wheel import TICK, Wheel

SLICE = 150
"""Streams written before other tasks get a turn.  A count and not a clock: the server's loop holds
writes back until it turns, so that a clock misleads (measured: 50 to 200 are best)."""

GOODBYE = 5.0
"""Seconds for a client to take the last bytes of an ended stream, after which it is let go of."""

KEEP_ALIVE = comment("keep-alive")


class Hub:
    """Delivers a backend's events to the streams of one worker.

    ``max_unsent`` is how many bytes may wait for one client before its stream ends as ``slow``.
    """

    def __init__(
        self,
        backend: Backend,
        lifetime: Lifetime,
        *,
        max_unsent: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.lifetime = lifetime
        self.max_unsent = max_unsent
        self.draining = False
        self.streams: set[Stream] = set()
        self.opened = 0
        self.delivered = 0
        self.endings: Counter[str] = Counter()
        self.subscriber = backend.subscriber(self)
        self._chance = chance
        self._listeners: dict[str, set[Stream]] = {}
        self._dirty: deque[Stream] = deque()
        self._flushing = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._wheel = Wheel(self._loop.time())
        self._timer: asyncio.TimerHandle | None = None

    @property
    def now(self) -> float:
        """The hub's clock: monotonic seconds, so that a jump of the wall clock moves nothing."""
        return self._loop.time()

    async def start(self) -> None:
        """Begin to listen and to watch the clock."""
        await self.subscriber.start()
        self._timer = self._loop.call_later(TICK, self._on_tick)

    async def close(self) -> None:
        """End what is open and stop; the clock runs until the last stream is let go of."""
        self.draining = self._closed = True
        self.end_all(self.streams, DRAIN)
        if self._timer is not None and not self.streams:
            self._timer.cancel()
        await self.subscriber.close()

    # Streams

    def new_stream(
        self,
        channels: tuple[str, ...],
        sink: Sink,
        remaining: float | None,
        user: str | None,
        session: str | None,
    ) -> Stream:
        """A stream that is not open yet; ``remaining`` seconds are left of its session (None: no end)."""
        now = self.now
        life, last_ending = self.lifetime.deadline(remaining, self._chance())
        return Stream(
            channels,
            sink,
            opened=now,
            deadline=now + life,
            last_ending=last_ending,
            silence=self.lifetime.silence(self._chance()),
            user=user,
            session=session,
        )

    async def subscribe(self, stream: Stream) -> None:
        """Make ``stream`` hear its channels, holding what arrives.  Raises BackendError.

        To be undone by ``close_stream``, unless it raises.
        """
        for channel in stream.channels:
            self._listeners.setdefault(channel, set()).add(stream)
        try:
            await self.subscriber.subscribe(stream.channels)
        except BaseException:
            self._unlisten(stream)
            raise
        self.opened += 1
        self.streams.add(stream)
        self._wheel.place(stream, self._due(stream))

    def greeting(self) -> bytes:
        """A stream's first bytes: a comment, and how long to wait before coming back."""
        return b"%sretry: %d\n\n" % (comment("stream open"), self._retry_ms())

    async def catch_up(self, stream: Stream, after: EventId | None) -> None:
        """Give ``stream`` what it missed after ``after``, then let it go live."""
        try:
            replay = await self.subscriber.replay(stream.channels, after)
        except BackendError:
            self.end(stream, BACKEND_LOST)
            return
        for frame in _replay_frames(replay):
            stream.queue(frame)
        stream.events = len(replay.events)  # what only says where the stream is does not count
        stream.go_live(replay.upto)
        self._mark(stream)

    def close_stream(self, stream: Stream, ending: Ending) -> None:
        """Let go of a stream whose response is over; ``ending`` if it has no other yet."""
        if stream not in self.streams:
            return
        if stream.ending is None:
            stream.ending = ending
        self.endings[stream.ending.reason] += 1
        self.streams.discard(stream)
        self._wheel.remove(stream)
        stream.pending.clear()
        self._unlisten(stream)
        self.subscriber.unsubscribe(stream.channels)

    def end(self, stream: Stream, ending: Ending) -> None:
        """End an open stream; the first ending counts."""
        if stream.ending is not None:
            return
        if ending.told:
            # First the goodbye: finding the position may bring in events, which then go before it.
            goodbye = self._goodbye(stream, ending)
            stream.ending = ending
            stream.flush(self.now)
            stream.sink.finish(goodbye)
            self._unlisten(stream)
            self._wheel.place(stream, self.now + GOODBYE)
        else:
            stream.ending = ending
            stream.pending.clear()
            stream.sink.abort()

    def end_all(self, streams: Iterable[Stream], ending: Ending) -> None:
        """End several streams."""
        for stream in list(streams):
            self.end(stream, ending)

    def _unlisten(self, stream: Stream) -> None:
        for channel in stream.channels:
            listeners = self._listeners.get(channel)
            if listeners is not None:
                listeners.discard(stream)
                if not listeners:
                    del self._listeners[channel]

    # Events: the backend's Receiver

    def deliver(self, channel: str, id: EventId | None, frame: bytes) -> None:
        """See ``Receiver.deliver``."""
        for stream in self._listeners.get(channel, ()):
            clean = not stream.pending
            if stream.held is None:
                stream.queue(frame)
            else:
                stream.hold(id, frame)
            if clean and stream.pending:
                self._mark(stream)

    def reset(self, reset: Reset) -> None:
        """See ``Receiver.reset``."""
        frame = _reset_frame(reset)
        for stream in self._listeners.get(reset.channel, ()):
            if stream.held is None:
                stream.queue(frame)
            else:
                stream.hold(reset.head, frame)
            self._mark(stream)

    def _mark(self, stream: Stream) -> None:
        self._dirty.append(stream)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        dirty, now, limit = self._dirty, self.now, self.max_unsent
        for _ in range(min(SLICE, len(dirty))):
            stream = dirty.popleft()
            if stream.ending is not None or not stream.pending:
                continue
            # What waited before counts, not what is new: one large replay makes no client slow.
            if stream.sink.unsent > limit:
                self.end(stream, SLOW)
                continue
            self.delivered += len(stream.pending)
            stream.flush(now)
        if dirty:
            self._loop.call_soon(self._flush)
        else:
            self._flushing = False

    # Time

    def _due(self, stream: Stream) -> float:
        return min(stream.last_write + stream.silence, stream.deadline)

    def _on_tick(self) -> None:
        if self._closed and not self.streams:
            return
        self._timer = self._loop.call_later(TICK, self._on_tick)
        now = self.now
        due = self._wheel.due(now)
        if not due:
            return
        position = self.subscriber.position
        # With the position in it a quiet client resumes from here and not from its last event.
        placed = KEEP_ALIVE if position is None else KEEP_ALIVE[:-1] + position.line() + b"\n"
        for stream in due:
            if stream.ending is not None:
                stream.sink.abort()
                continue
            if now >= stream.deadline:
                self.end(stream, stream.last_ending)
                continue
            if now >= stream.last_write + stream.silence and not stream.pending:
                proven = position is not None and stream.upto is not None and position > stream.upto
                self._write(stream, placed if proven else KEEP_ALIVE)
            self._wheel.place(stream, self._due(stream))

    # Bytes

    def _write(self, stream: Stream, data: bytes) -> None:
        if stream.sink.unsent > self.max_unsent:
            self.end(stream, SLOW)
        else:
            stream.write(data, self.now)

    def _retry_ms(self) -> int:
        return self.lifetime.retry_ms(self._chance())

    def _goodbye(self, stream: Stream, ending: Ending) -> bytes:
        position = self.subscriber.position
        proven = position is not None and stream.upto is not None and position > stream.upto
        goodbye = Event(
            json.dumps({"reason": ending.reason}),
            event="edge-close",
            id=str(position) if proven else None,
            retry=self._retry_ms(),
        )
        return goodbye.encode()


def _replay_frames(replay: Replay) -> list[bytes]:
    """Resets, then events, then the place they lead to.

    No reset carries an id unless it is the last thing sent: a client that is cut off in between must
    come back with a Last-Event-ID that still owes it the rest.
    """
    frames = [_reset_frame(reset) for reset in replay.resets]
    frames.extend(event.frame for event in replay.events)
    if replay.upto is None:
        return frames
    if replay.resets and not replay.events:
        frames[-1] = _reset_frame(replay.resets[-1], replay.upto)
    elif not replay.events or replay.resets:
        frames.append(replay.upto.line() + b"\n")
    return frames


def _reset_frame(reset: Reset, place: EventId | None = None) -> bytes:
    data = json.dumps({"channel": reset.channel, "reason": reset.reason}, ensure_ascii=False)
    return Event(data, event="edge-reset", id=None if place is None else str(place)).encode()
