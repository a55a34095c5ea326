"""Django: publishing waits for commits."""

import json

import pytest

from apps.edge import AUTH
from servers.sse import get

ME = {"session": AUTH.issue("u42")}


@pytest.fixture
def site(serve_app, redis_url, tmp_path):
    """A project with two databases."""
    return serve_app("apps.django:app", env={"BACKEND": redis_url, "DATABASE": str(tmp_path / "db.sqlite3")})


async def test_on_commit(site, connect):
    """An event is out after its transaction, on the database that it is about; never after a rollback."""
    stream = await connect(f"{site.url}/events/orders/7", cookies=ME)
    for database in ("default", "archive"):
        for outcome, orders in (("rollback", 0), ("commit", 1)):
            answer = await get(f"{site.url}/{database}/{outcome}")
            assert json.loads(answer.body) == {"early": 0, "orders": orders}
    heard = [(event.event, event.data) for event in await stream.take(2)]
    assert heard == [("default", "commit"), ("archive", "commit")]
    await stream.quiet(0.2)


async def test_what_fails_after_the_commit(site, connect):
    """What was committed is answered so, and the failure is in the log."""
    stream = await connect(f"{site.url}/events/orders/7", cookies=ME)
    answer = await get(f"{site.url}/default/bad")
    assert (answer.status, json.loads(answer.body)["orders"]) == (200, 1)
    assert "Error calling SyncPublisher.publish in on_commit()" in site.log
    assert "sse_edge.errors.EventError" in site.log
    await get(f"{site.url}/default/commit")
    assert (await stream.next()).data == "commit"


async def test_outside_of_a_transaction(site):
    """It is out at once."""
    assert json.loads((await get(f"{site.url}/default/alone")).body) == {"early": 1, "orders": 0}
