"""The Server-Sent Events wire format and event ids.

Source: WHATWG HTML, "Server-sent events", sections 9.2.5 (parsing) and 9.2.6 (interpreting).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from .errors import ConfigError, EventError
from .jsontext import Default, dump

MAX_EVENT_BYTES = 262_144
"""The largest encoded event, in bytes.  More belongs behind a link in the event."""

LEAST_EVENT_BYTES = 1024
"""What ``max_event_bytes`` may be set to at least."""

RESERVED_NAMES = frozenset({"error", "open"})
"""Names that EventSource dispatches itself; a handler could not tell them apart."""

EDGE = "edge-"
"""How the names of the edge's own events begin; no other event's name does."""

FINISHED = b"\n: finished\n\n"
"""How the last event of a channel ends: with a comment, which clients ignore and no other event has."""

REOPENED = b": reopened\n\n"
"""What follows it if the channel goes on all the same: no event, but numbered and kept like one."""

MAX_CURSOR = 256
"""Characters at most of an id that a client comes back with."""

MAX_RETRY_MS = 2_147_483_647
"""The longest reconnection time, in milliseconds: what a timer of a browser can be set to, 24 days."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_UNSET = object()
_ID = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})\Z")
_PLACE = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})\.([a-z0-9]{1,64})\Z")


class EventId(NamedTuple):
    """A place in the order of one data set: milliseconds, then a number within them.

    Ids compare in the order in which the backend numbered the events.  ``n`` starts at 1; ``n == 0``
    is a cursor, a place between events.  What a client is told also names the data set: see ``Place``.
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


ZERO = EventId(0, 0)


class Place(NamedTuple):
    """An id and the data set that gave it out: what a client hears and comes back with.

    ``tag`` is a few random letters that were made together with the data set.  Ids of different tags
    have no order.
    """

    id: EventId
    tag: str

    def __str__(self) -> str:
        return f"{self.id.ms}-{self.id.n}.{self.tag}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read ``<ms>-<n>.<tag>``; ValueError for anything else."""
        match = _PLACE.match(text)
        if match is None:
            raise ValueError("a place has the form <milliseconds>-<number>.<tag>")
        return cls(EventId(int(match[1]), int(match[2])), match[3])

    def line(self) -> bytes:
        """The ``id:`` line that puts this place into a stream."""
        return b"id: %s\n" % str(self).encode()


NOWHERE = Place(ZERO, "")
"""Where an id of another kind is: in no data set."""


@dataclass(frozen=True, slots=True, init=False)
class Event:
    r"""One event, checked where it is made.

    ``data`` is text of any number of lines; CR LF, LF and CR end a line and nothing else does.
    ``json`` is given instead of ``data`` for anything that can be written as JSON: what ``json.dumps``
    takes, pydantic models, dataclasses, attrs classes, dates, UUIDs, Decimals, Enums, sets; ``default``
    says what stands for a value of any other type.  ``event`` is the name a
    client listens for (``message`` if absent), ``id`` the Last-Event-ID, ``retry`` the reconnection
    time in milliseconds.  An event without data is never dispatched by a browser, so data or json is
    required.

    Raises EventError, naming the field: data that is no text; ``json`` that cannot be written, and where;
    CR, LF or NUL in ``event`` or ``id``;
    the names ``error`` and ``open``, and names that begin with ``edge-``; a ``retry`` that is no
    int from 0 to 2,147,483,647; more than 262,144 bytes when encoded.
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
        default: Default | None = None,
    ) -> None:
        if (data is _UNSET) == (json is _UNSET):
            raise EventError("data", "give either data or json, and only one of them", None)
        if default is not None and not callable(default):
            raise EventError("default", "must be a function of a value", default)
        if json is not _UNSET:
            data = dump(json, default)
        if not isinstance(data, str):
            raise EventError("data", "must be text; pass json=… for anything else", data)
        if event is not None:
            event = _check_line("event", event)
            if event in RESERVED_NAMES:
                raise EventError("event", "error and open are EventSource's own events", event)
            if event.startswith(EDGE):
                raise EventError("event", "edge-… are the edge's own events", event)
        if id is not None:
            id = _check_line("id", id)
        if retry is not None and (type(retry) is not int or not 0 <= retry <= MAX_RETRY_MS):
            raise EventError("retry", f"must be a whole number of milliseconds, 0 to {MAX_RETRY_MS}", retry)
        set_field = object.__setattr__
        set_field(self, "data", _plain(data))
        set_field(self, "event", event)
        set_field(self, "id", id)
        set_field(self, "retry", retry)
        given = "data" if json is _UNSET else "json"
        fitting(self._encode(given), MAX_EVENT_BYTES, given)

    def encode(self) -> bytes:
        """The event as bytes on the wire, ending in a blank line."""
        return self._encode("data")

    def _encode(self, given: str) -> bytes:
        try:
            return encode(self.data, event=self.event, id=self.id, retry=self.retry)
        except UnicodeEncodeError as error:
            raise EventError(given, "has a lone surrogate, which UTF-8 cannot carry", self.data) from error


def as_event(said: object, most: int = MAX_EVENT_BYTES) -> Event:
    """What a function of the application made: an Event, or text as one, of ``most`` bytes when encoded.

    Raises EventError.
    """
    if not isinstance(said, (Event, str)):
        raise EventError("data", "must be text or an Event", said)
    event = said if isinstance(said, Event) else Event(said)
    if most < MAX_EVENT_BYTES:  # which an Event never is more than
        fitting(event.encode(), most)
    return event


def fitting(body: bytes, most: int, field: str = "data") -> bytes:
    """An event's bytes, if they are no more.  Raises EventError for ``field``, where it has its size from."""
    if len(body) > most:
        raise EventError(field, f"the event is larger than {most} bytes", f"{len(body)} bytes")
    return body


