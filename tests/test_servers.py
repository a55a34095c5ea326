"""What deploy/SERVERS.md says of each server is what is seen on it."""

import json

import pytest

from survey.page import END, PAGE, RESULTS, results, said, tables
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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_promises(serve_app, row):
    """Every promise, tried on every server."""
    assert await survey(row, serve_app) == results()[row.name]["cells"]
