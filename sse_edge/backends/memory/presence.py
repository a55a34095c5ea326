"""How many streams the workers of one process have, and what each says of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import NamedTuple

from ..presence import Census
from ..reports import Report, Reports, Tell


class Here(NamedTuple):
    """A worker of this process."""

    loop: asyncio.AbstractEventLoop
    census: Census
    tell: Tell | None


Workers = list[Here]


class LocalPresence:
    """See ``Presence``: it asks the ``workers`` of this process, whichever share the list."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._own: Here | None = None

    async def start(self, census: Census, tell: Tell | None = None) -> None:
        """See ``Presence.start``."""
        # A loop that was closed without close() has no streams any more.
        self._workers[:] = [known for known in self._workers if not known.loop.is_closed()]
        self._own = Here(asyncio.get_running_loop(), census, tell)
        self._workers.append(self._own)

    async def close(self) -> None:
        """See ``Presence.close``."""
        if self._own in self._workers:
            self._workers.remove(self._own)

    async def count(self, channel: str) -> int:
        """See ``Presence.count``."""
        return sum(here.census.count(channel) for here in self._here())

    async def present(self, user: str) -> int:
        """See ``Presence.present``."""
        return sum(here.census.present(user) for here in self._here())

    async def reports(self) -> Reports:
        """See ``Presence.reports``: each worker is asked, on its own event loop."""
        loop = asyncio.get_running_loop()
        told: list[Report] = []
        for here in self._here():
            if here.tell is not None and here.loop.is_running():
                asked = here.tell()
                if here.loop is not loop:
                    asked = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_of(asked), here.loop))
                told.append({**await asked, "heard": time.time()})
        return Reports(told, 0, time.time())

    def _here(self) -> Workers:
        return [here for here in list(self._workers) if not here.loop.is_closed()]


async def _of(report: Awaitable[Report]) -> Report:
    return await report
