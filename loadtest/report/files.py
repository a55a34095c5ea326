"""A report's files: in a folder, with a page that needs nothing else; small ones are kept in RESULTS."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template

from . import capacity, plot, text
from .table import Summary

RESULTS = Path(__file__).parents[1] / "results"

PAGE = Template(Path(__file__).with_name("page.html").read_text())


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
    (out / "index.html").write_text(page(summary, pictures, links))
    return printed


def page(summary: Summary, pictures: Iterable[str], links: Mapping[str, str]) -> str:
    """All of it; ``pictures`` are SVGs, and ``links`` are the other files by what they are."""
    said = escape(text.text(summary, findings=1000))
    return PAGE.substitute(
        title=escape(text.title(summary)),
        what=escape(summary["what"]),
        judged="\n".join(f'<p class="{state}">{escape(each)}</p>' for state, each in text.judged(summary)),
        pictures="\n".join(f'<div class="wide">{svg[svg.find("<svg") :]}</div>' for svg in pictures),
        text=re.sub(r"\bMISSED$", "<mark>MISSED</mark>", said, flags=re.M),
        links="".join(f'<li><a href="{escape(to)}">{escape(what)}</a></li>' for what, to in links.items()),
    )


def keep(out: Path, name: str) -> None:
    """Text, picture and figures of a report under a name of their own."""
    summary = json.loads((out / "summary.json").read_text())
    shutil.copy(out / "summary.txt", RESULTS / f"{name}.txt")
    shutil.copy(out / list(drawings(summary))[-1], RESULTS / f"{name}.svg")
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, separators=(",", ":")) + "\n")
