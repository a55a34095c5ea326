"""An event as history has it, read back from its bytes."""

from __future__ import annotations

from typing import NamedTuple


class StoredEvent(NamedTuple):
    """An event of ``channel``: its ``id`` is the place after it, as clients say it in Last-Event-ID.

    ``event`` is its name (``message`` where it was given none) and ``data`` its text, with LF between lines.
    """

    id: str
    channel: str
    event: str
    data: str


def stored(channel: str, frame: bytes) -> StoredEvent | None:
    """What one event's bytes say, as ``Event.encode`` writes them, with an id line or without.

    None if they are no event for an application: nothing but an id, a retry or a comment.
    """
    id, name, data = "", "message", []
    for line in frame.decode().split("\n"):
        field, _, value = line.partition(": ")
        if field == "id":
            id = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
    return StoredEvent(id, channel, name or "message", "\n".join(data)) if data else None
