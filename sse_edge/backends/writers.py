"""Who writes to which channel: what every backend knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..event import EventId


class Writing(NamedTuple):
    """That ``channel`` is written by whoever made ``token``; ``last`` ends it should that one die."""

    channel: str
    token: str
    last: bytes


class Begun(NamedTuple):
    """What came of beginning to write: ``refused`` is ``""``, ``WRITES`` or ``IS_FINISHED``; ``after``
    is before all that will be written.  ``kept`` is how many events history has of the channel at most.
    """

    refused: str
    after: EventId
    kept: int


WRITES = "writing"
"""Somebody else writes to the channel."""

IS_FINISHED = "finished"
"""The channel has had its last event."""

HOLDS, STOPS, LOST = "holds", "stops", "lost"
"""What ``Writers.renew`` says: it goes on; somebody asked it to stop; it was taken for dead, or over."""


class Writers(Protocol):
    """Who writes to which channel: at most one, over all workers.

    A writer that is not renewed for ``LIFE`` seconds is taken for dead, once it was missed twice.
    """

    async def begin(self, writing: Writing, *, reopen: bool = False) -> Begun:
        """Begin, if nobody else writes to the channel and it is not finished, or may be reopened.

        Repeated it changes nothing.  Raises BackendError, and EventError where no history is kept.
        """

    async def renew(self, writings: Sequence[Writing]) -> list[str | None]:
        """Say that they live; of each ``HOLDS``, ``STOPS`` or ``LOST``, and None where it cannot be known.

        What was lost with the backend's data is there again.
        """

    async def end(self, writing: Writing) -> None:
        """Write no more.  Raises BackendError."""

    async def stop(self, channel: str) -> bool:
        """Ask who writes to ``channel`` to stop; whether anybody does.  Raises BackendError."""

    async def standing(self, channel: str) -> str:
        """``WRITES``, ``IS_FINISHED``, or neither: ``""``.  Raises BackendError."""

    async def expired(self) -> list[Writing]:
        """Take some of those over that died; each is to be ended now.  To be asked every ``LOOK`` seconds.

        Raises BackendError.
        """


LIFE = 4.0
"""Seconds that a writer is taken to be alive for after it said so."""

LOOK = 1.0
"""Seconds between looks for those that died."""

DOUBT = 2.0
"""Seconds that one is doubted for before it is taken for dead, and in which it can say that it lives: while
the backend was away nobody could."""
