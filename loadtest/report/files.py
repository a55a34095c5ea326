"""A report's files: in a folder of its own, and the small ones among the results that are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from . import capacity, page, plot, text
from .text import Summary

RESULTS = Path(__file__).parents[1] / "results"

SERIES = ("timeline", "samples")
"""What pictures are drawn of, besides steps."""


def draw(summary: Summary, out: Path) -> dict[str, Path]:
    """The pictures that there are figures for: of the time, and of steps."""
    drawn = {}
    if all(each in summary for each in SERIES):
        drawn["time"] = out / "plots.svg"
        plot.draw(summary, drawn["time"])
    if summary.get("steps"):
        drawn["steps"] = out / "steps.svg"
        capacity.draw(summary, drawn["steps"])
    return drawn


def write(out: Path, summary: Summary) -> str:
    """All of them, beside Locust's own; the text of it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    printed = text.text(summary)
    (out / "summary.txt").write_text(printed + "\n")
    links = {"Locust's own report": "locust.html", "the figures": "summary.json"}
    links |= {f"Locust's CSV: {path.name}": path.name for path in sorted(out.glob("*.csv"))}
    svgs = {what: path.read_text() for what, path in draw(summary, out).items()}
    (out / "index.html").write_text(page.page(summary, svgs["time"], links, svgs.get("steps", "")))
    return printed


def keep(out: Path, name: str) -> None:
    """Text, picture and figures of a report under a name of their own; of steps if it has some."""
    shutil.copy(out / "summary.txt", RESULTS / f"{name}.txt")
    steps = out / "steps.svg"
    shutil.copy(steps if steps.exists() else out / "plots.svg", RESULTS / f"{name}.svg")
    summary = json.loads((out / "summary.json").read_text())
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, separators=(",", ":")) + "\n")
