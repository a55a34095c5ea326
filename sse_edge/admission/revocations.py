"""Sessions whose cookie is refused although it is still valid."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.base import LONGEST_LIFE
from ..errors import ConfigError

SKEW = 120.0
"""Seconds by which the clock that a cookie was signed by and the one that revoked it may differ: a cookie may
be a minute ahead of its worker."""

FOREVER = 1e9
"""Seconds, 31 years: more makes no difference."""


def session_life(auth: object) -> float:
    """Seconds for which a session can be let in by ``auth`` without being told of it: its ``max_age``, 0 for
    one that has no sessions, and the longest that browsers keep a cookie for one that does not say it.

    Raises ConfigError.
    """
    max_age = getattr(auth, "max_age", None)
    if max_age is None:
        return LONGEST_LIFE
    if type(max_age) not in (int, float) or not max_age >= 0:
        why = "must be a number of seconds, 0 where there are no sessions"
        raise ConfigError("auth.max_age", why, max_age)
    return min(max_age, FOREVER) + SKEW if max_age else 0.0


class Revocations:
    """Revoked sessions, each until its cookie would have expired anyway (Unix seconds)."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._sweep_at = 1024

    def add(self, session: str, until: float, now: float) -> None:
        """Refuse ``session`` until then."""
        self._until[session] = max(until, self._until.get(session, 0.0))
        if len(self._until) > self._sweep_at:
            self._until = {known: end for known, end in self._until.items() if end > now}
            self._sweep_at = max(1024, 2 * len(self._until))

    def merge(self, known: Mapping[str, float], now: float) -> None:
        """Refuse all of ``known``."""
        for session, until in known.items():
            self.add(session, until, now)

    def covers(self, session: str | None, now: float) -> bool:
        """Whether ``session`` is revoked at ``now``."""
        return session is not None and self._until.get(session, 0.0) > now
