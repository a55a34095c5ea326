"""A run as a picture: what happened from its beginning to its end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from .picture import GREY, PARTS, dress, fit, picture
from .table import number
from .text import Summary, part_name

LINES = ("#0b6e4f", "#c8641b", "#7a5195", "#4a86b8", "#b5293b", "#a38a00", "#c45a9a")
"""For what has no colour of its own, as the codes of refusals."""

REST = "#8a8f98"

MOST = 600
"""Points of a line: no more could be told apart, and all would be stored."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200)
"""Seconds between two marks of the time axis."""

MARKS = 9

RATIO = 30
"""When the longest latency is so many times the shortest, the scale is logarithmic."""

BANDS = ("#eef1f4", "#ffffff")
"""Behind the phases, in turn."""

NAME = KEY = 9.0
"""Points of a phase's name, and of a panel's key; a letter is taken to be 0.62 as wide."""

NAME_LINES = 5
"""A name that finds no room in so many lines is only in the table."""

# Inches. The two columns are of the same width, for the page puts one below the other where there is no room.
COLUMN, LEFT, RIGHT = 7.0, 0.8, 0.15
HEIGHTS = (1.9, 1.1, 1.3, 1.9)
TITLE, FOOT, LINE = 0.62, 0.5, 0.18

WIDTH = (COLUMN - LEFT - RIGHT) * 72
"""Of a panel, in points."""

Item = TypeVar("Item")
Rows = Sequence[Mapping[str, Any]]
Point = tuple[float, float]


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG of two columns of panels, all over the same time."""
    end = _end(summary)
    names = placed(summary["phases"], end)
    strip = LINE * max((line + 1 for *_, line in names), default=0)
    high = 0.1 + strip + sum(HEIGHTS) + TITLE * len(HEIGHTS) + FOOT
    with picture(path, 2 * COLUMN, high) as figure:

        def panel(column: int, top: float, height: float) -> Any:
            box = (column * COLUMN + LEFT, high - top - height, COLUMN - LEFT - RIGHT, height)
            return figure.add_axes(
                (box[0] / 2 / COLUMN, box[1] / high, box[2] / 2 / COLUMN, box[3] / high), xlim=(0, end)
            )

        timeline: Rows = summary["timeline"]
        columns: tuple[tuple[Callable[[Any], None], ...], ...] = (
            (
                lambda axis: _streams(axis, timeline),
                lambda axis: _attempts(axis, timeline),
                lambda axis: _codes(axis, timeline, "refusals"),
                lambda axis: _memory(axis, summary),
            ),
            (
                lambda axis: _latency(axis, timeline),
                lambda axis: _events(axis, timeline),
                lambda axis: _codes(axis, timeline, "endings"),
                lambda axis: _cpu(axis, summary),
            ),
        )
        for column, drawings in enumerate(columns):
            top = 0.1
            if strip:
                _names(panel(column, top, strip), names, summary["phases"])
            top += strip
            for drawing, height in zip(drawings, HEIGHTS, strict=True):
                axis = panel(column, top + TITLE, height)
                top += TITLE + height
                _shade(axis, summary["phases"])
                _dress(axis, end, last=drawing is drawings[-1])
                drawing(axis)


def thin(items: Sequence[Item], size: Callable[[Item], float], most: int = MOST) -> list[Item]:
    """At most so many of them: of each stretch the smallest and the largest, in their order."""
    if len(items) <= most:
        return list(items)
    stretches = most // 2
    kept: list[Item] = []
    for stretch in range(stretches):
        first, end = (len(items) * edge // stretches for edge in (stretch, stretch + 1))
        sizes = [size(item) for item in items[first:end]]
        kept += [items[first + place] for place in sorted({sizes.index(min(sizes)), sizes.index(max(sizes))})]
    return kept


def placed(phases: Rows, end: float) -> list[tuple[str, float, int]]:
    """Names of phases, where each begins (a share of the width) and in which line, so that none overlap."""
    ends: list[float] = []
    found = []
    for phase in phases:
        name = phase["name"]
        long = (len(name) * 0.62 + 0.8) * NAME / WIDTH
        begin, room = phase["from"] / end, (phase["to"] - phase["from"]) / end
        at = max(0.0, min(begin + max(0.0, room - long) / 2, 1 - long))
        line = next((line for line, taken in enumerate(ends) if taken <= at), len(ends))
        if line < NAME_LINES:
            ends[line : line + 1] = [at + long]
            found.append((name, at, line))
    return found


def fitting(codes: Sequence[str]) -> int:
    """How many of them have a colour of their own, and room in the key beside what the rest is called."""
    taken = 0.0
    for place, code in enumerate(codes):
        taken += (len(code) * 0.62 + 3.2) * KEY
        if place == len(LINES) or taken > WIDTH - 9 * KEY:
            return place
    return len(codes)


def _end(summary: Summary) -> float:
    """When the last thing was seen."""
    return max(
        1.0 if summary["timeline"] else summary["took"],
        max((row["t"] + 1 for row in summary["timeline"]), default=0.0),
        max((phase["to"] for phase in summary["phases"]), default=0.0),
        max((sample["t"] for sample in summary["samples"]), default=0.0),
    )


def _names(axis: Any, names: Sequence[tuple[str, float, int]], phases: Rows) -> None:
    lines = max((line + 1 for *_, line in names), default=1)
    _shade(axis, phases)
    axis.set_axis_off()
    for name, at, line in names:
        axis.text(
            at + 0.4 * NAME / WIDTH,
            1 - (line + 0.5) / lines,
            name,
            transform=axis.transAxes,
            va="center_baseline",
            fontsize=NAME,
            color="#444444",
        )


def _shade(axis: Any, phases: Rows) -> None:
    for place, phase in enumerate(phases):
        axis.axvspan(phase["from"], phase["to"], color=BANDS[place % 2], lw=0, zorder=0)
        axis.axvline(phase["from"], color="#cfd4da", lw=0.7, zorder=0.5)


def _dress(axis: Any, end: float, *, last: bool) -> None:
    from matplotlib.ticker import MaxNLocator, MultipleLocator  # noqa: PLC0415

    dress(axis)
    days = 86_400 * math.ceil(end / 86_400 / MARKS)
    step = next((step for step in STEPS if end / step <= MARKS), days)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(lambda seconds, _: clock(seconds, end))
    axis.tick_params(labelbottom=last)
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)))
    if last:
        axis.set_xlabel("time since the run began, " + ("h:min" if end >= 3600 else "min:s"))


def clock(seconds: float, end: float) -> str:
    """A mark of the time axis: minutes and seconds, or hours and minutes where the run is long."""
    more, less = divmod(round(seconds / 60 if end >= 3600 else seconds), 60)
    return f"{more}:{less:02}"


def _title(axis: Any, title: str, how: str = "", *, whole: bool = False) -> None:
    """The head of a panel, its key, and its scale."""
    handles, labels = axis.get_legend_handles_labels()
    pad = 20 if handles else 7
    axis.set_title(title, loc="left", fontweight="bold", pad=pad)
    if how:
        axis.text(1, 1, how, transform=_above(axis, pad + 1), ha="right", va="bottom", fontsize=9, color=GREY)
    if handles:
        axis.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            bbox_transform=_above(axis, 2),
            ncols=len(handles),
            frameon=False,
            fontsize=KEY,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.1,
            handletextpad=0.5,
            columnspacing=1.3,
        )
    # Of few streams there is no half.
    fit(axis, 4 if whole else 0.001)


def _above(axis: Any, points: float) -> Any:
    """The axis's own coordinates, so many points higher."""
    from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415

    return axis.transAxes + ScaledTranslation(0, points / 72, axis.figure.dpi_scale_trans)


