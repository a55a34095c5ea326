"""Rows in columns, as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .cells import fitted, shown, width
from .model import Row

Span = tuple[str, str]
"""A text and its style: "", or one of "head", "good", "warn", "bad", "dim"."""

Line = list[Span]

GAP = 2
LEAST = 12
"""Columns that a long text keeps before another column is left out, or a third of few."""

UNKNOWN = "-"

STATES = {"ready": "good", "draining": "warn", "stale": "warn", "cut off": "bad"}


def number(value: float) -> str:
    """``12,345``, ``3.4`` or ``1.2M``."""
    if value >= 10_000_000:
        return f"{value / 1e6:,.1f}M"
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"


def size(value: float) -> str:
    """``1.2 MB``."""
    if value < 1000:
        return f"{value:.0f} B"
    unit, length = next(
        ((unit, n) for unit, n in (("KB", 1e3), ("MB", 1e6)) if value < 1000 * n), ("GB", 1e9)
    )
    scaled = value / length
    return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.1f} {unit}"


def seconds(value: float) -> str:
    """``12 s``, ``3 min``, ``4 h`` or ``5 d``."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.0f} {unit}"
    return f"{value:.0f} s"


class Column(NamedTuple):
    """What a column is called, and how it says its values.  The larger its ``rank``, the sooner it is left
    out; one with a ``say`` holds numbers, and is on the right."""

    key: str
    title: str
    rank: int
    say: Callable[[Any], str] | None = None

    def text(self, row: Row, ascii: bool) -> str:
        """A row's value as it is shown."""
        value = row.get(self.key)
        if value is None:
            return UNKNOWN
        if self.say is not None:
            return self.say(value) + ("+" if self.key == "streams" and row.get("more") else "")
        return shown(", ".join(value) if isinstance(value, (list, tuple)) else str(value), ascii=ascii)


class Section(NamedTuple):
    """Some rows of a picture: which, and what they are ranked by unless somebody chooses."""

    name: str
    title: str
    columns: tuple[Column, ...]
    sort: str


SECTIONS = (
    Section(
        "workers", "WORKERS",
        (
            Column("worker", "WORKER", 0), Column("state", "STATE", 1),
            Column("streams", "STREAMS", 1, number), Column("opened", "OPENED/s", 3, number),
            Column("events", "EVENTS/s", 2, number), Column("refused", "REFUSED/s", 3, number),
            Column("ended", "ENDED/s", 4, number), Column("up", "UP", 4, seconds),
            Column("age", "HEARD", 5, seconds), Column("version", "VERSION", 6),
            Column("server", "SERVER", 7), Column("path", "PATH", 8),
        ), "streams",
    ),
    Section(
        "channels", "CHANNELS", (Column("channel", "CHANNEL", 0), Column("streams", "STREAMS", 1, number)),
        "streams",
    ),
    Section(
        "slowest", "SLOWEST",
        (
            Column("user", "USER", 0), Column("address", "ADDRESS", 2), Column("waits", "FOR", 1, seconds),
            Column("unsent", "UNSENT", 1, size), Column("path", "PATH", 3),
            Column("channels", "CHANNELS", 5), Column("worker", "WORKER", 4),
        ), "waits",
    ),
    Section(
        "outcomes", "OUTCOMES",
        (
            Column("code", "CODE", 0), Column("what", "WHAT", 1), Column("rate", "PER SECOND", 1, number),
            Column("total", "TOTAL", 2, number), Column("meaning", "", 3),
        ), "rate",
    ),
    Section(
        "patterns", "PATTERNS",
        (
            Column("channel", "PATTERN", 0), Column("streams", "STREAMS", 1, number),
            Column("events", "EVENTS/s", 2, number),
        ), "streams",
    ),
)  # fmt: skip
"""In the order of their keys."""


def table(columns: Sequence[Column], rows: Sequence[Row], room: int, *, ascii: bool = False) -> list[Line]:
    """A line of titles, and one for each row, each exactly ``room`` columns wide."""
    texts = {each.key: [each.text(row, ascii) for row in rows] for each in columns}
    widths = _widths(columns, texts, room)
    kept = [each for each in columns if each.key in widths]

    def line(texts: Sequence[str], styles: Sequence[str]) -> Line:
        spans: Line = []
        for each, text, style in zip(kept, texts, styles, strict=True):
            if spans:
                spans.append((" " * GAP, style if style == "head" else ""))
            spans.append((fitted(text, widths[each.key], right=each.say is not None), style))
        used = sum(widths.values()) + GAP * (len(kept) - 1)
        return [*spans, (" " * (room - used), "head" if "head" in styles else "")]

    lines = [line([each.title for each in kept], ["head"] * len(kept))]
    for at, row in enumerate(rows):
        styles = [STATES.get(row.get("state", ""), "") if each.key == "state" else "" for each in kept]
        lines.append(line([texts[each.key][at] for each in kept], styles))
    return lines


def _widths(columns: Sequence[Column], texts: dict[str, list[str]], room: int) -> dict[str, int]:
    """How wide each column is that there is room for."""
    kept, least = list(columns), min(LEAST, room // 3)
    while True:
        widths = {each.key: max(map(width, (each.title, *texts[each.key]))) for each in kept}
        for _ in range(sum(widths.values()) + GAP * (len(kept) - 1) - room):
            # The longest text gives way first.
            texts_left = [each for each in kept if each.say is None and widths[each.key] > least]
            if not texts_left:
                break
            widths[max(texts_left, key=lambda one: widths[one.key]).key] -= 1
        else:
            return widths
        if len(kept) == 1:
            return {kept[0].key: room}
        kept.remove(max(kept, key=lambda one: one.rank))
