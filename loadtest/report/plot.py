"""A run as a picture: what happened from its beginning to its end."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from .picture import GREY, PARTS, dress, fit, logarithmic, picture
from .table import Summary, number, part_name

LINES = ("#0b6e4f", "#c8641b", "#7a5195", "#4a86b8", "#b5293b", "#a38a00", "#c45a9a", "#8a8f98")
"""Colours of a panel's lines, in their order; the last is for what is left."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
"""Seconds between two marks of the time axis, of which there are nine at most."""

MOST = 600  # points of a line: no more could be told apart, and all would be stored
RATIO = 30  # when the longest latency is so many times the shortest, the scale is logarithmic
BANDS = ("#eef1f4", "#ffffff")  # behind the phases, in turn
HEIGHTS = (1.9, 1.1, 1.3, 1.9)  # inches of the rows of panels
WIDTH = 440.0  # points of a panel, about
LETTER, SIZE = 5.6, 9.0  # the same of a letter in a phase's name or a key, and its size
NAME_LINES = 5  # a name that finds no room in so many lines is only in the table
DELAY = "from publishing to the client, ms"

Rows = Sequence[Mapping[str, Any]]
Points = Sequence[tuple[float, ...]]
"""Each a moment, and what there was then."""


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG of two columns of panels, all over the same time."""
    phases, timeline, samples = (summary[name] for name in ("phases", "timeline", "samples"))
    ends = [row["t"] + 1 for row in timeline] + [phase["to"] for phase in phases]
    end = max([*ends, *(each["t"] for each in samples)], default=summary["took"])
    names = placed(phases, end)
    strip = 0.18 * max((line + 1 for *_, line in names), default=0)

    def over_time(name: str, scale: float = 1) -> Points:
        return [(row["t"], row[name] * scale) for row in timeline if row[name] is not None]

    lines = {
        "open streams": {"": over_time("streams")},
        DELAY: {"half of all": over_time("p50", 1000.0), "99 %": over_time("p99", 1000.0)},
        "attempts to connect, per second": {name: over_time(name) for name in ("opened", "attempts")},
        "delivered events, per second": {"": over_time("events")},
        "refusals, per second": _codes(timeline, "refusals"),
        "endings, per second": _codes(timeline, "endings"),
    }
    with picture(path, 14, strip + sum(HEIGHTS) + 3) as figure:
        (*heads,), *rows = figure.subplots(5, 2, sharex=True, height_ratios=(strip or 0.01, *HEIGHTS))
        for axis in figure.axes:
            _over_time(axis, phases, end)
        for axis in heads:
            axis.set_axis_off()
            for name, at, line in names:
                place = (at + LETTER / WIDTH) * end, (line + 0.4) * 0.18 / strip
                axis.text(*place, name, va="center", fontsize=SIZE)
            axis.set_ylim(1, 0)
        *panels, memory, cpu = (axis for row in rows for axis in row)
        for axis, (title, found) in zip(panels, lines.items(), strict=True):
            none = "no event came" if title == DELAY else "none"
            _lines(axis, title, found, none if timeline else "nothing was measured")
        held, cores = summary["memory"], summary["machine"].get("cores")
        sizes = {part: f" {number(each['per_stream'], 1024)}" for part, each in held.items()}
        _stack(memory, summary, "memory", 2**20, sizes)
        _stack(cpu, summary, "cpu", 1, {})
        _head(memory, "memory, MiB", "beside each name: KiB per stream" if held else "")
        _head(cpu, "CPU, cores", f"the machine has {cores}" if cores else "")
        for axis in (memory, cpu):
            axis.set_xlabel("time since the run began, " + ("h:min" if end >= 3600 else "min:s"))
        figure.tight_layout()


def thin(points: Points) -> Points:
    """At most ``MOST`` of them: of each stretch the lowest and the highest, in their order."""
    if len(points) <= MOST:
        return points
    kept: list[tuple[float, ...]] = []
    for stretch in range(MOST // 2):
        first, end = (len(points) * edge // (MOST // 2) for edge in (stretch, stretch + 1))
        ordered = sorted(points[first:end], key=lambda point: sum(point[1:]))
        kept += sorted({ordered[0], ordered[-1]})
    return kept


def placed(phases: Rows, end: float) -> list[tuple[str, float, int]]:
    """Names of phases, where each begins (a share of the width) and in which line, so that none overlap."""
    ends: list[float] = []
    found = []
    for phase in phases:
        name = phase["name"]
        long = (len(name) + 2) * LETTER / WIDTH
        begin, room = phase["from"] / end, (phase["to"] - phase["from"]) / end
        at = max(0.0, min(begin + max(0.0, room - long) / 2, 1 - long))
        line = next((line for line, taken in enumerate(ends) if taken <= at), len(ends))
        if line < NAME_LINES:
            ends[line : line + 1] = [at + long]
            found.append((name, at, line))
    return found


def fitting(codes: Sequence[str]) -> int:
    """How many of them have a colour of their own, and room in the key beside what the rest is called."""
    taken = accumulate((len(code) + 5) * LETTER for code in codes)
    return min(len(LINES) - 1, sum(width <= WIDTH - 15 * LETTER for width in taken))


def clock(seconds: float, end: float) -> str:
    """A mark of the time axis: minutes and seconds, or hours and minutes where the run is long."""
    more, less = divmod(round(seconds / 60 if end >= 3600 else seconds), 60)
    return f"{more}:{less:02}"


def _codes(timeline: Rows, what: str) -> dict[str, Points]:
    """Each code, most of them first, and together all that have no room."""
    counts: Counter[str] = Counter()
    for row in timeline:
        counts.update(row[what])
    codes = sorted(counts, key=lambda code: (-counts[code], code))
    shown = fitting(codes)
    groups = {code: [code] for code in codes[:shown]} | ({"others": codes[shown:]} if codes[shown:] else {})
    return {
        label: [(row["t"], sum(row[what].get(code, 0) for code in group)) for row in timeline]
        for label, group in groups.items()
    }


def _over_time(axis: Any, phases: Rows, end: float) -> None:
    for place, phase in enumerate(phases):
        axis.axvspan(phase["from"], phase["to"], color=BANDS[place % 2], lw=0, zorder=0)
        axis.axvline(phase["from"], color="#cfd4da", lw=0.7, zorder=0.5)
    dress(axis)
    axis.set_xlim(0, end)
    step = next((step for step in STEPS if end / step <= 9), STEPS[-1])
    axis.set_xticks(range(0, int(end) + 1, step))
    axis.xaxis.set_major_formatter(lambda seconds, _: clock(seconds, end))
    axis.locator_params(axis="y", nbins=4)


def _head(axis: Any, title: str, how: str = "", least: float = 0.001) -> None:
    """Title and key above a panel, and a scale that holds what is drawn."""
    _, labels = axis.get_legend_handles_labels()
    pad = 20 if labels else 7
    axis.set_title(title, loc="left", fontweight="bold", pad=pad)
    axis.set_title(how, loc="right", fontsize=SIZE, color=GREY, pad=pad)
    if labels:
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0}
        axis.legend(ncols=len(labels), fontsize=SIZE, frameon=False, handlelength=1.1, **above)
    fit(axis, least)


def _empty(axis: Any, said: str) -> None:
    axis.set_yticks([])
    axis.text(0.5, 0.5, said, transform=axis.transAxes, ha="center", va="center", color="#777777")


def _lines(axis: Any, title: str, lines: Mapping[str, Points], none: str) -> None:
    """Lines over time, each broken where there was nothing for long."""
    # Of what is counted there is no half; the shortest of times may be none that can be measured.
    counted = title != DELAY
    lines = {
        label: thin(points) for label, points in lines.items() if any(y or not counted for _, y in points)
    }
    if not lines:
        _head(axis, title)
        _empty(axis, none)
        return
    ys = [y for points in lines.values() for _, y in points]
    highest, lowest = max(ys), min((y for y in ys if y > 0), default=max(ys))
    wide = not counted and highest > RATIO * lowest
    for (label, points), colour in zip(lines.items(), LINES, strict=False):
        color = LINES[-1] if label == "others" else colour
        gaps = [later[0] - sooner[0] for sooner, later in pairwise(points)]
        longest = max(5.0, 4 * median(gaps)) if gaps else 0.0
        over = [points[0]]
        for point, gap in zip(points[1:], gaps, strict=True):
            over += [(point[0], math.nan), point] if gap > longest else [point]
        # A dot where there are few: one between two breaks would be no line.
        style = "-" if len(points) > 40 else ".-"
        axis.plot(*zip(*over, strict=True), style, color=color, lw=1.4, ms=4, label=label)
        if counted:
            axis.fill_between(*zip(*over, strict=True), color=color, alpha=0.12, lw=0)
    how = f"at most {number(highest)}{', logarithmic' if wide else ''}"
    _head(axis, title, how, least=4 if counted else 0.001)
    if wide:
        logarithmic(axis, (1, 2, 5) if highest < 100 * lowest else (1,))
        axis.set_ylim(lowest / 1.3, highest * 1.3)


def _stack(axis: Any, summary: Summary, what: str, unit: float, more: Mapping[str, str]) -> None:
    """All parts on top of each other; a part that was never there is left out."""
    there = {part for sample in summary["samples"] for part in sample[what]}
    parts = [part for part in PARTS if part in there] + sorted(there - set(PARTS))
    if not parts:
        _empty(axis, "nothing was measured")
        return
    points = [
        (sample["t"], *(max(0.0, sample[what].get(part, 0.0)) / unit for part in parts))
        for sample in summary["samples"]
    ]
    labels = [part_name(summary, part) + more.get(part, "") for part in parts]
    colors = [PARTS.get(part, LINES[-1]) for part in parts]
    axis.stackplot(*zip(*thin(points), strict=True), labels=labels, colors=colors, lw=0)
