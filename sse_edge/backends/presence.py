"""Streams of one process, counted."""

from __future__ import annotations

import asyncio

from .base import Attendance

Workers = list[tuple[asyncio.AbstractEventLoop, Attendance]]


class LocalPresence:
    """See ``Presence``: it asks the ``workers`` of this process, whichever share the list."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._own: tuple[asyncio.AbstractEventLoop, Attendance] | None = None

    async def start(self, attendance: Attendance) -> None:
        """See ``Presence.start``."""
        # A loop that was closed without close() has no streams any more.
        self._workers[:] = [known for known in self._workers if not known[0].is_closed()]
        self._own = asyncio.get_running_loop(), attendance
        self._workers.append(self._own)

    async def close(self) -> None:
        """See ``Presence.close``."""
        if self._own in self._workers:
            self._workers.remove(self._own)

    async def count(self, channel: str) -> int:
        """See ``Presence.count``."""
        return sum(here.count(channel) for loop, here in list(self._workers) if not loop.is_closed())

    async def present(self, user: str) -> int:
        """See ``Presence.present``."""
        return sum(here.present(user) for loop, here in list(self._workers) if not loop.is_closed())
