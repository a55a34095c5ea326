"""What happens to a process's streams, second by second."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

Histogram = Counter[int]
"""Milliseconds, as Locust rounds them → how many."""


def rounded(seconds: float) -> int:
    """Whole milliseconds, to two digits, as Locust keeps them."""
    return _rounded(int(seconds * 1000))


@cache
def _rounded(ms: int) -> int:
    return max(0, round(ms, 2 - min(5, len(str(ms)))))


@dataclass(slots=True)
class Second:
    """What happened in a second of the wall clock."""

    attempts: int = 0
    reconnects: int = 0
    opened: int = 0
    events: int = 0
    kept: int = 0  # keep-alives that came
    streams: int = 0  # open at its end
    connect: Histogram = field(default_factory=Counter)
    first_byte: Histogram = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Counter)
    away: Histogram = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, given: Mapping[str, Any]) -> None:
        """What another process saw in the same second, as ``to_dict`` says it."""
        for name, value in given.items():
            own = getattr(self, name)
            if isinstance(own, int):
                setattr(self, name, own + value)
            else:
                own.update(value)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and dicts."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def together(seconds: Iterable[Second]) -> Second:
    """All of them as one."""
    whole = Second()
    for second in seconds:
        whole.add(second.to_dict())
    return whole


class Tally:
    """The seconds of a process; ``streams`` are open now."""

    def __init__(self) -> None:
        self.streams = 0
        self.seconds: defaultdict[int, Second] = defaultdict(Second)
        self._taken = 0

    def second(self, now: float) -> Second:
        """The one that ``now`` (seconds of the wall clock) is in."""
        return self.seconds[int(now)]

    def take(self, now: float) -> dict[int, Second]:
        """The seconds that are over, also where nothing happened; they are forgotten here."""
        last = max(int(now) - 1, self._taken)  # the clock may go back
        for at in range(self._taken + 1 if self._taken else last, last + 1):
            self.second(at)
        self._taken = last
        taken = {at: self.seconds.pop(at) for at in sorted(self.seconds) if at <= last}
        for second in taken.values():
            second.streams = self.streams
        return taken


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
