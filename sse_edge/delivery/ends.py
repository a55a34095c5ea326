"""Streams whose channels have all had their last event: when each of them is ended."""

from __future__ import annotations

from collections.abc import Callable

from ..backends.base import Subscriber
from .stream import Stream

PATIENCE = 5.0
"""Seconds that a stream is kept at most until its client's place is past the end."""


class Ends:
    """Calls ``end`` with streams that are over, in their time: ``now`` is the hub's clock, in seconds.

    The last thing that a client hears is its place.  Where events come from several partitions that is the
    slowest one's, and a client that comes back with a place before the end is told that once more.  So it is
    not ended before all have come as far, which takes a second while all is well.
    """

    def __init__(self, subscriber: Subscriber, end: Callable[[Stream], None]) -> None:
        self._subscriber = subscriber
        self._end = end
        self._waiting: dict[Stream, float] = {}

    @property
    def waiting(self) -> list[Stream]:
        """Those that are to be looked at again."""
        return list(self._waiting)

    def look(self, stream: Stream, now: float) -> None:
        """End it if it is over and has been given everything."""
        end = None if stream.owed else self._subscriber.finished(stream.channels)
        if end is None or stream.ending is not None:
            self._waiting.pop(stream, None)
            return
        position = self._subscriber.position
        is_behind = position is None or (position.tag == end.tag and position.id < end.id)
        if is_behind and now < self._waiting.setdefault(stream, now + PATIENCE):
            return
        self._waiting.pop(stream, None)
        self._end(stream)

    def forget(self, stream: Stream) -> None:
        """It has gone."""
        self._waiting.pop(stream, None)
