"""Bytes of a stream as the events that a browser makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

POSITION = "edge-position"
"""The name under which a stream says where it is as it begins: nobody listens for it."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Received(NamedTuple):
    """An event as a browser dispatches it; ``id`` is the last event id at that moment."""

    data: str
    event: str = "message"
    id: str = ""

    def json(self) -> Any:
        """What ``data`` says as JSON."""
        return json.loads(self.data)


class Decoder:
    """WHATWG HTML, section 9.2.6, fed with bytes in pieces of any size.

    ``last_event_id`` is what a browser would come back with, ``retry`` the reconnection time in milliseconds
    that it was told last; ``places`` is how many ids there were.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self.places = 0
        self._rest = b""
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []
        self._begins = True

    def feed(self, data: bytes) -> Iterator[Received]:
        """Read some bytes; the events that they complete."""
        data = self._rest + data
        # A CR at the very end may be half of a CR LF.
        end = len(data) - data.endswith(b"\r")
        *lines, rest = _LINE_END.split(data[:end])
        self._rest = rest + data[end:]
        for line in lines:
            yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[Received]:
        text = line.decode("utf-8", "replace")
        if self._begins:
            text, self._begins = text.removeprefix("\ufeff"), False
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            yield from self._block()
        elif field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
            self.places += 1
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _block(self) -> Iterator[Received]:
        self.last_event_id = self._id
        data, event = self._data, self._event
        self._data, self._event = [], ""
        if data and event != POSITION:
            yield Received("\n".join(data), event or "message", self._id)
