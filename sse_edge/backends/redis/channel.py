"""A channel that streams of this worker listen to."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple

from ...event import ZERO, EventId
from ..log import Log

UNREAD = "unread"
"""A log's reason for its floor: what is below was not read here; Redis may still have it."""


class State(Enum):
    """Where a channel is on the present connection."""

    WANTED = "to be asked for"
    ASKED = "asked for, and not confirmed yet"
    HEARD = "confirmed: whatever is announced from then on arrives"
    LEFT = "nobody wanted it any more"


class Gone(NamedTuple):
    """The floor below which Redis has nothing any more, and why."""

    floor: EventId
    reason: str


NOTHING_GONE = Gone(ZERO, UNREAD)
"""As far as is known."""


class Channel:
    """A channel that streams of this worker listen to.

    ``count`` streams want it, and ``idle_since`` says since when nobody does.  ``log`` holds its recent
    events, complete from the floor on once the channel is settled.  ``last`` is the head in a plain tuple: a
    named one for each event would be looked at by every collection of garbage.  ``said`` is the text in which
    it was announced; empty where it was not, or nobody wants to hear what follows on from it.  ``ready`` is
    done once it is settled, and then let go of: everything above the log's floor was heard, or is made good
    after a lost connection.  ``gone`` has the floor below which Redis itself has nothing any more, as far as
    it was read.  ``keep`` is how many events its log holds at most.
    """

    __slots__ = (
        "count",
        "gone",
        "idle_since",
        "keep",
        "last",
        "log",
        "name",
        "reading",
        "ready",
        "said",
        "state",
        "wire",
    )

    def __init__(self, name: str, wire: bytes, ready: asyncio.Future[None], keep: int) -> None:
        self.name = name
        self.wire = wire
        self.ready: asyncio.Future[None] | None = ready
        self.keep = keep
        self.state = State.WANTED
        self.count = 0
        self.idle_since = 0.0
        self.last: tuple[int, int] = (0, 0)
        self.said = b""
        self.log = Log(ZERO, UNREAD)
        self.reading: asyncio.Task[None] | None = None
        self.gone = NOTHING_GONE

    @property
    def head(self) -> EventId:
        """The newest id heard, or known to be before all that will be."""
        return EventId(*self.last)

    @head.setter
    def head(self, id: EventId) -> None:
        self.last, self.said = (id.ms, id.n), b""

    @property
    def settled(self) -> bool:
        """Whether everything above the log's floor is heard, or will be made good."""
        return self.ready is None

    def settle(self, floor: EventId) -> None:
        """From ``floor`` on everything is heard."""
        self.restart(floor)
        if self.ready is not None:
            self.ready.set_result(None)
            self.ready = None

    def restart(self, floor: EventId) -> None:
        """Know nothing before ``floor``, and everything after it."""
        self.log = Log(floor, UNREAD)
        self.last, self.said = floor, b""  # many channels settle at one place, and share it
        self.gone = NOTHING_GONE
