"""What Redis keeps of each channel, read as one consistent cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import BackendError
from ...event import ZERO, EventId, Place
from ..base import Numbered
from ..log import Log
from ..retention import DEFAULT, Kept
from .announcement import unmarked


class Asked(NamedTuple):
    """A channel whose events are wanted after an id, up to another, the ``newest`` of them (None: all)."""

    channel: str
    after: EventId = ZERO
    upto: EventId | None = None
    newest: int | None = None


class Known(NamedTuple):
    """What one read says of all channels: see ``clock.lua``."""

    upto: EventId
    epoch: EventId
    evicted: EventId
    stuck: EventId
    changed: EventId
    shortest_ms: int


class Cut(NamedTuple):
    """The answer of one read: everything up to ``upto``, and each channel's log in the order asked."""

    upto: EventId
    tag: str
    settings: str
    logs: list[Log]


def parse_cut(answer: Sequence[Any], asked: Sequence[Asked]) -> Cut:
    """Read the answer of ``read.lua``.  Raises BackendError for settings that nobody can have written."""
    place, tag, epoch, evicted, stuck, settings, changed, shortest, *channels = answer
    known = Known(
        _id(place), _id(epoch), _id(evicted), _id(stuck), changed=_id(changed), shortest_ms=int(shortest)
    )
    try:
        kept = Kept.parse(settings.decode()) if settings else DEFAULT
    except ValueError as error:
        raise BackendError(str(error)) from error
    logs = []
    for one, (entries, before) in zip(asked, channels, strict=True):
        if kept.numbered:
            log = _log(tag.decode(), entries, before, known, kept.of(one.channel).ms)
            log.whole = one.after == ZERO and (one.newest is None or len(entries) < one.newest)
            logs.append(log)
        else:
            logs.append(Log(known.upto, "gap"))
    return Cut(known.upto, tag.decode(), settings.decode(), logs)


def _log(tag: str, entries: Sequence[Any], before: bytes, known: Known, ttl_ms: int) -> Log:
    """One channel's log, with the floor that its entries prove; what is older is kept all the same.

    A stream lives ``ttl_ms`` after its newest event.  So a channel without one had no event in that
    time, and neither had it before an event that does not know its previous one; but that proves
    nothing for the time in which streams lived shorter, in which keys were evicted, or in which ids
    stood still because the clock was behind them.
    """
    events: list[Numbered] = []
    previous = before
    for raw_id, fields in entries:
        id = _id(raw_id)
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        if not events:
            previous = given[b"p"]
        body, except_user = unmarked(given[b"b"])
        events.append(Numbered(id, Place(id, tag).line() + body, except_user))
    last = None if previous == b"-" else _id(previous)
    if last is None:
        floor, reason = _absent(events[0].id if events else None, known, ttl_ms)
    else:
        floor, reason = last, "trimmed"
    if known.epoch > floor:
        floor, reason = known.epoch, "epoch"
    log = Log(floor, reason, last)
    for event in events:
        log.append(*event)
    return log


def _id(text: bytes) -> EventId:
    return EventId.parse(text.decode())


def _absent(first: EventId | None, known: Known, ttl_ms: int) -> tuple[EventId, str]:
    """The floor that follows from there being no stream, up to now or before its ``first`` event."""
    until = known.upto if first is None else first
    floor = max(_earlier(until, ttl_ms), min(known.changed, _earlier(until, known.shortest_ms)))
    unproven = max(known.stuck, known.evicted)
    if first is not None:
        unproven = min(unproven, EventId(first.ms, first.n - 1))
    if unproven > floor:
        return unproven, "evicted" if known.evicted > known.stuck else "expired"
    return floor, "expired"


def _earlier(id: EventId, ms: int) -> EventId:
    return EventId(max(0, id.ms - ms), 0)
