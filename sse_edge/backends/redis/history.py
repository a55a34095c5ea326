"""What Redis keeps of each channel, read as one consistent cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...event import EventId
from ..base import Numbered
from ..log import Log


class Cut(NamedTuple):
    """The answer of one read: everything up to ``upto``, and each channel's log in the order asked."""

    upto: EventId
    logs: list[Log]


def parse_cut(answer: Sequence[Any], after: Sequence[EventId], default_ttl_ms: int) -> Cut:
    """Read the answer of ``read.lua``, asked for each stream's events ``after`` an id."""
    upto = EventId.parse(answer[0].decode())
    epoch = EventId.parse(answer[1].decode())
    ttl_ms = default_ttl_ms if answer[2] == b"-" else int(answer[2])
    stuck = EventId.parse(answer[3].decode())
    logs = [
        _log(asked, bool(exists), entries, Known(upto, epoch, stuck, ttl_ms))
        for asked, (exists, entries) in zip(after, answer[4:], strict=True)
    ]
    return Cut(upto, logs)


class Known(NamedTuple):
    """What one read says of all channels: see ``clock.lua``."""

    upto: EventId
    epoch: EventId
    stuck: EventId
    ttl_ms: int


def _log(asked: EventId, exists: bool, entries: Sequence[Any], known: Known) -> Log:
    """One channel's log, with the floor that its entries prove.

    A stream lives ``ttl_ms`` after its newest event.  So a channel without one had no event in that
    time, and neither had it before an event that does not know its previous one; but for the time in
    which ids stood still, because the clock was behind them, nothing follows from ids.
    """
    events: list[Numbered] = []
    previous = b""
    for raw_id, fields in entries:
        id = EventId.parse(raw_id.decode())
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        if not events:
            previous = given[b"p"]
        events.append(Numbered(id, id.line() + given[b"b"]))
    if not entries and exists:
        floor, reason = asked, "trimmed"
    elif not entries or previous == b"-":
        first = events[0].id if events else known.upto
        unproven = min(known.stuck, EventId(first.ms, first.n - 1)) if events else known.stuck
        floor, reason = max(EventId(max(0, first.ms - known.ttl_ms), 0), unproven), "expired"
    else:
        floor, reason = EventId.parse(previous.decode()), "trimmed"
    if known.epoch > floor:
        floor, reason = known.epoch, "epoch"
        events = [event for event in events if event.id > known.epoch]
    log = Log(floor, reason)
    for event in events:
        log.append(event)
    return log