def _empty(axis: Any, title: str, said: str) -> None:
    _title(axis, title)
    axis.set_yticks([])
    axis.text(0.5, 0.5, said, transform=axis.transAxes, ha="center", va="center", color="#777777")


def _line(
    axis: Any, points: Sequence[tuple[float, float]], colour: str, label: str, *, fill: bool = False
) -> float:
    """Of points in time; broken where there were none for long.  The highest of them."""
    points = thin(points, lambda point: point[1])
    if fill:
        xs = [points[0][0], *(x for x, _ in points), points[-1][0]]
        axis.fill(xs, [0.0, *(y for _, y in points), 0.0], color=colour, alpha=0.12, lw=0)
    gaps = [second[0] - first[0] for first, second in pairwise(points)]
    longest = max(5.0, 4 * median(gaps)) if gaps else 0.0
    broken: list[Point] = []
    for point, gap in zip(points, [0.0, *gaps], strict=True):
        if gap > longest:
            broken.append((point[0], math.nan))
        broken.append(point)
    # A dot where there are few: one between two breaks would be no line.
    axis.plot(
        *zip(*broken, strict=True), "-" if len(points) > 40 else ".-", color=colour, lw=1.4, ms=4, label=label
    )
    return max(y for _, y in points)


def _streams(axis: Any, timeline: Rows) -> None:
    if not timeline:
        _empty(axis, "open streams", "nothing was measured")
        return
    highest = _line(axis, [(row["t"], row["streams"]) for row in timeline], LINES[0], "", fill=True)
    _title(axis, "open streams", f"at most {highest:,}", whole=True)


