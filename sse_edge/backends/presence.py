"""How many streams there are: what one worker says, and what all of them have; those of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol


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

    async def start(self, census: Census) -> None:
        """Let this worker's streams count, from the running event loop; does not wait for the backend."""

    async def close(self) -> None:
        """They count no more."""

    async def count(self, channel: str) -> int:
        """How many streams there are on ``channel``, as every worker said last.  Raises BackendError."""

    async def present(self, user: str) -> int:
        """How many ``user`` has.  Raises BackendError."""


Workers = list[tuple[asyncio.AbstractEventLoop, Census]]


class LocalPresence:
    """See ``Presence``: it asks the ``workers`` of this process, whichever share the list."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._own: tuple[asyncio.AbstractEventLoop, Census] | None = None

    async def start(self, census: Census) -> None:
        """See ``Presence.start``."""
        # A loop that was closed without close() has no streams any more.
        self._workers[:] = [known for known in self._workers if not known[0].is_closed()]
        self._own = asyncio.get_running_loop(), census
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
