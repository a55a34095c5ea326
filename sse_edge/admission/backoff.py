"""How long a client should wait that keeps being refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from ..errors import ConfigError

LONGEST = 30.0
"""Seconds to wait on average at most: how soon after a place is free its tab has it."""

REMEMBERED = 10_000
"""Clients remembered; beyond that the one refused longest ago is forgotten."""


class Refused(NamedTuple):
    """How often in a row, and until when the next refusal counts as the same row."""

    times: int
    until: float


class Backoff:
    """Waits that double with each refusal in a row, from ``first`` seconds to ``longest``.

    Browsers reconnect after exactly the time they are told, without growth or jitter of their own.  A
    client that was not refused for twice its last wait starts anew.
    """

    def __init__(self, first: float, longest: float = LONGEST, remembered: int = REMEMBERED) -> None:
        if remembered < 1:
            raise ConfigError("remembered", "must be a positive whole number", remembered)
        self._first = first
        self._longest = max(first, longest)
        self._remembered = remembered
        self._refused: OrderedDict[str, Refused] = OrderedDict()

    def wait(self, key: str, now: float, chance: float) -> float:
        """Seconds that the client ``key`` should wait: 50 to 150 % of the mean; counts as a refusal."""
        before = self._refused.pop(key, None)
        times = before.times + 1 if before is not None and now <= before.until else 0
        mean = min(self._longest, self._first * 2.0 ** min(times, 30))
        wait = mean * (0.5 + chance)
        self._refused[key] = Refused(times, now + 2 * max(wait, mean))
        if len(self._refused) > self._remembered:
            self._refused.popitem(last=False)
        return wait