def _attempts(axis: Any, timeline: Rows) -> None:
    title = "attempts to connect, per second"
    if not any(row["attempts"] or row["opened"] for row in timeline):
        _empty(axis, title, "none" if timeline else "nothing was measured")
        return
    highest = _line(axis, [(row["t"], row["attempts"]) for row in timeline], LINES[1], "attempts", fill=True)
    _line(axis, [(row["t"], row["opened"]) for row in timeline], LINES[0], "opened")
    _title(axis, title, f"at most {highest:,}", whole=True)


def _events(axis: Any, timeline: Rows) -> None:
    title = "delivered events, per second"
    if not any(row["events"] for row in timeline):
        _empty(axis, title, "none" if timeline else "nothing was measured")
        return
    highest = _line(axis, [(row["t"], row["events"]) for row in timeline], LINES[0], "", fill=True)
    _title(axis, title, f"at most {highest:,}", whole=True)


def _latency(axis: Any, timeline: Rows) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    title = "from publishing to the client, ms"
    found = {
        name: [(row["t"], row[name] * 1000) for row in timeline if row[name] is not None]
        for name in ("p99", "p50")
    }
    if not all(found.values()):
        _empty(axis, title, "no event came" if timeline else "nothing was measured")
        return
    highest = _line(axis, found["p99"], LINES[1], "99 %")
    _line(axis, found["p50"], LINES[0], "half of all")
    least = min((ms for points in found.values() for _, ms in points if ms > 0), default=highest)
    wide = highest > RATIO * least
    _title(
        axis,
        title,
        f"at most {number(highest)}" + (", logarithmic" if wide else ""),
    )
    if wide:
        # What took no time that could be measured is at the bottom.
        axis.set_yscale("log", nonpositive="clip")
        axis.set_ylim(least / 1.3, highest * 1.3)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 100 * least else (1,)))
        axis.yaxis.set_major_formatter(lambda figure, _: f"{figure:,.10g}")
        axis.yaxis.set_minor_formatter(NullFormatter())


def _codes(axis: Any, timeline: Rows, what: str) -> None:
    """A line for each code, and one for all that have no colour left."""
    title = f"{what}, per second"
    counts: Counter[str] = Counter()
    for row in timeline:
        counts.update(row[what])
    if not counts:
        _empty(axis, title, "none" if timeline else "nothing was measured")
        return
    codes = sorted(counts, key=lambda code: (-counts[code], code))
    shown = codes[: fitting(codes)]
    groups: dict[str, tuple[str, ...]] = {code: (code,) for code in shown}
    colours = dict(zip(shown, LINES, strict=False))
    if rest := tuple(codes[len(shown) :]):
        groups["others"], colours["others"] = rest, REST
    highest = 0.0
    for label, group in groups.items():
        points = [(row["t"], sum(row[what].get(code, 0) for code in group)) for row in timeline]
        highest = max(highest, _line(axis, points, colours[label], label, fill=True))
    _title(axis, title, f"at most {highest:,}", whole=True)


def _memory(axis: Any, summary: Summary) -> None:
    held = summary["memory"]

    def label(part: str) -> str:
        name = part_name(summary, part)
        return f"{name} {number(held[part]['per_stream'] / 1024)}" if part in held else name

    how = "beside each name: KiB per stream" if held else ""
    _stack(axis, summary["samples"], "memory", 2**20, label, ("memory, MiB", how))


def _cpu(axis: Any, summary: Summary) -> None:
    cores = summary["machine"].get("cores")
    how = f"the machine has {cores}" if cores else ""
    _stack(axis, summary["samples"], "cpu", 1, lambda part: part_name(summary, part), ("CPU, cores", how))


def _stack(
    axis: Any,
    samples: Rows,
    what: str,
    unit: float,
    label: Callable[[str], str],
    title: tuple[str, str],
) -> None:
    """All parts on top of each other; a part that was never there is left out."""
    there = {part for sample in samples for part in sample[what]}
    parts = [part for part in PARTS if part in there] + sorted(there - set(PARTS))
    if not parts:
        _empty(axis, title[0], "nothing was measured")
        return
    rows = [
        (sample["t"], [max(0.0, sample[what].get(part, 0.0)) / unit for part in parts]) for sample in samples
    ]
    rows = thin(rows, lambda row: sum(row[1]))
    xs = [rows[0][0], *(t for t, _ in rows), rows[-1][0]]
    # From the top down, each in front of the one before: half the points of areas between two lines.
    for place in reversed(range(len(parts))):
        tops = [sum(sizes[: place + 1]) for _, sizes in rows]
        axis.fill(xs, [0.0, *tops, 0.0], color=PARTS.get(parts[place], REST), lw=0)
    for part in parts:
        axis.fill([], [], color=PARTS.get(part, REST), lw=0, label=label(part))
    _title(axis, *title)
