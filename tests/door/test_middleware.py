"""The door, in one process: what it answers and what it passes on, and a response as its client reads it."""

import asyncio
import json
import zlib
from inspect import signature

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from parts.door import AUTH, CHANNELS, NOTHING, Recorder, cookie, decoded, holds
from sse_edge import Channel, Event, Limits, MemoryBackend, Publisher, SSEMiddleware
from sse_edge.backends.memory.subscriber import MemorySubscriber
from sse_edge.event import Place

EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"Origin"),
]


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "http", "path": "/"},
        {"type": "http", "path": "/eventsx"},
        {"type": "http", "path": "/event"},
        {"type": "http", "path": "/Events/me"},
        {"type": "http", "path": "//events/me"},
        {"type": "websocket", "path": "/events/me"},
        {"type": "websocket", "path": "/"},
        {"type": "mqtt"},
    ],
    ids=lambda scope: f"{scope['type']} {scope.get('path')}",
)
async def test_passes_through(edge, scope):
    """Everything that is no request for a stream reaches the app with the very same three objects."""

    async def receive():
        raise AssertionError("the middleware reads nothing of it")

    async def send(message):
        raise AssertionError("the middleware sends nothing of its own")

    app = Recorder()
    await edge(app)(scope, receive, send)
    assert len(app.calls) == 1
    assert [a is b for a, b in zip(app.calls[0], (scope, receive, send), strict=True)] == [True] * 3


@pytest.mark.parametrize("path", ["/events", "/events/", "/events/me", "/events/nowhere"])
async def test_answers_everything_under_its_path(edge, asgi, path):
    """The app never sees a request under the path, whether there is a route for it or not."""
    app = Recorder()
    client = asgi(edge(app), path, headers=cookie())
    status, _ = await client.start()
    assert status == (200 if path == "/events/me" else 404)
    assert app.calls == []


