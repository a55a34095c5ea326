"""The recent events of one channel, and how far back they are complete."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice

from ..event import FINISHED, REOPENED, EventId, reopens
from .base import Entry, Numbered, id_of


class Log:
    """Events above ``floor``, all of them, in order; and of those before it, what is known by chance.

    ``floor`` is the newest id about which the log can no longer say what was published up to it, and
    ``reason`` why: ``trimmed``, ``expired``, ``epoch``, or whatever its owner says.  ``previous`` is the
    channel's last event before those it began with, where that is known.  ``whole``: nobody has any event
    that is older than these.

    What is kept are plain tuples of an id's two numbers and the bytes: unlike named ones they are not
    looked at again by every collection of garbage, and a worker keeps a hundred thousand of them.
    """

    __slots__ = ("_kept", "floor", "previous", "reason", "size", "whole")

    def __init__(self, floor: EventId, reason: str, previous: EventId | None = None) -> None:
        self.floor = floor
        self.reason = reason
        self.previous = previous
        self.size = 0
        self.whole = False
        self._kept: deque[Entry] | None = None  # an empty one takes more than all the rest

    @property
    def events(self) -> list[Numbered]:
        """All of them."""
        return [Numbered(EventId(ms, n), frame) for ms, n, frame in self._kept or ()]

    @property
    def latest(self) -> EventId | None:
        """The newest event's id, if there is one."""
        return EventId(*self._kept[-1][:2]) if self._kept else None

    @property
    def bound(self) -> EventId:
        """Up to here is what is older than all events of the log, and not above its floor."""
        if not self._kept or self._kept[0][:2] > self.floor:
            return self.floor
        ms, n, _ = self._kept[0]
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

    def append(self, event: tuple[tuple[int, int], bytes]) -> None:
        """Add an event newer than all others."""
        (ms, n), frame = event
        if self._kept is None:
            self._kept = deque()
        self._kept.append((ms, n, frame))
        self.size += len(frame)

    def prepend(self, events: Sequence[Numbered]) -> None:
        """Add events older than all others, in their order."""
        if self._kept is None:
            self._kept = deque()
        self._kept.extendleft((*id, frame) for id, frame in reversed(events))
        self.size += sum(len(event.frame) for event in events)

    def trim(self, count: int, size: int, reason: str = "trimmed") -> None:
        """Keep at most ``count`` events and ``size`` bytes of them."""
        kept = self._kept
        while kept and (len(kept) > count or self.size > size):
            ms, n, frame = kept.popleft()
            self.size -= len(frame)
            self.whole = False
            if (ms, n) > self.floor:
                self.floor = EventId(ms, n)
                self.reason = reason

    def covers(self, after: EventId) -> bool:
        """Whether all that was published after ``after`` is here."""
        return after >= self.floor

    def since(self, after: EventId) -> list[Entry]:
        """The events with ids above ``after``, as they are kept."""
        if not self._kept or after >= self._kept[-1][:2]:
            return []
        count = len(self._kept) - bisect_right(self._kept, after, key=id_of)
        # From the end, where they are: a log may have thousands.
        found = list(islice(reversed(self._kept), count))
        found.reverse()
        return found

    def newest(self, count: int, upto: EventId | None = None) -> list[Entry]:
        """The last ``count`` events up to ``upto``, oldest first; ``REOPENED`` is none."""
        kept = self._kept or ()
        end = len(kept)
        while upto is not None and end and kept[end - 1][:2] > upto:
            end -= 1
        found = list(islice(kept, max(0, end - count), end))
        if not any(entry[2].endswith(REOPENED) for entry in found):  # as nearly always
            return found
        events = [entry for entry in islice(kept, end) if not reopens(entry[2])]
        return events[max(0, len(events) - count) :]
