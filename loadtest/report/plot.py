"""A run as a picture: what happened from its beginning to its end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from .picture import GREY, PARTS, dress, fit, picture
from .table import number
from .text import Summary, part_name

LINES = ("#0b6e4f", "#c8641b", "#7a5195", "#4a86b8", "#b5293b", "#a38a00", "#c45a9a", "#8a8f98")
"""Colours of a panel's lines, in their order; the last is for what is left."""

MOST = 600
"""Points of a line: no more could be told apart, and all would be stored."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
"""Seconds between two marks of the time axis, of which there are nine at most."""

RATIO = 30
"""When the longest latency is so many times the shortest, the scale is logarithmic."""

BANDS = ("#eef1f4", "#ffffff")
"""Behind the phases, in turn."""

HEIGHTS = (1.9, 1.1, 1.3, 1.9)
"""Inches of the rows of panels."""

WIDTH = 440.0
"""Points of a panel, about."""

LETTER, SIZE = 5.6, 9.0
"""The same of a letter in a phase's name or a key, and its size."""

NAME_LINES = 5
"""A name that finds no room in so many lines is only in the table."""

Item = TypeVar("Item")
Rows = Sequence[Mapping[str, Any]]
Lines = Mapping[str, Sequence[tuple[float, float]]]
"""Points in time, by what the line is called."""


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG of two columns of panels, all over the same time."""
    phases, timeline, samples = (summary[name] for name in ("phases", "timeline", "samples"))
    ends = (
        [row["t"] + 1 for row in timeline]
        + [phase["to"] for phase in phases]
        + [each["t"] for each in samples]
    )
    end = max(ends, default=summary["took"])
    names = placed(phases, end)
    strip = 0.18 * max((line + 1 for *_, line in names), default=0)
    attempts = {"opened": _counted(timeline, "opened"), "attempts": _counted(timeline, "attempts")}
    latency = {"half of all": _ms(timeline, "p50"), "99 %": _ms(timeline, "p99")}
    lines: tuple[tuple[str, Lines, str], ...] = (
        ("open streams", {"": _counted(timeline, "streams")}, "none"),
        ("from publishing to the client, ms", latency, "no event came"),
        ("attempts to connect, per second", attempts, "none"),
        ("delivered events, per second", {"": _counted(timeline, "events")}, "none"),
        ("refusals, per second", _codes(timeline, "refusals"), "none"),
        ("endings, per second", _codes(timeline, "endings"), "none"),
    )
    with picture(path, 14, strip + sum(HEIGHTS) + 3) as figure:
        (*heads,), *rows = figure.subplots(5, 2, sharex=True, height_ratios=(strip or 0.01, *HEIGHTS))
        for axis in figure.axes:
            _over_time(axis, phases, end)
        for axis in heads:
            axis.set_axis_off()
            for name, at, line in names:
                axis.text(
                    (at + LETTER / WIDTH) * end, (line + 0.4) * 0.18 / strip, name, va="center", fontsize=SIZE
                )
            axis.set_ylim(1, 0)
        *panels, memory, cpu = (axis for row in rows for axis in row)
        for axis, (title, found, none) in zip(panels, lines, strict=True):
            _lines(axis, title, found, none if timeline else "nothing was measured")
        _memory(memory, summary)
        _cpu(cpu, summary)
        for axis in (memory, cpu):
            axis.set_xlabel("time since the run began, " + ("h:min" if end >= 3600 else "min:s"))
        figure.tight_layout()


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


# What is drawn


def _counted(timeline: Rows, name: str) -> list[tuple[float, float]]:
    """Nothing where there was none at all."""
    found = [(row["t"], row[name]) for row in timeline]
    return found if any(count for _, count in found) else []


def _ms(timeline: Rows, name: str) -> list[tuple[float, float]]:
    return [(row["t"], 1000 * row[name]) for row in timeline if row[name] is not None]


def _codes(timeline: Rows, what: str) -> Lines:
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


# How


def _over_time(axis: Any, phases: Rows, end: float) -> None:
    from matplotlib.ticker import MaxNLocator, MultipleLocator  # noqa: PLC0415 - slow to load

    for place, phase in enumerate(phases):
        axis.axvspan(phase["from"], phase["to"], color=BANDS[place % 2], lw=0, zorder=0)
        axis.axvline(phase["from"], color="#cfd4da", lw=0.7, zorder=0.5)
    dress(axis)
    axis.set_xlim(0, end)
    axis.xaxis.set_major_locator(
        MultipleLocator(next((step for step in STEPS if end / step <= 9), STEPS[-1]))
    )
    axis.xaxis.set_major_formatter(lambda seconds, _: clock(seconds, end))
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)))


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


def _empty(axis: Any, title: str, said: str) -> None:
    _head(axis, title)
    axis.set_yticks([])
    axis.text(0.5, 0.5, said, transform=axis.transAxes, ha="center", va="center", color="#777777")


def _lines(axis: Any, title: str, lines: Lines, none: str) -> None:
    """Lines over time, each broken where there was nothing for long."""
    lines = {label: thin(points, lambda point: point[1]) for label, points in lines.items() if points}
    if not lines:
        _empty(axis, title, none)
        return
    ys = [y for points in lines.values() for _, y in points]
    # Of what is counted there is no half; the shortest of times may be none that can be measured.
    counted = all(isinstance(y, int) for y in ys)
    highest, lowest = max(ys), min((y for y in ys if y > 0), default=max(ys))
    wide = not counted and highest > RATIO * lowest
    colours = dict(zip(lines, LINES, strict=False)) | {"others": LINES[-1]}
    for label, points in lines.items():
        gaps = [later[0] - sooner[0] for sooner, later in pairwise(points)]
        longest = max(5.0, 4 * median(gaps)) if gaps else 0.0
        broken = [
            each
            for point, gap in zip(points, [0.0, *gaps], strict=True)
            for each in ([(point[0], math.nan), point] if gap > longest else [point])
        ]
        # A dot where there are few: one between two breaks would be no line.
        style = "-" if len(points) > 40 else ".-"
        over = list(zip(*broken, strict=True))
        axis.plot(*over, style, color=colours[label], lw=1.4, ms=4, label=label)
        if counted:
            axis.fill_between(*over, color=colours[label], alpha=0.12, lw=0)
    how = f"at most {number(highest)}{', logarithmic' if wide else ''}"
    _head(axis, title, how, least=4 if counted else 0.001)
    if wide:
        _logarithmic(axis, lowest, highest)


def _logarithmic(axis: Any, lowest: float, highest: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    axis.set_yscale("log", nonpositive="clip")
    axis.set_ylim(lowest / 1.3, highest * 1.3)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 100 * lowest else (1,)))
    axis.yaxis.set_major_formatter(lambda figure, _: f"{figure:,.10g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def _memory(axis: Any, summary: Summary) -> None:
    held = summary["memory"]
    labels = {part: f" {number(figures['per_stream'] / 1024)}" for part, figures in held.items()}
    how = "beside each name: KiB per stream" if held else ""
    _stack(axis, summary, "memory", 2**20, ("memory, MiB", how), labels)


def _cpu(axis: Any, summary: Summary) -> None:
    cores = summary["machine"].get("cores")
    how = f"the machine has {cores}" if cores else ""
    _stack(axis, summary, "cpu", 1, ("CPU, cores", how), {})


def _stack(
    axis: Any, summary: Summary, what: str, unit: float, title: tuple[str, str], more: Mapping[str, str]
) -> None:
    """All parts on top of each other; a part that was never there is left out."""
    samples = summary["samples"]
    there = {part for sample in samples for part in sample[what]}
    parts = [part for part in PARTS if part in there] + sorted(there - set(PARTS))
    if not parts:
        _empty(axis, title[0], "nothing was measured")
        return
    rows = [
        (sample["t"], *(max(0.0, sample[what].get(part, 0.0)) / unit for part in parts)) for sample in samples
    ]
    times, *sizes = zip(*thin(rows, lambda row: sum(row[1:])), strict=True)
    labels = [part_name(summary, part) + more.get(part, "") for part in parts]
    axis.stackplot(times, *sizes, labels=labels, colors=[PARTS.get(part, LINES[-1]) for part in parts], lw=0)
    _head(axis, *title)
