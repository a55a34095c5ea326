"""Sources: streams with an iterator of their own, through the door, on a scripted server."""

import asyncio
import contextlib
import functools
import json
import threading
import uuid

import pytest

from delivery import ListSink, ScriptedBackend, make_hub, settle
from servers.sse import Decoder
from sse_edge import Anonymous, ConfigError, Event, Limits, Publisher, SignedCookie, Source, SSEMiddleware
from sse_edge.admission import callback
from sse_edge.delivery import source as playing
from sse_edge.outcome import DRAIN

AUTH = SignedCookie("a secret of the tests", secure=False)


def cookie(user="u1", channels=(), **headers):
    return {"cookie": f"session={AUTH.issue(user, channels=channels)}", **headers}


@pytest.fixture
async def edge():
    """``edge(make, …)`` makes an SSEMiddleware with a Source at /events/x, stopped after the clients."""
    made = []

    def make(source, **settings):
        source = source if isinstance(source, Source) else Source(source)
        channels = {"/events/x": source, "/events/news": "news", **settings.pop("channels", {})}
        settings = {"backend": f"memory://{uuid.uuid4().hex}", "auth": AUTH, **settings}
        made.append(SSEMiddleware(hosts=["testserver"], channels=channels, **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


@pytest.fixture
def patience(monkeypatch):
    """Iterators have less time to end than in earnest."""
    monkeypatch.setattr(playing, "PATIENCE", 0.2)


def said(client):
    """The data of the client's events, or their names where they are the edge's own."""
    return [
        event.event if event.event.startswith("edge-") else event.data
        for event in Decoder().feed(client.body())
    ]


def reason(client):
    """Why its stream has ended."""
    *_, last = Decoder().feed(client.body())
    assert last.event == "edge-close"
    return json.loads(last.data)["reason"]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def held(middleware):
    """Streams, names, leases and iterators that are left."""
    hub = middleware._worker.hub
    rosters = len(hub.users), len(hub.sessions), len(hub._audience.owned)
    return len(hub.streams), rosters, middleware._leases.count("user:u1"), len(hub.sources._pumps)


NOTHING = (0, (0, 0, 0), 0, 0)


class Played:
    """A source that gives what it is told: ``items``, and then it waits; notes how it was made and ended."""

    def __init__(self, *items, ends=False):
        self.items = items
        self.ends = ends
        self.made = []
        self.closed = 0
        self.waits = asyncio.Event()

    async def __call__(self, request, identity, after):
        self.made.append((request.params, identity.user, after))
        try:
            for item in self.items:
                yield item
            self.waits.set()
            if not self.ends:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_each_client_has_its_own(edge, asgi):
    """Text and Events go out as they are, with the ids that they have and none of the edge's."""
    played = Played("one", Event("two", event="tick", id="2"), Event(json={"three": 3}))
    middleware = edge(played)
    clients = [asgi(middleware, "/events/x", headers=cookie(user)) for user in ("u1", "u2")]
    for client in clients:
        await client.wait_for(b'{"three":3}\n\n')
        greeting, _, rest = client.body().partition(b"retry: ")
        assert greeting == b": stream open\n"
        assert rest.partition(b"\n")[2] == (
            b'data: one\n\nid: 2\nevent: tick\ndata: two\n\ndata: {"three":3}\n\n'
        )
        assert client.header("content-type") == "text/event-stream; charset=utf-8"
    assert played.made == [({}, "u1", None), ({}, "u2", None)]
    await Publisher(middleware.backend).publish("news", "of no concern")
    await middleware.drain(0)
    for client in clients:
        await client.whole()
        assert said(client) == ["one", "two", '{"three":3}', "edge-close"]
        assert client.body().count(b"id: ") == 1
    await until(lambda: played.closed == 2)


async def test_the_first_bytes_do_not_wait_for_an_item(edge, asgi):
    """And silence is broken by keep-alives, which say no place."""
    played = Played()
    client = asgi(edge(played, keep_alive=0.1), "/events/x", headers=cookie())
    await client.wait_for(b"retry: ")
    await client.wait_for(b": keep-alive\n: keep-alive\n: keep-alive\n")
    assert b"id:" not in client.body()
    assert said(client) == []


@pytest.mark.parametrize(
    ("last", "after"),
    [
        (None, None),
        ("7", "7"),
        ("any text=at all", "any text=at all"),
        ("1-1.abcde", "1-1.abcde"),
        ("né".encode(), "né"),
        (b"n\xe9", "né"),
        ("earliest", None),
        ("", None),
        ("x" * 256, "x" * 256),
        (("é" * 200).encode(), "é" * 200),
        ("x" * 257, 400),
        (b"a\tb", 400),
    ],
)
async def test_what_a_client_comes_back_with(edge, asgi, last, after):
    """Its last id as the iterator gave it, whatever that is, within the bounds of a cursor."""
    played = Played("x")
    headers = cookie() if last is None else cookie(**{"last-event-id": last})
    client = asgi(edge(played), "/events/x", headers=headers)
    status, _ = await client.start()
    if after == 400:
        assert (status, played.made) == (400, [])
    else:
        await client.wait_for(b"data: x\n")
        assert played.made == [({}, "u1", after)]


async def test_in_the_query(edge, asgi):
    """There it may be, too; of several nobody knows which is the newest, and what is not taken is said."""
    played = Played("x")
    client = asgi(edge(played), "/events/x", headers=cookie(), query="last_event_id=n%C3%A9")
    await client.wait_for(b"data: x\n")
    assert played.made[0][2] == "né"
    for query, settings in [
        ("last_event_id=1&lastEventId=2", {}),
        ("last_event_id=1", {"query_cursor": False}),
    ]:
        client = asgi(edge(played, **settings), "/events/x", headers=cookie(), query=query)
        assert json.loads(await client.whole())["error"] == "bad-request"
    assert len(played.made) == 1


async def counts(request, identity, after):
    """To three, and no further."""
    begin = int(after or 0)
    if begin >= 3:
        return None

    async def numbers():
        for n in range(begin + 1, 4):
            yield Event(str(n), id=str(n))

    return numbers()


async def test_an_iterator_that_ends(edge, asgi):
    """The stream has finished; who comes back is asked for again, and told that it is over where it is."""
    middleware = edge(counts)
    for after, expected in ((None, ["1", "2", "3"]), ("1", ["2", "3"])):
        headers = cookie(**({"last-event-id": after} if after else {}))
        client = asgi(middleware, "/events/x", headers=headers)
        await client.whole()
        assert said(client) == [*expected, "edge-close"]
        assert reason(client) == "finished"
    over = asgi(
        middleware, "/events/x", headers=cookie(**{"last-event-id": "3", "accept": "text/event-stream"})
    )
    assert await over.whole() == b""
    assert over.status == 204
    figures = middleware.figures()
    assert (figures["refusals"], figures["endings"], figures["opened"]) == (
        {"finished": 1},
        {"finished": 2},
        2,
    )
    assert held(middleware) == NOTHING


async def numbers():
    yield "made"
    await asyncio.Event().wait()


class Numbers:
    """A class that makes its iterator where the event loop is."""

    def __init__(self, request, identity, after):
        self.task = asyncio.create_task(asyncio.sleep(0))
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.task.done():
            await asyncio.Event().wait()
        await self.task
        return "made"


async def coroutine(request, identity, after):
    return numbers()


def generator(request, identity, after, more=""):
    return numbers()


class Callables:
    async def __call__(self, request, identity, after):
        yield "made"

    async def method(self, request, identity, after):
        yield "made"


def in_a_thread(request, identity, after):
    """Where it may ask a database."""
    assert threading.current_thread() is not threading.main_thread()
    return numbers()


@pytest.mark.parametrize(
    "make",
    [
        coroutine,
        generator,
        Numbers,
        Callables(),
        Callables().method,
        in_a_thread,
        functools.partial(generator, more="x"),
        functools.partial(Callables.method, None),
        lambda request, identity, after: numbers(),
    ],
)
async def test_what_makes_an_iterator(edge, asgi, make):
    """An async generator function, a function that returns an iterator, sync or async, a class."""
    await asgi(edge(make), "/events/x", headers=cookie()).wait_for(b"data: made\n\n")


def sync(request, identity, after):
    yield "x"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((1,), "make"),
        ((None,), "make"),
        ((sync,), "make"),
        ((functools.partial(sync),), "make"),
        ((lambda request: None,), "make"),
        ((lambda request, identity: None,), "make"),
        ((coroutine, 7), "channel"),
    ],
)
def test_no_source(arguments, field):
    """What can make nothing is refused where it is said."""
    with pytest.raises(ConfigError) as caught:
        Source(*arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("path", "target", "auth"),
    [
        ("/events/{id}", Source(coroutine), AUTH),  # nobody is asked whether they may
        ("/events/x", Source(coroutine, "order:{id}"), AUTH),
        ("/events/x", Source(coroutine, "{"), AUTH),
        ("/events/x", Source(coroutine, "user:{user}"), Anonymous()),
        ("/events/x", [Source(coroutine)], AUTH),
        ("/events/x", ["news", Source(coroutine)], AUTH),
        ("/events/x", Source(coroutine, "user:admin"), AUTH),  # who is called so would be asked about
    ],
)
def test_no_route(path, target, auth):
    """A Source stands alone, and says who may where its path does not."""
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(
            auth=auth,
            channels={"/events/me": "user:{user}", path: target} if auth is AUTH else {path: target},
        )
    assert caught.value.field == "channels"


