"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


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
        if quick:
            return cls(
                sizes[-2:],
                rounds=4,
                events=3,
                bursts=1,
                channel_streams=min(2000, streams),
                channel_rounds=3,
                singles=100,
                loops=1,
                loop_seconds=1.0,
                admissions=1000,
                admission_rounds=2,
                cold_streams=min(2000, streams),
                cold_rounds=3,
                resumed=min(1000, streams),
                resume_rounds=3,
                packed_streams=min(1000, streams),
                packed_rounds=2,
                publish_rounds=3,
                audience=min(1000, streams),
                stuck=min(100, max(1, streams // 10)),
                stuck_rounds=2,
                weighed=min(1000, streams),
                kept_sizes=(50, 500, 4000),
                kept=(1, 10, 100),
                kept_bytes=3_000_000,
                written=200,
                written_seconds=2.0,
            )
        return cls(
            sizes,
            channel_streams=min(10_000, streams),
            cold_streams=min(5000, streams),
            resumed=min(2000, streams),
            packed_streams=min(5000, streams),
            audience=min(5000, streams),
            stuck=min(500, max(1, streams // 10)),
            weighed=min(5000, streams),
        )
