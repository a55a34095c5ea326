"""How far the clock of ids is from one of our own: it is another machine's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

TRIPS = 8
"""Round trips that are remembered: the shortest of them is believed."""

DRIFT = 0.002
"""Seconds by which two clocks may part meanwhile, and by which an id's milliseconds are rounded."""

SURE = 0.1
"""Seconds: what seems to be older is so once the next trip has shown that the clock did not jump."""

MOST = 1000
"""Ages that wait for that at most."""


class Late(NamedTuple):
    """An age that is not sure yet, when it was asked for, and who is told it."""

    asked: float
    age: float
    then: Callable[[float], None]


class Offset:
    """Learned of round trips: a time that came back was looked at after it was asked for, and before it came.

    Half of the trip is as much as it can be wrong by.  A trip that contradicts those before it is right: the
    clock has jumped.  Ids are not such times: they stand still while their clock is behind them.  Times are
    seconds of any clock that only goes forward.
    """

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=TRIPS)
        self._best: tuple[float, float] | None = None
        self._late: deque[Late] = deque(maxlen=MOST)

    def learn(self, sent: float, came: float, ms: int) -> None:
        """The clock's milliseconds were asked for at ``sent``, and came at ``came``."""
        time = ms / 1000
        if self._best is not None and not time - came - DRIFT <= self._best[1] <= time - sent + DRIFT:
            self._trips.clear()
            self._late.clear()
        self._trips.append((came - sent, time - (sent + came) / 2))
        self._best = min(self._trips)
        while self._late and self._late[0].asked <= sent:
            late = self._late.popleft()
            late.then(late.age)

    def since(self, ms: int, now: float) -> float | None:
        """Seconds since an id of so many milliseconds was made; None while that cannot be said: nothing is
        known, or it is ahead of the clock."""
        if self._best is None:
            return None
        trip, ahead = self._best
        age = now + ahead - ms / 1000
        return None if age < -trip / 2 - DRIFT else max(0.0, age)

    def measure(self, ms: int, now: float, then: Callable[[float], None]) -> bool:
        """Call ``then`` with that as soon as it is sure, if it can be said; whether a trip is to tell."""
        age = self.since(ms, now)
        if age is None:
            return False
        if age < SURE:
            then(age)
            return False
        self._late.append(Late(now, age, then))
        return True
