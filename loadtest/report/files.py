"""A report's files: in a folder of its own, and the small ones among the results that are kept."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from . import capacity, page, plot, text
from .table import Summary

RESULTS = Path(__file__).parents[1] / "results"


def drawings(summary: Summary) -> dict[str, Callable[[Summary, Path], None]]:
    """What there are figures for: the pictures' names, and how each is drawn.  The last one is kept."""
    found: dict[str, Callable[[Summary, Path], None]] = {}
    if "timeline" in summary and "samples" in summary:
        found["plots.svg"] = plot.draw
    if summary.get("steps"):
        found["steps.svg"] = capacity.draw
    return found


def write(out: Path, summary: Summary) -> str:
    """All of them, beside Locust's own; the text of it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    printed = text.text(summary)
    (out / "summary.txt").write_text(printed + "\n")
    links = {"Locust's own report": "locust.html", "the figures": "summary.json"}
    links |= {f"Locust's CSV: {path.name}": path.name for path in sorted(out.glob("*.csv"))}
    pictures = []
    for name, draw in drawings(summary).items():
        draw(summary, out / name)
        pictures.append((out / name).read_text())
    (out / "index.html").write_text(page.page(summary, pictures, links))
    return printed


def keep(out: Path, name: str) -> None:
    """Text, picture and figures of a report under a name of their own."""
    summary = json.loads((out / "summary.json").read_text())
    shutil.copy(out / "summary.txt", RESULTS / f"{name}.txt")
    shutil.copy(out / list(drawings(summary))[-1], RESULTS / f"{name}.svg")
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, separators=(",", ":")) + "\n")
