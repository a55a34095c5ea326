"""A stream that is one answer: what happened since a place, as JSON, and the next place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from ..backends.base import Replay
from ..event import EDGE, EventId, Place
from ..outcome import ANSWERED, FINISHED, Ending
from ..stored import stored
from . import frames
from .heard import Heard, place_of
from .lifetime import NEVER
from .patterns import Pattern
from .stream import PIECE, Stream

GATHER = 0.01
"""Seconds in which more may come before something is told, as what is published together does."""

PACE = 0.25
"""Seconds from one poll to the next where events come faster: 240 a minute, of the 300 that an address has by
default."""

LOOK = 0.05
"""Seconds between looks at whether all partitions have come as far as what was heard of one."""

MOST = PIECE
"""Bytes of events in an answer, and one event more: the next poll goes on from there."""


class Said(NamedTuple):
    """What a stream's client would be sent.

    ``id`` is there if it is sent again to whoever comes back with a place before: an event's, and for a
    reset where its channel begins anew.  What is ``due`` cannot be left to the next poll: resets, and events
    that went missing.  What was heard is counted with its ``pattern``.
    """

    id: EventId | None
    frame: bytes
    due: bool = False
    pattern: Pattern | None = None

    def is_within(self, place: Place | None) -> bool:
        """Whether who comes back with ``place`` is not given it again."""
        if self.id is None:
            return True
        if place is not None and self.id <= place.id:
            return True
        own = place_of(self.frame)  # of one order; of several it is where the slowest was
        return own is not None and own.id == self.id

    @property
    def matters(self) -> bool:
        """Whether a client is told of it: not of places and comments alone."""
        frame = self.frame
        return (b"\ndata:" in frame or frame.startswith(b"data:")) and not frames.is_position(frame)


class Poll(Stream):
    """A stream whose client comes back for more, with the place that the answer ends with.

    It ends as ``ANSWERED`` when it has something to tell, and when it has waited ``wait`` seconds; at once
    if its client had no place, its ``cursor``, and has one now.  However else it ends, that is told too.

    Where events come from several partitions, a client's place is that of the slowest, and an event of
    another, or a reset, may lie past it.  Such a one is told when all have come as far, as a rule within a
    second: told before, it would be told again.
    """

    __slots__ = ("_cursor", "_cut", "_heard", "_late", "_next", "_said", "_size", "_soon", "_timer", "_wait")

    brief = True

    def __init__(self, *arguments: Any, wait: float, cursor: Place | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.silence = NEVER
        self.behind = PIECE + 1  # it is written nothing before it ends
        self._wait = wait
        self._cursor = cursor
        self._said: list[Said] = []
        self._size = 0
        self._cut = False
        self._next: Place | None = None  # of a client that was told all that is said
        self._heard: Heard | None = None  # which is being queued
        self._late = False
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    def begin_response(self, greeting: bytes) -> Awaitable[None]:
        """See ``Stream.begin_response``: from here on it waits."""
        self._timer = asyncio.get_running_loop().call_later(self._wait, self._on_late)
        return self.sink.start(b"", self)

    # What is said

    def queue_history(self, replay: Replay, *, begins: bool = False) -> int:
        """See ``Stream.queue_history``."""
        for reset in replay.resets:
            self._add(Said(replay.reach.get(reset.channel), frames.reset(reset), due=True))
        self._next = replay.upto
        for ms, n, frame in replay.events:
            id = EventId(ms, n)
            if not self._add(Said(id, frame)):
                break
            last = id
        if self._cut and replay.upto is not None:
            self._next = Place(last, replay.upto.tag)
        return 0

    def go_live(self, *arguments: Any) -> None:
        """See ``Stream.go_live``."""
        super().go_live(*arguments)
        self._look_in(0)

    def take(self, heard: Heard) -> None:
        """See ``Stream.take``."""
        self._heard = heard
        super().take(heard)
        self._heard = None

    def queue(self, *frames: bytes, pattern: Pattern | None = None) -> None:
        """See ``Stream.queue``."""
        for frame in frames:
            if self._add(_said(frame, self._heard, pattern)) and not self.owed:
                self._next = place_of(frame) or self._next
                self._look_in(GATHER)

    def _add(self, said: Said) -> bool:
        """Say it, unless the next poll will."""
        if said.id is not None and not said.due:
            # Of events that share an id none is left for the next.
            self._cut = self._cut or (self._size > MOST and said.id != self._said[-1].id)
            if self._cut:
                return False
        self._said.append(said)
        self._size += len(said.frame)
        return True

    # When it is told

    def _on_late(self) -> None:
        self._late = True
        self._look()

    def _look_in(self, seconds: float) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._soon = None
        if self.owed or self.ending is not None or self._hub is None:
            return
        position = self._hub.subscriber.position
        place = position if self.proves(position) else self._next
        is_new = self._cursor is None and self._next is not None
        within = [one for one in self._said if one.is_within(place)]
        early = [one for one in self._said if not one.is_within(place)]
        # What is told before its time is told again and again.
        ready = any(one.matters for one in within) and not any(one.due for one in early)
        if self._late or self._cut or is_new or ready:
            self._hub.end_soon([self], ANSWERED)
        elif early:
            self._look_in(LOOK)

    def proves(self, position: Place | None) -> bool:
        """See ``Stream.proves``; a place in other data than before is told in any case."""
        if position is not None and self._next is not None and position.tag != self._next.tag:
            return True
        return super().proves(position)

    def end_response(self) -> int:
        """See ``Stream.end_response``: the answer is made and sent."""
        goodbye, self.goodbye = self.goodbye or b"", None
        ending = ANSWERED if self._cut and self.ending is FINISHED else self.ending
        place = self._next if self._cut else place_of(goodbye) or self._next
        said = [one for one in self._said if one.due or one.is_within(place)]
        if ending is FINISHED:
            said, place = self._said, self._end(place)
        elif not any(one.matters for one in said) and not (self._hub and self._hub.subscriber.connected):
            said = self._said  # it may be long before all have come as far: better told twice than late
        told = Told.of([one.frame for one in said])
        for one in said:
            if one.pattern is not None and one.matters:
                one.pattern.events += 1
        again = ending is ANSWERED and (self._cut or self._wait > 0)
        retry = self._pace(told) if again else int(goodbye.partition(b"retry: ")[2].partition(b"\n")[0])
        body = told.answer(place or self._cursor, ending, retry)
        self.events, self.size = len(told.events), len(body)
        self.forget()
        self.sink.finish(body)
        return self.events

    def _pace(self, told: Told) -> int:
        """Milliseconds until the next poll: what is busy is told some of it at a time."""
        if self._cut or self._cursor is None or not told.events:
            return 0
        return round(1000 * max(0.0, self.opened + PACE - asyncio.get_running_loop().time()))

    def _end(self, place: Place | None) -> Place | None:
        """``place``, or where its channels' last event is: there is nothing more to come back for."""
        end = self._hub.subscriber.finished(self.channels) if self._hub else None
        if end is None or (place is not None and (place.tag != end.tag or place.id >= end.id)):
            return place
        return end

    def forget(self) -> None:
        """See ``Stream.forget``."""
        super().forget()
        self._said.clear()
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        self._timer = self._soon = None


