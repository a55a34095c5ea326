"""What deploy/SERVERS.md says of each server is what is seen on it."""

import json
import re

import pytest

from sse_edge import streams
from survey.page import END, FIRST, PAGE, RESULTS, results, said, tables
from survey.promises import NAMES, survey
from survey.rows import OTHERS, ROWS


def test_page():
    """The page's tables are those that the results make, and nothing of them is written by hand."""
    assert said() == tables(results())
    assert PAGE.read_text().count(END) == 1


def test_results():
    """They have every server with every promise, and each has been measured that the tests can start."""
    found = json.loads(RESULTS.read_text())
    assert list(found) == [row.name for row in [*ROWS, *OTHERS]]
    assert all(list(row["cells"]) == list(NAMES) for row in found.values())
    assert [name for name, row in found.items() if "footprint" in row] == [row.name for row in ROWS]


AROUND = ["uvicorn, by `add_middleware`", "uvicorn, under an http middleware"]
SEND = ["gunicorn `-k asgi`", "granian", "hypercorn, HTTP/1.1", "hypercorn, HTTP/2", "daphne"]


@pytest.mark.parametrize(("text", "names"), [(streams.WRAPPED, AROUND), (streams.SENT, [*AROUND[:1], *SEND])])
def test_what_the_log_says_of_costs(text, names):
    """What a worker says at its first stream is what was measured, roughly."""
    sizes = {name: row["footprint"] for name, row in results().items() if "footprint" in row}
    measured = []
    for what in ("cpu", "memory"):
        ratios = [sizes[name][what] / sizes[FIRST][what] for name in names]
        measured += [min(ratios), max(ratios)]
    assert [float(number) for number in re.findall(r"[\d.]+", text)] == pytest.approx(measured, rel=0.3)
    assert f"{sizes[FIRST]['memory']:.0f} KiB" in streams.TAKEN_OVER


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_promises(serve_app, row):
    """Every promise, tried on every server."""
    assert await survey(row, serve_app) == results()[row.name]["cells"]
