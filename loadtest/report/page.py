"""A run as a page that needs nothing else: no other file, no script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from . import capacity, text
from .table import Rows
from .text import Summary

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 78rem; background: #fff; color: #1d2329;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; }
h2 { margin: 0 0 .4rem; font-size: 1.05rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.quiet { color: #5b646d; }
.verdict { margin: .7rem 0; padding: .6rem .9rem; border-left: .4rem solid; font-weight: 600;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.good { background: #e5f4ec; border-color: #0b6e4f; color: #084d38; }
.doubtful { background: #fdf3d8; border-color: #c98a00; color: #664600; }
.bad { background: #fce8e8; border-color: #b5293b; color: #8a1a2a; }
section { margin-top: 1.8rem; break-inside: avoid; }
section, .wide { min-width: 0; max-width: 100%; }
.wide { overflow-x: auto; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 31rem), 1fr));
  gap: 0 2rem; }
.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem 0 .25rem 1.1rem; text-align: right; vertical-align: baseline; white-space: nowrap;
  border-bottom: 1px solid #e3e6e9; }
th:first-child, td:first-child { padding-left: 0; text-align: left; white-space: normal; min-width: 6rem; }
thead th { color: #5b646d; font-weight: 600; border-bottom-color: #b8bfc6; }
tbody th { font-weight: 400; }
td.met { color: #0b6e4f; }
td.missed { color: #b5293b; font-weight: 700; }
.words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.words th:first-child { min-width: 0; }
ul { margin: 0; padding-left: 1.1rem; }
li { margin: .15rem 0; overflow-wrap: anywhere; }
code { font: .9em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.plot { display: flex; flex-wrap: wrap; margin-top: 1.4rem; }
.plot svg { display: block; flex: 1 1 28rem; width: 100%; min-width: min(100%, 28rem); height: auto; }
.steps { margin-top: 1.4rem; overflow-x: auto; } .steps svg { width: 100%; min-width: 44rem; height: auto; }
@media (max-width: 40rem) { body { font-size: 13px; } th, td { padding-left: .6rem; }
  thead th { white-space: normal; vertical-align: bottom; }
  th:first-child { min-width: 0; } }
@media print { body { padding: 0; max-width: none; font-size: 10.5px; } section { margin-top: 1rem; }
  .plot svg { flex-basis: 50%; min-width: 0; width: 50%; } }
"""


def page(summary: Summary, svg: str, links: Mapping[str, str], steps: str = "") -> str:
    """All of it; ``svg`` is what ``draw`` has written, ``links`` are the other files by what they are, and
    ``steps`` is what ``capacity.draw`` has written.
    """
    title = text.title(summary)
    said = "".join(f'<p class="verdict {state}">{escape(each)}</p>' for state, each in text.judged(summary))
    found = summary["verdict"]
    came_back = text.reconnects(summary)
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(summary['what'])}</p>"
        f'<p class="quiet">{escape(text.setup(summary))}<br>{escape(text.when(summary))}</p>{said}</header>',
        '<div class="beside">',
        _section("Thresholds", _table(text.thresholds(summary))),
        _section("What clients got", _table(text.verdict(summary))),
        "</div>",
        _section("Findings", _list(found["findings"]) if found else ""),
        f'<div class="plot">{_halves(svg)}</div>',
        '<div class="beside">',
        _section("Delivery by phase", _table(text.phases(summary))),
        _section("Times, ms", _table(text.times(summary))),
        "</div>",
        _section("Memory and CPU", _table(text.usage(summary))),
        f'<div class="steps">{steps[steps.find("<svg") :]}</div>' if steps else "",
        *(_section(escape(about), _table(rows)) for about, rows in capacity.tables(summary).items()),
        '<div class="beside small">',
        *(_section(what.capitalize(), _table(text.counts(summary, what))) for what in text.COUNTS),
        _section("Reconnects", f"<p>{escape(came_back)}</p>" if came_back else ""),
        "</div>",
        _section("Remarks", _list(summary["remarks"])),
        _section("Machine", _words(summary["machine"])),
        _section("Command", f"<p><code>{escape(summary['command'])}</code></p>"),
        _section("Other files", _links(links)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _table(rows: Rows) -> str:
    if not rows:
        return ""
    heads, *others = rows
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(map(_cell, cells))}</tr>'
        for first, *cells in others
    )
    return (
        f'<div class="wide"><table><thead><tr>{"".join(f"<th>{escape(head)}</th>" for head in heads)}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _cell(content: str) -> str:
    mark = f' class="{content.lower()}"' if content in {"met", "MISSED"} else ""
    return f"<td{mark}>{escape(content)}</td>"


def _list(sentences: Sequence[str]) -> str:
    lines = "".join(f"<li>{escape(each)}</li>" for each in sentences)
    return f"<ul>{lines}</ul>" if lines else ""


def _words(facts: Mapping[str, object]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(fact))}</td></tr>'
        for name, fact in facts.items()
    )
    return f'<table class="words"><tbody>{lines}</tbody></table>' if lines else ""


def _links(links: Mapping[str, str]) -> str:
    lines = "".join(f'<li><a href="{escape(to)}">{escape(what)}</a></li>' for what, to in links.items())
    return f"<ul>{lines}</ul>" if lines else ""


def _halves(svg: str) -> str:
    """The picture's columns as pictures of their own: on a narrow screen one is below the other."""
    found = re.search(r'<svg\b[^>]*\bviewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', svg, re.S)
    if found is None:
        raise ValueError("the picture has no viewBox that begins at 0 0")
    width, height = float(found[1]) / 2, found[2]
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img"'
    return (
        f'<svg {names} aria-label="streams, attempts, refusals and memory over time" '
        f'viewBox="0 0 {width:g} {height}"><g id="picture">{found[3]}</g></svg>'
        f'<svg {names} aria-label="latency, events, endings and CPU over time" '
        f'viewBox="{width:g} 0 {width:g} {height}"><use href="#picture"/></svg>'
    )
