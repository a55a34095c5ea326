"""How many streams there are: what one worker says, and what all of them have; those of one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Collection
from typing import NamedTuple, Protocol

from .reports import Report, Reports, Tell


class Census(Protocol):
    """The open streams of one worker, counted at the moment; polls count while they wait."""

    def count(self, channel: str) -> int:
        """How many there are on a channel."""

    def present(self, user: str) -> int:
        """How many a user has."""

    def changed(self) -> tuple[Collection[str], Collection[str]]:
        """The channels and users whose numbers may be others than when this was asked last; all, the first
        time."""

    def everybody(self) -> tuple[Collection[str], Collection[str]]:
        """The channels that have streams, and the users."""


class Presence(Protocol):
    """How many streams there are over all workers."""

    async def start(self, census: Census, tell: Tell | None = None) -> None:
        """Let this worker's streams count, from the running event loop, and ``tell`` what it says besides;
        does not wait for the backend."""

    async def close(self) -> None:
        """They count no more."""

    async def count(self, channel: str) -> int:
        """How many streams there are on ``channel``, as every worker said last.  Raises BackendError."""

    async def present(self, user: str) -> int:
        """How many ``user`` has.  Raises BackendError."""

    async def reports(self) -> Reports:
        """What each worker that counts said of itself last.  Raises BackendError."""


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