def _said(frame: bytes, heard: Heard | None, pattern: Pattern | None) -> Said:
    if heard is None:
        return Said(None, frame, pattern=pattern)
    id = heard.id if heard.head is None else heard.head.id
    is_reset = heard.kind == "reset" and frame is heard.frame
    return Said(id, frame, due=heard.kind != "event", pattern=None if is_reset else pattern)


class Told(NamedTuple):
    """What a stream's bytes tell, as JSON: events, and the edge's own ones by kind."""

    events: list[str]
    resets: list[str]
    dropped: list[str]

    @classmethod
    def of(cls, said: Iterable[bytes]) -> Told:
        """Read each event's bytes; what no client would be told is left out."""
        told = cls([], [], [])
        for frame in said:
            kind, text = _read(frame)
            if kind == EDGE + "reset":
                told.resets.append(text)
            elif kind == EDGE + "dropped":
                told.dropped.append(text)
            elif text:
                told.events.append(text)
        return told

    def answer(self, next: Place | None, ending: Ending | None, retry: int) -> bytes:
        """The whole answer: ``next`` is what the client comes back with, after ``retry`` milliseconds."""
        close = None if ending in (None, ANSWERED) else {"reason": ending.reason}
        return (
            f'{{"events": [{", ".join(self.events)}], "next": {json.dumps(next and str(next))}, '
            f'"resets": [{", ".join(self.resets)}], "dropped": [{", ".join(self.dropped)}], '
            f'"close": {json.dumps(close)}, "retry": {retry}}}'
        ).encode()


@lru_cache(maxsize=16)  # what one channel says is told to many
def _read(frame: bytes) -> tuple[str, str]:
    """An event's name and its JSON, which for the edge's own is their data; nothing where it has none."""
    event = stored("", frame)
    if event is None or frames.is_position(frame):
        return "", ""
    if event.event.startswith(EDGE):
        return event.event, event.data
    said = {"id": event.id} if event.id else {}
    said |= {"event": event.event, "data": event.data}
    return event.event, json.dumps(said, ensure_ascii=False)
