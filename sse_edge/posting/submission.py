"""What is asked to be published over HTTP: a body of JSON, read and checked as a whole."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any, NamedTuple

from ..backends.base import Outgoing
from ..errors import EventError
from ..event import MAX_EVENT_BYTES
from ..outcome import BAD_REQUEST, FORBIDDEN, Refusal
from ..pattern import matches
from ..publishing.composer import UNSET, composed

MAX_BODY = 1_048_576
"""Bytes of a body at most: what nginx takes unless it is told otherwise."""

MAX_EVENTS = 500
"""Events of a list at most: what goes to Redis in one step."""

FIELDS = ("channel", "event", "data", "json", "dedupe_key", "except_user", "finish")
"""Of each event.  ``finish`` makes it its channel's last; the others are as in ``Publisher.publish``."""


class Submission(NamedTuple):
    """Events to be published together; ``several`` is whether they came as a list."""

    events: list[Outgoing]
    several: bool


def read(body: bytes, patterns: tuple[str, ...], most: int = MAX_EVENT_BYTES) -> Submission | Refusal:
    """What ``body`` asks for, if all of it may be published to channels that ``patterns`` cover.

    An event has ``most`` bytes.
    """
    try:
        asked = _parse(body)
        if isinstance(asked, list) and len(asked) > MAX_EVENTS:
            raise EventError("body", f"has more than {MAX_EVENTS} events", f"{len(asked)} events")
    except EventError as error:
        return _refusal(error, None)
    several = isinstance(asked, list)
    items = asked if several else [asked]
    events: list[Outgoing] = []
    for index, item in enumerate(items):
        try:
            events.append(_event(item, most))
        except EventError as error:
            return _refusal(error, index if several else None)
    for index, event in enumerate(events):
        if not any(matches(pattern, event.channel) for pattern in patterns):
            refusal = FORBIDDEN.because(f"this token is not good for channel {event.channel!r}")
            return refusal.telling(field="channel", index=index if several else None)
    return Submission(events, several)


def refused(error: EventError) -> Refusal:
    """What the backend found wrong."""
    return _refusal(error, None)


def _refusal(error: EventError, index: int | None) -> Refusal:
    # What was given is for whoever gave it, and not for the log.
    refusal = BAD_REQUEST.because(f"{error.field}: {error.why}")
    return refusal.telling(detail=str(error), field=error.field, index=index)


def _parse(body: bytes) -> Any:
    if not body:
        raise EventError("body", "is empty", "0 bytes")
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except EventError:
        raise
    except UnicodeDecodeError as error:
        raise EventError("body", "is not UTF-8", f"byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise EventError("body", f"is not JSON: {error}", f"{len(body)} bytes") from None
    except RecursionError:
        raise EventError("body", "is nested too deeply", f"{len(body)} bytes") from None
    except ValueError:  # of int
        most = sys.get_int_max_str_digits()
        why = f"has a whole number of more than {most} digits"
        raise EventError("body", why, f"{len(body)} bytes") from None


def _event(item: object, most: int) -> Outgoing:
    if not isinstance(item, dict):
        raise EventError("body", "must be an object or a list of objects", f"a value of type {_kind(item)}")
    unknown = next((name for name in item if name not in FIELDS), None)
    if unknown is not None:
        raise EventError("body", f"has a field that is none of {', '.join(FIELDS)}", unknown)
    finish = item.get("finish", False)
    if not isinstance(finish, bool):
        raise EventError("finish", "must be true or false", finish)
    return composed(
        item.get("channel", ""),
        item.get("data", UNSET),
        item.get("event"),
        item.get("json", UNSET),
        item.get("dedupe_key"),
        item.get("except_user"),
        finish=finish,
        most=most,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        raise EventError("body", "has a name twice in one object", counted.most_common(1)[0][0])
    return made


def _constant(name: str) -> Any:
    raise EventError("body", f"is not JSON: it has no {name}", name)


def _kind(item: object) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        int: "number",
        float: "number",
        str: "text",
        list: "list",
    }
    return names[type(item)]
