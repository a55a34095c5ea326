"""Channels inside one process: for development, tests and apps with one worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from ...event import Place
from ..base import Outgoing, Receiver, T
from ..reports import Reports
from ..retention import Kept, Retention, kept
from .leases import LocalLeases
from .presence import LocalPresence, Workers
from .sessions import Sessions
from .store import Store
from .subscriber import MemorySubscriber
from .writers import LocalWriters


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
        self.store = Store(self.kept, clock)
        self._sessions = Sessions()
        self._leases = LocalLeases()
        self._workers: Workers = []
        self._writers = LocalWriters(self.store)

    def subscriber(self, receiver: Receiver) -> MemorySubscriber:
        """See ``Backend.subscriber``."""
        return MemorySubscriber(self.store, receiver)

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
        return self.store.publish(events)

    def depth(self, pattern: str) -> int:
        """See ``Backend.depth``."""
        return self.kept.depth(pattern)

    async def recent(self, channel: str, count: int) -> list[tuple[Place, bytes]]:
        """See ``Backend.recent``."""
        return self.store.newest(channel, count)

    async def cursor(self) -> Place:
        """See ``Backend.cursor``."""
        return Place(self.store.now(), self.store.tag)

    def windows(self) -> None:
        """See ``Backend.windows``: there is one process only."""

    async def revoke(self, session: str, until: float | None = None) -> float:
        """See ``Backend.revoke``."""
        with self.store.lock:
            return self._sessions.revoke(session, until, self.store.time())

    async def revoked(self, life: float = 0.0) -> dict[str, float]:
        """See ``Backend.revoked``."""
        with self.store.lock:
            return self._sessions.revoked(life, self.store.time())

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


_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def named(name: str) -> MemoryBackend:
    """The backend that every ``memory://name`` of this process shares."""
    with _named_lock:
        if name not in _named:
            _named[name] = MemoryBackend()
        return _named[name]
