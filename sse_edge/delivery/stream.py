"""One client's stream: what it hears, what it is owed, and where it is in its life."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol

from ..backends.base import NO_FIRST, Replay, Subscriber
from ..event import EventId, Place, without_id
from ..outcome import Ending
from . import frames
from .backlog import Backlog
from .compression import Cut, Gzip
from .heard import Heard, place_of
from .lifetime import NEVER
from .patterns import Pattern
from .sink import Sink
from .wheel import Bucket

PIECE = 262_144
"""Bytes that a stream's sink is given at a time, and about as many that it holds: the rest waits where all
streams share it."""


class AnyFeed(Protocol):
    """What a channel that it listens to has for a stream; see ``Feed``."""

    @property
    def last(self) -> int:
        """The number of the newest that was heard."""

    def after(self, seen: int) -> list[tuple[int, Heard]]:
        """What was heard after number ``seen``."""

    def let_live(self, stream: Stream) -> None:
        """``stream`` has its history, and has seen everything."""


class AnyHub(Protocol):
    """Whose a stream is: it is told what becomes of the response, and asked what is heard; see ``Hub``."""

    @property
    def subscriber(self) -> Subscriber:
        """Where events come from."""

    def stopping(self) -> None:
        """The server stops, and waits for the response to end."""

    def close_stream(self, stream: Stream) -> None:
        """Let go of ``stream``: its response is over."""

    def end_soon(self, streams: Iterable[Stream], ending: Ending) -> int:
        """End these in one of the next turns; how many nobody had ended yet."""


class Work(Protocol):
    """What is done for a stream, as long as that is open."""

    def cancel(self) -> object:
        """Do no more."""


class Stream:
    """One open response.

    It is given what its ``feeds`` have after ``seen``, once it is not ``owed`` history any more.  That
    began after ``after`` and led to ``upto``; until an event says a newer place the stream is ``wary``:
    history may have given what is heard, and its client have been told more.
    ``begin`` is the place from which on it hears its channels.

    ``pending`` is its own and comes first: ``queued`` bytes, shared with whoever else is given them, and
    then the ``goodbye``; ``counted`` is what each of it is counted with once it is written.
    While it is ``stalled`` its sink wants no more.  ``waiting`` ends with it: a task that waits for a
    backend which is away, or what plays a source on it.  ``behind`` is what waited after the last write, in
    bytes, and ``backlog`` watches what has not left.  ``gzip`` is there if its client is sent gzip: what
    counts as bytes then are those on the wire.  ``first`` is how much comes first of which channels, after
    a reset too.  ``recheck`` is when its right to its channels is asked again.  Times are the hub's clock,
    in seconds.
    """

    __slots__ = (
        "_hub",
        "address",
        "after",
        "backlog",
        "begin",
        "behind",
        "bucket",
        "channels",
        "counted",
        "deadline",
        "ending",
        "events",
        "feeds",
        "first",
        "goodbye",
        "gzip",
        "last_ending",
        "last_write",
        "opened",
        "owed",
        "path",
        "pending",
        "queued",
        "recheck",
        "seen",
        "session",
        "silence",
        "sink",
        "size",
        "stalled",
        "upto",
        "user",
        "waiting",
        "wary",
    )

    brief = False
    """Whether its client waits for one answer."""

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
        address: str = "",
        path: str = "",
        hub: AnyHub | None = None,
        gzip: Gzip | None = None,
    ) -> None:
        self._hub = hub
        self.gzip = gzip
        self.address = address
        self.path = path
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
        self.first: Mapping[str, int] = NO_FIRST
        self.begin: Place | None = None
        self.upto: Place | None = None
        self.after: EventId | None = None
        self.wary = False
        self.feeds: tuple[AnyFeed, ...] = ()
        self.seen = 0
        self.pending: list[bytes] | None = None
        self.counted: list[Pattern | None] | None = None
        self.queued = 0
        self.stalled = False
        self.goodbye: bytes | None = None
        self.behind = 0
        self.backlog: Backlog | None = None
        self.events = 0
        self.size = 0
        self.bucket: Bucket[Stream] | None = None
        self.recheck = NEVER
        self.waiting: Work | None = None

    def closed(self) -> None:
        """See ``Owner``."""
        if self._hub is not None:
            self._hub.close_stream(self)

    def stopping(self) -> None:
        """See ``Owner``."""
        if self._hub is not None:
            self._hub.stopping()

    def queue_history(self, replay: Replay, *, begins: bool = False) -> int:
        """Queue what it missed, or what comes first as it ``begins``; how many bytes that are."""
        said = frames.replay(replay, begins=begins)
        self.queue(*said)
        self.events += len(replay.events) - len(said)  # what only says where the stream is does not count
        return sum(map(len, said))

    def go_live(
        self, upto: Place | None, after: Place | None = None, meanwhile: Sequence[Heard] = ()
    ) -> None:
        """History from ``after`` up to ``upto`` is queued (None: there is none): let what was heard
        meanwhile follow, if it is newer."""
        if upto is not None:
            self.after = after.id if after is not None and after.tag == upto.tag else upto.id
        self.upto = upto
        self.owed = False
        self.wary = upto is not None
        for heard in meanwhile:
            if upto is None:
                self.take(heard)
            elif heard.kind == "event":
                place = place_of(heard.frame)
                # A place in other data is one from before: it was heard before history was read.
                known = place is not None and place.tag != upto.tag
                self.take(heard._replace(frame=without_id(heard.frame)) if known else heard)
            elif heard.head is not None and (heard.head.tag != upto.tag or heard.head.id > upto.id):
                self.take(heard)  # what history had of late events and resets, it has given

    def take(self, heard: Heard) -> None:
        """Queue what was heard, unless the stream was given it already."""
        if heard.kind == "late":
            if not self._lacks(heard.id):
                return
        elif heard.kind == "reset":
            self._restart(heard.head)
            self.queue(heard.frame, *heard.following(self.first, self.user), pattern=heard.pattern)
            return
        elif self.wary and heard.id is not None:
            if not self._is_new(heard.id):
                return
            place = place_of(heard.frame)
            if place is None or self._is_told(place):
                self.queue(heard.frame if place is None else without_id(heard.frame), pattern=heard.pattern)
                return
            # The first event past what history gave: from here on nothing can repeat.
            self.wary = False
        self.queue(heard.frame, pattern=heard.pattern)

    def pass_over(self, number: int) -> None:
        """It has seen all up to ``number``, and is not given the last of it."""
        self.seen = number
        if self.gzip is not None:
            self.gzip.part()

    def trusts(self, place: Place | None) -> bool:
        """Whether the next event, which says that it is at ``place``, lies past what history gave.

        Then nothing can repeat from there on, and the stream is not wary any more.
        """
        upto = self.upto
        if place is None or upto is None or place.id <= upto.id:
            return False
        self.wary = False
        return True

    def proves(self, position: Place | None) -> bool:
        """Whether everything up to ``position`` being delivered says more than the stream's own place.

        To be asked when it has been given all that was heard: a reset that tells it of another data set
        comes before any place in there.
        """
        upto = self.upto
        if position is None or upto is None:
            return False
        return position.tag != upto.tag or position.id > upto.id

    def _is_told(self, place: Place) -> bool:
        """Whether the client was told as much, so that it must not be taken back."""
        upto = self.upto
        return upto is not None and place.tag == upto.tag and place.id <= upto.id

    def _is_new(self, id: EventId) -> bool:
        """Whether history did not give it."""
        return self.upto is None or id > self.upto.id

    def _lacks(self, id: EventId | None) -> bool:
        """Whether an event that went missing, and is in no log that it was given, is owed to it."""
        return self.after is None or id is None or id > self.after

    def _restart(self, head: Place | None) -> None:
        """What comes after a reset may have ids below what came before."""
        upto = self.upto
        if head is None or upto is None or head == upto:
            return
        self.wary = False
        if head.tag != upto.tag:
            self.upto, self.after = head, head.id
        elif head.id < upto.id:
            self.upto = head

    def queue(self, *frames: bytes, pattern: Pattern | None = None) -> None:
        """Add events to what is pending."""
        if self.pending is None or self.counted is None:
            self.pending, self.counted = [], []
        self.pending.extend(frames)
        self.counted.extend([pattern] * len(frames))
        self.queued += sum(map(len, frames))

    def forget(self) -> None:
        """Give nothing more."""
        self.pending = self.counted = self.goodbye = None
        self.queued = 0

    def flush(self, now: float) -> int:
        """Pass what is pending to the sink, a piece at most; how many events that were."""
        pending, counted = self.pending, self.counted
        if not pending or counted is None:
            return 0
        piece, written = pending, counted
        if self.queued <= PIECE:
            self.pending = self.counted = None
        else:
            piece = pending[: _fitting(pending)]
            written = counted[: len(piece)]
            del pending[: len(piece)], counted[: len(piece)]
            self.pending = pending or None
        for pattern in written:
            if pattern is not None:
                pattern.events += 1
        data = piece[0] if len(piece) == 1 else b"".join(piece)
        self.queued -= len(data)
        self.give(data, len(piece), now)
        return len(piece)

    def give(self, data: bytes, events: int, now: float) -> None:
        """Pass bytes to the sink at once, which are so many events."""
        self.events += events
        self.last_write = now
        if self.gzip is not None:
            data = self.gzip.own(data)
        self.size += len(data)
        self.behind = self.sink.write(data)

    def give_compressed(self, gzip: Gzip, cut: Cut, feed: object, now: float) -> None:
        """The same with what all streams of ``feed`` are given that have seen as much, by its ``gzip``."""
        data = gzip.shared(cut, feed, self.seen)
        self.events += cut.events
        self.last_write = now
        self.size += len(data)
        self.behind = self.sink.write(data)

    def begin_response(self, greeting: bytes) -> Awaitable[None]:
        """Send the response's head and the first bytes; one that is compressed has its own."""
        first = greeting
        if self.gzip is not None:
            first, self.gzip.begin = self.gzip.begin, b""
        return self.sink.start(first, self)

    def end_response(self) -> int:
        """Send the goodbye, and end the response; how many events went with it."""
        goodbye, self.goodbye = self.goodbye or b"", None
        if self.gzip is not None:
            goodbye = self.gzip.own(goodbye) + self.gzip.end()
        self.sink.finish(goodbye)
        return 0


def _fitting(frames: Sequence[bytes]) -> int:
    """How many of these make a piece: one, or as many as are no larger."""
    size = 0
    for count, frame in enumerate(frames):
        size += len(frame)
        if size > PIECE:
            return max(1, count)
    return len(frames)
