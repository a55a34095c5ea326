"""One client's stream: what it hears, what it is owed, and where it is in its life."""

from __future__ import annotations

import asyncio

from ..event import EventId
from ..outcome import Ending
from .backlog import Backlog
from .lifetime import NEVER
from .sink import Sink


class Stream:
    """One open response.

    ``held`` collects live events while the stream is still owed history, and until the first of them
    is newer than ``upto``; None once it is live.  ``after`` is what its history began after.
    ``pending`` waits for the next flush, ``waiting`` for a backend that is away.  ``behind`` is whether
    the last write did not leave at once, and ``backlog`` watches what has not left.  ``recheck`` is when
    its right to its channels is asked again.  Times are the hub's clock, in seconds.
    """

    __slots__ = (
        "after",
        "backlog",
        "behind",
        "channels",
        "deadline",
        "ending",
        "events",
        "held",
        "last_ending",
        "last_write",
        "opened",
        "owed",
        "pending",
        "recheck",
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
        self.pending: list[bytes] = []
        self.behind = False
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
        self.pending.append(frame)

    def flush(self, now: float) -> None:
        """Pass everything pending to the sink."""
        pending = self.pending
        if pending:
            self.events += len(pending)
            data = pending[0] if len(pending) == 1 else _join(pending)
            pending.clear()
            self.last_write = now
            self.size += len(data)
            self.behind = self.sink.write(data) > 0

    def write(self, data: bytes, now: float) -> None:
        """Pass bytes that are no event to the sink at once."""
        self.last_write = now
        self.size += len(data)
        self.behind = self.sink.write(data) > 0


_joined: tuple[list[bytes], bytes] = ([], b"")


def _join(pending: list[bytes]) -> bytes:
    """All of ``pending`` as one; streams that wait for the same events share it.

    Comparing lists of the same objects looks at no byte of them.
    """
    global _joined  # noqa: PLW0603 - one entry, so that a burst to all streams is joined once
    known, data = _joined
    if known != pending:
        data = b"".join(pending)
        _joined = (pending.copy(), data)
    return data
