"""The Server-Sent Events wire format and event ids.

Source: WHATWG HTML, "Server-sent events", sections 9.2.5 (parsing) and 9.2.6 (interpreting).
"""

from __future__ import annotations

import json as jsonlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from .errors import EventError

MAX_EVENT_BYTES = 262_144
"""The largest encoded event, in bytes.  More belongs behind a link in the event."""

RESERVED_NAMES = frozenset({"error", "open"})
"""Names that EventSource dispatches itself; a handler could not tell them apart."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_UNSET = object()
_ID = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})\Z")


class EventId(NamedTuple):
    """A place in the order of events: milliseconds, then a number within them.

    Ids compare in the order in which the backend numbered the events.  ``n`` starts at 1; ``n == 0``
    is a cursor, a place between events.
    """

    ms: int
    n: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Read ``<ms>-<n>``; ValueError for anything else."""
        match = _ID.match(text)
        if match is None:
            raise ValueError("an event id has the form <milliseconds>-<number>")
        return cls(int(match[1]), int(match[2]))

    def line(self) -> bytes:
        """The ``id:`` line that puts this place into a stream."""
        return b"id: %d-%d\n" % self


ZERO = EventId(0, 0)


@dataclass(frozen=True, slots=True, init=False)
class Event:
    r"""One event, checked where it is made.

    ``data`` is text of any number of lines; CR LF, LF and CR end a line and nothing else does.
    ``json`` is given instead of ``data`` for anything ``json.dumps`` takes.  ``event`` is the name a
    client listens for (``message`` if absent), ``id`` the Last-Event-ID, ``retry`` the reconnection
    time in milliseconds.  An event without data is never dispatched by a browser, so data or json is
    required.

    Raises EventError, naming the field: data that is no text; CR, LF or NUL in ``event`` or ``id``;
    the names ``error`` and ``open``; a ``retry`` that is no non-negative int; more than
    ``MAX_EVENT_BYTES`` when encoded.
    """

    data: str
    event: str | None
    id: str | None
    retry: int | None

    def __init__(
        self,
        data: object = _UNSET,
        *,
        event: str | None = None,
        id: str | None = None,  # the field's name on the wire
        retry: int | None = None,
        json: object = _UNSET,
    ) -> None:
        if (data is _UNSET) == (json is _UNSET):
            raise EventError("data", "give either data or json, and only one of them", None)
        if json is not _UNSET:
            data = _dump(json)
        if not isinstance(data, str):
            raise EventError("data", "must be text; pass json=… for anything else", data)
        if event is not None:
            _check_line("event", event)
            if event in RESERVED_NAMES:
                raise EventError("event", "error and open are EventSource's own events", event)
        if id is not None:
            _check_line("id", id)
        if retry is not None and (type(retry) is not int or retry < 0):
            raise EventError("retry", "must be a whole number of milliseconds, 0 or more", retry)
        set_field = object.__setattr__
        set_field(self, "data", data)
        set_field(self, "event", event)
        set_field(self, "id", id)
        set_field(self, "retry", retry)
        size = len(self.encode())
        if size > MAX_EVENT_BYTES:
            raise EventError("data", f"the event is larger than {MAX_EVENT_BYTES} bytes", f"{size} bytes")

    def encode(self) -> bytes:
        """The event as bytes on the wire, ending in a blank line."""
        lines = []
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        # Always one space after the colon: the parser removes exactly one, so the data keeps its own.
        lines.extend(f"data: {line}" for line in _LINE_END.split(self.data))
        try:
            return ("\n".join(lines) + "\n\n").encode()
        except UnicodeEncodeError as error:
            raise EventError("data", "has a lone surrogate, which UTF-8 cannot carry", self.data) from error


def comment(text: str = "") -> bytes:
    """A comment on the wire: keeps proxies from timing out, and clients ignore it."""
    return "".join(f": {line}\n" for line in _LINE_END.split(text)).encode() + b"\n"


def check_channel(channel: object) -> str:
    """The channel's name if it is one: 1 to 256 characters, none of them a control character.

    Raises EventError otherwise.
    """
    if not isinstance(channel, str) or not channel:
        raise EventError("channel", "must be a non-empty string", channel)
    if len(channel) > 256 or _CONTROL.search(channel):
        raise EventError("channel", "has at most 256 characters and no control characters", channel)
    try:
        channel.encode()
    except UnicodeEncodeError as error:
        raise EventError("channel", "has a lone surrogate, which UTF-8 cannot carry", channel) from error
    return channel


def _check_line(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise EventError(field, "must be text", value)
    if _FORBIDDEN.search(value):
        raise EventError(field, "must not contain CR, LF or NUL", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise EventError(field, "has a lone surrogate, which UTF-8 cannot carry", value) from error


def _dump(value: object) -> str:
    try:
        return jsonlib.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError("json", f"cannot be written as JSON: {error}", value) from error
