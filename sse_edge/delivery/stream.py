"""One client's stream: what it hears, what it is owed, and where it is in its life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..event import EventId, Place
from ..outcome import Ending
from .backlog import Backlog
from .lifetime import NEVER
from .sink import Sink

if TYPE_CHECKING:
    from .feed import Feed


class Stream:
    """One open response.

    ``held`` collects live events while the stream is still owed history, and until the first of them
    is newer than ``upto``; None once it is live, when it is given what its ``feeds`` have after ``seen``.
    ``begin`` is the place from which on it hears its channels,
    ``after`` what its history began after.  ``pending`` is its own and comes first, ``waiting`` waits
    for a backend that is away.  ``behind`` is what waited after the last write, in bytes, and ``backlog``
    watches what has not left.  ``recheck`` is when its right to its channels is asked again.  Times are
    the hub's clock, in seconds.
    """

    __slots__ = (
        "after",
        "backlog",
        "begin",
        "behind",
        "channels",
        "deadline",
        "ending",
        "events",
        "feeds",
        "held",
        "last_ending",
        "last_write",
        "opened",
        "owed",
        "pending",
        "recheck",
        "seen",
        "session",
        "silence",
        "sink",
        "size",
        "tick",
        "upto",
        "user",
        "waiting",
    )

    def __init__(
        self,
        channels: tuple[str, ...],
        sink: Sink,
        *,
        opened: float,
        deadline: float,
        last_ending: Ending,
        silence: float,
        user: str | None = None,
        session: str | None = None,
    ) -> None:
        self.channels = channels
        self.sink = sink
        self.user = user
        self.session = session
        self.opened = opened
        self.last_write = opened
        self.deadline = deadline
        self.last_ending = last_ending
        self.silence = silence
        self.ending: Ending | None = None
        self.owed = True
        self.begin: Place | None = None
        self.upto: Place | None = None
        self.after: EventId | None = None
        self.held: list[tuple[EventId | None, bytes]] | None = []
        self.feeds: tuple[Feed, ...] = ()
        self.seen = 0
        self.pending: list[bytes] | None = None
        self.behind = 0
        self.backlog: Backlog | None = None
        self.events = 0
        self.size = 0
        self.tick = 0
        self.recheck = NEVER
        self.waiting: asyncio.Task[None] | None = None

    def hold(self, id: EventId | None, frame: bytes) -> None:
        """Take a live event while not live yet."""
        held = self.held
        if held is None:
            raise RuntimeError("the stream is live")
        if self.owed:
            held.append((id, frame))
        elif id is None:
            self.queue(frame)
        elif self.upto is None or id > self.upto.id:
            # The first event past what history gave: from here on nothing can repeat.
            self.held = None
            self.queue(frame)

    def go_live(self, upto: Place | None, after: Place | None = None) -> None:
        """History from ``after`` up to ``upto`` is queued (None: there is none): let the newer held
        events follow."""
        if upto is not None:
            self.after = after.id if after is not None and after.tag == upto.tag else upto.id
        held, self.held = self.held or [], None if upto is None else []
        self.owed = False
        self.upto = upto
        for id, frame in held:
            new = frame if upto is None else _forward(frame, upto)
            if self.held is None:
                self.queue(new)
            else:
                self.hold(id, new)

    def proven(self, position: Place | None) -> bool:
        """Whether ``position`` is newer than what its history led to, so that it may be told."""
        upto = self.upto
        return (
            upto is not None and position is not None and (position.tag != upto.tag or position.id > upto.id)
        )

    def lacks(self, id: EventId) -> bool:
        """Whether an event that went missing, and is in no log that it was given, is owed to it.

        While it is still owed history, that will bring it.
        """
        return not self.owed and (self.after is None or id > self.after)

    def restart(self, head: Place | None, frame: bytes) -> None:
        """Take a reset; what comes after it may have ids below what came before."""
        if head is None:
            self.queue(frame)
            return
        if self.owed and self.held is not None:
            self.held.append((head.id, frame))
            return
        if self.upto is not None and (head.tag != self.upto.tag or head.id < self.upto.id):
            self.held, self.upto, self.after = None, head, head.id
        if self.held is not None and self.upto is not None and head.id > self.upto.id:
            self.held = None
        self.queue(frame)

    def queue(self, frame: bytes) -> None:
        """Add an event to the next flush."""
        if self.pending is None:
            self.pending = [frame]
        else:
            self.pending.append(frame)

    def flush(self, now: float) -> int:
        """Pass everything pending to the sink; how many events that were."""
        pending, self.pending = self.pending, None
        if not pending:
            return 0
        self.give(pending[0] if len(pending) == 1 else b"".join(pending), len(pending), now)
        return len(pending)

    def give(self, data: bytes, events: int, now: float) -> None:
        """Pass bytes to the sink at once, which are so many events."""
        self.events += events
        self.last_write = now
        self.size += len(data)
        self.behind = self.sink.write(data)


def _forward(frame: bytes, upto: Place) -> bytes:
    """The event without its id line, if that would take a client that was told ``upto`` back."""
    line, _, rest = frame.partition(b"\n")
    if not line.startswith(b"id: "):
        return frame
    place = Place.parse(line[4:].decode())
    return rest if place.tag == upto.tag and place.id <= upto.id else frame
