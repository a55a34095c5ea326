"""One client's stream: what it hears, what it is owed, and where it is in its life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..event import EventId
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
    ``after`` is what its history began after.  ``pending`` is its own and comes first, ``waiting`` waits
    for a backend that is away.  ``behind`` is what waited after the last write, in bytes, and ``backlog``
    watches what has not left.  ``recheck`` is when its right to its channels is asked again.  Times are
    the hub's clock, in seconds.
    """

    __slots__ = (
        "after",
        "backlog",
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
        self.upto: EventId | None = None
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
        elif self.upto is None or id > self.upto:
            # The first event past what history gave: from here on nothing can repeat.
            self.held = None
            self.queue(frame)

    def go_live(self, upto: EventId | None, after: EventId | None = None) -> None:
        """History from ``after`` up to ``upto`` is queued (None: there is none): let the newer held
        events follow."""
        self.after = upto if after is None else after
        held, self.held = self.held or [], None if upto is None else []
        self.owed = False
        self.upto = upto
        for id, frame in held:
            if self.held is None:
                self.queue(frame)
            else:
                self.hold(id, frame)

    def lacks(self, id: EventId) -> bool:
        """Whether an event that went missing, and is in no log that it was given, is owed to it.

        While it is still owed history, that will bring it.
        """
        return not self.owed and (self.after is None or id > self.after)

    def restart(self, head: EventId, frame: bytes) -> None:
        """Take a reset; what comes after it may have ids below what came before."""
        if self.owed and self.held is not None:
            self.held.append((head, frame))
            return
        if self.upto is not None and head < self.upto:
            self.held, self.upto = None, head
        if self.held is not None and self.upto is not None and head > self.upto:
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
