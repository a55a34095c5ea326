"""How far the time of ids is from a clock of our own: they are another machine's."""

from __future__ import annotations

from collections import deque

TRIPS = 8
"""Round trips that are remembered: the shortest of them is believed."""

DRIFT = 0.002
"""Seconds by which two clocks may part meanwhile, and by which an id's milliseconds are rounded."""


class Offset:
    """Learned of round trips: an id that came back was made after it was asked for, and before it came.

    Half of the trip is as much as it can be wrong by.  A trip that contradicts those before it is right: ids
    jump with their server's clock, and stand still while that is behind them.  Times are seconds of any clock
    that only goes forward.
    """

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=TRIPS)
        self._best: float | None = None

    def learn(self, sent: float, came: float, ms: int) -> None:
        """An id of so many milliseconds was asked for at ``sent``, and came at ``came``."""
        time = ms / 1000
        if self._best is not None and not time - came - DRIFT <= self._best <= time - sent + DRIFT:
            self._trips.clear()
        self._trips.append((came - sent, time - (sent + came) / 2))
        self._best = min(self._trips)[1]

    def since(self, ms: int, now: float) -> float | None:
        """Seconds since an id of so many milliseconds was made; None while nothing is known."""
        return None if self._best is None else max(0.0, now + self._best - ms / 1000)
