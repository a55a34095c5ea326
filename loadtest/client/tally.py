"""What happens to a process's streams, second by second."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Histogram = dict[int, int]
"""Milliseconds, as Locust rounds them → how many."""


def _rounded(ms: int) -> int:
    if ms < 100:
        return ms
    if ms < 1000:
        return round(ms, -1)
    return round(ms, -2) if ms < 10_000 else round(ms, -3)


ROUNDED = [_rounded(ms) for ms in range(20_000)]


def rounded(seconds: float) -> int:
    """Whole milliseconds, to two digits, as Locust keeps them."""
    ms = int(seconds * 1000)
    return ROUNDED[ms] if 0 <= ms < 20_000 else max(0, _rounded(ms))


class Second:
    """What happened in a second of the wall clock."""

    __slots__ = ("attempts", "away", "connect", "endings", "errors", "events", "first_byte", "kept",
                 "latency", "opened", "reconnects", "refusals", "streams")  # fmt: skip

    def __init__(self) -> None:
        self.attempts = self.reconnects = self.opened = self.events = 0
        self.kept = 0
        """Keep-alives that came."""
        self.streams = 0
        """Open at its end."""
        self.connect: Histogram = defaultdict(int)
        self.first_byte: Histogram = defaultdict(int)
        self.latency: Histogram = defaultdict(int)
        self.away: Histogram = defaultdict(int)
        self.endings: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def add(self, given: Mapping[str, Any]) -> None:
        """What another process saw in the same second, as ``to_dict`` says it."""
        for name, value in given.items():
            own = getattr(self, name)
            if isinstance(own, int):
                setattr(self, name, own + value)
            else:
                for key, count in value.items():
                    own[key] += count

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and dicts."""
        return {name: getattr(self, name) for name in self.__slots__}


class Tally:
    """The seconds of a process; ``streams`` are open now."""

    def __init__(self) -> None:
        self.streams = 0
        self.seconds: dict[int, Second] = {}
        self._taken: int | None = None

    def second(self, now: float) -> Second:
        """The one that ``now`` (seconds of the wall clock) is in."""
        found = self.seconds.get(int(now))
        if found is None:
            found = self.seconds[int(now)] = Second()
        return found

    def take(
        self, now: float, tell: Callable[[Second, int], None] | None = None
    ) -> dict[int, dict[str, Any]]:
        """The seconds that are over, which are told, and forgotten here."""
        last = int(now) - 1
        if self._taken is not None:
            last = max(last, self._taken)  # the clock may go back
        for at in range(last if self._taken is None else self._taken + 1, last + 1):
            self.second(at)  # also where nothing happened
        self._taken = last
        taken = {}
        for at in sorted(self.seconds):
            if at <= last:
                second = self.seconds.pop(at)
                second.streams = self.streams
                if tell is not None:
                    tell(second, at)
                taken[at] = second.to_dict()
        return taken


def add(histograms: Iterable[Mapping[int, int]]) -> Histogram:
    """All of them together."""
    whole: Histogram = defaultdict(int)
    for each in histograms:
        for ms, count in each.items():
            whole[ms] += count
    return whole


def percentile(histogram: Mapping[int, int], part: float) -> float | None:
    """Seconds that so large a part of all does not exceed; None of nothing."""
    left = part * sum(histogram.values())
    for ms in sorted(histogram):
        left -= histogram[ms]
        if left <= 0:
            return ms / 1000
    return None


def spread(histogram: Mapping[int, int]) -> dict[str, Any] | None:
    """Count, percentiles and the longest, in seconds; None of nothing."""
    if not histogram:
        return None
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: percentile(histogram, part) for name, part in parts.items()}
    return {"count": sum(histogram.values()), **found, "longest": max(histogram) / 1000}
