"""docs/CHANNELS.md: what it says of a function's request and of an authenticator of one's own is so."""

import re
from pathlib import Path

import pytest

from servers.pages import programs
from sse_edge import Identity
from sse_edge.asgi import Request

PAGE = Path(__file__).parents[2] / "docs" / "CHANNELS.md"
GIVEN = PAGE.read_text().partition("## What a function is given")[2].partition("\n## ")[0]
ROWS = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", GIVEN, re.MULTILINE)]
REQUEST = Request(
    "GET",
    "/events/orders/7",
    headers=((b"x-team", b"blue"), (b"cookie", b"s=1")),
    query_string=b"q=tea",
    peer="192.0.2.1",
    params={"order_id": "7"},
    identity=Identity("ann"),
)


def shown(cell):
    """The expressions in a cell that begin with the request."""
    found = re.findall(r"`(request\.[^`]*)`", cell)
    assert found
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1][1:20])
def test_what_a_function_is_given(row):
    """What the page calls right has a value, and what it calls a habit raises."""
    habit, right = row
    for expression in shown(right):
        assert eval(expression, {"request": REQUEST}), expression
    for expression in shown(habit):
        with pytest.raises((AttributeError, TypeError)):
            eval(expression, {"request": REQUEST})


def test_the_rows_are_there():
    """All kinds of what is asked for."""
    assert len(ROWS) >= 6


async def test_an_authenticator_of_ones_own():
    """It has both ways in for views, as the page makes it."""
    made = {}
    exec(programs(PAGE)["team.py"], made)
    known, unknown = (
        {"type": "http", "path": "/", "headers": head} for head in ([(b"x-team-token", b"4f1a")], [])
    )
    assert made["auth"].identify_scope(known) == Identity("ann")
    assert made["auth"].identify_scope(unknown) is None
    assert await made["auth"].identify_scope_async(known) == Identity("ann")
