"""The dashboard as a picture: its own panels where they are, of what was recorded, as Grafana shows them."""

import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ..report.plot import clock

BOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"

SCALES: dict[str, dict[float, str]] = {
    "s": {1e-6: " µs", 1e-3: " ms", 1: " s", 60: " min"},
    "bytes": {1: " B", 2**10: " KiB", 2**20: " MiB", 2**30: " GiB"},
    "ops": {1: "/s", 1e3: " K/s", 1e6: " Mil/s"},
    "short": {1: "", 1e3: " K", 1e6: " Mil"},
    "none": {1: ""},
}
"""What the parts of a unit are called."""

COLUMN, ROW = 0.66, 0.31  # inches of the grid
HEAD = 3  # rows above it

CLASSIC = (
    "#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642",
)  # fmt: skip

COLOURS = {
    "text": "#24292e", "transparent": "#ffffff00", "green": "#37872D", "yellow": "#E0B400",
    "orange": "#FF780A", "red": "#E02F44", "dark-red": "#8F0D20", "blue": "#3274D9", "purple": "#A352CC",
    "super-light-blue": "#C0D8FF",
}  # fmt: skip

GREY, LINE, PAGE = "#6e7681", "#e1e4e8", "#f4f5f5"

Panel = Mapping[str, Any]
Recorded = Mapping[str, Any]  # see ``__main__.record``
Lines = Sequence[Mapping[str, Any]]
"""What a panel's queries gave: of each series ``ref``, ``name``, ``labels``, ``times`` and ``values``."""


