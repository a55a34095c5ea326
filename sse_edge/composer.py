"""What is to be published, checked and encoded before anything of it goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .backends.base import Outgoing
from .errors import EventError
from .event import Event, check_channel
from .jsontext import Default

UNSET: Any = object()


def composed(
    channel: str,
    data: str | Event,
    event: str | None = None,
    json: object = UNSET,
    dedupe_key: str | None = None,
    *,
    default: Default | None = None,
) -> Outgoing:
    """One event as the backend takes it; see ``Publisher.publish``.  Raises EventError."""
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
    return Outgoing(channel, made.encode(), _checked_key("dedupe_key", dedupe_key))


def composed_many(events: object, dedupe_keys: object) -> list[Outgoing]:
    """Several; see ``Publisher.publish_many``.  Raises EventError."""
    if not isinstance(events, Iterable) or isinstance(events, (str, bytes, Mapping)):
        raise EventError("events", "must be (channel, data) pairs", events)
    pairs = list(events)
    if dedupe_keys is None:
        dedupe_keys = [None] * len(pairs)
    if not isinstance(dedupe_keys, Sequence) or isinstance(dedupe_keys, (str, bytes)):
        raise EventError("dedupe_keys", "must be a list with a key or None for each event", dedupe_keys)
    if len(dedupe_keys) != len(pairs):
        why = f"are {len(dedupe_keys)} for {len(pairs)} events: one for each, or None where it has none"
        raise EventError("dedupe_keys", why, dedupe_keys)
    keys = [_checked_key("dedupe_keys", key) for key in dedupe_keys]
    outgoing = []
    for pair, key in zip(pairs, keys, strict=True):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise EventError("events", "must be (channel, data) pairs", pair)
        channel, data = pair
        outgoing.append(composed(channel, data, dedupe_key=key))
    return outgoing


def _checked_key(field: str, key: object) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= 256 or any(c < " " or c == "\x7f" for c in key):
        raise EventError(field, "must be text of 1 to 256 characters, none of them a control character", key)
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise EventError(field, "has a lone surrogate, which UTF-8 cannot carry", key) from error
    return key
