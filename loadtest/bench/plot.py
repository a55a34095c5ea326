"""The samples as a picture: what it costs and what it gives, over the number of streams."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ..report.picture import captioned, dress, fit, headed, logarithmic, picture
from .targets import FIGURES, SCALES, Series

PANELS = {
    "single": ("single_cpu", "CPU per delivered event, µs", "one event at a time"),
    "burst": ("burst_rate", "delivered events, thousand/s", "100 events at 2 ms spacing"),
    "memory": (
        "memory",
        "memory per idle stream, KiB",
        "of the server's process, without the kernel's",
    ),
}
"""What is drawn, by part: a measurement, its title, and how it was made."""

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


def draw(samples: Mapping[str, Series], path: Path, facts: Mapping[str, str]) -> bool:
    """Write an SVG of what was measured; False when there is nothing to draw."""
    panels = [panel for panel in PANELS.values() if panel[0] in samples]
    if not panels:
        return False
    with picture(path, 5.2 * len(panels), 4.7) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        keys: dict[str, Any] = {}
        for axis, (what, title, how) in zip(axes, panels, strict=True):
            series, scale = samples[what], SCALES[FIGURES[what].unit]
            for name, (label, colour, line, marker) in LOOKS.items():
                if name in series:
                    xs = sorted(series[name])
                    ys = [median(series[name][x]) * scale for x in xs]
                    (keys[label],) = axis.plot(xs, ys, line, color=colour, marker=marker, ms=5, lw=1.8)
            sizes = sorted({size for each in series.values() for size in each})
            _dress(axis, sizes)
            (logarithmic if "rate" in what else fit)(axis)
            headed(axis, title, how)
        captioned(figure, keys, f"{facts['cpu']}, Linux {facts['kernel']}")
    return True


def _dress(axis: Any, sizes: Sequence[int]) -> None:
    """The sizes below, and beside it the last figure of each line, as high or low as the lines end."""
    axis.set_xlabel("open streams")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xlim(left=0)
    dress(axis)
    ends = {line: line.get_ydata()[-1] for line in axis.get_lines()}
    lines = sorted(ends, key=ends.__getitem__, reverse=True)
    figures = [f"{ends[line]:,.0f}" if ends[line] >= 100 else f"{ends[line]:.1f}" for line in lines]
    axis.legend(
        lines, figures, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, labelcolor="linecolor"
    )