async def test_stream(edge, asgi, url, async_publisher):
    """A matched route streams the events of all its channels, and of no others, in their order."""
    client = asgi(edge(backend=url), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")  # from here on everything published is heard
    ids = [
        await async_publisher.publish("user:u42", "mine", event="status"),
        await async_publisher.publish("user:u43", "not mine"),
        await async_publisher.publish("news", json={"for": "all"}),
    ]
    await client.wait_for(b"all")
    assert decoded(client)[1] == [("status", "mine", ids[0]), ("message", '{"for":"all"}', ids[2])]


async def test_resume(edge, asgi, url, async_publisher):
    """With Last-Event-ID a stream begins with exactly what was published after it."""
    middleware = edge(backend=url)
    ids = [await async_publisher.publish("news", f"n{number}") for number in range(4)]
    client = asgi(middleware, "/events/me", headers={**cookie(), "last-event-id": ids[1]})
    await client.wait_for(b"n3\n\n")
    assert [event.id for event in decoded(client)[1]] == ids[2:]


async def test_events_during_the_replay_come_once(edge, asgi):
    """What is published while a stream reads its history comes after it, once and in order."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    reading, go_on = asyncio.Event(), asyncio.Event()
    subscriber = backend.subscriber

    class SlowSubscriber(MemorySubscriber):
        async def replay(self, channels, after, first, user):
            reading.set()
            replay = await super().replay(channels, after)
            await go_on.wait()
            return replay

    backend.subscriber = lambda receiver: SlowSubscriber(backend.store, receiver)
    assert subscriber != backend.subscriber
    start = await async_publisher.cursor()
    first = await async_publisher.publish("news", "first")
    client = asgi(edge(backend=backend), "/events/me", headers={**cookie(), "last-event-id": start})
    await client.start()
    await reading.wait()
    second = await async_publisher.publish("news", "second")
    go_on.set()
    await client.wait_for(b"second")
    third = await async_publisher.publish("news", "third")
    await client.wait_for(b"third")
    assert [event.id for event in decoded(client)[1]] == [first, second, third]


async def test_a_place_in_the_query(edge, asgi, url, async_publisher):
    """As polyfills have it: what was missed is given; where it is not taken that is said."""
    start = await async_publisher.publish("news", "first")
    await async_publisher.publish("news", "second")
    query = f"last_event_id=1-0.{Place.parse(start).tag}&lastEventId={start}"
    client = asgi(edge(backend=url), "/events/me", headers=cookie(), query=query)
    await client.wait_for(b"data: second\n")
    assert [event.data for event in decoded(client)[1]] == ["second"]
    client = asgi(edge(backend=url, query_cursor=False), "/events/me", headers=cookie(), query=query)
    await client.wait_for(b"\nid: ")
    assert [(event.event, json.loads(event.data)) for event in decoded(client)[1]] == [
        ("edge-reset", {"channel": channel, "reason": "unknown-id"}) for channel in ("user:u42", "news")
    ]


@pytest.mark.parametrize("id", ["x" * 4000, "5-1\t", b"\xff", "5-1.abcde, 5-2.abcde", b"\xe2\x80\xa8-1"])
async def test_a_foreign_place(edge, asgi, id):
    """No client is closed for good by what another server told it."""
    client = asgi(edge(), "/events/me", headers={**cookie(), "last-event-id": id})
    await client.wait_for(b"\nid: ")
    assert client.status == 200
    assert [event.event for event in decoded(client)[1]] == ["edge-reset"] * 2


@pytest.mark.parametrize(
    ("method", "query", "accept"),
    [
        ("GET", "", "text/event-stream;identity=1"),
        ("HEAD", "", "text/event-stream;identity=1"),
        ("GET", "poll=0", "application/json;identity=1"),
    ],
)
async def test_whose_it_is(edge, asgi, method, query, accept):
    """Who asks for it is told a mark that is the same for each of a user's requests; nobody else is."""

    async def mark(user, accept=accept, **sign_in):
        headers = {"cookie": f"session={AUTH.issue(user, **sign_in)}", "accept": accept}
        client = asgi(middleware, "/events/me", method=method, headers=headers, query=query)
        assert (await client.start())[0] == 200
        return client.header("edge-identity")

    middleware = edge()
    first = await mark("u1")
    assert first
    assert await mark("u1", session="another") == first
    assert await mark("u2") not in (first, None)
    assert await mark("u1", accept.partition(";")[0]) is None


async def test_stands_alone(edge, asgi):
    """Without an app other paths get a JSON 404, and websockets are closed."""
    middleware = edge(None)
    client = asgi(middleware, "/elsewhere")
    body = json.loads(await client.whole())
    assert (client.status, body["error"]) == (404, "not-found")
    assert client.header("content-type") == "application/json"
    assert client.header("cache-control") == "no-store, no-transform"
    sent = []

    async def send(message):
        sent.append(message["type"])

    await middleware({"type": "websocket", "path": "/"}, None, send)
    assert sent == ["websocket.close"]


async def test_mounted(edge, asgi):
    """Below a mount point the path is taken from below it."""
    own = Route("/events/me", lambda request: PlainTextResponse("app"))
    app = Starlette(routes=[Mount("/live", edge(None)), own])
    stream = asgi(app, "/live/events/me", headers=cookie())
    assert (await stream.start())[0] == 200
    assert await asgi(app, "/events/me").whole() == b"app"


async def test_root_path(edge, asgi):
    """A server's own root_path, as a proxy's prefix, is no part of the path either."""
    client = asgi(edge(Recorder()), "/events/me", root_path="/prefix", headers=cookie())
    assert (await client.start())[0] == 200


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_add_middleware(asgi, framework):
    """``add_middleware`` puts it into a framework's stack, among the framework's own routes."""
    backend = MemoryBackend()
    app = framework()
    app.add_route("/page", lambda request: PlainTextResponse("page"))
    app.add_middleware(SSEMiddleware, backend=backend, auth=AUTH, channels=CHANNELS)
    assert await asgi(app, "/page").whole() == b"page"
    client = asgi(app, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await Publisher(backend).publish("news", "hello")
    await client.wait_for(b"data: hello\n\n")
    client.disconnect()
    await client.ended()


async def test_below_other_middleware(edge, asgi):
    """Below middleware that wraps and changes every message, streams work and end with their client."""
    backend = MemoryBackend()
    middleware = edge(backend=backend, limits=Limits(per_user=1))

    async def dispatch(request, call_next):
        response = await call_next(request)
        response.headers["x-outer"] = "yes"
        return response

    app = GZipMiddleware(BaseHTTPMiddleware(middleware, dispatch=dispatch), minimum_size=1)
    for number in range(2):
        client = asgi(app, "/events/me", headers={**cookie(), "accept-encoding": "gzip"})
        await client.wait_for(b"\nid: ")
        assert client.header("x-outer") == "yes"
        await Publisher(backend).publish("news", f"hello {number}")
        await client.wait_for(b"data: hello %d\n\n" % number)
        client.disconnect()
        await client.ended()
        assert holds(middleware) == NOTHING


async def test_compressed_below_a_middleware_that_compresses(edge, asgi, monkeypatch):
    """What is gzip already is left as it is by an app's GZipMiddleware, though that takes streams too: one
    coding, and every event at once."""
    backend = MemoryBackend()
    channels = {"/events/me": [Channel("user:{user}", compress=True), Channel("news", compress=True)]}
    everything = (
        {"exclude_content_types": ()}
        if "exclude_content_types" in signature(GZipMiddleware).parameters
        else {}
    )
    monkeypatch.setattr("starlette.middleware.gzip.DEFAULT_EXCLUDED_CONTENT_TYPES", (), raising=False)
    app = GZipMiddleware(edge(backend=backend, channels=channels), minimum_size=1, **everything)
    client = asgi(app, "/events/me", headers={**cookie(), "accept-encoding": "gzip"})

    async def read(text):
        async with asyncio.timeout(5):
            while text not in zlib.decompressobj(31).decompress(client.body()):
                await asyncio.sleep(0.01)

    client.open()
    await read(b"\nid: ")
    assert client.header("content-encoding") == "gzip"
    for number in range(3):
        await Publisher(backend).publish("news", f"hello {number}")
        await read(b"data: hello %d\n\n" % number)
    client.disconnect()
    await client.ended()


async def test_first_bytes(edge, asgi):
    """Headers, a comment and the retry time are there at once, while history is still being read."""
    backend = MemoryBackend()

    class Stuck(MemorySubscriber):
        async def replay(self, channels, after, first, user):
            await asyncio.Event().wait()

    backend.subscriber = lambda receiver: Stuck(backend.store, receiver)
    client = asgi(edge(backend=backend), "/events/me", headers=cookie())
    body = await client.wait_for(b"\n\n")
    assert body.startswith(b": ")
    assert b"\nretry: " in body
    assert body.endswith(b"\n\n")


async def test_retry_is_spread(edge, asgi):
    """Every stream has a retry time of its own, 50 to 150 % of the setting."""
    middleware = edge(retry=2.0, limits=Limits(per_user=None, per_ip=None, connects_per_ip=None))
    times = []
    for _ in range(30):
        client = asgi(middleware, "/events/me", headers=cookie())
        await client.wait_for(b"retry: ")
        times.append(decoded(client)[0].retry)
    assert all(1000 <= time <= 3000 for time in times)
    assert len(set(times)) > 5
    assert max(times) - min(times) > 500


async def test_smallest_retry(edge, asgi):
    """However small the setting, retry is never 0, which browsers take at its word."""
    middleware = edge(retry=0.0001)
    for _ in range(10):
        client = asgi(middleware, "/events/me", headers=cookie())
        await client.wait_for(b"retry: ")
        assert decoded(client)[0].retry == 1


async def test_headers(edge, asgi):
    """A stream's headers are exactly the documented ones."""
    client = asgi(edge(), "/events/me", headers=cookie())
    assert await client.start() == (200, EVENT_STREAM)


async def test_headers_with_origin(edge, asgi):
    """With an allowed Origin there are the CORS headers too, with that very origin."""
    client = asgi(
        edge(origins=["https://app.example.com"]),
        "/events/me",
        headers={**cookie(), "origin": "https://app.example.com"},
    )
    assert await client.start() == (
        200,
        [
            *EVENT_STREAM,
            (b"access-control-allow-origin", b"https://app.example.com"),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"retry-after, edge-identity"),
        ],
    )


async def test_nothing_is_shared(edge, asgi, url, async_publisher):
    """No two connections, and no two sends, get the same message or header list object."""
    middleware = edge(backend=url)
    clients = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(3)]
    clients += [asgi(middleware, "/events/orders/1", headers=cookie()) for _ in range(3)]
    clients += [asgi(middleware, "/events/me", method="OPTIONS") for _ in range(2)]
    clients += [asgi(middleware, "/events/me", method="HEAD", headers=cookie()) for _ in range(2)]
    for client in clients:
        await client.start()
    for client in clients[:3]:
        await client.wait_for(b"\nid: ")
    await async_publisher.publish("news", "hello")
    for client in clients[:3]:
        await client.wait_for(b"hello")
    middleware.disconnect(channel="news")
    for client in clients:
        await client.whole()  # the fixture's ledger has raised for any object that came twice


