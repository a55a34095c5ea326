"""The samples as a picture: what it costs and what it gives, over the number of streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ..report.picture import captioned, dress, fit, headed, picture
from .table import SCALES, Series

PANELS = (
    ("single_cpu", "CPU per delivered event, µs", "µs", "one event at a time"),
    ("burst_rate", "delivered events, thousand/s", "thousand events/s", "100 events at 2 ms spacing"),
    ("memory", "memory per idle stream, KiB", "KiB", "of the server's process; the kernel's is not counted"),
)
"""What is drawn: a measurement, its title, the unit of its figures, and how it was made."""

PARTS = {"single", "burst", "memory"}
"""Of the benchmark: those that measure it."""

LOOKS = {
    "sse_edge": ("sse_edge", "#0b6e4f", "-", "o"),
    "TaskSink": ("sse_edge, SSE_EDGE_SINK=task", "#62b58f", "-", "s"),
    "floor": ("bare loop of send()", "#222222", "--", "D"),
    "bare": ("bare uvicorn stream", "#222222", ":", "D"),
    "nchan": ("nginx with nchan", "#c8641b", "-", "^"),
    "sse-starlette": ("sse-starlette + Redis", "#7a5195", "-", "v"),
    "mercure": ("Mercure", "#2f6fb0", "-", "<"),
    "centrifugo": ("Centrifugo", "#b03a5b", "-", ">"),
    "pushpin": ("Pushpin", "#8a6d3b", "-", "P"),
    "django-eventstream": ("django-eventstream", "#3b8f8a", "-", "X"),
}
"""Name, colour, line and marker of each contender."""


LINE_OF_TEXT = 12.0
"""Points between two labels."""


def draw(samples: Mapping[str, Series], path: Path, note: str) -> bool:
    """Write an SVG of what was measured; False when there is nothing to draw."""
    panels = [panel for panel in PANELS if panel[0] in samples]
    if not panels:
        return False
    with picture(path, 4.9 * len(panels), 4.7) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        keys: dict[str, Any] = {}
        for axis, (what, title, unit, how) in zip(axes, panels, strict=True):
            series = samples[what]
            for name, (label, colour, line, marker) in LOOKS.items():
                if name in series:
                    xs = sorted(series[name])
                    ys = [median(series[name][x]) * SCALES[unit] for x in xs]
                    (keys[label],) = axis.plot(xs, ys, line, color=colour, marker=marker, ms=5, lw=1.8)
            sizes = sorted({size for each in series.values() for size in each})
            _dress(axis, sizes, logarithmic="rate" in what)
            headed(axis, title, how)
        captioned(figure, keys, note)
        for axis in axes:
            _label_ends(axis, figure.dpi / 72)
    return True


def _dress(axis: Any, sizes: Sequence[int], *, logarithmic: bool) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    axis.set_xlabel("open streams")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xlim(0, max(sizes) * 1.14)
    dress(axis)
    if logarithmic:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        fit(axis)


def _label_ends(axis: Any, pixels_per_point: float) -> None:
    """The last figure of each line beside it, none on top of another."""
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1], line.get_color()) for line in axis.get_lines()]
    heights = [axis.transData.transform((x, y))[1] / pixels_per_point for x, y, _ in ends]
    for (x, y, colour), height, place in zip(ends, heights, apart(heights, LINE_OF_TEXT), strict=True):
        said = f"{y:,.0f}" if y >= 100 else f"{y:.1f}"
        axis.annotate(
            said, (x, y), (8, place - height), textcoords="offset points", va="center", color=colour, size=9
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights in the same order, moved until no two are nearer than ``gap``; none where none are."""
    groups: list[list[int]] = []
    places = list(heights)
    for each in sorted(range(len(heights)), key=heights.__getitem__):
        groups.append([each])
        # A group is centred where its members want to be; when it grows it may touch the one below.
        while True:
            group = groups[-1]
            middle = sum(heights[one] for one in group) / len(group)
            for rank, one in enumerate(group):
                places[one] = middle + (rank - (len(group) - 1) / 2) * gap
            if len(groups) == 1 or places[group[0]] - places[groups[-2][-1]] >= gap:
                break
            groups[-2:] = [groups[-2] + group]
    return places
