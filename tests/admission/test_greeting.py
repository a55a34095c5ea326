"""Greetings: what an application says first to each client of a channel, through the door."""

import asyncio
import gzip
import json
import threading
import uuid

import pytest

from servers.sse import Decoder
from sse_edge import Anonymous, Channel, ConfigError, Event, Publisher, SignedCookie, SSEMiddleware
from sse_edge.admission import callback

AUTH = SignedCookie("a secret of the tests", secure=False)


def cookie(user="u1", **claims):
    return {"cookie": f"session={AUTH.issue(user, channels=['*'], **claims)}"}


@pytest.fixture
async def edge():
    """``edge(channels, …)`` makes an SSEMiddleware that is stopped after the test's clients."""
    made = []

    def make(channels, **settings):
        settings = {"backend": f"memory://{uuid.uuid4().hex}", "auth": AUTH, **settings}
        made.append(SSEMiddleware(hosts=["testserver"], channels={"/events/{id}": channels}, **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


def heard(body):
    """The data of all events."""
    return [event.data for event in Decoder().feed(body)]


def nothing_held(middleware):
    hub = middleware._worker.hub
    held = (
        len(hub.streams),
        len(hub.users),
        len(hub.sessions),
        hub._feeds,
        middleware._leases.count("user:u1"),
    )
    return held == (0, 0, 0, {}, 0) and hub.opened == 0


def hello(request, identity):
    """A sync greeting, which runs in a thread."""
    return f"hello {identity.user}"


async def where(request, identity):
    return Event(json=request.params["id"], event="where")


def nothing(request, identity):
    return None


class Greeter:
    async def __call__(self, request, identity):
        return request.identity.user


ROUTE = [
    Channel("order:{id}", first=1, greeting=where),
    "news",
    Channel("none:{id}", greeting=nothing),
    Channel("user:{user}", greeting=hello),
    Channel("again:{id}", greeting=where),
    Channel("last:{id}", greeting=Greeter()),
]


@pytest.mark.parametrize("function", [False, True])
async def test_greetings_come_first(edge, asgi, url, function):
    """After the head and the retry, before what history has; in the order of the route, each once."""
    channels = ROUTE
    if function:
        names = ["order:7", "news", "none:7", "user:u1", "again:7", "last:7"]
        made = [
            Channel(name, first=one.first, greeting=one.greeting) if isinstance(one, Channel) else name
            for name, one in zip(names, ROUTE, strict=True)
        ]
        channels = lambda request: made  # noqa: E731
    middleware = edge(channels, backend=url)
    async with Publisher(url) as events:
        await events.publish("order:7", "state")
        place = await events.publish("news", "old")
        client = asgi(middleware, "/events/7", headers=cookie())
        await client.wait_for(b"data: state\n")
        assert heard(client.body()) == ['"7"', "hello u1", "u1", "state"]
        greeting = client.body().partition(b"retry: ")[2].partition(b"\n")[2]
        assert greeting.startswith(b'event: where\ndata: "7"\n\ndata: hello u1\n\ndata: u1\n\n')
        await events.publish("news", "new")
        await client.wait_for(b"data: new\n")
        again = asgi(middleware, "/events/7", headers={**cookie(), "last-event-id": place})
        await again.wait_for(b"data: new\n")
        assert heard(again.body()) == ['"7"', "hello u1", "u1", "new"]
    (stream,) = (
        each for each in middleware._worker.hub.streams if each.after is not None and each.events == 5
    )
    assert stream.events == len(heard(client.body()))


async def test_a_state_that_changes_while_it_is_read(edge, asgi, url):
    """The greeting is asked when the channels are heard: the change comes after the state, and not before."""
    state, reading, read = ["old"], asyncio.Event(), asyncio.Event()

    async def greeting(request, identity):
        before = state[0]
        reading.set()
        await read.wait()
        return before

    middleware = edge(Channel("order:{id}", greeting=greeting), backend=url)
    client = asgi(middleware, "/events/7", headers=cookie()).open()
    async with Publisher(url) as events:
        await reading.wait()
        state[0] = "new"
        await events.publish("order:7", "new")
        other = asgi(middleware, "/events/7", headers=cookie()).open()
        assert client.status is None
        read.set()
        await client.wait_for(b"data: new\n")
        assert heard(client.body()) == ["old", "new"]
        await other.wait_for(b"data: new\n")
        await events.publish("order:7", "newest")
        await other.wait_for(b"data: newest\n")
        assert heard(other.body()) == ["new", "newest"]


async def test_a_slow_greeting_holds_up_nobody_else(edge, asgi):
    """Other streams of the same channel have their head, and hear what is published meanwhile."""
    never = asyncio.Event()

    async def greeting(request, identity):
        await (never.wait() if identity.user == "slow" else asyncio.sleep(0))
        return identity.user

    middleware = edge(Channel("order:{id}", greeting=greeting))
    slow = asgi(middleware, "/events/7", headers=cookie("slow")).open()
    async with asyncio.timeout(5):
        while not (middleware._worker and middleware._worker.hub.streams):
            await asyncio.sleep(0)
    clients = [asgi(middleware, "/events/7", headers=cookie(f"u{n}")) for n in range(5)]
    for n, client in enumerate(clients):
        await client.wait_for(b"data: u%d\n" % n)
    await Publisher(middleware.backend).publish("order:7", "new")
    for client in clients:
        await client.wait_for(b"data: new\n")
    never.set()
    await slow.wait_for(b"data: new\n")
    assert heard(slow.body()) == ["slow", "new"]


async def test_on_a_compressed_stream(edge, asgi):
    """It is compressed with the rest."""
    middleware = edge(Channel("order:{id}", compress=True, greeting=lambda request, identity: "state " * 500))
    client = asgi(middleware, "/events/7", headers={**cookie(), "accept-encoding": "gzip"})
    await client.start()
    await Publisher(middleware.backend).publish("order:7", "new")
    await middleware.drain(0)
    whole = await client.whole()
    assert client.header("content-encoding") == "gzip"
    assert len(whole) < 500
    said = gzip.decompress(whole)
    assert heard(said)[:2] == ["state " * 500, "new"]


async def test_polls(edge, asgi):
    """A poll has it where it has no place, and is answered at once; with a place it has had it."""
    middleware = edge(Channel("order:{id}", first="all", greeting=where))
    await Publisher(middleware.backend).publish("order:7", "old")
    first = asgi(middleware, "/events/7", headers=cookie(), query="poll=30")
    answer = json.loads(await first.whole())
    where_it_is, old = answer["events"]
    assert where_it_is == {"event": "where", "data": '"7"'}
    assert old["data"] == "old"
    await Publisher(middleware.backend).publish("order:7", "new")
    query = f"poll=30&last_event_id={answer['next']}"
    second = json.loads(await asgi(middleware, "/events/7", headers=cookie(), query=query).whole())
    assert [event["data"] for event in second["events"]] == ["new"]


def failing(request, identity):
    raise ValueError("no such state")


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (failing, "ValueError: no such state"),
        (lambda request, identity: 7, "data: must be text or an Event (got a value of type int)"),
        (lambda request, identity: b"bytes", "must be text or an Event"),
        (lambda request, identity: Event("x", id="1"), "id: a greeting has none"),
        (lambda request, identity: "x" * 300_000, "larger than"),
        (lambda request, identity: asyncio.sleep(60), "TimeoutError"),
    ],
)
async def test_a_greeting_that_fails(edge, asgi, caplog, monkeypatch, greeting, said):
    """Nobody is let in without the state: backend-down, a line with who and where, and nothing is held."""
    monkeypatch.setattr(callback, "ANSWER", 0.1)
    middleware = edge(Channel("order:{id}", greeting=greeting))
    client = asgi(middleware, "/events/7", headers=cookie())
    assert json.loads(await client.whole())["error"] == "backend-down"
    assert (client.status, client.header("retry-after") is not None) == (503, True)
    assert nothing_held(middleware)
    assert "greeting failed for /events/7, user=u1" in caplog.text
    assert said in caplog.text
    page = asgi(middleware, "/events/7", headers={**cookie(), "accept": "text/event-stream"})
    (event,) = Decoder().feed(await page.whole())
    assert (page.status, event.event, json.loads(event.data)["error"]) == (
        200,
        "edge-refused",
        "backend-down",
    )
    assert middleware.figures()["refusals"] == {"backend-down": 2}


