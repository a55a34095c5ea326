"""Channels inside one process: for development, tests and apps with one worker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from ..errors import ConfigError
from ..event import EventId
from .base import Numbered, Outgoing, Receiver, Replay, Reset, T, check_keys
from .leases import LocalLeases
from .log import Log

HISTORY_BYTES = 4_194_304
"""At most this many bytes of history per channel."""


class MemoryBackend:
    """Numbers, keeps and delivers events within this process, from any of its threads.

    ``history`` events per channel are kept for ``history_ttl`` seconds after the channel's latest;
    with ``history=0`` nothing is numbered or kept.  ``clock`` gives Unix time in seconds; ids rise
    even when it steps back.
    """

    def __init__(
        self, *, history: int = 100, history_ttl: float = 300.0, clock: Callable[[], float] = time.time
    ) -> None:
        if type(history) is not int or history < 0:
            raise ConfigError("history", "must be a whole number of events, 0 or more", history)
        if not isinstance(history_ttl, (int, float)) or isinstance(history_ttl, bool) or history_ttl <= 0:
            raise ConfigError("history_ttl", "must be a positive number of seconds", history_ttl)
        self.history = history
        self.history_ttl = history_ttl
        self._clock = clock
        self._lock = threading.RLock()
        self._last = EventId(int(clock() * 1000), 0)
        self._birth = self._last
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._keys: OrderedDict[str, EventId] = OrderedDict()
        self._revoked: dict[str, float] = {}
        self._subscribers: list[MemorySubscriber] = []
        self._leases = LocalLeases()

    def subscriber(self, receiver: Receiver) -> MemorySubscriber:
        """See ``Backend.subscriber``."""
        return MemorySubscriber(self, receiver)

    def leases(self) -> LocalLeases:
        """See ``Backend.leases``."""
        return self._leases

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish``."""
        check_keys(events, self.history)
        with self._lock:
            return [self._publish(event) for event in events]

    async def cursor(self) -> EventId:
        """See ``Backend.cursor``."""
        return self.now()

    def now(self) -> EventId:
        """A place after every event so far; see ``Backend.cursor``."""
        with self._lock:
            now = int(self._clock() * 1000)
            if now > self._last.ms:
                self._last = EventId(now, 0)
            return self._last

    def windows(self) -> None:
        """See ``Backend.windows``: there is one process only."""

    async def revoke(self, session: str, until: float) -> None:
        """See ``Backend.revoke``."""
        with self._lock:
            self._revoked = {known: end for known, end in self._revoked.items() if end > self._clock()}
            self._revoked[session] = max(until, self._revoked.get(session, 0.0))

    async def revoked(self) -> dict[str, float]:
        """See ``Backend.revoked``."""
        with self._lock:
            return {known: end for known, end in self._revoked.items() if end > self._clock()}

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
        if not self.history:
            self._announce(event.channel, None, event.body)
            return ""
        if event.dedupe_key is not None and event.dedupe_key in self._keys:
            return str(self._keys[event.dedupe_key])
        now = int(self._clock() * 1000)
        last = self._last
        id = self._last = EventId(now, 1) if now > last.ms else EventId(last.ms, last.n + 1)
        frame = id.line() + event.body
        log = self._logs.get(event.channel)
        if log is None:
            floor, reason = self._horizon()
            log = self._logs[event.channel] = Log(floor, reason)
        log.append(Numbered(id, frame))
        log.trim(self.history, HISTORY_BYTES)
        self._logs.move_to_end(event.channel)
        if event.dedupe_key is not None:
            self._keys[event.dedupe_key] = id
        self._forget()
        self._announce(event.channel, id, frame)
        return str(id)

    def _announce(self, channel: str, id: EventId | None, frame: bytes) -> None:
        for subscriber in self._subscribers:
            subscriber.hear(channel, id, frame)

    def _horizon(self) -> tuple[EventId, str]:
        """What can be said of a channel without a log: nothing was published since then."""
        expired = EventId(max(0, self._last.ms - int(self.history_ttl * 1000)), 0)
        return (expired, "expired") if expired > self._birth else (self._birth, "epoch")

    def _forget(self) -> None:
        oldest_kept = self._last.ms - self.history_ttl * 1000
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

    def read(self, channels: Sequence[str], after: EventId | None) -> Replay:
        """The history of ``channels`` after an id, as one consistent cut."""
        with self._lock:
            upto = self.now()
            if not self.history:
                lost = [] if after is None else [Reset(channel, "unknown-id", upto) for channel in channels]
                return Replay([], lost, None)
            if after is None:
                return Replay([], [], upto)
            self._forget()
            events: list[Numbered] = []
            resets: list[Reset] = []
            for channel in channels:
                log = self._logs.get(channel) or Log(*self._horizon())
                if after > upto:
                    resets.append(Reset(channel, "unknown-id", upto))
                elif not log.covers(after):
                    # An older life of this process is the better explanation than its own trimming.
                    reason = "epoch" if after < self._birth else log.reason
                    resets.append(Reset(channel, reason, upto))
                else:
                    events.extend(log.since(after))
            events.sort(key=lambda event: event.id)
            return Replay(events, resets, upto)


class MemorySubscriber:
    """One worker's ear on a MemoryBackend; see ``Subscriber``."""

    def __init__(self, backend: MemoryBackend, receiver: Receiver) -> None:
        self._backend = backend
        self._receiver = receiver
        self._wanted: Counter[str] = Counter()
        self._heard: deque[tuple[str, EventId | None, bytes]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def connected(self) -> bool:
        """Whether it was started."""
        return self._loop is not None

    @property
    def position(self) -> EventId | None:
        """See ``Subscriber.position``."""
        with self._backend._lock:
            self._drain()
            return self._backend.now() if self._backend.history else None

    @property
    def is_deaf(self) -> bool:
        """Whether its event loop has been closed."""
        return self._loop is None or self._loop.is_closed()

    async def start(self) -> None:
        """See ``Subscriber.start``."""
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
            self._wanted.update(channels)

    async def subscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.subscribe``."""
        self.want(channels)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        with self._backend._lock:
            for channel in channels:
                self._wanted[channel] -= 1
                if self._wanted[channel] <= 0:
                    del self._wanted[channel]

    async def replay(self, channels: Sequence[str], after: EventId | None) -> Replay:
        """See ``Subscriber.replay``."""
        with self._backend._lock:
            self._drain()
            return self._backend.read(channels, after)

    def hear(self, channel: str, id: EventId | None, frame: bytes) -> None:
        """Called under the backend's lock, from the publishing thread."""
        if channel not in self._wanted or self._loop is None:
            return
        # Through one queue in every case, so that events of several threads keep their order.
        self._heard.append((channel, id, frame))
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
                heard = self._heard.popleft()
            self._receiver.deliver(*heard)


_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def named(name: str) -> MemoryBackend:
    """The backend that every ``memory://name`` of this process shares."""
    with _named_lock:
        if name not in _named:
            _named[name] = MemoryBackend()
        return _named[name]
