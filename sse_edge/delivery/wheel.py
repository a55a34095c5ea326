"""One timer for all streams: they lie in buckets by the moment they are due."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

from .lifetime import NEVER

TICK = 0.05
"""The wheel's step, in seconds: the exactness of keep-alives and deadlines."""


class Placed(Protocol):
    """What lies in a wheel: it has its bucket with it."""

    bucket: Bucket[Any] | None


T = TypeVar("T", bound=Placed)


class Bucket(set[T]):
    """What is due in the same tick."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


class Wheel(Generic[T]):
    """Streams by the tick in which they are due next.  Placing and removing cost one set operation."""

    def __init__(self, now: float) -> None:
        self._buckets: dict[int, Bucket[T]] = {}
        self._next = int(now / TICK)

    def place(self, stream: T, due: float) -> None:
        """Make ``stream`` due at ``due``, and no longer when it was due before."""
        self.remove(stream)
        if due == NEVER:
            return
        tick = max(self._next, ceil(due / TICK))
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = Bucket(tick)
        bucket.add(stream)
        stream.bucket = bucket

    def remove(self, stream: T) -> None:
        """Forget ``stream``."""
        bucket, stream.bucket = stream.bucket, None
        if bucket is not None:
            bucket.discard(stream)
            if not bucket:
                self._buckets.pop(bucket.tick, None)

    def due(self, now: float, most: int = sys.maxsize) -> list[T]:
        """Take out the streams that are due, the oldest first, and ``most`` at most: the rest stays due."""
        last = int(now / TICK)
        ticks: Iterable[int] = range(self._next, last + 1)
        if last - self._next > len(self._buckets):  # after a long pause: look at what is there instead
            ticks = sorted(tick for tick in self._buckets if tick <= last)
        due: list[T] = []
        for tick in ticks:
            bucket = self._buckets.get(tick)
            if bucket is None:
                continue
            while bucket and len(due) < most:
                stream = bucket.pop()
                stream.bucket = None
                due.append(stream)
            if bucket:
                self._next = tick
                return due
            del self._buckets[tick]
        self._next = max(self._next, last + 1)
        return due
