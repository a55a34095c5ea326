"""One channel in a worker: who listens to it, and the events that not all of them have been given."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice

from .stream import Stream


class Feed:
    """A channel's streams and its newest events.

    An event is kept once for all streams, with its number in the order of the whole hub; a stream only
    knows the number that it has ``seen``.  So an event costs nothing per stream until it is written, and
    streams that have seen as much are written the same bytes.

    Rounds give the events to all streams, some at a time: whoever comes late in a round is given what
    came meanwhile with the rest, and what was new to nobody any more when the round began is let go of
    at its end.

    ``live`` are the streams that are given what they have not seen, ``early`` those that are still owed
    history; ``last`` is the number of the newest event, and ``waits`` whether the feed waits for a round
    or is in one.  ``only`` are the feeds of a stream that has no other.
    """

    __slots__ = (
        "_at",
        "_cut",
        "_frames",
        "_numbers",
        "_round",
        "_seen",
        "_upto",
        "early",
        "last",
        "live",
        "only",
        "waits",
    )

    def __init__(self) -> None:
        self.live: set[Stream] = set()
        self.early: set[Stream] = set()
        self.last = 0
        self.only: tuple[Feed, ...] = (self,)
        self.waits = False
        self._numbers: list[int] = []
        self._frames: list[bytes] = []
        self._round: list[Stream] | None = None
        self._at = 0
        self._upto = 0
        self._seen = -1
        self._cut: tuple[bytes, int] = (b"", 0)

    def append(self, number: int, frame: bytes) -> None:
        """Take an event."""
        self._numbers.append(number)
        self._frames.append(frame)
        self.last = number
        self._seen = -1

    def after(self, seen: int) -> list[tuple[int, bytes]]:
        """The events after number ``seen``."""
        if seen >= self.last:
            return []
        first = bisect_right(self._numbers, seen)
        return list(zip(self._numbers[first:], self._frames[first:], strict=True))

    def joined(self, seen: int) -> tuple[bytes, int]:
        """The same as one piece, and how many; all streams that have seen as much share it."""
        if seen != self._seen:
            first = bisect_right(self._numbers, seen)
            count = len(self._frames) - first
            data = self._frames[first] if count == 1 else b"".join(islice(self._frames, first, None))
            self._seen, self._cut = seen, (data, count)
        return self._cut

    def next(self, count: int) -> list[Stream]:
        """The next streams of the round, ``count`` at most; the first call begins one."""
        if self._round is None:
            self._round, self._at, self._upto = list(self.live), 0, self.last
        at = self._at
        self._at += count
        return self._round[at : self._at]

    def end_round(self) -> bool:
        """Whether all streams of the round were given out; it is over then."""
        if self._round is None or self._at < len(self._round):
            return False
        self._round = None
        gone = bisect_right(self._numbers, self._upto)
        del self._numbers[:gone], self._frames[:gone]
        self._seen = -1
        self._cut = (b"", 0)
        self.waits = bool(self._numbers)
        return True