def check_most(max_event_bytes: object) -> int:
    """How large an event may be, if that can be said so.  Raises ConfigError."""
    if type(max_event_bytes) is not int or not LEAST_EVENT_BYTES <= max_event_bytes <= MAX_EVENT_BYTES:
        why = f"must be a whole number of bytes, {LEAST_EVENT_BYTES:,} to {MAX_EVENT_BYTES:,}"
        raise ConfigError("max_event_bytes", why, max_event_bytes)
    return max_event_bytes


def is_cursor(id: str) -> bool:
    """Whether a client may come back with ``id`` as its last one."""
    return len(id) <= MAX_CURSOR and not _CONTROL.search(id)


def encode(
    data: str,
    *,
    event: str | None = None,
    id: str | None = None,  # the field's name on the wire
    retry: int | None = None,
) -> bytes:
    """Fields that were checked before as bytes on the wire, ending in a blank line."""
    lines = []
    if id is not None:
        lines.append(f"id: {id}")
    if event is not None:
        lines.append(f"event: {event}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    # Always one space after the colon: the parser removes exactly one, so the data keeps its own.
    lines.extend(f"data: {line}" for line in _LINE_END.split(data))
    return ("\n".join(lines) + "\n\n").encode()


def without_id(frame: bytes) -> bytes:
    """An event's bytes without the id line that they may begin with."""
    return frame.partition(b"\n")[2] if frame.startswith(b"id: ") else frame


def finishing(body: bytes) -> bytes:
    """An event's bytes as those of its channel's last."""
    return body[:-2] + FINISHED


def reopens(frame: bytes) -> bool:
    """Whether it is no event, but says that its channel goes on."""
    # Not its end alone: the data of an event may read the same.
    return without_id(frame) == REOPENED


def comment(text: str = "") -> bytes:
    """A comment on the wire: keeps proxies from timing out, and clients ignore it.

    It may stand before any block, or within: it has no blank line of its own, at which some clients would
    dispatch an empty event.
    """
    return "".join(f": {line}\n" for line in _LINE_END.split(text)).encode()


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
    return _plain(channel)


def _plain(text: str) -> str:
    """The text itself: a member of an enumeration of texts would write its own name into an f-string."""
    return text if type(text) is str else str.__str__(text)


def _check_line(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise EventError(field, "must be text", value)
    if _FORBIDDEN.search(value):
        raise EventError(field, "must not contain CR, LF or NUL", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise EventError(field, "has a lone surrogate, which UTF-8 cannot carry", value) from error
    return _plain(value)
