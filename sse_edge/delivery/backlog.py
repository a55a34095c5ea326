"""Back-pressure: how much may wait for a client, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from .lifetime import LONGEST, NEVER


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait for one client before its stream ends as ``slow``.

    ``max_unsent`` bytes, and ``max_unsent_age`` seconds since the oldest of them was written (None: for
    ever).  Raises ConfigError.
    """

    max_unsent: int = 1_048_576
    max_unsent_age: float | None = 30.0

    def __post_init__(self) -> None:
        size: object = self.max_unsent
        if type(size) is not int or size <= 0:
            raise ConfigError("max_unsent", "must be a positive number of bytes", size)
        age: object = self.max_unsent_age
        if age is None:
            return
        if isinstance(age, bool) or not isinstance(age, (int, float)) or not 0 < age <= LONGEST:
            raise ConfigError("max_unsent_age", "must be a positive number of seconds, at most a year", age)

    @property
    def age(self) -> float:
        """Seconds that a byte may wait."""
        return NEVER if self.max_unsent_age is None else self.max_unsent_age


class Backlog:
    """What waits for one client, from the first byte that did until none does.

    Nobody says when a byte leaves, only how many are left.  So one byte is marked, the newest, and once
    it has left, the newest of that moment.  While a mark stays, something is at least as old as it is;
    whatever is older than the bound is found out within twice the bound.

    ``replayed`` bytes of history do not count against ``max_unsent``, and until they have left any byte
    that leaves will do: one large replay makes no client slow that goes on reading.
    """

    __slots__ = ("_mark", "_owed", "_replayed", "_since")

    def __init__(self, written: int, now: float, replayed: int = 0) -> None:
        self._mark = written - replayed + 1 if replayed else written
        self._owed = written if replayed else 0
        self._replayed = replayed
        self._since = now

    def exceeds(self, bounds: Bounds, written: int, unsent: int, now: float) -> bool:
        """Whether too much waits, or for too long: ``unsent`` of the ``written`` bytes of the stream."""
        left = written - unsent
        if left >= self._mark:
            self._mark = left + 1 if left < self._owed else written
            self._since = now
        return unsent > bounds.max_unsent + self._replayed or now - self._since > bounds.age

    def waits(self, written: int, unsent: int, now: float) -> float:
        """Seconds that something has waited at least; 0 if what was seen to wait has left."""
        return now - self._since if unsent and written - unsent < self._mark else 0.0
