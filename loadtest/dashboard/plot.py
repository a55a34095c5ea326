"""The dashboard as a picture: its own panels where they are, of what was recorded."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from .board import Panel, panels
from .units import said

COLUMN, ROW, GAP, HEAD = 0.66, 0.31, 0.05, 0.95
"""Inches: a column and a row of the grid, what is left between panels, and what is above them."""

TITLE = 0.27
"""Inches of a panel for its title."""

CLASSIC = (
    "#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642",
)  # fmt: skip

COLOURS = {
    "text": "#24292e", "transparent": "#ffffff00", "green": "#37872D", "yellow": "#E0B400",
    "orange": "#FF780A", "red": "#E02F44", "dark-red": "#8F0D20", "blue": "#3274D9", "purple": "#A352CC",
    "super-light-blue": "#C0D8FF",
}  # fmt: skip

GREY, LINE, PAGE = "#6e7681", "#e1e4e8", "#f4f5f5"

Series = Mapping[str, Sequence[Mapping[str, Any]]]
"""Of each query of a panel what it gave; see ``record``."""


def draw(recorded: Mapping[str, Any], path: Path, some: Sequence[Panel] = ()) -> None:
    """Write the picture, a PNG: of all panels, or of some."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415 - what matplotlib writes PNGs with

    shown = some or list(panels())
    rows = max(panel.y + panel.h for panel in shown)
    with mpl.rc_context({"font.size": 8, "axes.linewidth": 0.6}):
        figure = Figure(figsize=(24 * COLUMN, rows * ROW + HEAD), facecolor=PAGE)
        _Page(figure, rows, recorded).draw(shown)
        figure.savefig(path, dpi=100, metadata={"Software": None})
    # A few hundred colours are a third of the bytes, and look the same.
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


