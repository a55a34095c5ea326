"""What travels over pub/sub: our own announcements, and plain JSON from any Redis client."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from ...errors import EventError
from ...event import EDGE, MAX_EVENT_BYTES, RESERVED_NAMES, Event, EventId, fitting
from ...tracing import CONTEXT

_NOT_EVENTS = rf"(?!{EDGE}|(?:{'|'.join(sorted(RESERVED_NAMES))})\n)"
# What encode() makes of an event without an id; first what most are.  Where a client ends a line, at CR too,
# is looked at besides.
_ONE_EVENT = (
    rf"data: .*\n\n|: reopened\n\n|"
    rf"(?:event: {_NOT_EVENTS}.*\n)?(?:retry: [0-9]+\n)?(?:data: .*\n)+(?:: finished\n)?\n"
)
_EXCEPT = ": except "
_TRACE = ": trace "
# As strict as EventId.parse: a number in another spelling would be another text, and a huge one would put
# every later event in the past.
_NUMBER = "(?:0|[1-9][0-9]{0,14})"
_ID = f"{_NUMBER}-{_NUMBER}"
_OURS = re.compile(
    rf"([^ \n]+) ({_ID}|-(?= -\n)) ({_ID}|-)\n"
    rf"(?:{_EXCEPT}([!-~]+)\n)?(?:{_TRACE}({CONTEXT})\n)?({_ONE_EVENT})".encode()
)
_HEAD = re.compile(rb"[^ \n]+ [^ \n]* [^ \n]*")
_EARLIER = re.compile(rb"(?:[0-9]+-[0-9]+|-) (?:[0-9]+-[0-9]+|-)")

_MARK = _EXCEPT.encode()
_TRACED = _TRACE.encode()
_CR = 13  # a number is found four times as fast as a byte string

LONGEST = 2 * MAX_EVENT_BYTES
"""Bytes of a message: more is no event of ours, and plain JSON takes less than twice of what it becomes."""

NONE = b"-"
"""The text in the place of an id where there is none."""


class Announcement(NamedTuple):
    """An event as it arrived: live-only without an id; ``previous`` is ``NONE`` where that is unknown.

    ``seal`` is what proves that a script of ours announced it, which is to be compared with the data
    set's; empty for plain JSON, which may come from anybody.  Ids are the text that was sent: each has but
    one, so that whether two are the same needs no numbers.  ``excepted`` is a user's name as it was sent,
    and ``trace`` a context; see ``tracing``.
    ``body`` has no id line.
    """

    seal: bytes
    id: bytes
    previous: bytes
    excepted: bytes | None
    trace: bytes | None
    body: bytes

    @property
    def except_user(self) -> str | None:
        """Whose streams are not to hear it."""
        return None if self.excepted is None else _user(self.excepted)


def parse(payload: bytes, most: int = MAX_EVENT_BYTES) -> Announcement:
    """Read a pub/sub message.

    Ours is ``<seal> <id> <previous id>`` and the encoded event after a line feed, with ``-`` for either
    id where there is none, or both.  Anything that begins with ``{`` is JSON: ``data`` (text, or any JSON
    value) and ``event`` or ``event_type``, for an event of ``most`` bytes.  Raises EventError for what is
    neither, and for what would be more than one event in a stream: who may subscribe hears the seal, and who
    may publish can repeat it.
    """
    ours = _OURS.fullmatch(payload)
    if ours is not None and _CR not in payload and len(payload) <= LONGEST:
        return _new(Announcement, ours.groups())
    if payload[:1] == b"{":
        return Announcement(b"", NONE, NONE, None, None, _plain(payload, most))
    raise EventError("message", _what_is_wrong(payload), secret=True)


_new = tuple.__new__  # half of what Announcement's own takes


def marked(body: bytes, except_user: str | None, trace: str | None = None) -> bytes:
    """An event's bytes as Redis has them: in front of them comments say who is not to hear it, and in which
    context it was published.

    No other event's bytes begin with one.
    """
    if trace is not None:
        body = f"{_TRACE}{trace}\n".encode() + body
    if except_user is None:
        return body
    return f"{_EXCEPT}{quote(except_user, safe='')}\n".encode() + body


def unmarked(body: bytes) -> tuple[bytes, str | None]:
    """The bytes without the comments, which nobody is to see, and the user that they name."""
    user = None
    if body.startswith(_MARK):
        mark, _, body = body.partition(b"\n")
        user = _user(mark.removeprefix(_MARK))
    return body.partition(b"\n")[2] if body.startswith(_TRACED) else body, user


def _user(quoted: bytes) -> str:
    return unquote(quoted.decode(errors="replace"))


def number(id: bytes) -> EventId:
    """An announcement's id in numbers."""
    ms, n = id.split(b"-")
    return EventId(int(ms), int(n))


def _what_is_wrong(payload: bytes) -> str:
    if len(payload) > LONGEST:
        return f"is larger than {LONGEST} bytes"
    head = payload.partition(b"\n")[0]
    if _EARLIER.fullmatch(head):
        return "comes from an earlier release of sse_edge"
    if not _HEAD.fullmatch(head):
        return "is neither an announcement nor JSON"
    if not _OURS.fullmatch(head + b"\ndata: \n\n"):
        return "has an id that is none"
    return "does not announce one event"


def _plain(payload: bytes, most: int) -> bytes:
    if len(payload) > LONGEST:
        raise EventError("data", f"the event is larger than {most} bytes", f"{len(payload)} bytes")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EventError("message", "is no JSON", secret=True) from error
    if "data" not in message:
        raise EventError("data", "is missing", secret=True)
    data = message["data"]
    name = message["event"] if "event" in message else message.get("event_type")
    event = Event(data, event=name) if isinstance(data, str) else Event(json=data, event=name)
    return fitting(event.encode(), most)
