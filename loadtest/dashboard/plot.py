"""The dashboard as a picture: its own panels where they are, of what was recorded."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, cycle
from math import nan
from pathlib import Path
from typing import Any

from .board import Panel, panels
from .units import said

COLUMN, ROW, HEAD = 0.66, 0.31, 3
"""Inches of a column and a row of the grid, and how many rows are above it."""

CLASSIC = (
    "#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642",
)  # fmt: skip

COLOURS = {
    "text": "#24292e", "transparent": "#ffffff00", "green": "#37872D", "yellow": "#E0B400",
    "orange": "#FF780A", "red": "#E02F44", "dark-red": "#8F0D20", "blue": "#3274D9", "purple": "#A352CC",
    "super-light-blue": "#C0D8FF",
}  # fmt: skip

GREY, LINE, PAGE = "#6e7681", "#e1e4e8", "#f4f5f5"

Recorded = Mapping[str, Any]
"""See ``record``."""

Series = Mapping[str, Sequence[Mapping[str, Any]]]
"""Of each query of a panel what it gave."""


def draw(recorded: Recorded, path: Path, some: Sequence[Panel] = ()) -> None:
    """Write the picture, a PNG: of all panels, or of some."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415 - what matplotlib writes PNGs with

    shown = some or list(panels())
    rows = HEAD + max(panel.y + panel.h for panel in shown)
    with mpl.rc_context({"font.size": 8, "text.color": COLOURS["text"]}):
        figure = Figure(figsize=(24 * COLUMN, rows * ROW), facecolor=PAGE)
        grid = figure.add_gridspec(rows, 24, left=0, right=1, bottom=0, top=1, wspace=0, hspace=0)
        _head(figure.add_subfigure(grid[:HEAD, :], facecolor=PAGE), recorded)
        for panel in shown:
            place = grid[HEAD + panel.y : HEAD + panel.y + panel.h, panel.x : panel.x + panel.w]
            card = figure.add_subfigure(place, facecolor=PAGE if panel.kind == "row" else "white")
            card.set(edgecolor=PAGE, linewidth=6)
            size = 11 if panel.kind == "row" else 8.5
            card.suptitle(panel.title, x=0.12 / panel.w / COLUMN, ha="left", size=size, weight="bold")
            series = recorded["panels"].get(str(panel.id), {})
            if any(series.values()):
                KINDS[panel.kind](card, panel, series, recorded)
            elif panel.kind != "row":
                none = textwrap.fill(panel.defaults["noValue"], int(panel.w * COLUMN * 13))
                card.text(0.5, 0.5, none, ha="center", va="center", color=GREY, size=9)
        figure.savefig(path, dpi=100, metadata={"Software": None})
    # A few hundred colours are a third of the bytes, and look the same.
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _head(card: Any, recorded: Recorded) -> None:
    card.text(0.008, 0.7, "sse_edge", size=15, weight="bold")
    card.text(0.09, 0.7, recorded["about"], size=9, color=GREY)
    incidents = enumerate(recorded["incidents"], 1)
    words = "     ".join(f"({number}) {_clock(at)} {what}" for number, (at, what) in incidents)
    card.text(0.008, 0.25, words, size=9)


# Kinds of panels


def _stat(card: Any, panel: Panel, series: Series, recorded: Recorded) -> None:
    (one,) = next(iter(series.values()))
    values = [each for each in one["values"] if each is not None]
    text, colour = _shown(panel.defaults, values[-1])
    card.text(0.5, 0.38, text, size=21, weight="bold", color=colour, ha="center")
    if panel.told["options"]["graphMode"] == "area":
        axis = card.add_axes((0.03, 0.05, 0.94, 0.27))
        axis.axis("off")
        axis.fill_between(_times(recorded), _gaps(one["values"]), color=colour, alpha=0.12, lw=0)
        axis.plot(_times(recorded), _gaps(one["values"]), color=colour, lw=0.8)
        axis.margins(0)
        axis.set_ylim(0, max(values) * 1.1 or 1)


def _timeline(card: Any, panel: Panel, series: Series, recorded: Recorded) -> None:
    lines = list(chain.from_iterable(series.values()))
    axis = _axis(card, panel, recorded, left=0.2 + 0.058 * max(len(each["name"]) for each in lines))
    for row, each in enumerate(lines):
        for moment, value in zip(_times(recorded), each["values"], strict=True):
            if value is not None:
                _, colour = _shown(panel.defaults, value)
                axis.broken_barh([(moment, recorded["step"])], (row - 0.36, 0.72), color=colour, lw=0)
    axis.set_yticks(range(len(lines)), [each["name"] for each in lines], size=min(7.5, 90 / len(lines)))
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")


