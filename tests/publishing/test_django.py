"""Django: publishing waits for commits."""

import json
import subprocess
import sys
from functools import partial

import pytest

from apps.edge import AUTH
from servers.sse import get
from sse_edge import ConfigError, EventError, MemoryBackend, Publisher, SyncPublisher
from sse_edge.django import on_commit
from sse_edge.testing import recorder

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


async def test_what_fails_after_the_commit(site, connect, redis_url):
    """What was committed is answered so, and the failure is in the log."""
    stream = await connect(f"{site.url}/events/orders/7", cookies=ME)
    async with Publisher(redis_url) as events:
        await events.finish("order:7", "last")
        answer = await get(f"{site.url}/default/commit")
        assert (answer.status, json.loads(answer.body)["orders"]) == (200, 1)
        assert "Error calling SyncPublisher.publish in on_commit()" in site.log
        assert "sse_edge.errors.PublishError" in site.log
        await events.reopen("order:7")
    assert (await stream.next()).data == "last"


async def test_what_can_never_be_published(site, connect):
    """It is refused at the call, where the view can still do something about it; what changes after that goes
    out as it was."""
    for outcome, error in (
        ("name", "event: must not contain CR, LF or NUL"),
        ("payload", "json: cannot be written as JSON: it is of type object"),
        ("misspelt", "publish: got an unexpected keyword argument 'jason'"),
        ("nothing", "data: give either data or json"),
    ):
        answer = await get(f"{site.url}/default/{outcome}")
        assert json.loads(answer.body)["error"].startswith(error)
    assert "in on_commit()" not in site.log
    stream = await connect(f"{site.url}/events/orders/7", cookies=ME)
    await get(f"{site.url}/default/changed")
    assert json.loads((await stream.next()).data) == {"state": "as it was"}


async def an_async_one(channel, data):
    """What a view of the async kind might give."""


class Calls:
    """An object that is called and not awaited."""

    async def __call__(self):
        """Never."""


@pytest.mark.parametrize(
    ("publish", "why"),
    [
        (Publisher().publish, "is async"),
        (an_async_one, "is async"),
        (partial(an_async_one, "news"), "is async"),
        (Calls(), "is async"),
        (SyncPublisher(), "must be a method of a SyncPublisher"),
        (None, "must be a method of a SyncPublisher"),
        (SyncPublisher().recent, "must be one of publish, "),
    ],
)
def test_what_never_publishes(publish, why):
    """It is refused where it is given, and not after the first commit."""
    with pytest.raises(ConfigError, match=f"publish: {why}"):
        on_commit(publish)


CALLS = [
    (lambda events: events.publish, ("news", "a"), {"dedupe_key": "k"}),
    (lambda events: events.publish_many, ([("news", "a")],), {"except_users": ["u1"]}),
    (lambda events: events.finish, ("news",), {"json": {"a": 1}}),
    (lambda events: events.reopen, ("news",), {}),
    (lambda events: events.disconnect, (), {"user": "u1"}),
    (lambda events: events.revoke, ("s1",), {"max_age": 60}),
    (lambda events: events.stop, ("news",), {}),
    (lambda events: partial(events.publish, "news"), ("a",), {"event": "b"}),
]


def passing(monkeypatch):
    """Commits that a test makes: what is to be called by each."""
    waiting = []
    monkeypatch.setattr(
        "sse_edge.django.transaction.on_commit", lambda call, using, robust: waiting.append(call)
    )
    return waiting


@pytest.mark.parametrize(("method", "args", "kwargs"), CALLS)
def test_each_method(method, args, kwargs, monkeypatch):
    """What comes out after the commit is what the method itself publishes."""
    waiting = passing(monkeypatch)
    told = []
    for later in (False, True):
        with recorder() as published, SyncPublisher(published.backend, default=str) as events:
            call = method(events)
            (on_commit(call) if later else call)(*args, **kwargs)
            while waiting:
                assert not published
                assert not [*published.reopened, *published.disconnected, *published.revoked]
                waiting.pop()()
            names = ("channel", "data", "event", "finishes", "dedupe_key", "except_user")
            out = [[getattr(event, name) for name in names] for event in published]
            told.append((out, published.reopened, published.disconnected, published.revoked))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("publish_many", {"events": [("", "a")]}),
        ("reopen", {"channel": ""}),
        ("disconnect", {}),
        ("revoke", {"session": ""}),
        ("revoke", {"session": "s", "max_age": -1}),
        ("stop", {"channel": ""}),
    ],
)
def test_each_method_checks_at_the_call(method, given, monkeypatch):
    """Nothing waits for the commit that would fail there."""
    waiting = passing(monkeypatch)
    with pytest.raises(EventError):
        on_commit(getattr(SyncPublisher(MemoryBackend()), method))(**given)
    assert waiting == []


def test_a_function_of_ones_own(monkeypatch):
    """It is called after the commit, and its arguments are checked before.  One that only turns out to be
    async says so."""
    waiting, told = passing(monkeypatch), []
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        on_commit(lambda a, b: None)(1)
    on_commit(told.append)("a")
    assert told == []
    waiting.pop()()
    assert told == ["a"]
    on_commit(lambda: Publisher().publish("news", "a"))()
    with pytest.raises(ConfigError, match="is async"):
        waiting.pop()()


async def test_outside_of_a_transaction(site):
    """It is out at once."""
    assert json.loads((await get(f"{site.url}/default/alone")).body) == {"early": 1, "orders": 0}


def test_django_is_not_there():
    """Whoever imports it without Django is told what to install."""
    code = "import sys; sys.modules['django'] = None; import sse_edge.django"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=False)
    assert "ModuleNotFoundError: sse_edge.django needs Django: pip install django" in done.stderr
