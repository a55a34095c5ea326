"""What travels over pub/sub: our own announcements, and plain JSON from any Redis client."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ...errors import EventError
from ...event import EDGE, MAX_EVENT_BYTES, RESERVED_NAMES, Event, EventId

_NOT_EVENTS = rf"(?!{EDGE}|(?:{'|'.join(sorted(RESERVED_NAMES))})\n)"
# What encode() makes of an event without an id.  Where a client ends a line, at CR too, is looked at before.
_EARLIER = re.compile(rb"(?:[0-9]+-[0-9]+|-) (?:[0-9]+-[0-9]+|-)")
_ONE_EVENT = re.compile(rf"(?:event: {_NOT_EVENTS}.*\n)?(?:retry: [0-9]+\n)?(?:data: .*\n)+\n".encode())


class Announcement(NamedTuple):
    """An event as it arrived: live-only without an id; ``previous`` is None where that is unknown.

    ``seal`` is what proves that a script of ours announced it, which is to be compared with the data
    set's; empty for plain JSON, which may come from anybody.  ``body`` has no id line.
    """

    seal: bytes
    id: EventId | None
    previous: EventId | None
    body: bytes


def parse(payload: bytes) -> Announcement:
    """Read a pub/sub message.

    Ours is ``<seal> <id> <previous id>`` and the encoded event after a line feed, with ``-`` for either
    id where there is none.  Anything that begins with ``{`` is JSON: ``data`` (text, or any JSON value)
    and ``event`` or ``event_type``.  Raises EventError for what is neither, and for what would be more
    than one event in a stream: who may subscribe hears the seal, and who may publish can repeat it.
    """
    if payload[:1] == b"{":
        return Announcement(b"", None, None, _plain(payload))
    head, _, body = payload.partition(b"\n")
    try:
        seal, id, previous = head.split(b" ")
    except ValueError:
        seal = b""
    if not seal:
        earlier = _EARLIER.fullmatch(head) is not None
        why = (
            "comes from an earlier release of sse_edge" if earlier else "is neither an announcement nor JSON"
        )
        raise EventError("message", why, secret=True)
    if b"\r" in body or not _ONE_EVENT.fullmatch(body):
        raise EventError("message", "does not announce one event", secret=True)
    if id == b"-":
        return Announcement(seal, None, None, body)
    return Announcement(seal, _id(id), None if previous == b"-" else _id(previous), body)


def _id(text: bytes) -> EventId:
    # Strictly: int() would take "1\r" for a number, and a huge one would put every later event in the past.
    try:
        return EventId.parse(text.decode("ascii"))
    except ValueError as error:
        raise EventError("message", "has an id that is none", secret=True) from error


def _plain(payload: bytes) -> bytes:
    if len(payload) > 2 * MAX_EVENT_BYTES:
        raise EventError("data", f"the event is larger than {MAX_EVENT_BYTES} bytes", f"{len(payload)} bytes")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EventError("message", "is no JSON", secret=True) from error
    if "data" not in message:
        raise EventError("data", "is missing", secret=True)
    data = message["data"]
    name = message["event"] if "event" in message else message.get("event_type")
    event = Event(data, event=name) if isinstance(data, str) else Event(json=data, event=name)
    return event.encode()
