"""Events of several orders as clients are told them, made once for all who missed the same."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

from ...event import EventId, Place, without_id
from ..base import Entry, id_of

COUNT = 64
"""Answers that are kept at most: those that were asked for last."""

SIZE = 8_388_608
"""Bytes that they have at most, all together: of their events, and of those that were asked about."""


class Retelling:
    """The newest ``count`` answers of ``retold``, of ``size`` bytes in all.

    The question is the events themselves, and not what a client says of its place: whatever lies between
    two events is the same question, and an answer cannot be out of date.
    """

    def __init__(self, count: int = COUNT, size: int = SIZE) -> None:
        self._count = count
        self._size = self._left = size
        self._made: OrderedDict[tuple[tuple[Entry, ...], int, str], tuple[Entry, ...]] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._made)

    def of(self, events: Sequence[Entry], place: Place) -> Sequence[Entry]:
        """``events`` of several orders as they are told where all of them were heard up to ``place``; see
        ``retold``."""
        if not events:
            return events
        ordered = tuple(sorted(events))
        key = ordered, bisect_right(ordered, place.id, key=id_of), place.tag
        told = self._made.get(key)
        if told is not None:
            self._made.move_to_end(key)
            return told
        told = retold(*key)
        size = _size(ordered) + _size(told)
        if size <= self._size:
            self._made[key] = told
            self._left -= size
            while self._left < 0 or len(self._made) > self._count:
                (asked, _, _), old = self._made.popitem(last=False)
                self._left += _size(asked) + _size(old)
        return told


def retold(events: Sequence[Entry], placed: int, tag: str) -> tuple[Entry, ...]:
    """Sorted ``events``, the first ``placed`` of them with their id as a place in data set ``tag``.

    Everything up to such an event was sent with it.  Of events that share an id that holds only for the
    last one: a client that is cut off between them would never get the others.
    """
    last = {(ms, n): number for number, (ms, n, _) in enumerate(events)}
    return tuple(
        (ms, n, _line(ms, n, tag, placed=number < placed and last[ms, n] == number) + without_id(frame))
        for number, (ms, n, frame) in enumerate(events)
    )


def _line(ms: int, n: int, tag: str, *, placed: bool) -> bytes:
    return Place(EventId(ms, n), tag).line() if placed else b""


def _size(events: Sequence[Entry]) -> int:
    return sum(len(frame) for _, _, frame in events)