@pytest.mark.parametrize("answer", [Source(coroutine), [Source(coroutine)], ["news", Source(coroutine)]])
async def test_a_function_names_channels_alone(asgi, caplog, answer):
    """A Source from one is the application's mistake, and said in its log."""
    middleware = SSEMiddleware(auth=AUTH, channels=lambda request: answer, hosts=["testserver"])
    client = asgi(middleware, "/events/x", headers=cookie())
    assert json.loads(await client.whole())["error"] == "backend-down"
    assert "TypeError: channels: " in caplog.text
    await middleware.stop()


@pytest.mark.parametrize(
    ("path", "patterns", "status"),
    [
        ("/events/orders/7", ["order:*"], 200),
        ("/events/orders/7", ["order:8"], 403),
        ("/events/orders/8", [], 403),
        ("/events/orders/9", [], 200),  # authorize says so
        ("/events/orders/a:b", ["*"], 400),
        ("/events/mine", [], 200),
        ("/events/x", [], 200),
    ],
)
async def test_who_may(edge, asgi, path, patterns, status):
    """As with a channel: filled from the identity alone, covered by its patterns, or authorize says yes."""
    asked, played = [], Played("x")

    def authorize(identity, channel, values):
        asked.append((channel, dict(values)))
        return channel == "order:9"

    sources = {
        "/events/orders/{id}": Source(played, "order:{id}"),
        "/events/mine": Source(played, "user:{user}"),
    }
    middleware = edge(played, authorize=authorize, channels=sources)
    client = asgi(middleware, path, headers=cookie(channels=patterns))
    assert (await client.start())[0] == status
    if asked:
        assert asked == [(f"order:{path[-1]}", {"id": path[-1]})]
    if status == 200:
        await client.wait_for(b"data: x\n")
    params = {"id": path[-1]} if "orders" in path else {}
    assert played.made == ([(params, "u1", None)] if status == 200 else [])


