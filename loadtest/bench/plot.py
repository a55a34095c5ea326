"""The samples as a picture: what it costs and what it gives, over the number of streams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from .table import SCALES, Series

PANELS = (
    ("single_cpu", "CPU per delivered event", "µs", "one event at a time"),
    ("burst_rate", "events delivered per second", "thousand events/s", "100 events at 2 ms spacing"),
    ("memory", "memory per idle stream", "KiB", "the server's process; the kernel's is not counted"),
)
"""What is drawn: a measurement, its title, its unit, and how it was made."""

LOOKS = {
    "UvicornSink": ("sse_edge (UvicornSink)", "#0b6e4f", "-", "o"),
    "TaskSink": ("sse_edge (TaskSink)", "#62b58f", "-", "s"),
    "floor": ("bare loop of send()", "#222222", "--", "D"),
    "bare": ("bare uvicorn stream", "#222222", ":", "D"),
    "nchan": ("nginx with nchan", "#c8641b", "-", "^"),
    "sse-starlette": ("sse-starlette + Redis", "#7a5195", "-", "v"),
}
"""Name, colour, line and marker of each contender."""


def draw(samples: Mapping[str, Series], path: Path, note: str) -> bool:
    """Write an SVG of what was measured; False when there is nothing to draw."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = [panel for panel in PANELS if panel[0] in samples]
    if not panels:
        return False
    # The same samples give the same bytes.
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 10, "axes.titlesize": 11.5})
    figure = Figure(figsize=(4.9 * len(panels), 4.7), facecolor="white")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    handles: dict[str, object] = {}
    for axis, (what, title, unit, how) in zip(axes, panels, strict=True):
        sizes = sorted({size for series in samples[what].values() for size in series})
        for name, (label, colour, line, marker) in LOOKS.items():
            series = samples[what].get(name)
            if not series:
                continue
            xs = sorted(series)
            values = [[one * SCALES[unit] for one in series[x]] for x in xs]
            middle = [median(each) for each in values]
            (handles[label],) = axis.plot(xs, middle, line, color=colour, marker=marker, ms=5, lw=1.8)
            axis.fill_between(
                xs,
                [min(each) for each in values],
                [max(each) for each in values],
                color=colour,
                alpha=0.12,
                lw=0,
            )
            said = f"{middle[-1]:,.0f}" if middle[-1] >= 100 else f"{middle[-1]:.1f}"
            axis.annotate(
                said, (xs[-1], middle[-1]), (7, 0), textcoords="offset points", va="center", color=colour
            )
        axis.set_title(f"{title}, {unit}", loc="left", fontweight="bold", pad=22)
        axis.text(0, 1.025, how, transform=axis.transAxes, fontsize=9, color="#666666")
        axis.set_xlabel("open streams")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        if what == "burst_rate":
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        else:
            axis.set_ylim(bottom=0)
        axis.set_xlim(0, max(sizes) * 1.12)
        axis.grid(axis="y", color="#dddddd", lw=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), frameon=False)
    figure.text(0.99, 0.985, note, ha="right", va="top", fontsize=8, color="#888888")
    figure.tight_layout(rect=(0, 0.08, 1, 0.97))
    figure.savefig(path, metadata={"Date": None})
    return True
