"""Sessions whose cookie is refused although it is still valid."""

from __future__ import annotations

from collections.abc import Mapping


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