async def test_who_may_not_any_more(edge, asgi):
    """authorize is asked again, and its no ends the stream."""
    played, may = Played("x"), [True]
    middleware = edge(
        played,
        authorize=lambda identity, channel: may[0],
        reauthorize_every=0.1,
        channels={"/events/orders/{id}": Source(played, "order:{id}")},
    )
    client = asgi(middleware, "/events/orders/7", headers=cookie())
    await client.wait_for(b"data: x")
    may[0] = False
    await client.whole()
    assert reason(client) == "forbidden"
    await until(lambda: played.closed == 1)


async def test_other_events_of_its_channel_are_not_heard(edge, asgi):
    """The name says who may, and nothing else."""
    played = Played("x")
    middleware = edge(Source(played, "news"))
    listener = asgi(middleware, "/events/news", headers=cookie())
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: x")
    await listener.wait_for(b"\nid: ")
    await Publisher(middleware.backend).publish("news", "heard")
    await listener.wait_for(b"data: heard")
    client.disconnect()
    await client.ended()
    await Publisher(middleware.backend).publish("news", "again")
    await listener.wait_for(b"data: again")
    assert said(client) == ["x"]


async def failing(request, identity, after):
    yield "one"
    raise ValueError("the model is away")


async def cancels_itself(request, identity, after):
    yield "one"
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (failing, "ValueError: the model is away"),
        (cancels_itself, "something in it was cancelled"),
        (Played("one", 7), "data: must be text or an Event (got a value of type int)"),
        (Played("one", b"two"), "a value of type bytes"),
        (Played("one", None), "a value of type NoneType"),
        (Played("one", "x" * 300_000), "larger than"),
        (Played("one", Event("x", id="7" * 257)), "id: is none that a client could come back with"),
        (Played("one", Event("x", id="a\tb")), "id: is none that a client could come back with"),
    ],
)
async def test_an_iterator_that_fails(edge, asgi, caplog, make, why):
    """The log says which stream, whose, and why; the client is told that it was an error, and comes back."""
    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.whole()
    assert said(client) == ["one", "edge-close"]
    assert reason(client) == "error"
    assert "source failed for /events/x" in caplog.text
    assert "user=u1" in caplog.text
    assert why in caplog.text
    await until(lambda: held(middleware) == NOTHING)
    assert not isinstance(make, Played) or make.closed == 1


