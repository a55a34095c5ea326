"""How much is measured."""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Plan:
    """The numbers of each group: of streams, of events, and of rounds."""

    sizes: tuple[int, ...]  # of what is compared over numbers of streams
    streams: int = 5000  # of all else
    channels: int = 10_000
    rounds: int = 8  # of one event at a time
    some_rounds: int = 5
    few_rounds: int = 3  # of what takes long
    events: int = 4
    singles: int = 300  # events to one stream each
    loop_seconds: float = 3.0
    admissions: int = 3000
    resumed: int = 2000
    missed: int = 50
    packed_events: int = 50
    publishes: int = 250
    publish_bursts: int = 10
    stuck: int = 500  # streams that stop reading
    stuck_events: int = 40
    stuck_spacing: float = 0.2  # seconds between events, or more
    kept_sizes: tuple[int, ...] = (50, 150, 500, 1000, 2000, 4000, 10_000, 60_000)
    kept: tuple[int, ...] = (1, 10, 100, 1000)
    kept_bytes: int = 12_000_000  # of events in a row, about
    written: int = 500  # channels that tokens are written to
    written_seconds: float = 5.0

    @classmethod
    def of(cls, streams: int, *, quick: bool) -> Self:
        """For so many streams at most: a fifteenth of them, a third, and all."""
        sizes = tuple(sorted({max(1, streams // 15), max(1, streams // 3), streams}))
        plan = replace(cls(sizes[-2:]), **QUICK) if quick else cls(sizes)
        held = {name: min(getattr(plan, name), streams) for name in ("streams", "channels", "resumed")}
        return replace(plan, **held, stuck=min(plan.stuck, max(1, streams // 10)))


QUICK: dict[str, Any] = {
    "streams": 1000, "channels": 2000, "rounds": 4, "some_rounds": 3, "few_rounds": 1, "events": 3,
    "singles": 100, "loop_seconds": 1.0, "admissions": 1000, "resumed": 1000, "stuck": 100,
    "kept_sizes": (50, 500, 4000), "kept": (1, 10, 100), "kept_bytes": 3_000_000,
    "written": 200, "written_seconds": 2.0,
}  # fmt: skip
"""A first impression."""
