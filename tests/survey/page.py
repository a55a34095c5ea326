"""The results, and the tables that they make in deploy/SERVERS.md."""

import json
from pathlib import Path

from .promises import NAMES

DEPLOY = Path(__file__).parents[2] / "deploy"
RESULTS = DEPLOY / "servers.json"
PAGE = DEPLOY / "SERVERS.md"
BEGIN, END = "<!-- made by python -m survey -->\n", "<!-- to here -->\n"

FIRST = "uvicorn, httptools, uvloop"
"""What the others' memory and CPU are compared with."""


def results():
    """What was seen last: ``{server: {"versions": …, "cells": {promise: word}, "footprint": {…}}}``."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def save(found, names):
    """Write them, in the order of ``names``, and the page."""
    found = {name: found[name] for name in names if name in found}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{tables(found)}{END}{rest.partition(END)[2]}")


def tables(found):
    """The text between the marks."""
    promises = [
        [name, row["versions"], *(row["cells"][each] for each in NAMES)] for name, row in found.items()
    ]
    first = found[FIRST]["footprint"]
    sizes = [
        [name, f"{taken['memory']} KiB", _times(taken, first, "memory"), _times(taken, first, "cpu")]
        for name, row in found.items()
        if (taken := row.get("footprint"))
    ]
    return (
        _table(["server", "version", *NAMES], promises)
        + "\n"
        + _table(["server", "memory of an idle stream", "compared", "CPU for an event, compared"], sizes)
    )


def said():
    """What the page has between the marks."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def times(found, name, what):
    """How many times as much a row takes as the first, in words of the table."""
    return _times(found[name]["footprint"], found[FIRST]["footprint"], what)


def _times(taken, first, what):
    ratio = taken[what] / first[what]
    return f"{ratio:.1f}" if ratio < 3 else f"{ratio:.0f}"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
