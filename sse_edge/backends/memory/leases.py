"""Counted slots of one process."""

from __future__ import annotations

from collections.abc import Sequence


class LocalLeases:
    """Slots counted in this process's memory."""

    degraded = False

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

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
            self._held[subject] = self._held.get(subject, 0) + 1
        return None

    def release(self, subjects: Sequence[str]) -> None:
        """See ``Leases.release``."""
        for subject in subjects:
            left = self._held.get(subject, 0) - 1
            if left > 0:
                self._held[subject] = left
            else:
                self._held.pop(subject, None)

    def count(self, subject: str) -> int:
        """How many slots of ``subject`` are taken."""
        return self._held.get(subject, 0)
