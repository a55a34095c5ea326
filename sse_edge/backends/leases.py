"""Counted slots of one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class LocalLeases:
    """Slots counted in this process's memory."""

    degraded = False

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to give back: other workers of this process may hold some."""

    async def acquire(self, caps: Sequence[tuple[str, int]]) -> str | None:
        """See ``Leases.acquire``."""
        for subject, cap in caps:
            if self._held.get(subject, 0) >= cap:
                return subject
        for subject, _ in caps:
            self._held[subject] += 1
        return None

    def release(self, subjects: Sequence[str]) -> None:
        """See ``Leases.release``."""
        for subject in subjects:
            self._held[subject] -= 1
            if self._held[subject] <= 0:
                del self._held[subject]

    def count(self, subject: str) -> int:
        """How many slots of ``subject`` are taken."""
        return self._held.get(subject, 0)
