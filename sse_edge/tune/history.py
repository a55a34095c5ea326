"""What kept events take in Redis: numbers in, numbers out.

A channel is a stream of Redis, and that is a row of nodes with some events in each.  The figures are Redis
7.0's and jemalloc's, and hold from above: ``loadtest/results/kept.txt`` has them beside what was measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from ..backends.retention import Retention, kept
from ..errors import ConfigError

EVENT_BYTES = 500
"""Assumed size of an event."""

NODE_BYTES = 4096
"""Of a node, and at once of the one that is written to; a larger event has one of its own.  It is Redis's
default for stream-node-max-bytes."""

NODE_EVENTS = 100
"""At most in one; the default for stream-node-max-entries."""

NODE_OVERHEAD = 48
"""Bytes for each node besides: 26 to 36 measured."""

ENTRY_OVERHEAD = 40
"""Bytes for each event in a node, with the id of the one before: 34 to 38 measured."""

CHANNEL_BYTES = 400
"""A channel with a name of 26 characters, without its nodes: 320 measured, and room for tables that grow."""

LINGERS = 17 / 16
"""How much longer than its time a channel is there at most."""

MOST_CHANNELS, MOST_EVENTS, MOST_BYTES = 10_000_000, 1_000_000, 262_144

_SAID = re.compile(r"(.+)=(\d+)/(\d+(?:\.\d+)?):(\d+)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Keep:
    """``channels`` that ``pattern`` fits and that are there at once, each with ``events`` of ``size`` bytes.

    Each is gone ``seconds`` after its last event, or up to a sixteenth later.  Raises ConfigError.
    """

    pattern: str
    events: int
    seconds: float
    channels: int
    size: int = EVENT_BYTES

    def __post_init__(self) -> None:
        kept(None, None, {self.pattern: self.retention})
        for name, most in (("channels", MOST_CHANNELS), ("events", MOST_EVENTS), ("size", MOST_BYTES)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"keep.{name}", f"must be 1 to {most}", getattr(self, name))

    @classmethod
    def parse(cls, text: str) -> Keep:
        """Read ``PATTERN=EVENTS/SECONDS:CHANNELS``, and ``:BYTES`` of an event if it is not 500.

        Raises ConfigError.
        """
        match = _SAID.fullmatch(text)
        if match is None:
            raise ConfigError("keep", "must be PATTERN=EVENTS/SECONDS:CHANNELS or …:BYTES", text)
        pattern, events, seconds, channels, size = match.groups()
        return cls(pattern, int(events), float(seconds), int(channels), int(size or EVENT_BYTES))

    @property
    def retention(self) -> Retention:
        """What RedisBackend is told."""
        return Retention(self.events, self.seconds)

    @property
    def gone_after(self) -> float:
        """Seconds after its last event when a channel is gone for certain."""
        return self.seconds * LINGERS

    @property
    def memory(self) -> int:
        """Bytes in Redis, all channels full."""
        return memory(self.channels, self.events, self.size)


def memory(channels: int, events: int, size: int) -> int:
    """Bytes in Redis of ``channels`` with ``events`` of ``size`` bytes each, wherever those begin."""
    if not channels or not events:
        return 0
    entry = size + ENTRY_OVERHEAD
    fitting = min(NODE_EVENTS, max(1, NODE_BYTES // entry))
    last = max(NODE_BYTES, allocated(entry))
    others = ceil((events - 1) / fitting) * (allocated(fitting * entry) + NODE_OVERHEAD)
    return channels * (CHANNEL_BYTES + last + NODE_OVERHEAD + others)


def allocated(size: int) -> int:
    """What jemalloc gives for so many bytes: there are four sizes from each power of two to the next."""
    step = max(16, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // step) * step
