"""One channel in a worker: who listens to it, and what not all of them have been given."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice

from .sink import framed
from .stream import Heard, Stream

Cut = tuple[bytes, int, bytes]
"""A piece, how many events that are, and the piece framed."""

NOTHING: Cut = (b"", 0, b"")


class Feed:
    """A channel's streams and what was heard on it last: events, and resets among them.

    What is heard is kept once for all streams, with its number in the order of the whole hub; a stream
    only knows the number that it has ``seen``.  So an event costs nothing per stream until it is written,
    and streams that have seen as much are written the same bytes.

    Rounds give it to all streams, some at a time: whoever comes late in a round is given what came
    meanwhile with the rest, and what was new to nobody any more when the round began is let go of at its
    end.

    ``live`` are the streams that are given what they have not seen, ``early`` those that are still owed
    history, in the order in which they came: what they have not seen stays for them.  ``last`` is the
    number of the newest that was heard, ``turn`` that of the newest that is not the same for every
    stream, and ``waits`` whether the feed waits for a round or is in one.  ``only`` are the feeds of a
    stream that has no other.
    """

    __slots__ = (
        "_at",
        "_cut",
        "_heard",
        "_numbers",
        "_round",
        "_seen",
        "_upto",
        "early",
        "last",
        "live",
        "only",
        "turn",
        "waits",
    )

    def __init__(self) -> None:
        self.live: set[Stream] = set()
        self.early: dict[Stream, None] = {}
        self.last = 0
        self.turn = 0
        self.only: tuple[Feed, ...] = (self,)
        self.waits = False
        self._numbers: list[int] = []
        self._heard: list[Heard] = []
        self._round: list[Stream] | None = None
        self._at = 0
        self._upto = 0
        self._seen = -1
        self._cut = NOTHING

    def join(self, stream: Stream) -> None:
        """A stream comes, which is owed history."""
        self.early[stream] = None

    def let_live(self, stream: Stream) -> None:
        """It has its history, and has seen everything."""
        self.live.add(stream)
        self._grown(stream)

    def leave(self, stream: Stream) -> bool:
        """A stream goes; whether nobody is left."""
        self.live.discard(stream)
        self._grown(stream)
        return not self.live and not self.early

    def _grown(self, stream: Stream) -> None:
        if stream in self.early:
            del self.early[stream]
            if not self.early and not self.waits:
                self._forget(self.last)

    def append(self, number: int, heard: Heard) -> None:
        """Take what was heard."""
        self._numbers.append(number)
        self._heard.append(heard)
        self.last = number
        if heard.kind != "event":
            self.turn = number
        self._seen = -1

    def after(self, seen: int) -> list[tuple[int, Heard]]:
        """What was heard after number ``seen``."""
        if seen >= self.last:
            return []
        first = bisect_right(self._numbers, seen)
        return list(zip(self._numbers[first:], self._heard[first:], strict=True))

    def joined(self, seen: int) -> Cut:
        """The same as one piece; all streams that have seen as much share it."""
        if seen != self._seen:
            first = bisect_right(self._numbers, seen)
            count = len(self._heard) - first
            if count == 1:
                data = self._heard[first].frame
            else:
                data = b"".join([heard.frame for heard in islice(self._heard, first, None)])
            self._seen, self._cut = seen, (data, count, framed(data))
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
        self.waits = self.last > self._upto
        if not self.waits and not self.early:  # as most rounds end
            self._numbers.clear()
            self._heard.clear()
            self._seen, self._cut = -1, NOTHING
            return True
        first = next(iter(self.early), None)
        self._forget(self._upto if first is None else min(self._upto, first.seen))
        return True

    def _forget(self, upto: int) -> None:
        if not self._numbers:
            return
        gone = bisect_right(self._numbers, upto)
        del self._numbers[:gone], self._heard[:gone]
        self._seen = -1
        self._cut = NOTHING