def _timeseries(card: Any, panel: Panel, series: Series, recorded: Recorded) -> None:
    aside, times = panel.told["options"]["legend"]["placement"] == "right", _times(recorded)
    axis = _axis(card, panel, recorded, right=1.7 if aside else 0.6)
    axes = {"left": axis}
    axis.yaxis.set_major_formatter(lambda value, _: said(value, panel.defaults["unit"]))
    colours, stack = cycle(CLASSIC), [0.0] * len(times)
    for each in chain.from_iterable(series.values()):
        custom = {f"custom.{name}": value for name, value in panel.defaults["custom"].items()}
        own = custom | panel.overrides(each["name"])
        colour = COLOURS[own["color"]["fixedColor"]] if "color" in own else next(colours)
        place = own.get("custom.axisPlacement", "left")
        if place not in axes:
            axes[place] = axis.twinx()
            _bare(axes[place])
            axes[place].yaxis.set_major_formatter(lambda value, _, unit=own["unit"]: said(value, unit))
        label = f"{each['name']}   {_last(each['values'], panel)}" if aside else each["name"]
        looks = {"color": colour, "alpha": own["custom.fillOpacity"] / 100, "lw": 0}
        below, above = [0.0] * len(times), _gaps(each["values"])
        if own["custom.stacking"]["mode"] == "normal":
            below, above = (
                stack,
                [low + (high or 0.0) for low, high in zip(stack, each["values"], strict=True)],
            )
            stack = above
        if own["custom.drawStyle"] == "bars":
            heights = [high - low for low, high in zip(below, above, strict=True)]
            axes[place].bar(times, heights, recorded["step"], below, label=label, **looks)
        else:
            dash = own.get("custom.lineStyle", {}).get("dash")
            axes[place].fill_between(times, below, above, **looks)
            style = (0, dash) if dash else "-"
            axes[place].plot(times, above, color=colour, lw=1.2, linestyle=style, label=label)
    if panel.defaults.get("min") == 0:
        for each in axes.values():
            each.set_ylim(0, max(each.get_ylim()[1], panel.defaults["custom"].get("axisSoftMax", 0)))
            each.locator_params(axis="y", nbins=5)
    if "thresholdsStyle" in panel.defaults["custom"]:
        limit = panel.defaults["thresholds"]["steps"][-1]["value"]
        if limit < axis.get_ylim()[1]:
            axis.axhline(limit, color=COLOURS["red"], lw=0.9, linestyle="--")
    where = (
        {"loc": "upper right", "bbox_to_anchor": (1, 0.9)}
        if aside
        else {"loc": "lower left", "ncols": panel.w // 2}
    )
    card.legend(frameon=False, fontsize=7.5, handlelength=1.3, columnspacing=1.2, **where)


def _table(card: Any, panel: Panel, series: Series, recorded: Recorded) -> None:
    organized = next(each for each in panel.told["transformations"] if each["id"] == "organize")
    names = organized["options"]["renameByName"]
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for ref, each in ((ref, each) for ref, some in series.items() for each in some):
        labels = {name: each["labels"].get(name, "") for name in ("instance", "worker")}
        row = rows.setdefault(tuple(labels.values()), {names[name]: value for name, value in labels.items()})
        row[names[f"Value #{ref}"]] = each["values"][0]
    heads = [names[name] for name in ("instance", "worker", *(f"Value #{ref}" for ref in series))]
    heads = [head for head in heads if any(row.get(head) != "" for row in rows.values())]
    for place, head in enumerate(heads):
        at = 0.01 + place * 0.985 / len(heads)
        card.text(at, 0.8, head, size=8, color=COLOURS["blue"], weight="bold")
        for number, row in enumerate(sorted(rows.values(), key=lambda each: -each[heads[-1]])):
            text, colour = _shown(panel.overrides(head), row.get(head, ""))
            card.text(at, 0.7 - 0.1 * number, text, size=8.5, color=colour)


KINDS: dict[str, Callable[[Any, Panel, Series, Recorded], None]] = {
    "stat": _stat,
    "timeseries": _timeseries,
    "state-timeline": _timeline,
    "table": _table,
}

# Parts of them


def _axis(card: Any, panel: Panel, recorded: Recorded, left: float = 0.7, right: float = 0.6) -> Any:
    """Over the time of the run, with its incidents; so many inches are beside it."""
    wide, high = panel.w * COLUMN, panel.h * ROW
    axis = card.subplots()
    card.subplots_adjust(left / wide, 0.55 / high, 1 - right / wide, 1 - 0.45 / high)
    axis.set_xlim(0, recorded["end"])
    axis.set_xticks(range(0, int(recorded["end"]) + 1, 60 if panel.w > 6 else 120))
    axis.xaxis.set_major_formatter(lambda value, _: _clock(value))
    axis.grid(color=LINE, lw=0.5)
    axis.set_axisbelow(True)
    _bare(axis)
    for number, (at, _) in enumerate(recorded["incidents"], 1):
        axis.axvline(at, color=GREY, lw=0.6, linestyle=(0, (2, 3)))
        above = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axis.text(at, 1.01, str(number), size=6.5, color=GREY, **above)
    return axis


def _bare(axis: Any) -> None:
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelcolor=GREY, labelsize=7.5)


def _times(recorded: Recorded) -> list[float]:
    return [number * recorded["step"] for number in range(round(recorded["end"] / recorded["step"]) + 1)]


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [nan if value is None else value for value in values]


def _last(values: Sequence[float | None], panel: Panel) -> str:
    return next((said(value, panel.defaults["unit"]) for value in reversed(values) if value is not None), "")


def _shown(field: Mapping[str, Any], value: Any) -> tuple[str, str]:
    """A value as a field says it: what its mappings or its unit make of it, and its colour."""
    if isinstance(value, str):
        return value, COLOURS["text"]
    colour = "text"
    for step in field.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    for each in field.get("mappings", ()):
        if found := each["options"].get(f"{value:g}"):
            return found["text"], COLOURS[found["color"]]
    return said(value, field.get("unit", "short")), COLOURS[colour]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
