"""Revoked sessions, and how long sessions live, in one process."""

from __future__ import annotations

from ..base import LONGEST_LIFE

DAY = 86_400.0


class Sessions:
    """See ``Backend.revoke`` and ``Backend.revoked``; ``now`` is Unix time."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._lives: dict[float, float] = {}

    def revoke(self, session: str, until: float | None, now: float) -> float:
        """Remember that ``session`` is revoked until then, or for as long as it can live; until when."""
        life = self._life(now)
        # The time and not the end: a worker may say later that sessions live longer.
        kept, time, end = (self._since, now, now + life) if until is None else (self._until, until, until)
        kept[session] = max(time, kept.get(session, 0.0))
        self._until = {known: end for known, end in self._until.items() if end > now}
        self._since = {known: since for known, since in self._since.items() if since + life > now}
        self._lives = {known: end for known, end in self._lives.items() if end > now}
        return end

    def revoked(self, life: float, now: float) -> dict[str, float]:
        """Every session that is revoked, and until when, for a worker whose sessions live so long."""
        if life > 0:
            # Cookies from before a change live on, and so does the word about them.
            self._lives[life] = max(now + life + DAY, self._lives.get(life, 0.0))
        longest = self._life(now)
        ends = {session: since + longest for session, since in self._since.items()}
        for session, until in self._until.items():
            ends[session] = max(until, ends.get(session, 0.0))
        return {session: end for session, end in ends.items() if end > now}

    def _life(self, now: float) -> float:
        return max((life for life, end in self._lives.items() if end > now), default=LONGEST_LIFE)
