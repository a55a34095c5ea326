"""How much of each channel is kept, and for how long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha1
from typing import NamedTuple

from ..errors import ConfigError
from ..event import EventId
from ..pattern import WHY_ESCAPE, covers, matches, may_meet, well_formed

LONGEST = 1e9
"""Seconds that a channel may be kept at most."""


class Retention(NamedTuple):
    """``events`` of a channel are kept, for ``seconds`` after its latest."""

    events: int
    seconds: float

    @property
    def ms(self) -> int:
        """The time in whole milliseconds."""
        return max(1, round(self.seconds * 1000))

    def has_expired(self, latest: EventId, now: EventId) -> bool:
        """Whether a channel whose latest event is that one is kept no longer.

        To the millisecond, though Redis keeps it a little longer: all workers are to say the same.
        """
        return now.ms - latest.ms > self.ms


class Kept(NamedTuple):
    """What a whole data set keeps: the default, and by channel pattern; the first that fits holds.

    With 0 events by default nothing is numbered.
    """

    default: Retention
    patterns: tuple[tuple[str, Retention], ...] = ()

    def of(self, channel: str) -> Retention:
        """What is kept of ``channel``."""
        for pattern, retention in self.patterns:
            if matches(pattern, channel):
                return retention
        return self.default

    def depth(self, pattern: str) -> int:
        """How many events are kept at most of any channel that ``pattern`` covers."""
        found = []
        for known, retention in self.patterns:
            if may_meet(known, pattern):
                found.append(retention.events)
            if covers(known, pattern):
                return max(found)
        return max([*found, self.default.events])

    @property
    def numbered(self) -> bool:
        """Whether events have ids."""
        return self.default.events > 0

    @property
    def shortest_ms(self) -> int:
        """The shortest time for which a channel's history is kept, in milliseconds."""
        if not self.numbered:
            return 0
        return min(self.default.ms, *(retention.ms for _, retention in self.patterns), self.default.ms)

    @property
    def longest_ms(self) -> int:
        """The longest."""
        return max(self.default.ms, *(retention.ms for _, retention in self.patterns), self.default.ms)

    def dump(self) -> str:
        """As JSON, which ``parse`` reads."""
        return json.dumps([self.default, self.patterns])

    @property
    def version(self) -> str:
        """A short name for exactly these settings."""
        return sha1(self.dump().encode(), usedforsecurity=False).hexdigest()[:12]

    @classmethod
    def parse(cls, text: str) -> Kept:
        """Read what ``dump`` wrote.  ValueError for anything else."""
        try:
            default, patterns = json.loads(text)
            return kept(default[0], default[1], {pattern: Retention(*given) for pattern, given in patterns})
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, ConfigError) as error:
            raise ValueError(f"no settings: {text[:200]!r}") from error

    def __str__(self) -> str:
        said = [f"history={self.default.events}", f"history_ttl={self.default.seconds:g}"]
        said += [f"{pattern!r}: {one.events} for {one.seconds:g} s" for pattern, one in self.patterns]
        return ", ".join(said)


DEFAULT = Kept(Retention(100, 300.0))
"""What is kept where nobody says otherwise."""


def kept(
    history: int | None, history_ttl: float | None, retention: Mapping[str, Retention] | None = None
) -> Kept:
    """The settings, with the default for those that are None.  Raises ConfigError."""
    history = DEFAULT.default.events if history is None else history
    history_ttl = DEFAULT.default.seconds if history_ttl is None else history_ttl
    if type(history) is not int or history < 0:
        raise ConfigError("history", "must be a whole number of events, 0 or more", history)
    _check_seconds("history_ttl", history_ttl)
    if retention is not None and not isinstance(retention, Mapping):
        raise ConfigError("retention", "must map channel patterns to Retention(events, seconds)", retention)
    for pattern, one in (retention or {}).items():
        field = f"retention[{pattern!r}]"
        if not isinstance(pattern, str) or not pattern:
            raise ConfigError("retention", "a pattern is a channel's name, with * for any text", pattern)
        if not well_formed(pattern):
            raise ConfigError("retention", WHY_ESCAPE, pattern)
        if not isinstance(one, Retention):
            raise ConfigError(field, "must be Retention(events, seconds)", one)
        if type(one.events) is not int or one.events < 1:
            raise ConfigError(f"{field}.events", "must be a whole number, 1 or more", one.events)
        _check_seconds(f"{field}.seconds", one.seconds)
    if retention and not history:
        raise ConfigError("retention", "needs a backend that keeps history", dict(retention))
    patterns = [
        (pattern, Retention(one.events, float(one.seconds))) for pattern, one in (retention or {}).items()
    ]
    return Kept(Retention(history, float(history_ttl)), tuple(patterns))


def _check_seconds(field: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < LONGEST:
        raise ConfigError(field, f"must be a positive number of seconds, below {LONGEST:.0f}", value)
