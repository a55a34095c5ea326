"""The recent events of one channel, and how far back they are complete."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from ..event import EventId
from .base import Numbered


class Log:
    """Events above ``floor``, all of them, in order.

    ``floor`` is the newest id about which the log can no longer say what was published up to it, and
    ``reason`` why: ``trimmed``, ``expired``, ``epoch``, or whatever its owner says.  ``previous`` is the
    channel's last event before those it began with, where that is known.
    """

    __slots__ = ("events", "floor", "previous", "reason", "size")

    def __init__(self, floor: EventId, reason: str, previous: EventId | None = None) -> None:
        self.floor = floor
        self.reason = reason
        self.previous = previous
        self.events: deque[Numbered] = deque()
        self.size = 0

    @property
    def head(self) -> EventId:
        """The newest id in the log, or its floor."""
        return self.events[-1].id if self.events else self.floor

    def append(self, event: Numbered) -> None:
        """Add an event newer than all others."""
        self.events.append(event)
        self.size += len(event.frame)

    def trim(self, count: int, size: int, reason: str = "trimmed") -> None:
        """Keep at most ``count`` events and ``size`` bytes of them."""
        while self.events and (len(self.events) > count or self.size > size):
            oldest = self.events.popleft()
            self.size -= len(oldest.frame)
            self.floor = oldest.id
            self.reason = reason

    def covers(self, after: EventId) -> bool:
        """Whether all that was published after ``after`` is here."""
        return after >= self.floor

    def since(self, after: EventId) -> list[Numbered]:
        """The events with ids above ``after``."""
        if not self.events or after >= self.events[-1].id:
            return []
        if after < self.events[0].id:
            return list(self.events)
        return list(self.events)[bisect_right(self.events, after, key=lambda event: event.id) :]
