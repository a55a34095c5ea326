"""A channel that streams of this worker listen to."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple

from ...event import ZERO, EventId
from ..base import Entry, Logged
from ..log import Log
from ..retention import Retention

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
    it was read.  ``retention`` bounds what its log holds.  ``finished`` is its last event, if it has had it,
    and ``first`` how many of its events any stream was to be given first.
    """

    __slots__ = (
        "count",
        "finished",
        "first",
        "gone",
        "idle_since",
        "last",
        "log",
        "name",
        "reading",
        "ready",
        "retention",
        "said",
        "state",
        "wire",
    )

    def __init__(self, name: str, wire: bytes, ready: asyncio.Future[None], retention: Retention) -> None:
        self.name = name
        self.wire = wire
        self.ready: asyncio.Future[None] | None = ready
        self.retention = retention
        self.finished: EventId | None = None
        self.first = 0
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

    def settle(self, floor: EventId, finished: EventId | None = None) -> None:
        """From ``floor`` on everything is heard; before it was its last event, if it is ``finished``."""
        self.restart(floor)
        self.finished = finished
        if self.ready is not None:
            self.ready.set_result(None)
            self.ready = None

    def restart(self, floor: EventId) -> None:
        """Know nothing before ``floor``, and everything after it."""
        self.log = Log(floor, UNREAD)
        self.last, self.said = floor, b""  # many channels settle at one place, and share it
        self.gone = NOTHING_GONE
        self.finished = None

    def is_finished(self, now: EventId) -> bool:
        """Whether it has had its last event, and history still has it."""
        return self.finished is not None and not self.retention.has_expired(self.finished, now)

    def newest(
        self, count: int, now: EventId, log: Log | None = None, user: str | None = None
    ) -> list[Entry]:
        """Its last ``count`` events that ``user`` is to hear, as far as they are known, up to ``now``."""
        log = log or self.log
        latest = log.latest
        if latest is None or self.retention.has_expired(latest, now):
            return []
        return log.newest(count, now, user)

    def enough(self, count: int, now: EventId, log: Log | None) -> list[Logged]:
        """The same of ``log`` for every user: see ``Log.enough``."""
        if log is None or log.latest is None or self.retention.has_expired(log.latest, now):
            return []
        return log.enough(count, now)[0]