class _Page:
    def __init__(self, figure: Any, rows: int, recorded: Mapping[str, Any]) -> None:
        self._figure = figure
        self._width, self._height = 24 * COLUMN, rows * ROW + HEAD
        self._recorded = recorded
        steps = round(recorded["end"] / recorded["step"]) + 1
        self._times = [number * recorded["step"] for number in range(steps)]

    def draw(self, shown: Sequence[Panel]) -> None:
        self._head()
        kinds: dict[str, Callable[[Panel, Series, Any], None]] = {
            "stat": self._stat, "timeseries": self._timeseries, "state-timeline": self._timeline,
            "table": self._table,
        }  # fmt: skip
        for panel in shown:
            x, y = panel.x * COLUMN, self._height - HEAD - panel.y * ROW
            if panel.kind == "row":
                self._text(x + 0.12, y - 0.21, panel.title, size=11, weight="bold")
                continue
            box = (x + GAP, y - panel.h * ROW + GAP, panel.w * COLUMN - 2 * GAP, panel.h * ROW - 2 * GAP)
            frame = self._axes(*box)
            frame.set_facecolor("white")
            frame.set(xticks=(), yticks=())
            frame.spines[:].set_color(LINE)
            self._text(box[0] + 0.1, box[1] + box[3] - 0.19, panel.title, size=8.5, weight="bold")
            series = self._recorded["panels"].get(str(panel.id), {})
            if not any(series.values()):
                said_so = textwrap.fill(panel.defaults["noValue"], int(box[2] * 13))
                frame.text(0.5, 0.5, said_so, ha="center", va="center", color=GREY, size=9)
                continue
            kinds[panel.kind](panel, series, box)

    def _head(self) -> None:
        top = self._height
        self._text(0.12, top - 0.3, "sse_edge", size=15, weight="bold")
        self._text(1.45, top - 0.29, self._recorded["about"], size=9, color=GREY)
        x = 0.12
        for number, (at, words) in enumerate(self._recorded["incidents"], 1):
            self._mark(self._axes(x, top - 0.68, 0.18, 0.18), 0.5, 0.5, number)
            text = f"{_clock(at)} {words}"
            self._text(x + 0.25, top - 0.63, text, size=9)
            x += 0.4 + 0.068 * len(text)

    def _axes(self, x: float, y: float, w: float, h: float, **options: Any) -> Any:
        place = (x / self._width, y / self._height, w / self._width, h / self._height)
        return self._figure.add_axes(place, **options)

    def _text(self, x: float, y: float, text: str, *, color: str = COLOURS["text"], **options: Any) -> None:
        self._figure.text(x / self._width, y / self._height, text, color=color, **options)

    def _mark(self, axis: Any, x: float, y: float, number: int) -> None:
        axis.axis("off")
        axis.text(
            x, y, str(number), ha="center", va="center", size=7.5, color="white", weight="bold",
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": GREY, "edgecolor": "none"},
        )  # fmt: skip

    # Kinds of panels

    def _stat(self, panel: Panel, series: Series, box: Any) -> None:
        (one,) = next(iter(series.values()))
        values = [each for each in one["values"] if each is not None]
        last = values[-1]
        text, colour = _mapped(panel.defaults, last)
        colour = colour or _threshold(panel.defaults, last)
        x, y, w, h = box
        text = text or said(last, panel.defaults["unit"])
        self._text(x + w / 2, y + h * 0.38, text, size=21, weight="bold", color=COLOURS[colour], ha="center")
        if panel.told["options"]["graphMode"] == "area":
            axis = self._axes(x + 0.02, y + 0.02, w - 0.04, h * 0.3)
            axis.axis("off")
            drawn = _gaps(one["values"])
            axis.fill_between(self._times, drawn, color=COLOURS[colour], alpha=0.12, lw=0)
            axis.plot(self._times, drawn, color=COLOURS[colour], lw=0.8)
            axis.margins(0)
            axis.set_ylim(0, max(values) * 1.1 or 1)

    def _timeline(self, panel: Panel, series: Series, box: Any) -> None:
        lines = [each for some in series.values() for each in some]
        x, y, w, h = box
        label = 0.058 * max(len(each["name"]) for each in lines) + 0.1
        axis = self._time_axis(panel, (x + label, y + 0.25, w - label - 0.22, h - 0.25 - TITLE - 0.1))
        for row, each in enumerate(lines):
            for moment, value in zip(self._times, each["values"], strict=True):
                if value is not None:
                    colour = COLOURS[_mapped(panel.defaults, value)[1] or "red"]
                    axis.broken_barh(
                        [(moment, self._recorded["step"])], (row - 0.36, 0.72), color=colour, lw=0
                    )
        axis.set_yticks(range(len(lines)), [each["name"] for each in lines], size=min(7.5, 90 / len(lines)))
        axis.set_ylim(len(lines) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")

    def _timeseries(self, panel: Panel, series: Series, box: Any) -> None:
        aside = panel.told["options"]["legend"]["placement"] == "right"
        x, y, w, h = box
        right = 1.7 if aside else 0.55 if _on_the_right(panel) else 0.15
        low = 0.25 if aside else 0.52
        axis = self._time_axis(panel, (x + 0.62, y + low, w - 0.62 - right, h - TITLE - low - 0.1))
        axis.yaxis.set_major_formatter(lambda value, _: said(value, panel.defaults["unit"]))
        colours, handles = cycle(CLASSIC), {}
        beside, stack = None, [0.0] * len(self._times)
        for each in [each for some in series.values() for each in some]:
            own = {**_flat(panel.defaults["custom"]), **panel.overrides(each["name"])}
            colour = COLOURS[own["color"]["fixedColor"]] if "color" in own else next(colours)
            if own.get("custom.axisPlacement") == "right":
                beside = beside or self._beside(axis, own)
            handle, stack = self._one(
                beside if own.get("custom.axisPlacement") == "right" else axis,
                each["values"],
                own,
                colour,
                stack,
            )
            name = f"{each['name']}   {_last(each['values'], panel)}" if aside else each["name"]
            handles[name] = handle
        self._finish(panel, axis, beside)
        place = (
            {"bbox_to_anchor": (1.02, 1)} if aside
            else {"bbox_to_anchor": (-0.05, -0.12), "ncols": max(3, int(w / 1.4))}
        )  # fmt: skip
        axis.legend(
            handles.values(), handles.keys(), loc="upper left", frameon=False, fontsize=7.5, handlelength=1.3,
            columnspacing=1.2, borderaxespad=0, **place,
        )  # fmt: skip

    def _one(
        self,
        axis: Any,
        values: Sequence[float | None],
        own: Mapping[str, Any],
        colour: str,
        stack: list[float],
    ) -> tuple[Any, list[float]]:
        """Draw a series as its field says; what its legend shows, and on what the next is stacked."""
        fill = own["custom.fillOpacity"] / 100
        drawn, none = _gaps(values), [0.0] * len(values)
        stacked = own["custom.stacking"]["mode"] == "normal"
        below = stack if stacked else none
        above = [low + (0.0 if math.isnan(high) else high) for low, high in zip(below, drawn, strict=True)]
        if own["custom.drawStyle"] == "bars":
            heights = [high - low for low, high in zip(below, above, strict=True)]
            axis.bar(self._times, heights, self._recorded["step"], below, color=colour, alpha=fill, lw=0)
            (handle,) = axis.plot([], [], color=colour, lw=5)
        else:
            line = above if stacked else drawn
            dash = own.get("custom.lineStyle", {}).get("dash")
            axis.fill_between(self._times, below, line, color=colour, alpha=fill, lw=0)
            (handle,) = axis.plot(
                self._times, line, color=colour, lw=1.2, linestyle=(0, dash) if dash else "-"
            )
        return handle, above if stacked else stack

    def _table(self, panel: Panel, series: Series, box: Any) -> None:
        names = next(
            each["options"]["renameByName"]
            for each in panel.told["transformations"] if each["id"] == "organize"
        )  # fmt: skip
        rows: dict[tuple[str, str], dict[str, float]] = {}
        for ref, some in series.items():
            for each in some:
                key = (each["labels"].get("instance", ""), each["labels"].get("worker", ""))
                rows.setdefault(key, {})[names[f"Value #{ref}"]] = each["values"][0]
        heads = [names["instance"], names["worker"], *(names[f"Value #{ref}"] for ref in series)]
        if not any(worker for _, worker in rows):
            heads.remove(names["worker"])
        x, y, w, h = box
        for place, head in enumerate(heads):
            at = x + 0.12 + place * (w - 0.2) / len(heads)
            self._text(at, y + h - 0.48, head, size=8, color=COLOURS["blue"], weight="bold")
            for number, (key, row) in enumerate(sorted(rows.items(), key=lambda each: -each[1][heads[-1]])):
                told = dict(zip((names["instance"], names["worker"]), key, strict=True))
                text, colour = _cell(panel, head, told.get(head, row.get(head)))
                self._text(at, y + h - 0.73 - 0.24 * number, text, size=8.5, color=COLOURS[colour])

    # Parts of them

    def _time_axis(self, panel: Panel, box: Any) -> Any:
        axis = self._axes(*box)
        axis.set_xlim(0, self._recorded["end"])
        axis.set_xticks(range(0, int(self._recorded["end"]) + 1, 60 if panel.w > 6 else 120))
        axis.xaxis.set_major_formatter(lambda value, _: _clock(value))
        axis.grid(color=LINE, lw=0.5)
        axis.set_axisbelow(True)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelcolor=GREY, labelsize=7.5)
        for number, (at, _) in enumerate(self._recorded["incidents"], 1):
            axis.axvline(at, color=GREY, lw=0.6, linestyle=(0, (2, 3)))
            above = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            axis.text(at, 1.01, str(number), size=6.5, color=GREY, **above)
        return axis

    def _beside(self, axis: Any, own: Mapping[str, Any]) -> Any:
        other = axis.twinx()
        other.spines[:].set_visible(False)
        other.tick_params(length=0, labelcolor=GREY, labelsize=7.5)
        other.yaxis.set_major_formatter(lambda value, _: said(value, own["unit"]))
        return other

    def _finish(self, panel: Panel, axis: Any, beside: Any) -> None:
        for each in (axis, beside):
            if each is not None and panel.defaults.get("min") == 0:
                each.set_ylim(0, max(each.get_ylim()[1], panel.defaults["custom"].get("axisSoftMax", 0)))
                each.locator_params(axis="y", nbins=5)
        if "thresholdsStyle" in panel.defaults["custom"]:
            limit = panel.defaults["thresholds"]["steps"][-1]["value"]
            if limit < axis.get_ylim()[1]:
                axis.axhline(limit, color=COLOURS["red"], lw=0.9, linestyle="--")


def _on_the_right(panel: Panel) -> bool:
    return any(
        panel.overrides(query.legend).get("custom.axisPlacement") == "right" for query in panel.queries
    )


def _flat(custom: Mapping[str, Any]) -> dict[str, Any]:
    """As overrides name them."""
    return {f"custom.{name}": value for name, value in custom.items()}


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _last(values: Sequence[float | None], panel: Panel) -> str:
    return next((said(value, panel.defaults["unit"]) for value in reversed(values) if value is not None), "")


def _mapped(defaults: Mapping[str, Any], value: float) -> tuple[str, str]:
    """Text and colour that a mapping gives it, or none."""
    for each in defaults.get("mappings", ()):
        found = each["options"].get(f"{value:g}")
        if found:
            return found["text"], found["color"]
    return "", ""


def _threshold(defaults: Mapping[str, Any], value: float) -> str:
    colour = "text"
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return str(colour)


def _cell(panel: Panel, head: str, value: Any) -> tuple[str, str]:
    if value is None or isinstance(value, str):
        return value or "", "text"
    own = panel.overrides(head)
    text, colour = _mapped(own, value)
    return text or said(value, own.get("unit", "short")), colour or _threshold(own, value)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
