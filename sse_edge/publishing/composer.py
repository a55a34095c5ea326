"""What is to be published, checked and encoded before anything of it goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..backends.base import Outgoing
from ..errors import EventError
from ..event import MAX_EVENT_BYTES, REOPENED, Event, check_channel, finishing, fitting
from ..jsontext import Default

UNSET: Any = object()

LONGEST_USER = 1024
"""Characters of a user's name at most: it travels with the event, and each may take 12 bytes there."""


def composed(
    channel: str,
    data: str | Event,
    event: str | None = None,
    json: object = UNSET,
    dedupe_key: str | None = None,
    except_user: str | None = None,
    *,
    finish: bool = False,
    default: Default | None = None,
    most: int = MAX_EVENT_BYTES,
) -> Outgoing:
    """One event, or a channel's last, as the backend takes it, of ``most`` bytes; see ``Publisher``.

    Raises EventError.
    """
    channel = check_channel(channel)
    if isinstance(data, Event):
        if event is not None or json is not UNSET:
            raise EventError("data", "an Event has its own name and data", data)
        if data.id is not None:
            raise EventError("id", "is given by the backend", data.id)
        made = data
    elif json is not UNSET:
        if data is not UNSET:
            raise EventError("data", "give either data or json, and only one of them", data)
        made = Event(json=json, event=event, default=default)
    elif data is UNSET:
        raise EventError("data", "give either data or json, and only one of them", None)
    else:
        made = Event(data, event=event)
    key = _checked_key("dedupe_key", dedupe_key)
    user = _checked_user("except_user", except_user)
    if finish and user is not None:
        raise EventError("except_user", "everybody hears a channel's last event", user)
    body = fitting(made.encode(), most, "data" if json is UNSET else "json")
    return Outgoing(channel, finishing(body) if finish else body, key, user)


def composed_many(
    events: object, dedupe_keys: object, except_users: object = None, *, most: int = MAX_EVENT_BYTES
) -> list[Outgoing]:
    """Several; see ``Publisher.publish_many``.  Raises EventError."""
    if not isinstance(events, Iterable) or isinstance(events, (str, bytes, Mapping)):
        raise EventError("events", "must be (channel, data) pairs", events)
    pairs = list(events)
    keys = _for_each("dedupe_keys", dedupe_keys, "key", pairs)
    users = _for_each("except_users", except_users, "user", pairs)
    outgoing = []
    for index, (pair, key, user) in enumerate(zip(pairs, keys, users, strict=True)):
        try:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise EventError("events", "must be a (channel, data) pair", pair)
            checked = _checked_key("dedupe_keys", key), _checked_user("except_users", user)
            channel, data = pair
            outgoing.append(composed(channel, data, None, UNSET, *checked, most=most))
        except EventError as error:
            error.tell(index)
            raise
    return outgoing


def reopening(channel: str) -> Outgoing:
    """What lets a finished channel go on.  Raises EventError."""
    return Outgoing(check_channel(channel), REOPENED)


def _for_each(field: str, given: object, what: str, events: Sequence[object]) -> Sequence[object]:
    """What is given for each of ``events``; None of all is None for each.  Raises EventError."""
    if given is None:
        return [None] * len(events)
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise EventError(field, f"must be a list with a {what} or None for each event", given)
    if len(given) != len(events):
        why = f"are {len(given)} for {len(events)} events: one for each, or None where it has none"
        raise EventError(field, why, given)
    return given


def _checked_user(field: str, user: object) -> str | None:
    if user is None:
        return None
    if not isinstance(user, str) or not 0 < len(user) <= LONGEST_USER:
        raise EventError(field, f"must be text of 1 to {LONGEST_USER:,} characters", user)
    _check_utf8(field, user)
    return str.__str__(user)  # a member of an enumeration of texts is its text


def _checked_key(field: str, key: object) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= 256 or any(c < " " or c == "\x7f" for c in key):
        raise EventError(field, "must be text of 1 to 256 characters, none of them a control character", key)
    _check_utf8(field, key)
    return key


def _check_utf8(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EventError(field, "has a lone surrogate, which UTF-8 cannot carry", text) from error
