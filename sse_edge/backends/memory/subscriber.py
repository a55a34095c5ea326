"""One worker's ear on what is published in its process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ...event import EventId, Place
from ...logline import about
from ..base import NO_FIRST, Hearing, Receiver, Replay
from ..siblings import is_first
from .store import Store

logger = logging.getLogger("sse_edge")


class MemorySubscriber:
    """See ``Subscriber``."""

    def __init__(self, store: Store, receiver: Receiver) -> None:
        self._store = store
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
        with self._store.lock:
            if self._heard:
                self._drain()
            return Place(self._store.now(), self._store.tag) if self._store.kept.numbered else None

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
        age = self._store.time() - id.ms / 1000
        if age >= 0:  # ids stand still while the clock is behind them
            then(age)

    @property
    def is_deaf(self) -> bool:
        """See ``Ear.is_deaf``: its event loop has been closed, maybe without close()."""
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
        self._store.join(self)

    async def close(self) -> None:
        """See ``Subscriber.close``."""
        self._store.leave(self)
        self._loop = None
        self._wanted.clear()

    def want(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.want``."""
        with self._store.lock:
            for channel in channels:
                self._wanted[channel] = self._wanted.get(channel, 0) + 1

    async def subscribe(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.subscribe``."""
        self.want(channels)
        return self.position

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        with self._store.lock:
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
        with self._store.lock:
            self._drain()
            return self._store.read(channels, after, first, user)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        with self._store.lock:
            if self._heard and any(heard[0] in channels for heard in self._heard):
                return None  # what was published is not heard yet
            return self._store.finished(channels)

    def hear(
        self, channel: str, id: EventId | None, frame: bytes, except_user: str | None, trace: str | None
    ) -> None:
        """See ``Ear.hear``."""
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
            with self._store.lock:
                if not self._heard:
                    return
                channel, id, frame, except_user, trace = self._heard.popleft()
            self._receiver.deliver(channel, id, frame, except_user)
            if trace is not None:
                self._receiver.traced(channel, trace)
