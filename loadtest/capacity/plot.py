"""The steps as a picture: what a stream takes and how soon it has an event, over the number of streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .measure import Step
from .table import number, present

COLOURS = {"worker": "#0b6e4f", "proxy": "#c8641b", "Redis": "#7a5195", "kernel": "#8a8f98"}


def draw(steps: Sequence[Step], path: Path, proxy: str, note: str) -> None:
    """Write an SVG of what was measured."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    # The same steps give the same bytes.
    mpl.rcParams.update({"svg.hashsalt": "capacity", "font.size": 10, "axes.titlesize": 11.5})
    figure = Figure(figsize=(14.2, 4.7), facecolor="white")
    memory, cpu, wait = figure.subplots(1, 3)
    parts = present(steps)
    _stack(memory, steps, "memory", [*parts, "kernel"], 1 / 1024)
    _title(memory, "memory per idle stream, KiB", "clients not counted")
    _stack(cpu, steps, "events", parts, 1e6)
    _title(cpu, "CPU per delivered event, µs", "one event a second to every stream; system calls included")
    _lines(wait, steps)
    _title(wait, "from publishing to the client, ms", "one event a second to every stream")
    for axis in (memory, cpu, wait):
        axis.set_xlabel("open streams")
        axis.set_xticks(range(len(steps)), [f"{step.streams:,}" for step in steps])
        axis.set_xlim(-0.6, len(steps) - 0.4)
        axis.set_ylim(bottom=0, top=axis.get_ylim()[1] * 1.08)
        axis.grid(axis="y", color="#dddddd", lw=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = memory.get_legend_handles_labels()
    labels = [proxy if label == "proxy" else label for label in labels]
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.text(0.99, 0.985, note, ha="right", va="top", fontsize=8, color="#888888")
    figure.tight_layout(rect=(0, 0.08, 1, 0.97))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _stack(axis: Any, steps: Sequence[Step], what: str, parts: Sequence[str], scale: float) -> None:
    bottoms = [0.0] * len(steps)
    highest = max(sum(max(0.0, getattr(step, what)[part]) for part in parts) for step in steps) * scale
    for part in parts:
        # A part that shrank, by the kernel's noise, has no height.
        heights = [max(0.0, getattr(step, what)[part]) * scale for step in steps]
        axis.bar(range(len(steps)), heights, 0.55, bottoms, color=COLOURS[part], label=part)
        for place, (height, bottom) in enumerate(zip(heights, bottoms, strict=True)):
            if height > highest / 16:
                axis.text(
                    place,
                    bottom + height / 2,
                    number(height),
                    ha="center",
                    va="center",
                    color="white",
                    size=9,
                )
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    for place, top in enumerate(bottoms):
        axis.text(place, top + highest / 60, number(top), ha="center", va="bottom", fontweight="bold", size=9)


def _lines(axis: Any, steps: Sequence[Step]) -> None:
    places = range(len(steps))
    for what, label, style, beside in (
        ("p99", "99 %", "--s", (-10, 6)),
        ("p50", "half of all", "-o", (18, -5)),
    ):
        values = [getattr(step, what) * 1000 for step in steps]
        axis.plot(places, values, style, color="#0b6e4f", ms=5, lw=1.8, label=label)
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                number(value), (place, value), beside, textcoords="offset points", ha="center", size=9
            )
    axis.legend(loc="upper left", frameon=False)


def _title(axis: Any, title: str, how: str) -> None:
    axis.set_title(title, loc="left", fontweight="bold", pad=22)
    axis.text(0, 1.025, how, transform=axis.transAxes, fontsize=9, color="#666666")