async def hangs(request, identity, after):
    await asyncio.Event().wait()


async def raises(request, identity, after):
    raise RuntimeError("no database")


@pytest.mark.parametrize(
    ("make", "status", "why"),
    [
        (raises, 503, "RuntimeError: no database"),
        (lambda request, identity, after: [1, 2], 503, "must return an async iterator or None, not list"),
        (lambda request, identity, after: (n for n in "ab"), 503, "not generator"),
        (lambda request, identity, after: 7, 503, "not int"),
        (hangs, 503, "TimeoutError"),
        (lambda request, identity, after: int("x"), 400, "invalid literal for int"),
    ],
)
async def test_a_source_that_does_not_begin(edge, asgi, caplog, monkeypatch, make, status, why):
    """It is refused before the head, with the reason in the log, and nothing is held."""
    caplog.set_level("INFO")
    monkeypatch.setattr(callback, "ANSWER", 0.1)
    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    assert json.loads(await client.whole())["error"] == {503: "backend-down", 400: "bad-request"}[status]
    assert client.status == status
    assert why in caplog.text
    assert "/events/x" in caplog.text
    assert "user=u1" in caplog.text
    assert held(middleware) == NOTHING
    assert middleware.figures()["opened"] == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"method": "HEAD"}, 200),
        ({"method": "OPTIONS"}, 204),
        ({"query": "poll"}, 400),
        ({"headers": {"accept": "application/json"}}, 400),
    ],
)
async def test_requests_that_are_for_no_stream(edge, asgi, options, status):
    """Nothing is made for them; a poll is told that there are none."""
    played = Played()
    headers = cookie(**options.pop("headers", {}))
    client = asgi(edge(played), "/events/x", headers=headers, **options)
    body = await client.whole()
    assert (client.status, played.made) == (status, [])
    if status == 400:
        assert "cannot be polled" in json.loads(body)["detail"]


