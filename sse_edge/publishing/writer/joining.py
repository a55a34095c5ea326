"""Pieces that a producer makes, joined to events."""

from __future__ import annotations

import math
from collections import deque

from ...event import MAX_EVENT_BYTES, Event, fitting

JOIN = 0.02
"""Seconds within which texts are one event: 200 tokens a second make 40 events, and nobody sees the wait."""

BEAT = 0.005
"""Seconds between the moments at which writers publish, all of them together: a call costs far more than an
event more in it."""

EARLY = 0.001
"""Seconds by which a timer may go off before its time, by its loop's clock: uvloop's has milliseconds, and to
round a moment to a beat may take its last bit away.  Who goes on waiting for it waits for ever."""

_LINE = b"\ndata: "
"""How a line after the first begins."""


def beat(due: float) -> float:
    """The first moment from ``due`` on at which writers publish, but for what rounding takes from it."""
    return math.ceil(due / BEAT) * BEAT


class Joining:
    """What was made and is not published yet: texts in a row as one, Events as they are.

    All of it is ``due``, on the clock that ``add`` is given, ``JOIN`` seconds after the first of it came, or
    when it is more than one event can be, of ``most`` bytes.
    A CR waits for what follows: CR LF is one end of a line.  ``size`` is how many bytes there are.
    """

    def __init__(self, event: str | None, most: int = MAX_EVENT_BYTES) -> None:
        self._most = most
        self._head = b"data: " if event is None else b"event: %s\ndata: " % event.encode()
        self._room = most - len(self._head) - len(b"\n\n")
        self._parts: deque[bytearray | bytes] = deque()  # texts, and Events as on the wire
        self._cr = False
        self.size = 0
        self.due: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether all of it is to be published, as soon as a timer for that may go off."""
        return self.due is not None and self.due <= now + EARLY

    def add(self, piece: str | Event, now: float) -> None:
        """One piece more.  Raises EventError for one that no event can carry."""
        if isinstance(piece, Event):
            self.close(now)
            body = fitting(piece.encode(), self._most)
            self._parts.append(body)
            self.size += len(body)
        elif piece:
            if self._cr:
                self._cr = False
                piece = "\r" + piece
            if "\r" in piece:
                self._cr = piece.endswith("\r")
                piece = piece.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
            self._extend(piece)
        if self.due is None and self._parts:
            self.due = now + JOIN
        if self.size > self._room and self.due is not None:
            self.due = min(self.due, now)

    def close(self, now: float) -> None:
        """No text follows that a CR could have to wait for."""
        if self._cr:
            self._cr = False
            self._extend("\n")
            if self.due is None:
                self.due = now + JOIN

    def take(self, size: int) -> list[bytes]:
        """The next events as bytes on the wire: about ``size`` bytes, and one event at least if there is any.

        What is left then goes on being due.
        """
        taken: list[bytes] = []
        while self._parts and size > 0:
            part = self._parts[0]
            if isinstance(part, bytes):
                self._parts.popleft()
                self.size -= len(part)
                body = part
            else:
                body = self._cut(part)
                if not part:
                    self._parts.popleft()
            taken.append(body)
            size -= len(body)
        if not self._parts:
            self.due = None
        return taken

    def _extend(self, text: str) -> None:
        try:
            data = text.encode()
        except UnicodeEncodeError:
            Event(text)  # says what is wrong
            raise
        if not data:
            return
        if self._parts and isinstance(last := self._parts[-1], bytearray):
            last += data
        else:
            self._parts.append(bytearray(data))
        self.size += len(data)

    def _cut(self, text: bytearray) -> bytes:
        """As much of the text's beginning as one event may have; it is gone from the text."""
        end = min(len(text), self._room)
        lines = text[:end].replace(b"\n", _LINE)
        if len(lines) > self._room:
            lines = lines[: self._room]
            breaks, at = lines.count(b"\n"), lines.rfind(b"\n")
            # Not within what a line begins with: that line is the next event's.
            end = at - 6 * (breaks - 1) if len(lines) - at < len(_LINE) else len(lines) - 6 * breaks
        while end < len(text) and text[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        data = bytes(text[:end]).replace(b"\n", _LINE)
        del text[:end]
        self.size -= end
        return b"%b%b\n\n" % (self._head, data)