async def test_head(edge, asgi):
    """HEAD gets a stream's headers, even beyond every cap, and holds nothing."""
    middleware = edge(limits=Limits(per_user=1, per_ip=1))
    for _ in range(3):
        client = asgi(middleware, "/events/me", method="HEAD", headers=cookie())
        assert await client.whole() == b""
        assert (client.status, client.headers) == (200, EVENT_STREAM)
        assert holds(middleware) == NOTHING


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_head_is_checked_like_get(edge, asgi, method):
    """HEAD is refused what GET is refused."""
    client = asgi(edge(), "/events/orders/1", method=method, headers=cookie())
    await client.whole()
    assert client.status == 403


async def test_preflight(edge, asgi):
    """A preflight is answered without a cookie: 204, CORS, nothing to cache and nothing held."""
    middleware = edge(origins=["https://app.example.com"])
    client = asgi(
        middleware,
        "/events/me",
        method="OPTIONS",
        headers={"origin": "https://app.example.com", "access-control-request-method": "GET"},
    )
    assert await client.whole() == b""
    assert client.status == 204
    assert {name: value for name, value in client.headers if name != b"access-control-max-age"} == {
        b"access-control-allow-origin": b"https://app.example.com",
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"GET, HEAD",
        b"access-control-allow-headers": b"last-event-id, cache-control",
        b"access-control-expose-headers": b"retry-after, edge-identity",
        b"cache-control": b"no-store, no-transform",
        b"x-content-type-options": b"nosniff",
        b"vary": b"Origin",
    }
    assert holds(middleware) == NOTHING


async def test_figures(edge, asgi):
    """Figures say what is open, what was opened, delivered, refused and how it ended."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    assert (
        middleware.figures().items()
        >= {
            "connected": False,
            "ready": False,
            "streams": 0,
            "opened": 0,
            "delivered": 0,
            "refusals": {},
            "endings": {},
            "dropped": {},
            "publishes": {},
            "degraded": [],
        }.items()
    )
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await Publisher(backend).publish("news", "hello")
    await client.wait_for(b"hello")
    figures = middleware.figures()
    assert figures["connected"] is True
    assert (figures["streams"], figures["opened"]) == (1, 1)
    assert figures["delivered"] >= 1
    client.disconnect()
    await client.ended()
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert (middleware.figures()["streams"], middleware.figures()["opened"]) == (0, 1)


async def test_event_objects(edge, asgi, url, async_publisher):
    """An Event travels with its name and retry, line by line."""
    client = asgi(edge(backend=url), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await async_publisher.publish("news", Event("one\ntwo", event="lines", retry=1234))
    await client.wait_for(b"two\n\n")
    decoder, events = decoded(client)
    assert (events[0].event, events[0].data, decoder.retry) == ("lines", "one\ntwo", 1234)
