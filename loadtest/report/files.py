"""A report's files: in a folder, with a page that needs nothing else; small ones are kept in RESULTS."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path

from . import capacity, plot, text
from .table import Summary

RESULTS = Path(__file__).parents[1] / "results"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 78rem; background: #fff; color: #1d2329;
  font: 15px/1.45 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.6rem; }}
p, li {{ overflow-wrap: anywhere; }}
.good, .doubtful, .bad {{ padding: .6rem .9rem; border-left: .4rem solid; font-weight: 600; }}
.good {{ background: #e5f4ec; border-color: #0b6e4f; color: #084d38; }}
.doubtful {{ background: #fdf3d8; border-color: #c98a00; color: #664600; }}
.bad {{ background: #fce8e8; border-color: #b5293b; color: #8a1a2a; }}
mark {{ background: #fce8e8; color: #b5293b; font-weight: 700; }}
.wide {{ overflow-x: auto; }}
.wide svg {{ display: block; width: 100%; min-width: 52rem; height: auto; }}
pre {{ overflow-x: auto; font: 13px/1.4 ui-monospace, Menlo, Consolas, monospace; }}
@media print, (min-width: 60rem) {{ pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }} }}
@media print {{ body {{ padding: 0; }} .wide svg {{ min-width: 0; }} pre {{ font-size: 8.5px; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{what}</p>
{judged}
{pictures}
<pre>{text}</pre>
<ul>{links}</ul>
</body>
</html>
"""


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
    return PAGE.format(
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