@pytest.mark.parametrize("threaded", [False, True])
async def test_cancelled_meanwhile(edge, asgi, threaded):
    """A request that is cancelled while its greeting is made holds nothing."""
    began, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def waits(request, identity):
        began.set()
        await asyncio.Event().wait()

    def blocks(request, identity):
        loop.call_soon_threadsafe(began.set)
        release.wait(5)

    middleware = edge(Channel("order:{id}", greeting=blocks if threaded else waits))
    client = asgi(middleware, "/events/7", headers=cookie()).open()
    await began.wait()
    assert len(middleware._worker.hub.streams) == 1
    release_soon = loop.call_later(0.1, release.set)
    await client.cancel()
    release_soon.cancel()
    release.set()
    assert nothing_held(middleware)


async def test_ended_meanwhile(edge, asgi):
    """A stream that ends while its greeting is made says why, and nothing of the greeting."""
    began, made = asyncio.Event(), asyncio.Event()

    async def greeting(request, identity):
        began.set()
        await made.wait()
        return "a secret"

    middleware = edge(Channel("order:{id}", greeting=greeting))
    client = asgi(middleware, "/events/7", headers=cookie()).open()
    await began.wait()
    assert middleware.disconnect(user="u1") == 1
    async with asyncio.timeout(5):
        while any(stream.ending is None for stream in middleware._worker.hub.streams):
            await asyncio.sleep(0)
    made.set()
    (close,) = Decoder().feed(await client.whole())
    assert (close.event, json.loads(close.data)) == ("edge-close", {"reason": "revoked"})
    assert middleware.figures()["endings"] == {"revoked": 1}
    assert middleware.figures()["streams"] == middleware._leases.count("user:u1") == 0


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204)])
async def test_without_a_stream_nothing_is_asked(edge, asgi, method, status):
    """Nor where the gate says no."""
    asked = []
    middleware = edge(Channel("order:{id}", greeting=lambda request, identity: asked.append(request)))
    client = asgi(middleware, "/events/7", method=method, headers=cookie())
    await client.whole()
    stranger = asgi(middleware, "/events/7")
    await stranger.whole()
    assert (client.status, stranger.status, asked) == (status, 401, [])


async def test_while_the_backend_is_away(asgi, edge):
    """A stream that is let in blindly is greeted, and told afterwards that something may be missing."""
    middleware = edge(
        Channel("order:{id}", greeting=where), backend="redis://127.0.0.1:1/0", on_backend_down="accept"
    )
    client = asgi(middleware, "/events/7", headers=cookie())
    await client.wait_for(b'data: "7"\n')


async def generator(request, identity):
    yield "one of many"


@pytest.mark.parametrize(
    "greeting", [1, "hello", lambda: None, lambda request: None, lambda a, b, c: None, generator]
)
def test_no_greeting(greeting):
    """What cannot be asked is refused where it is said."""
    with pytest.raises(ConfigError) as caught:
        Channel("news", greeting=greeting)
    assert caught.value.field == "greeting"


async def test_anonymous_clients_are_greeted_too(asgi, edge):
    """Their identity has no user."""
    middleware = edge(
        Channel("news", greeting=lambda request, identity: repr(identity.user)), auth=Anonymous()
    )
    await asgi(middleware, "/events/7").wait_for(b"data: None\n")