def draw(recorded: Recorded, path: Path, some: Sequence[Panel] = ()) -> None:
    """Write the picture, a PNG: of all panels, or of some."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415 - what matplotlib writes PNGs with

    shown = some or panels()
    rows = HEAD + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown)
    with mpl.rc_context({"font.size": 8, "text.color": COLOURS["text"]}):
        figure = Figure(figsize=(24 * COLUMN, rows * ROW), facecolor=PAGE)
        grid = figure.add_gridspec(rows, 24, left=0, right=1, bottom=0, top=1, wspace=0, hspace=0)
        head = figure.add_subfigure(grid[:HEAD, :], facecolor=PAGE)
        head.text(0.008, 0.7, "sse_edge", size=15, weight="bold")
        head.text(0.09, 0.7, recorded["about"], size=9, color=GREY)
        incidents = [(clock(at, recorded["end"]), what) for at, what in recorded["incidents"]]
        words = "     ".join(f"({number}) {at} {what}" for number, (at, what) in enumerate(incidents, 1))
        head.text(0.008, 0.25, words, size=9)
        for panel in shown:
            x, y, w, h = (panel["gridPos"][each] for each in "xywh")
            place = grid[HEAD + y : HEAD + y + h, x : x + w]
            size, ground = (11, PAGE) if panel["type"] == "row" else (8.5, "white")
            card = figure.add_subfigure(place, facecolor=ground, edgecolor=PAGE, linewidth=6)
            card.suptitle(panel["title"], x=0.12 / w / COLUMN, ha="left", size=size, weight="bold")
            if lines := _lines(panel, recorded):
                KINDS[panel["type"]](card, panel, lines, recorded)
            elif panel["type"] != "row":
                none = textwrap.fill(field(panel)["noValue"], int(w * COLUMN * 13))
                card.text(0.5, 0.5, none, ha="center", va="center", color=GREY, size=9)
        figure.savefig(path, dpi=100, metadata={"Software": None})
    # A few hundred colours are a third of the bytes, and look the same.
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _lines(panel: Panel, recorded: Recorded) -> Lines:
    found = []
    for ref, series in recorded["panels"].get(str(panel["id"]), {}).items():
        for each in series:
            values = np.array(each["values"], float)
            times = np.arange(len(values)) * recorded["step"]
            found.append({**each, "ref": ref, "times": times, "values": values})
    return found


# Kinds of panels


def _stat(card: Any, panel: Panel, lines: Lines, recorded: Recorded) -> None:
    times, values = lines[0]["times"], lines[0]["values"]
    text, colour = _shown(field(panel), _last(values))
    card.text(0.5, 0.38, text, size=21, weight="bold", color=colour, ha="center")
    if panel["options"]["graphMode"] == "area":
        axis = card.add_axes((0.03, 0.05, 0.94, 0.27))
        axis.axis("off")
        axis.fill_between(times, values, color=colour, alpha=0.12, lw=0)
        axis.plot(times, values, color=colour, lw=0.8)
        axis.margins(0)
        axis.set_ylim(0, np.nanmax(values) * 1.1 or 1)


def _timeline(card: Any, panel: Panel, lines: Lines, recorded: Recorded) -> None:
    names = [each["name"] for each in lines]
    axis = _axis(card, panel, recorded, left=0.2 + 0.058 * max(map(len, names)))
    for row, each in enumerate(lines):
        there = ~np.isnan(each["values"])
        colours = [_shown(field(panel), value)[1] for value in each["values"][there]]
        axis.barh(row, recorded["step"], 0.72, each["times"][there], color=colours, lw=0)
    axis.set_yticks(range(len(lines)), names, size=min(7.5, 90 / len(lines)))
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")


def _timeseries(card: Any, panel: Panel, lines: Lines, recorded: Recorded) -> None:
    aside = panel["options"]["legend"]["placement"] == "right"
    axes = {"left": _axis(card, panel, recorded, right=1.7 if aside else 0.6)}
    colours, stack = cycle(CLASSIC), 0.0
    for each in lines:
        name, times, values = each["name"], each["times"], each["values"]
        look = field(panel, name)
        fixed = look["color"].get("fixedColor")
        colour = COLOURS[fixed] if fixed else next(colours)
        place = look.get("custom.axisPlacement", "left")
        if place not in axes:
            axes[place] = _bare(axes["left"].twinx())
        axis = axes[place]
        axis.yaxis.set_major_formatter(lambda value, _, unit=look["unit"]: said(value, unit))
        label = f"{name}   {said(_last(values), look['unit'])}" if aside else name
        below, above = 0.0, values
        if look["custom.stacking"]["mode"] == "normal":
            below, above = stack, stack + np.nan_to_num(values)
            stack = above
        fill = {"color": colour, "alpha": look["custom.fillOpacity"] / 100, "lw": 0}
        if look["custom.drawStyle"] == "bars":
            axis.bar(times, above - below, recorded["step"], below, label=label, **fill)
        else:
            style = (0, look["custom.lineStyle"]["dash"]) if "custom.lineStyle" in look else "-"
            axis.fill_between(times, below, above, **fill)
            axis.plot(times, above, color=colour, lw=1.2, linestyle=style, label=label)
    look = field(panel)
    if look.get("min") == 0:
        for axis in axes.values():
            axis.set_ylim(0, max(axis.get_ylim()[1], look.get("custom.axisSoftMax", 0)))
            axis.locator_params(axis="y", nbins=5)
    if "custom.thresholdsStyle" in look:
        limit = look["thresholds"]["steps"][-1]["value"]
        axes["left"].axhline(limit, color=COLOURS["red"], lw=0.9, linestyle="--")
    where = {"loc": "lower left", "ncols": panel["gridPos"]["w"] // 2}
    if aside:
        where = {"loc": "upper right", "bbox_to_anchor": (1, 0.9)}
    card.legend(frameon=False, fontsize=7.5, handlelength=1.3, columnspacing=1.2, **where)


def _table(card: Any, panel: Panel, lines: Lines, recorded: Recorded) -> None:
    rows: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for each in lines:
        labels = each["labels"]
        row = rows[labels["instance"], labels.get("worker", "")]
        row |= labels | {f"Value #{each['ref']}": each["values"][0]}
    _, organized = panel["transformations"]
    names = organized["options"]["renameByName"].items()
    heads = [(key, head) for key, head in names if any(key in row for row in rows.values())]
    for place, (key, head) in enumerate(heads):
        at = 0.01 + place * 0.985 / len(heads)
        card.text(at, 0.8, head, size=8, color=COLOURS["blue"], weight="bold")
        for number, row in enumerate(sorted(rows.values(), key=lambda row: -row.get("Value #A", 0))):
            text, colour = _shown(field(panel, head), row.get(key, ""))
            card.text(at, 0.7 - 0.1 * number, text, size=8.5, color=colour)


KINDS = {"stat": _stat, "timeseries": _timeseries, "state-timeline": _timeline, "table": _table}

# Parts of them


def _axis(card: Any, panel: Panel, recorded: Recorded, left: float = 0.7, right: float = 0.6) -> Any:
    """Over the time of the run, with its incidents; so many inches are beside it."""
    wide, high = panel["gridPos"]["w"] * COLUMN, panel["gridPos"]["h"] * ROW
    axis = _bare(card.subplots())
    card.subplots_adjust(left / wide, 0.55 / high, 1 - right / wide, 1 - 0.45 / high)
    axis.set_xlim(0, recorded["end"])
    axis.set_xticks(range(0, int(recorded["end"]) + 1, 60 if wide > 4 else 120))
    axis.xaxis.set_major_formatter(lambda value, _: clock(value, recorded["end"]))
    axis.grid(color=LINE, lw=0.5)
    axis.set_axisbelow(True)
    for number, (at, _) in enumerate(recorded["incidents"], 1):
        axis.axvline(at, color=GREY, lw=0.6, linestyle=(0, (2, 3)))
        above = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axis.text(at, 1.01, str(number), size=6.5, color=GREY, **above)
    return axis


def _bare(axis: Any) -> Any:
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelcolor=GREY, labelsize=7.5)
    return axis


def _last(values: Any) -> float:
    """The newest of them that is there."""
    return float(values[~np.isnan(values)][-1])


def _shown(look: Mapping[str, Any], value: Any) -> tuple[str, str]:
    """A value as a field shows it: what its mappings or its unit make of it, and its colour."""
    if isinstance(value, str):
        return value, COLOURS["text"]
    for each in look.get("mappings", ()):
        if found := each["options"].get(f"{value:g}"):
            return found["text"], COLOURS[found["color"]]
    steps = look["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return said(value, look.get("unit", "short")), COLOURS[reached[-1]]


def panels(interval: str = "1m") -> list[Panel]:
    """Each of them, rows too, of all jobs, servers and workers; ``interval`` is what rates are over."""
    return list(json.loads(filled(BOARD.read_text(), interval))["panels"])


def filled(text: str, interval: str) -> str:
    """With its variables as they are when all is chosen."""
    return re.sub(r"\$(job|instance|worker)\b", ".*", text.replace("$__rate_interval", interval))


def named(query: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What a query's legend says of a series."""
    legend = re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), query["legendFormat"])
    return " ".join(legend.split())


def field(panel: Panel, name: str = "") -> dict[str, Any]:
    """How a panel shows a field of this name, or any other: property → value."""
    config = panel["fieldConfig"]
    found = dict(config["defaults"])
    found |= {f"custom.{key}": value for key, value in found.get("custom", {}).items()}
    for override in config["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def said(value: float, unit: str) -> str:
    """In the largest part of its unit that it has one of, with three digits."""
    if unit == "percentunit":
        return f"{said(100 * value, 'none')} %"
    scale = SCALES[unit]
    part = max((each for each in scale if each <= abs(value)), default=1)
    places = max(0, 3 - len(str(int(abs(value / part)))))
    return f"{round(value / part, places):g}{scale[part]}"