async def test_it_is_never_compressed(edge, asgi):
    """What is made for one client is compressed for none."""
    client = asgi(edge(Played("x")), "/events/x", headers=cookie(**{"accept-encoding": "gzip"}))
    await client.wait_for(b"data: x\n")
    assert client.header("content-encoding") is None


async def test_it_needs_no_backend(edge, asgi):
    """With Redis away it is made all the same."""
    await asgi(edge(Played("x"), backend="redis://127.0.0.1:1/0"), "/events/x", headers=cookie()).wait_for(
        b"data: x"
    )


# ---- How it ends


async def end(middleware, how, client):
    """Have the stream end so; what the client is told, if anything."""
    if how == "client-gone":
        client.disconnect()
    elif how == "drain":
        await middleware.drain(0)
    elif how == "stopped":
        await middleware.stop()
    else:
        assert middleware.disconnect(**{how: {"user": "u1", "channel": "clock"}[how]}) == 1


@pytest.mark.parametrize("how", ["client-gone", "drain", "stopped", "user", "channel"])
@pytest.mark.parametrize("where", ["item", "client"])
async def test_it_is_closed(edge, asgi, how, where):
    """However its stream ends, in the middle of an item or waiting for the client, its finally has run."""
    played = Played("x") if where == "item" else Played(*["x" * 60_000] * 100)
    middleware = edge(Source(played, "clock"))
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"retry: ")
    if where == "item":
        await client.wait_for(b"data: x")
        await played.waits.wait()
    else:
        client.block_send()
        await until(lambda: client.waiting_sends)
    ending = asyncio.create_task(end(middleware, how, client))
    await until(lambda: played.closed == 1)  # before the client has taken the goodbye
    assert where == "item" or not client.complete
    client.unblock_send()
    await client.ended()
    await ending
    await until(lambda: played.closed == 1)
    if how != "client-gone":
        assert reason(client) == {"drain": "drain", "stopped": "drain"}.get(how, "revoked")
    if how != "stopped":
        await until(lambda: held(middleware) == NOTHING)


@pytest.mark.parametrize(
    ("settings", "ending"), [({"max_duration": 0.2}, "max-duration"), ({"auth": "short"}, "session-expired")]
)
async def test_it_ends_in_time(edge, asgi, settings, ending):
    """After the longest life of a stream, and with its session."""
    auth = SignedCookie("a secret of the tests", secure=False, max_age=1) if "auth" in settings else AUTH
    played = Played("x")
    middleware = edge(played, **{**settings, "auth": auth})
    client = asgi(middleware, "/events/x", headers={"cookie": f"session={auth.issue('u1')}"})
    await client.whole()
    assert reason(client) == ending
    await until(lambda: played.closed == 1)


async def test_its_slot_is_free_again(edge, asgi):
    """A source's stream is a stream of its user."""
    middleware = edge(Played("x"), limits=Limits(per_user=1))
    first = asgi(middleware, "/events/x", headers=cookie())
    await first.wait_for(b"data: x")
    second = asgi(middleware, "/events/x", headers=cookie())
    await second.whole()
    assert (second.status, json.loads(second.body())["error"]) == (429, "user-limit")
    first.disconnect()
    await first.ended()
    await asgi(middleware, "/events/x", headers=cookie()).wait_for(b"data: x")


async def test_an_iterator_without_aclose(edge, asgi):
    """It is cancelled where it waits, which is all that can be done."""
    middleware = edge(Numbers)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: made")
    client.disconnect()
    await client.ended()
    await until(lambda: held(middleware) == NOTHING)


