"""Sources: streams with an iterator of their own, through the door, on a scripted server."""

import asyncio
import functools
import json
import threading

import pytest

from parts.playing import AUTH, NOTHING, Numbers, Played, cookie, held, numbers, reason, said, sources, until
from sse_edge import Anonymous, ConfigError, Event, Publisher, Source, SSEMiddleware
from sse_edge.admission import callback


@pytest.fixture
async def edge():
    async with sources() as make:
        yield make


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
