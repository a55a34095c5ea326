"""One channel in a worker: who listens to it, and what not all of them have been given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice
from operator import itemgetter

from ..event import EventId, Place
from .compression import MANY, Cut, Window
from .few import Few, added, how_many, listed, without
from .heard import Heard, place_of
from .patterns import Pattern
from .sink import framed
from .stream import Stream

NOTHING = Cut(b"", 0)
ANY = Pattern()

_NUMBER = itemgetter(0)


class Feed:
    """A channel's streams and what was heard on it last: events, and resets among them.

    Of a channel that one stream alone hears it takes little: what is empty is not there.

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
    stream that has no other, ``name`` is the channel's, as such a stream has it, and ``pattern`` what it is
    counted with.

    Once some of many streams are compressed, the last events that were given are kept as well, for the next
    ones to be compressed after.
    """

    __slots__ = (
        "_at",
        "_cut",
        "_heard",
        "_round",
        "_seen",
        "_upto",
        "_window",
        "early",
        "last",
        "live",
        "name",
        "only",
        "pattern",
        "turn",
        "waits",
    )

    def __init__(self, channel: str = "", pattern: Pattern = ANY) -> None:
        self.pattern = pattern
        self.live: Few[Stream] = None
        self.early: dict[Stream, None] | None = None
        self.last = 0
        self.turn = 0
        self.name = (channel,)
        self.only: tuple[Feed, ...] = (self,)
        self.waits = False
        self._heard: list[tuple[int, Heard]] | None = None
        self._round: list[Stream] | None = None
        self._at = 0
        self._upto = 0
        self._seen = -1
        self._cut = NOTHING
        self._window: Window | None = None

    @property
    def count(self) -> int:
        """How many streams it has."""
        return how_many(self.live) + len(self.early or ())

    @property
    def written(self) -> int:
        """The number up to which its last round has given all to its live streams."""
        return self._upto

    def join(self, stream: Stream) -> None:
        """A stream comes, which is owed history."""
        if self.early is None:
            self.early = {}
        self.early[stream] = None

    def let_live(self, stream: Stream) -> None:
        """It has its history, and has seen everything."""
        self.live = added(self.live, stream)
        self._grown(stream)

    def leave(self, stream: Stream) -> bool:
        """A stream goes; whether nobody is left."""
        self.live = without(self.live, stream)
        self._grown(stream)
        return not self.live and not self.early

    def _grown(self, stream: Stream) -> None:
        if self.early and stream in self.early:
            del self.early[stream]
            if not self.early:
                self.early = None
                if not self.waits:
                    self._forget(self.last)

    def lone(self) -> Stream | None:
        """The stream beside which there is no other, once it has its history and all that was heard."""
        live = self.live
        return None if isinstance(live, dict) or self.early or self.waits else live

    def of(self, streams: Iterable[Stream]) -> list[Stream]:
        """Those of ``streams`` that listen to it, and have not ended."""
        return [stream for stream in streams if stream.ending is None and self in stream.feeds]

    def append(self, number: int, heard: Heard) -> None:
        """Take what was heard."""
        if self._heard is None:
            self._heard = []
        self._heard.append((number, heard))
        self.last = number
        self._seen = -1
        if heard.kind != "event":
            self.turn = number
        elif self._window is not None:
            self._window.append(number, heard.frame)

    def after(self, seen: int) -> list[tuple[int, Heard]]:
        """What was heard after number ``seen``."""
        if seen >= self.last or self._heard is None:
            return []
        return self._heard[bisect_right(self._heard, seen, key=_NUMBER) :]

    def cut(self, seen: int) -> Cut:
        """The same as one piece; all streams that have seen as much share it."""
        if seen != self._seen:
            heard = self._heard or []
            first = bisect_right(heard, seen, key=_NUMBER)
            count = len(heard) - first
            if count == 1:
                data = heard[first][1].frame
            else:
                data = b"".join([each.frame for _, each in islice(heard, first, None)])
            self._seen, self._cut = seen, Cut(data, count, framed(data), self._window, seen)
        return self._cut

    def place(self, seen: int) -> Place | None:
        """What the first that was heard after number ``seen`` says of where it is, if it says so."""
        heard = self._heard or []
        _, first = heard[bisect_right(heard, seen, key=_NUMBER)]
        return None if first.id is None else place_of(first.frame)

    def keep_window(self) -> None:
        """Some of the streams are compressed: if there are many, keep what they are given from here on."""
        many = how_many(self.live) >= MANY
        if many is not (self._window is not None):
            self._window = Window() if many else None

    def next(self, count: int) -> list[Stream]:
        """The next streams of the round, ``count`` at most; the first call begins one."""
        if self._round is None:
            self._round, self._at, self._upto = listed(self.live), 0, self.last
        at = self._at
        self._at += count
        return self._round[at : self._at]

    @property
    def due(self) -> EventId | None:
        """The id of the first that was heard since the last round began; it ``waits``."""
        return self.after(self._upto)[0][1].id

    def end_round(self) -> bool:
        """Whether all streams of the round were given out; it is over then."""
        if self._round is None or self._at < len(self._round):
            return False
        self._round = None
        self.waits = self.last > self._upto
        if not self.waits and not self.early:  # as most rounds end
            self._heard = None
            self._seen, self._cut = -1, NOTHING
            return True
        first = next(iter(self.early or ()), None)
        self._forget(self._upto if first is None else min(self._upto, first.seen))
        return True

    def _forget(self, upto: int) -> None:
        if self._heard is None:
            return
        del self._heard[: bisect_right(self._heard, upto, key=_NUMBER)]
        if not self._heard:
            self._heard = None
        self._seen = -1
        self._cut = NOTHING
