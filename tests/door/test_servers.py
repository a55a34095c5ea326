"""What deploy/SERVERS.md says of each server is what is seen on it."""

import json
import os
import re
import tomllib

import pytest
import websockets

from servers.processes import TESTS
from sse_edge.streams import outlet
from survey.page import DEPLOY, END, FIRST, PAGE, RESULTS, results, said, tables
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


@pytest.mark.parametrize(("text", "names"), [(outlet.WRAPPED, AROUND), (outlet.SENT, [*AROUND[:1], *SEND])])
def test_what_the_log_says_of_costs(text, names):
    """What a worker says at its first stream is what was measured, roughly."""
    sizes = {name: row["footprint"] for name, row in results().items() if "footprint" in row}
    measured = []
    for what in ("cpu", "memory"):
        ratios = [sizes[name][what] / sizes[FIRST][what] for name in names]
        measured += [min(ratios), max(ratios)]
    assert [float(number) for number in re.findall(r"[\d.]+", text)] == pytest.approx(measured, rel=0.3)
    assert f"{sizes[FIRST]['memory']:.0f} KiB" in outlet.TAKEN_OVER


USUAL = {FIRST, "hypercorn, HTTP/1.1", "hypercorn, HTTP/2", "granian", "daphne", "`sse-edge serve`"}
"""One of each kind; the others with ``--heavy``."""


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[] if row.name in USUAL else [pytest.mark.heavy], id=row.name) for row in ROWS],
)
async def test_promises(serve_app, row):
    """Every promise, tried on every server."""
    assert await survey(row, serve_app) == results()[row.name]["cells"]


async def test_websockets(serve_app, tmp_path):
    """A wrapped app keeps its WebSockets under ``sse-edge serve`` with what the extra ``server`` brings."""
    extra = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for library in ("websockets", "wsproto"):
        if not any(re.match(rf"{library}\b", each) for each in extra["server"]):
            (tmp_path / f"{library}.py").write_text("raise ImportError")
    path = os.pathsep.join(map(str, (tmp_path, TESTS, TESTS.parent)))
    env = {"PYTHONPATH": path, "STOPPED": str(tmp_path / "stopped")}
    process = serve_app("apps.frameworks:fastapi", server="sse-edge serve", env=env)
    async with websockets.connect(process.url.replace("http", "ws") + "/echo", proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello 42"
    assert "WebSocket library" not in process.log
