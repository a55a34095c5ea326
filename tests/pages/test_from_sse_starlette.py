"""docs/FROM-SSE-STARLETTE.md: the apps before, between and after run, and do what the page says."""

import json

import pytest

from servers.moving import Apps, written
from servers.processes import TESTS

PAGE = TESTS.parent / "docs" / "FROM-SSE-STARLETTE.md"
SHIPPED = {"order": 7, "state": "shipped"}


@pytest.fixture
def apps(serve, tmp_path, redis_url):
    """The page's apps, ready to be started."""
    written(PAGE, tmp_path)
    return Apps(serve, tmp_path, {"REDIS": redis_url, "SECRET": "4e7a1b of the tests"})


async def told(stream):
    """The next event, as the page's own script has it."""
    event = await stream.next()
    return event.event, json.loads(event.data)


@pytest.mark.parametrize(
    ("server", "app", "me", "clock"),
    [
        ("uvicorn", "before:app", "/me/stream", "/clock/stream"),
        ("sse-edge", "after:app", "/events/me", "/events/clock"),
        pytest.param("uvicorn", "after:app", "/events/me", "/events/clock", marks=pytest.mark.heavy),
    ],
)
async def test_both_do_the_same(apps, server, app, me, clock):
    """Nobody listens unasked; an event is for its user alone; a clock goes on from where it was."""
    ann, bob = (apps.visitor(server, app) for _ in range(2))
    async with await ann.stream(me) as refused:
        assert refused.status == 401
    assert [await ann.post("/login/ann"), await bob.post("/login/bob")] == [200, 200]
    async with await ann.stream(me) as hers, await bob.stream(me) as his:
        assert await bob.post("/orders/8/ship") == 200
        assert await told(his) == ("status", {"order": 8, "state": "shipped"})
        assert await ann.post("/orders/7/ship") == 200
        assert await told(hers) == ("status", SHIPPED)
    async with await ann.stream(clock) as first, await ann.stream(clock, "41") as again:
        assert (await first.next())[1:] == ("1", "1")
        assert (await again.next())[1:] == ("42", "42")


async def test_what_was_missed(apps):
    """Before, what is published while a client is away is gone; after, it is given that."""
    ann = apps.visitor("sse-edge", "after:app")
    await ann.post("/login/ann")
    async with await ann.stream("/events/me") as stream:
        await ann.post("/orders/6/ship")
        place = (await stream.next()).id
    await ann.post("/orders/7/ship")
    async with await ann.stream("/events/me", place) as stream:
        assert await told(stream) == ("status", SHIPPED)
    ann = apps.visitor("uvicorn", "before:app")
    await ann.post("/login/ann")
    async with await ann.stream("/me/stream"):
        pass
    await ann.post("/orders/6/ship")
    async with await ann.stream("/me/stream") as stream:
        await ann.post("/orders/7/ship")
        assert await told(stream) == ("status", SHIPPED)


async def test_both_at_once(apps):
    """One app has the old URL and the new one, and one cookie opens both, also one from before."""
    before, both = (apps.visitor("uvicorn", app) for app in ("before:app", "both:app"))
    await before.post("/login/ann")
    both.cookies = before.cookies
    async with await both.stream("/me/stream") as old, await both.stream("/events/me") as new:
        assert await both.post("/orders/7/pack") == 200
        packed = ("status", {"order": 7, "state": "packed"})
        assert (await told(old), await told(new)) == (packed, packed)
