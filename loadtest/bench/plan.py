"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The numbers of each group: of streams, of events, and of rounds."""

    sizes: tuple[int, ...]
    rounds: int = 8
    events: int = 4
    bursts: int = 3
    channel_streams: int = 10_000
    channel_rounds: int = 5
    singles: int = 300
    loops: int = 3
    loop_seconds: float = 3.0
    admissions: int = 3000
    admission_rounds: int = 5
    cold_streams: int = 5000
    cold_rounds: int = 5
    resumed: int = 2000
    missed: int = 50
    resume_rounds: int = 5
    packed_streams: int = 5000
    packed_events: int = 50
    packed_rounds: int = 3
    publishes: int = 250
    publish_bursts: int = 10
    publish_rounds: int = 5
    audience: int = 5000
    stuck: int = 500
    """Of them, those that stop reading."""
    stuck_events: int = 40
    stuck_spacing: float = 0.2
    """Seconds between events, or more."""
    stuck_rounds: int = 3
    weighed: int = 5000
    kept_sizes: tuple[int, ...] = (50, 150, 500, 1000, 2000, 4000, 10_000, 60_000)
    kept: tuple[int, ...] = (1, 10, 100, 1000)
    kept_bytes: int = 12_000_000
    """Of events in a row, about."""
    written: int = 500
    """Channels that tokens are written to."""
    written_seconds: float = 5.0

    @classmethod
    def of(cls, streams: int, *, quick: bool) -> Plan:
        """For so many streams at most: a fifteenth of them, a third, and all."""
        sizes = tuple(sorted({max(1, streams // 15), max(1, streams // 3), streams}))
        plan = replace(cls(sizes[-2:]), **QUICK) if quick else cls(sizes)
        held = {name: min(getattr(plan, name), streams) for name in STREAMS}
        return replace(plan, **held, stuck=min(plan.stuck, max(1, streams // 10)))


STREAMS = ("channel_streams", "cold_streams", "resumed", "packed_streams", "audience", "weighed")

QUICK: dict[str, Any] = {
    "rounds": 4, "events": 3, "bursts": 1, "loops": 1, "loop_seconds": 1.0,
    "channel_streams": 2000, "channel_rounds": 3, "singles": 100,
    "admissions": 1000, "admission_rounds": 2,
    "cold_streams": 2000, "cold_rounds": 3,
    "resumed": 1000, "resume_rounds": 3,
    "packed_streams": 1000, "packed_rounds": 2,
    "publish_rounds": 3,
    "audience": 1000, "stuck": 100, "stuck_rounds": 2,
    "weighed": 1000,
    "kept_sizes": (50, 500, 4000), "kept": (1, 10, 100), "kept_bytes": 3_000_000,
    "written": 200, "written_seconds": 2.0,
}  # fmt: skip
"""A first impression."""