class Closing:
    """An iterator of objects, which is closed by ``aclose`` alone; that may raise, or take for ever."""

    def __init__(self, closing):
        self.closing = closing
        self.closes = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.Event().wait()

    async def aclose(self):
        self.closes += 1
        async with asyncio.TaskGroup() as group:  # as one that has to end what it began
            group.create_task(asyncio.sleep(0))
        assert not asyncio.current_task().cancelling()
        if self.closing == "raises":
            raise RuntimeError("no more")
        if self.closing == "hangs":
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("closing", "line"),
    [
        ("well", None),
        ("raises", "source failed to close for /events/x, user=u1"),
        ("hangs", "source did not stop within 0 s and was let go of, for /events/x, user=u1"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
async def test_closing_an_iterator(edge, asgi, caplog, patience, closing, line, begun):
    """Also one that was asked for nothing yet; what goes wrong then is logged, and holds up nobody."""
    iterator, asked, go = Closing(closing), asyncio.Event(), asyncio.Event()

    async def make(request, identity, after):
        asked.set()
        if not begun:
            await go.wait()
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await asked.wait()
    if begun:
        await client.wait_for(b"retry: ")
    middleware.disconnect(user="u1")
    await until(lambda: all(stream.ending for stream in middleware._worker.hub.streams))
    go.set()
    await client.whole()
    assert reason(client) == "revoked"
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1
    lines = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert lines == ([] if line is None else [line])


async def swallows_once(request, identity, after):
    try:
        yield "x"
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        yield "after the end"


async def swallows(request, identity, after):
    yield "x"
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def swallows_everything(request, identity, after):
    yield "x"
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.Event().wait()


class Swallows(Closing):
    """The same as a class."""

    async def __anext__(self):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("make", "let_go"),
    [
        (swallows_once, False),
        (swallows, True),
        (swallows_everything, True),
        (lambda request, identity, after: Swallows("well"), True),
    ],
)
async def test_an_iterator_that_does_not_end(edge, asgi, caplog, patience, make, let_go):
    """It is let go of in a second, and the worker stops: no task is left."""
    before = asyncio.all_tasks()
    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"retry: ")
    await until(lambda: middleware._worker.hub.sources._pumps)
    for _ in range(5):
        await asyncio.sleep(0)
    async with asyncio.timeout(3):
        await middleware.stop()
    await client.whole()
    assert reason(client) == "drain"
    assert ("was let go of, for /events/x, user=u1" in caplog.text) is let_go
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


# ---- Cancellation and endings while it is made


@pytest.mark.parametrize("kind", ["waits", "blocks"])
async def test_cancelled_while_it_is_made(edge, asgi, kind):
    """Nothing is held."""
    began, release, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    async def waits(request, identity, after):
        began.set()
        await asyncio.Event().wait()

    def blocks(request, identity, after):
        loop.call_soon_threadsafe(began.set)
        release.wait(5)
        return numbers()

    middleware = edge(waits if kind == "waits" else blocks)
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await began.wait()
    assert held(middleware)[0] == 1
    timer = loop.call_later(0.1, release.set)
    await client.cancel()
    timer.cancel()
    release.set()
    assert held(middleware) == NOTHING


@pytest.mark.parametrize("how", ["user", "channel"])
async def test_ended_while_it_is_made(edge, asgi, how):
    """The client is told why, gets no item, and the iterator is closed."""
    began, go, played = asyncio.Event(), asyncio.Event(), Played("a secret")

    async def make(request, identity, after):
        began.set()
        await go.wait()
        return played(request, identity, after)

    middleware = edge(Source(make, "clock"))
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await began.wait()
    ending = asyncio.create_task(end(middleware, how, client))
    await until(lambda: all(stream.ending for stream in middleware._worker.hub.streams))
    go.set()
    await client.whole()
    await ending
    assert said(client) == ["edge-close"]
    assert played.made == []  # a generator that was asked for nothing has not begun
    await until(lambda: held(middleware) == NOTHING)


async def test_the_client_leaves_while_it_is_made(edge, asgi):
    """It is closed as soon as it is there."""
    began, go, iterator = asyncio.Event(), asyncio.Event(), Closing("well")

    async def make(request, identity, after):
        began.set()
        await go.wait()
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie(), spec_version="2.4").open()
    await began.wait()
    client.disconnect()
    go.set()
    await client.ended()
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1


