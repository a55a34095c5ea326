"""What all pictures have in common: letters, axes, colours, and the same bytes for the same figures."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = {
    "worker": "#0b6e4f",
    "proxy": "#c8641b",
    "Redis": "#7a5195",
    "kernel": "#8a8f98",
    "Locust": "#4a86b8",
}
"""What is stacked, from the bottom, and the colour of each."""

GREY = "#666666"


@contextlib.contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure of so many inches, which is written as SVG when the block has drawn it."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    looks: Any = {
        "svg.hashsalt": "loadtest",  # the same figures give the same bytes
        "svg.fonttype": "none",  # smaller, and can be searched
        "text.parse_math": False,  # a code is whatever a server says
        "font.size": 10,
        "axes.titlesize": 11.5,
    }
    with mpl.rc_context(looks):
        figure = Figure(figsize=(width, height), facecolor="white")
        yield figure
        figure.savefig(path, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


def dress(axis: Any) -> None:
    """No more lines than it takes."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.yaxis.set_major_formatter(lambda figure, _: f"{figure:,.10g}")
    axis.grid(axis="y", color="#dddddd", lw=0.7)
    axis.set_axisbelow(True)


def logarithmic(axis: Any, marks: Sequence[int] = (1, 2, 5)) -> None:
    """A scale of ratios, with these marks in each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=marks))
    axis.yaxis.set_minor_formatter(NullFormatter())
    dress(axis)  # the scale has marks of its own


def headed(axis: Any, title: str, how: str) -> None:
    """A title, and below it how that was measured."""
    axis.set_title(title, loc="left", fontweight="bold", pad=22)
    axis.text(0, 1.025, how, transform=axis.transAxes, fontsize=9, color=GREY)


def captioned(figure: Any, keys: Mapping[str, Any], note: str) -> None:
    """One key below all panels, and what they were measured with above."""
    figure.legend(keys.values(), keys.keys(), loc="lower center", ncols=len(keys), frameon=False)
    figure.text(0.99, 0.985, note, ha="right", va="top", fontsize=8, color="#888888")
    figure.tight_layout(rect=(0, 0.08, 1, 0.97))


def fit(axis: Any, least: float = 0.001) -> None:
    """A scale from nothing to a little more than the highest that is drawn, or than ``least``."""
    axis.set_ylim(0, max(axis.dataLim.y1 * 1.08 if axis.has_data() else 0.0, least))
