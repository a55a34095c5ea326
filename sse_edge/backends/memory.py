"""Channels inside one process: for development, tests and apps with one worker."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from ..errors import PublishError
from ..event import FINISHED, NOWHERE, REOPENED, EventId, Place
from ..logline import about
from .base import NO_FIRST, Entry, Hearing, Outgoing, Receiver, Replay, Reset, T, check_kept
from .leases import LocalLeases
from .log import Log
from .presence import LocalPresence, Workers
from .reports import Reports
from .retention import Kept, Retention, kept
from .sessions import Sessions
from .siblings import is_first
from .writers import LocalWriters

logger = logging.getLogger("sse_edge")

HISTORY_BYTES = 33_554_432
"""At most this many bytes of history per channel: the default of 100 events fits, however large they are."""

TAG = 5
"""Letters that name this data set."""


class MemoryBackend:
    """Numbers, keeps and delivers events within this process, from any of its threads.

    ``history`` events per channel are kept for ``history_ttl`` seconds after the channel's latest, 32 MiB of
    each at most; with ``history=0`` nothing is numbered or kept.  ``retention`` keeps more or less of some
    channels: ``{"task:*": Retention(10_000, 3600)}``, the first pattern that fits.  ``clock`` gives Unix time
    in seconds; ids rise even when it steps back.
    """

    def __init__(
        self,
        *,
        history: int = 100,
        history_ttl: float = 300.0,
        retention: Mapping[str, Retention] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.kept = kept(history, history_ttl, retention)
        self._longest_ms = self.kept.longest_ms
        self._clock = clock
        self._lock = threading.RLock()
        self._last = EventId(int(clock() * 1000), 0)
        self._birth = self._last
        self.tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(TAG))
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], EventId] = OrderedDict()
        self._sessions = Sessions()
        self._subscribers: list[MemorySubscriber] = []
        self._leases = LocalLeases()
        self._workers: Workers = []
        self._writers = LocalWriters(
            clock,
            self._lock,
            self.now,
            lambda channel: self.finished([channel]) is not None,
            self.kept,
        )

    def subscriber(self, receiver: Receiver) -> MemorySubscriber:
        """See ``Backend.subscriber``."""
        return MemorySubscriber(self, receiver)

    def leases(self) -> LocalLeases:
        """See ``Backend.leases``."""
        return self._leases

    def writers(self) -> LocalWriters:
        """See ``Backend.writers``."""
        return self._writers

    def presence(self) -> LocalPresence:
        """See ``Backend.presence``."""
        return LocalPresence(self._workers)

    async def reports(self) -> Reports:
        """See ``Backend.reports``: those of this process."""
        return await self.presence().reports()

    @property
    def said(self) -> Kept:
        """See ``Backend.said``."""
        return self.kept

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish``."""
        check_kept(events, numbered=self.kept.numbered)
        published: list[str] = []
        with self._lock:
            for event in events:
                try:
                    published.append(self._publish(event))
                except PublishError as error:
                    error.published = published
                    raise
        return published

    def depth(self, pattern: str) -> int:
        """See ``Backend.depth``."""
        return self.kept.depth(pattern)

    async def recent(self, channel: str, count: int) -> list[tuple[Place, bytes]]:
        """See ``Backend.recent``."""
        with self._lock:
            self.now()
            newest = self._log(channel).newest(count)
            return [(Place(EventId(ms, n), self.tag), frame) for ms, n, frame in newest]

    async def cursor(self) -> Place:
        """See ``Backend.cursor``."""
        return Place(self.now(), self.tag)

    def now(self) -> EventId:
        """An id after every event so far and before every later one."""
        with self._lock:
            now = int(self._clock() * 1000)
            if now > self._last.ms:
                self._last = EventId(now, 0)
            return self._last

    def time(self) -> float:
        """What its clock says."""
        return self._clock()

    def windows(self) -> None:
        """See ``Backend.windows``: there is one process only."""

    async def revoke(self, session: str, until: float | None = None) -> float:
        """See ``Backend.revoke``."""
        with self._lock:
            return self._sessions.revoke(session, until, self._clock())

    async def revoked(self, life: float = 0.0) -> dict[str, float]:
        """See ``Backend.revoked``."""
        with self._lock:
            return self._sessions.revoked(life, self._clock())

    async def close(self) -> None:
        """Nothing to close."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """See ``Backend.wait``."""
        try:
            work.send(None)
        except StopIteration as done:
            return cast("T", done.value)
        raise RuntimeError("work with memory never waits")

    def close_sync(self) -> None:
        """Nothing to close."""

    def _publish(self, event: Outgoing) -> str:
        if not self.kept.numbered:
            self._announce(event, None, event.body)
            return ""
        last = self.now()
        key = None if event.dedupe_key is None else (event.channel, event.dedupe_key)
        known = None if key is None else self._keys.get(key)
        log = self._log(event.channel)
        finished, reopens = log.finished is not None, event.body == REOPENED
        if known is not None and self._keeps(event.channel, known):
            # Where the channel goes on since it was finished by that key, it is to be finished again.
            if finished or not event.body.endswith(FINISHED):
                return str(Place(known, self.tag))
            del self._keys[event.channel, event.dedupe_key or ""]
        if finished and not reopens:
            why = f"channel {event.channel!r} has had its last event"
            raise PublishError(why, may_have_happened=False, reason="finished")
        if reopens and not finished:
            return str(Place(last, self.tag))
        id = self._last = EventId(last.ms, last.n + 1)
        place = Place(id, self.tag)
        frame = place.line() + event.body
        self._logs[event.channel] = log
        log.append(id, frame, event.except_user)
        log.trim(self.kept.of(event.channel).events, HISTORY_BYTES)
        self._logs.move_to_end(event.channel)
        if key is not None:
            self._keys[key] = id
        self._forget()
        self._announce(event, id, frame)
        return str(place)

    def _announce(self, event: Outgoing, id: EventId | None, frame: bytes) -> None:
        for subscriber in self._subscribers:
            subscriber.hear(event.channel, id, frame, event.except_user, event.trace)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        with self._lock:
            self.now()
            ends = [self._log(channel).finished for channel in channels]
            known = [end for end in ends if end is not None]
            return Place(max(known), self.tag) if known and len(known) == len(ends) else None

    def _keeps(self, channel: str, newest: EventId) -> bool:
        """Whether a channel whose newest event is that one is kept."""
        return newest.ms >= self._last.ms - self.kept.of(channel).ms

    def _log(self, channel: str) -> Log:
        """A channel's log; an empty one where there is none, or none any more."""
        log = self._logs.get(channel)
        return log if log is not None and self._keeps(channel, log.head) else Log(*self._horizon(channel))

    def _horizon(self, channel: str) -> tuple[EventId, str]:
        """What can be said of a channel without a log: nothing was published since then."""
        expired = EventId(max(0, self._last.ms - self.kept.of(channel).ms), 0)
        return (expired, "expired") if expired > self._birth else (self._birth, "epoch")

    def _forget(self) -> None:
        oldest_kept = self._last.ms - self._longest_ms
        while self._logs:
            channel, log = next(iter(self._logs.items()))
            if log.head.ms >= oldest_kept:
                break
            del self._logs[channel]
        while self._keys:
            key, id = next(iter(self._keys.items()))
            if id.ms >= oldest_kept:
                break
            del self._keys[key]

    def read(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """The history of ``channels`` after a place, as one consistent cut; see ``Subscriber.replay``."""
        with self._lock:
            upto = self.now()
            if not self.kept.numbered:
                lost = [] if after is None else [Reset(channel, "unknown-id", None) for channel in channels]
                return Replay([], lost, None)
            head = Place(upto, self.tag)
            foreign = ""
            if after is not None and (after.tag != self.tag or after.id > upto):
                foreign = "epoch" if after.tag not in (NOWHERE.tag, self.tag) else "unknown-id"
            self._forget()
            events: list[Entry] = []
            resets: list[Reset] = []
            for channel in channels:
                log = self._log(channel)
                if after is not None and not foreign and log.covers(after.id):
                    events.extend(log.since(after.id, user))
                    continue
                if after is not None:
                    resets.append(Reset(channel, foreign or log.reason, head))
                events.extend(log.newest(max(first.get(channel, 0), log.finished is not None), user=user))
            events.sort()
            return Replay(events, resets, head)


class MemorySubscriber:
    """One worker's ear on a MemoryBackend; see ``Subscriber``."""

    def __init__(self, backend: MemoryBackend, receiver: Receiver) -> None:
        self._backend = backend
        self._receiver = receiver
        self._wanted: dict[str, int] = {}
        self._heard: deque[tuple[str, EventId | None, bytes, str | None, str | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def connected(self) -> bool:
        """Whether it was started."""
        return self._loop is not None

    @property
    def position(self) -> Place | None:
        """See ``Subscriber.position``."""
        with self._backend._lock:
            if self._heard:
                self._drain()
            return Place(self._backend.now(), self._backend.tag) if self._backend.kept.numbered else None

    @property
    def refused(self) -> None:
        """See ``Subscriber.refused``: memory takes every write."""

    @property
    def dropped(self) -> dict[str, int]:
        """See ``Subscriber.dropped``: nobody else can reach it."""
        return {}

    @property
    def hearing(self) -> Hearing:
        """See ``Subscriber.hearing``: all is heard at once."""
        return Hearing()

    def measure(self, channel: str, id: EventId, then: Callable[[float], None]) -> None:
        """See ``Subscriber.measure``."""
        age = self._backend.time() - id.ms / 1000
        if age >= 0:  # ids stand still while the clock is behind them
            then(age)

    @property
    def is_deaf(self) -> bool:
        """Whether its event loop has been closed."""
        return self._loop is None or self._loop.is_closed()

    def bound(self, max_event_bytes: int) -> None:
        """See ``Subscriber.bound``: here all is a publisher's."""

    async def start(self) -> None:
        """See ``Subscriber.start``."""
        if not is_first("memory"):
            logger.warning(
                "memory:// reaches one process, and this server runs several: their streams do not hear what "
                "is published in another; give them a Redis",
                extra=about("memory-of-several"),
            )
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        with self._backend._lock:
            # A loop that was closed without close() hears nothing more.
            heard = [known for known in self._backend._subscribers if not known.is_deaf]
            self._backend._subscribers = [*heard, self]

    async def close(self) -> None:
        """See ``Subscriber.close``."""
        with self._backend._lock:
            if self in self._backend._subscribers:
                self._backend._subscribers.remove(self)
        self._loop = None
        self._wanted.clear()

    def want(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.want``."""
        with self._backend._lock:
            for channel in channels:
                self._wanted[channel] = self._wanted.get(channel, 0) + 1

    async def subscribe(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.subscribe``."""
        self.want(channels)
        return self.position

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        with self._backend._lock:
            for channel in channels:
                left = self._wanted.get(channel, 0) - 1
                if left > 0:
                    self._wanted[channel] = left
                else:
                    self._wanted.pop(channel, None)

    async def replay(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """See ``Subscriber.replay``."""
        with self._backend._lock:
            self._drain()
            return self._backend.read(channels, after, first, user)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        with self._backend._lock:
            if any(heard[0] in channels for heard in self._heard):
                return None  # what was published is not heard yet
            return self._backend.finished(channels)

    def hear(
        self, channel: str, id: EventId | None, frame: bytes, except_user: str | None, trace: str | None
    ) -> None:
        """Called under the backend's lock, from the publishing thread."""
        if channel not in self._wanted or self._loop is None:
            return
        # Through one queue in every case, so that events of several threads keep their order.
        self._heard.append((channel, id, frame, except_user, trace))
        if threading.get_ident() == self._thread:
            self._drain()
        else:
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop was closed without close(): nobody listens any more
                self._heard.clear()

    def _drain(self) -> None:
        while True:
            with self._backend._lock:
                if not self._heard:
                    return
                channel, id, frame, except_user, trace = self._heard.popleft()
            self._receiver.deliver(channel, id, frame, except_user)
            if trace is not None:
                self._receiver.traced(channel, trace)


_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def named(name: str) -> MemoryBackend:
    """The backend that every ``memory://name`` of this process shares."""
    with _named_lock:
        if name not in _named:
            _named[name] = MemoryBackend()
        return _named[name]