async def test_the_head_is_not_taken(edge, asgi):
    """An iterator that nobody asked yet is closed when its request ends before the first byte."""
    iterator = Closing("well")

    async def make(request, identity, after):
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    client.block_send()
    client.open()
    await until(lambda: client.waiting_sends)
    await client.cancel()
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1


# ---- Back-pressure


@pytest.mark.parametrize(("most", "expected"), [(1_048_576, 65_536), (20_000, 10_000)])
async def test_it_waits_while_the_client_does_not_read(edge, asgi, most, expected):
    """It is asked for no more than 64 KiB ahead, or half of what may wait; and goes on with the client."""
    asked = []

    async def endless(request, identity, after):
        while True:
            asked.append(len(asked))
            yield f"{len(asked)} ".ljust(1000)

    middleware = edge(endless, max_unsent=most)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: 10 ")
    client.block_send()
    await until(lambda: client.waiting_sends)
    (stream,) = middleware._worker.hub.streams
    await until(lambda: stream.sink.unsent > expected)
    count = len(asked)
    assert stream.sink.unsent <= expected + 2_100
    await asyncio.sleep(0.3)  # in which it could make thousands
    assert len(asked) == count
    client.unblock_send()
    await client.wait_for(b"data: %d " % (count + 50))
    assert stream.ending is None
    client.disconnect()


async def test_a_client_that_never_reads_is_slow(edge, asgi):
    """As on any other stream, and its iterator is closed."""
    played = Played(*["x" * 1000] * 1000)
    middleware = edge(played, max_unsent_age=0.3)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: x")
    client.block_send()
    await client.ended()
    assert middleware.figures()["endings"] == {"slow": 1}
    await until(lambda: played.closed == 1)
    assert held(middleware) == NOTHING


async def test_one_item_that_is_too_much(edge, asgi):
    """What may wait for a client holds for a single item, too."""
    go, closed = asyncio.Event(), []

    async def large(request, identity, after):
        try:
            yield "small"
            await go.wait()
            yield "x" * 200_000
        finally:
            closed.append(True)

    middleware = edge(large, max_unsent=100_000, max_unsent_age=0.5)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: small")
    client.block_send()
    go.set()
    await client.ended()
    assert middleware.figures()["endings"] == {"slow": 1}
    await until(lambda: closed)


async def test_an_iterator_faster_than_anything_leaves_others_their_turn(edge, asgi):
    """It gives one item in a turn of the loop, so that other streams' events are on time."""
    turn, turns = [0], []

    async def endless(request, identity, after):
        while True:
            if identity.user == "watched":
                turns.append(turn[0])
            yield "x"

    async def count_turns():
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    middleware = edge(endless, limits=Limits(None, None, None, None))
    listener = asgi(middleware, "/events/news", headers=cookie())
    await listener.wait_for(b"\nid: ")
    counting = asyncio.create_task(count_turns())
    busy = [asgi(middleware, "/events/x", headers=cookie(user)) for user in ["watched", *["u1"] * 50]]
    for client in busy:
        await client.wait_for(b"data: x\n")
    for n in range(20):
        await Publisher(middleware.backend).publish("news", f"n{n}")
        await listener.wait_for(b"data: n%d\n" % n)
    assert len(turns) > 10
    assert len(set(turns)) == len(turns)
    for client in busy:
        client.disconnect()
    counting.cancel()


async def test_nothing_follows_the_goodbye():
    """What an iterator gives that was not heard when it was cancelled is given to nobody."""
    hub = await make_hub(ScriptedBackend())
    stream = hub.new_stream((), ListSink(), None, "u1", None)
    hub.own(stream)
    hub.sources.add(stream, swallows_once(None, None, None))
    hub.sources.begin(stream)
    await settle()
    hub.end(stream, DRAIN)
    await settle()
    assert stream.sink.data.startswith(b"data: x\n\nevent: edge-close\n")
    assert b"after the end" not in stream.sink.data
    hub.close_stream(stream)
    await hub.close()
    assert not hub.sources._pumps
