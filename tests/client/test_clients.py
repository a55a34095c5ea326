"""What deploy/CLIENTS.md says of each client is what becomes of its real package."""

import json
import re

import pytest

from clients.columns import COLUMNS, survey
from clients.lines import drivers, shown, with_lines
from clients.listening import Frames
from clients.rows import BROWSERS, IN_PAGES, RECORDED, ROWS
from servers.processes import TESTS
from servers.table import Table

PAGE = TESTS.parent / "deploy" / "CLIENTS.md"


@pytest.fixture
def table(pytestconfig):
    """The page's table, of what was seen."""
    writing = pytestconfig.getoption("--tables")
    return Table(PAGE, "clients", writing=writing, rows=[*ROWS, *RECORDED])


@pytest.fixture
async def frames(request):
    """Frames of a page, for the rows that run in one: in Firefox or in Chromium."""
    row = request.node.callspec.params["row"]
    if row not in IN_PAGES:
        yield None
        return
    browser = request.getfixturevalue("firefox" if "Firefox" in row else "browser")
    browser.fresh()
    async with Frames(browser.open("about:blank")) as frames:
        yield frames
    browser.fresh()


USUAL = {*BROWSERS, "htmx 2 with htmx-ext-sse", "eventsource 4", "httpx-sse", "curl"}
"""Browsers, and one of each language and kind; with ``--heavy`` the others too."""


def pytest_generate_tests(metafunc):
    """Where the page is written, by ``make clients``, all are tried, and rows that take other toolchains."""
    if "row" in metafunc.fixturenames:
        if metafunc.config.getoption("--tables"):
            rows = [*ROWS, *RECORDED]
        else:
            rows = [row if row in USUAL else pytest.param(row, marks=pytest.mark.heavy) for row in ROWS]
        metafunc.parametrize("row", rows)


@pytest.mark.live
@pytest.mark.timeout(240)  # a dozen drivers at once, of which some wait for what does not come
async def test_client(row, frames, table):
    """Every promise, with the real package; where the page is written, six seconds of silence too."""
    client = {**ROWS, **RECORDED}[row](row, frames)
    columns = [name for name in COLUMNS if table.writing or "silence" not in name]
    cells = {"version": client.version, **await survey(client, columns)}
    for column, found in cells.items():
        try:
            table.holds(client.name, column, found)
        except AssertionError:  # a driver that gets no turn for seconds gives up: once more, and by itself
            table.holds(client.name, column, (await survey(client, [column]))[column])


def test_lines(table):
    """The lines that make a client behave are those that its driver runs."""
    text = PAGE.read_text()
    if table.writing:
        PAGE.write_text(with_lines(text))
    else:
        assert text == with_lines(text)
    assert sorted(shown(text)) == drivers()


def test_page(table):
    """The page's table is the one that the results make, of all clients in order."""
    if table.writing:
        table.write()
    assert table.is_written
    rows = json.loads(PAGE.with_suffix(".json").read_text())["clients"]
    assert list(rows) == [*ROWS, *RECORDED]
    assert all(list(cells) == ["version", *COLUMNS] for cells in rows.values())


def test_words():
    """Each word of a cell is explained below the table."""
    text = PAGE.read_text()
    words = set(re.findall(r"^\| (.+?) \| ", text.partition("| word | what it means |")[2], re.MULTILINE))
    rows = json.loads(PAGE.with_suffix(".json").read_text())["clients"]
    cells = {cell for row in rows.values() for column, cell in row.items() if column != "version"}
    said = {word for cell in cells for word in cell.split(" → ")}
    assert {re.sub(r"^drops .*", "drops …", word) for word in said} - words == set()
