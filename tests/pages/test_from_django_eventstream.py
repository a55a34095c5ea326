"""docs/FROM-DJANGO-EVENTSTREAM.md: the sites before, between and after run, and do what the page says."""

import json

import pytest

from servers.moving import Apps, written
from servers.processes import TESTS

PAGE = TESTS.parent / "docs" / "FROM-DJANGO-EVENTSTREAM.md"
SHIPPED = {"order": 7, "state": "shipped"}
MIGRATE = "; from django.core.management import call_command; call_command('migrate', verbosity=0)"


@pytest.fixture
def apps(serve, tmp_path, redis_url):
    """The page's sites with their database, ready to be started."""
    written(PAGE, tmp_path)
    found = Apps(serve, tmp_path, {"REDIS": redis_url, "SECRET": "4e7a1b of the tests"})
    found.run("-c", "import before" + MIGRATE)
    return found


async def told(stream):
    """The next event of the site's own, as the page's script has it."""
    while (event := await stream.next()).event in ("stream-open", "keep-alive"):
        pass
    return event.event, json.loads(event.data)


@pytest.mark.parametrize(
    ("server", "app", "me"),
    [
        ("uvicorn", "before:app", "/stream/"),
        pytest.param("daphne", "before:app", "/stream/", marks=pytest.mark.heavy),
        ("sse-edge", "after:app", "/events/me"),
        pytest.param("daphne", "after:app", "/events/me", marks=pytest.mark.heavy),
    ],
)
async def test_both_do_the_same(apps, server, app, me):
    """An event is for its user alone, and who comes back is given what it has missed."""
    ann = apps.visitor(server, app)
    bob = ann.other()
    assert [await ann.post("/login/ann"), await bob.post("/login/bob")] == [200, 200]
    async with await ann.stream(me) as hers, await bob.stream(me) as his:
        assert await ann.post("/orders/6/ship") == 200
        assert await told(hers) == ("status", {"order": 6, "state": "shipped"})
        assert await bob.post("/orders/8/ship") == 200
        assert await told(his) == ("status", {"order": 8, "state": "shipped"})
        place = hers.last_event_id
    assert await ann.post("/orders/7/ship") == 200
    async with await ann.stream(me, place) as again:
        assert await told(again) == ("status", SHIPPED)


async def test_who_may_not_listen(apps):
    """Before, a stranger gets an answer of 200 with an event; after, a 401."""
    stranger = apps.visitor("uvicorn", "before:app")
    async with await stranger.stream("/stream/") as stream:
        assert stream.status == 200
        name, data = await told(stream)
        assert (name, data["condition"]) == ("stream-error", "forbidden")
    async with await apps.visitor("sse-edge", "after:app").stream("/events/me") as stream:
        assert stream.status == 401


async def test_an_old_id_is_a_reset(apps):
    """A tab that comes back with an id of django-eventstream's is told to load its state."""
    ann = apps.visitor("sse-edge", "after:app")
    await ann.post("/login/ann")
    async with await ann.stream("/events/me", "user-1:12,news:3") as stream:
        told_of = [await told(stream), await told(stream)]
    assert {(name, data["reason"]) for name, data in told_of} == {("edge-reset", "unknown-id")}
    assert {data["channel"] for _, data in told_of} == {"user:1", "news"}


async def test_both_at_once(apps):
    """One process has the old URL and the new one, and one cookie opens both."""
    ann = apps.visitor("uvicorn", "both:app")
    await ann.post("/login/ann")
    async with await ann.stream("/stream/") as old, await ann.stream("/live/me") as new:
        assert await ann.post("/orders/7/pack") == 200
        packed = ("status", {"order": 7, "state": "packed"})
        assert (await told(old), await told(new)) == (packed, packed)
