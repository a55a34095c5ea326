"""What is on the screen: a picture as lines, and what keys do."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from ..counted import counted
from .cells import fitted, shown, width
from .model import Picture, Row, filtered, ranked
from .table import SECTIONS, UNKNOWN, Column, Line, Section, Span, number, size, table

HELP = (
    "1 to 5   one section: workers, channels, slowest clients, outcomes, patterns",
    "0        all of them; tab: the next one",
    "s        rank by another column",
    "/        filter by user, address, path, channel or worker: a text, or a pattern with * and ?",
    "up down  move through the rows; also page up and page down",
    "p        stop and go on",
    "q        quit",
)

STEPS = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10}
"""Rows that keys move by."""

MOST_NOTES = 4

SHARE = 4
"""Lines that a section has at least, or it is left out: a blank one, its titles, and two rows."""


@dataclass(frozen=True, slots=True)
class State:
    """What somebody has chosen.  ``section`` 0 is all; ``typing`` is the filter while it is typed.  ``away``
    is what keeps the picture from being new, as of ``now``."""

    section: int = 0
    sort: str = ""
    filter: str = ""
    count: int = 20
    offset: int = 0
    typing: str | None = None
    paused: bool = False
    help: bool = False
    away: str = ""
    now: float = 0.0


def press(state: State, key: str) -> State | None:
    """What a key does; None: it is over.  Keys that are no character have names."""
    if state.typing is not None:
        return _type(state, key)
    if key == "q":
        return None
    if state.help:
        return replace(state, help=False)
    if key in STEPS:
        return replace(state, offset=min(max(0, state.offset + STEPS[key]), state.count - 1))
    changed: dict[str, Any] = {}
    match key:
        case "0" | "1" | "2" | "3" | "4" | "5":
            changed = {"section": int(key), "offset": 0}
        case "tab":
            changed = {"section": (state.section + 1) % (len(SECTIONS) + 1), "offset": 0}
        case "escape":
            changed = {"section": 0, "filter": "", "offset": 0}
        case "s":
            changed = {"sort": _next_sort(state), "offset": 0}
        case "/":
            changed = {"typing": state.filter}
        case "p":
            changed = {"paused": not state.paused}
        case "?":
            changed = {"help": True}
    return replace(state, **changed)


def _type(state: State, key: str) -> State:
    typed = state.typing or ""
    if key == "enter":
        return replace(state, filter=typed, typing=None, offset=0)
    if key == "escape":
        return replace(state, typing=None)
    if key == "backspace":
        return replace(state, typing=typed[:-1])
    return replace(state, typing=typed + key) if len(key) == 1 and key.isprintable() else state


def _next_sort(state: State) -> str:
    section = SECTIONS[max(0, state.section - 1)]
    keys = [each.key for each in section.columns if each.key not in ("meaning", "channels")]
    now = state.sort if state.sort in keys else section.sort
    return keys[(keys.index(now) + 1) % len(keys)]


def screen(
    picture: Picture | None, state: State, room: tuple[int, int], where: str, *, ascii: bool = False
) -> list[Line]:
    """Exactly as many lines as there is room for: columns and lines.  ``where`` is what is looked at."""
    columns, height = room
    footer = _footer(state, ascii)
    head = _head(picture, state, columns, where, ascii, max(2, height // 3))[: max(1, height - 1)]
    left = height - len(head) - 1
    if state.help:
        body = [_plain(text, columns) for text in HELP]
    elif picture is None:
        body = []
    else:
        body = _body(filtered(picture, state.filter), state, columns, left, ascii)
    lines = [*head, *body[: max(0, left)]]
    lines += [_plain("", columns)] * (height - 1 - len(lines))
    return [*lines[: height - 1], _plain(footer, columns, "dim")] if height > 1 else lines[:1]


def page(picture: Picture, state: State, columns: int, where: str, *, ascii: bool = False) -> list[Line]:
    """All of it, for a pipe."""
    lines = _head(picture, state, columns, where, ascii)
    rows = filtered(picture, state.filter)
    for section in SECTIONS:
        lines += [[], *_section(section, rows, state, columns, state.count, ascii)]
    return lines


def _head(
    picture: Picture | None, state: State, columns: int, where: str, ascii: bool, most: int = sys.maxsize
) -> list[Line]:
    """What is looked at, all workers together, and Redis; what is wrong has its place in any case."""
    at = "" if picture is None else time.strftime("%H:%M:%S", time.localtime(picture.at))
    title = [where, at, "paused" * state.paused, f"filter: {state.filter}" if state.filter else ""]
    lines = [_plain(shown("  ".join(filter(None, title)), ascii=ascii), columns, "head")]
    if picture is None:
        return [*lines, *_notes([(state.away or "asking Redis", "bad" * bool(state.away))], columns, ascii)]
    lines += _flow(_totals(picture.totals), columns)
    for redis in picture.redis:
        lines += _flow(_redis(redis), columns)
    for each in picture.presence:
        text = f"{each['kind']} {shown(each['name'], ascii=ascii)}: {counted(each['streams'], 'stream')}"
        lines.append(_plain(text, columns))
    notes: list[Span] = [(note.text, note.level) for note in picture.notes]
    if state.away:
        age = max(0.0, state.now - picture.at)
        notes.insert(0, (f"as of {age:.0f} s ago: {state.away}", "bad"))
    wrong = _notes(notes, columns, ascii)
    return [*lines[: max(1, most - len(wrong))], *wrong]


def _totals(totals: Row) -> list[str]:
    states = [f"{count} {name}" for name, count in totals["states"].items() if name != "ready"]
    rates = ("opened", "ended", "refused", "events", *(["published"] if totals["published"] else []))
    return [
        counted(totals["workers"], "worker"),
        *states,
        counted(totals["streams"], "stream"),
        *(f"{name} {_rate(totals[name])}" for name in rates),
    ]


def _notes(notes: Sequence[Span], columns: int, ascii: bool) -> list[Line]:
    lines: list[Line] = []
    for text, level in notes[:MOST_NOTES]:
        lines += _flow(shown(text, ascii=ascii).split(" "), columns, level, gap=1)
    if len(notes) > MOST_NOTES:
        lines.append(_plain(f"and {len(notes) - MOST_NOTES} more", columns, "warn"))
    return lines


def _redis(redis: Row) -> list[str]:
    fields = [redis["version"], redis["address"]]
    if redis["memory"] is not None:
        most = f" of {size(redis['maxmemory'])}" if redis["maxmemory"] else ""
        fields.append(f"memory {size(redis['memory'])}{most}")
    for key, name in (("clients", "clients"), ("ops", "ops/s"), ("evicted", "evicted")):
        if redis[key] is not None:
            fields.append(f"{number(redis[key])} {name}")
    fields.append("takes writes" if redis["writes"] else "takes NO writes")
    if redis["clock"] is not None:
        fields.append(f"clock {round(redis['clock'], 1) + 0.0:+.1f} s")
    return fields


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{number(value)}/s"


def _body(picture: Picture, state: State, columns: int, height: int, ascii: bool) -> list[Line]:
    """The chosen section first, and what room it leaves for the others; or all, each with a fair share."""
    chosen = SECTIONS[state.section - 1] if state.section else None
    order = SECTIONS if chosen is None else (chosen, *(each for each in SECTIONS if each is not chosen))
    needs = [len(getattr(picture, each.name)[: state.count]) + 2 for each in order]
    fit = sum(used <= height for used in accumulate(min(need, SHARE) for need in needs))
    order, needs = order[: max(1, fit)], needs[: max(1, fit)]
    rooms = _shares(needs, height, first=chosen is not None)
    lines: list[Line] = []
    for section, room in zip(order, rooms, strict=True):
        if room > 1:
            offset = state.offset if section is order[0] else 0
            lines.append(_plain("", columns))
            lines += _section(section, picture, state, columns, max(1, room - 2), ascii, offset)
    return lines


def _shares(needs: Sequence[int], height: int, *, first: bool) -> list[int]:
    """The lines of ``height`` that each gets: what it needs, or as much as others that need more; but the
    ``first`` before all others."""
    shares = [0] * len(needs)
    left = height
    if first:
        shares[0] = min(needs[0], left)
        left -= shares[0]
    waiting = list(range(int(first), len(needs)))
    while waiting:
        fair = left // len(waiting)
        small = [at for at in waiting if needs[at] <= fair]
        for at in small or waiting:
            shares[at] = min(needs[at], fair)
            left -= shares[at]
        waiting = [at for at in waiting if at not in small] if small else []
    return shares


def _section(
    section: Section, picture: Picture, state: State, columns: int, most: int, ascii: bool, offset: int = 0
) -> list[Line]:
    rows = list(getattr(picture, section.name))
    keys = [each.key for each in section.columns]
    sort = state.sort if state.sort in keys else section.sort
    known = ranked(rows, sort)[: state.count]
    offset = max(0, min(offset, len(known) - most))
    titled = tuple(_titled(each, section, sort, len(rows), at) for at, each in enumerate(section.columns))
    if not rows:
        return [table(titled[:1], [], columns)[0]]
    return table(titled, known[offset : offset + most], columns, ascii=ascii)


def _titled(column: Column, section: Section, sort: str, count: int, at: int) -> Column:
    """The first says what the rows are, and how many; and one that they are ranked by."""
    title = f"{section.title} ({count})" if at == 0 else column.title
    return column._replace(title=title + "*" * (column.key == sort))


def _footer(state: State, ascii: bool) -> str:
    if state.typing is not None:
        return f"filter: {shown(state.typing, ascii=ascii)}_"
    if state.help:
        return "any key goes back"
    return "q quit  ? help  s sort  / filter  1-5 sections  p " + ("go on" if state.paused else "pause")


def _plain(text: str, columns: int, style: str = "") -> Line:
    return [(fitted(text, columns), style)]


def _flow(fields: Sequence[str], columns: int, style: str = "", gap: int = 2) -> list[Line]:
    """Fields one after the other, on as many lines as they need."""
    lines: list[str] = []
    for text in filter(None, fields):
        if lines and width(lines[-1]) + gap + width(text) <= columns:
            lines[-1] += " " * gap + text
        else:
            lines.append(text)
    return [_plain(line, columns, style) for line in lines]
