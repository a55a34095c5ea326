"""The recent events of one channel, and how far back they are complete."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import cast

from ..event import FINISHED, REOPENED, EventId, reopens
from .base import Entry, Logged, Numbered, heard_by, id_of


class Log:
    """Events above ``floor``, all of them, in order; and of those before it, what is known by chance.

    ``floor`` is the newest id about which the log can no longer say what was published up to it, and
    ``reason`` why: ``trimmed``, ``expired``, ``epoch``, or whatever its owner says.  ``previous`` is the
    channel's last event before those it began with, where that is known.  ``whole``: nobody has any event
    that is older than these.

    What is kept are plain tuples of an id's two numbers and the bytes: unlike named ones they are not
    looked at again by every collection of garbage, and a worker keeps a hundred thousand of them.
    ``excepts``: some have a user besides, who is not to hear them.
    """

    __slots__ = ("_kept", "excepts", "floor", "previous", "reason", "size", "whole")

    def __init__(self, floor: EventId, reason: str, previous: EventId | None = None) -> None:
        self.floor = floor
        self.reason = reason
        self.previous = previous
        self.size = 0
        self.whole = False
        self.excepts = False
        self._kept: deque[Logged] | None = None  # an empty one takes more than all the rest

    @property
    def events(self) -> list[Numbered]:
        """All of them."""
        return [Numbered(EventId(ms, n), *rest) for ms, n, *rest in self._kept or ()]

    @property
    def latest(self) -> EventId | None:
        """The newest event's id, if there is one."""
        return EventId(*self._kept[-1][:2]) if self._kept else None

    @property
    def bound(self) -> EventId:
        """Up to here is what is older than all events of the log, and not above its floor."""
        if not self._kept or self._kept[0][:2] > self.floor:
            return self.floor
        ms, n = self._kept[0][:2]
        return EventId(ms, n - 1)

    @property
    def head(self) -> EventId:
        """The newest id in the log, or its floor."""
        return max(EventId(*self._kept[-1][:2]), self.floor) if self._kept else self.floor

    @property
    def finished(self) -> EventId | None:
        """Where its channel's last event is, if it has had that."""
        if not self._kept or not self._kept[-1][2].endswith(FINISHED):
            return None
        return EventId(*self._kept[-1][:2])

    @property
    def count(self) -> int:
        """How many there are."""
        return 0 if self._kept is None else len(self._kept)

    def append(self, id: tuple[int, int], frame: bytes, except_user: str | None = None) -> None:
        """Add an event newer than all others."""
        ms, n = id
        if self._kept is None:
            self._kept = deque()
        if except_user is None:
            self._kept.append((ms, n, frame))
        else:
            self._kept.append((ms, n, frame, except_user))
            self.excepts = True
        self.size += len(frame)

    def prepend(self, events: Sequence[Numbered]) -> None:
        """Add events older than all others, in their order."""
        if self._kept is None:
            self._kept = deque()
        for (ms, n), frame, user in reversed(events):
            self._kept.appendleft((ms, n, frame) if user is None else (ms, n, frame, user))
            self.excepts = self.excepts or user is not None
        self.size += sum(len(event.frame) for event in events)

    def trim(self, count: int, size: int, reason: str = "trimmed") -> None:
        """Keep at most ``count`` events and ``size`` bytes of them."""
        kept = self._kept
        while kept and (len(kept) > count or self.size > size):
            entry = kept.popleft()
            self.size -= len(entry[2])
            self.whole = False
            id = entry[:2]
            if id > self.floor:
                self.floor = EventId(*id)
                self.reason = reason

    def covers(self, after: EventId) -> bool:
        """Whether all that was published after ``after`` is here."""
        return after >= self.floor

    def since(self, after: EventId, user: str | None = None) -> list[Entry]:
        """The events with ids above ``after`` that ``user`` is to hear."""
        if not self._kept or after >= self._kept[-1][:2]:
            return []
        count = len(self._kept) - bisect_right(self._kept, after, key=id_of)
        # From the end, where they are: a log may have thousands.
        found = list(islice(reversed(self._kept), count))
        found.reverse()
        return heard_by(user, found) if self.excepts else cast("list[Entry]", found)

    def newest(self, count: int, upto: EventId | None = None, user: str | None = None) -> list[Entry]:
        """The last ``count`` events up to ``upto`` that ``user`` is to hear, oldest first.

        ``REOPENED`` is none.
        """
        kept = self._kept or ()
        end = self._end(upto)
        if not self.excepts:
            found = list(islice(kept, max(0, end - count), end))
            if not any(entry[2].endswith(REOPENED) for entry in found):  # as nearly always
                return cast("list[Entry]", found)
        events = (entry for entry in islice(reversed(kept), len(kept) - end, None) if not reopens(entry[2]))
        last = list(islice((entry for entry in events if len(entry) == 3 or entry[3] != user), count))
        last.reverse()
        return heard_by(user, last)

    def enough(self, count: int, upto: EventId | None = None) -> tuple[list[Logged], bool]:
        """The last events up to ``upto``, and ``REOPENED`` among them, so many that every user is to hear
        ``count`` of them; and whether there are as many, or no others anywhere."""
        kept = self._kept or ()
        found: list[Logged] = []
        for entry in islice(reversed(kept), len(kept) - self._end(upto), None):
            if not count:
                break
            found.append(entry)
            count -= len(entry) == 3 and not reopens(entry[2])
        found.reverse()
        return found, not count or self.whole

    def _end(self, upto: EventId | None) -> int:
        """How many events there are up to ``upto``."""
        kept = self._kept or ()
        end = len(kept)
        while upto is not None and end and kept[end - 1][:2] > upto:
            end -= 1
        return end
