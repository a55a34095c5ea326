"""How many streams there are: what one worker says, and what all of them have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from .reports import Reports, Tell


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
