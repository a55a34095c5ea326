"""The door, in one process: what it answers, what it passes on, and that nothing is ever left behind."""

import asyncio
import json
import logging
import os
import signal
import time
import traceback
import zlib
from inspect import signature

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from door import (
    AUTH,
    CHANNELS,
    NOTHING,
    CancelledAt,
    Until,
    at_cap,
    cookie,
    decoded,
    eventually,
    fails,
    goodbye,
    holds,
    may_read,
    says_no,
)
from servers.asgi import ASGIClient
from sse_edge import (
    Anonymous,
    Channel,
    ConfigError,
    Event,
    Identity,
    Limits,
    MemoryBackend,
    Publisher,
    RedisBackend,
    SignedCookie,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.asgi import LINGER
from sse_edge.backends.memory.subscriber import MemorySubscriber
from sse_edge.errors import EventError
from sse_edge.event import EventId, Place

ORIGIN = "http://testserver"
EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"Origin"),
]


class Recorder:
    """An inner app that notes what it was called with."""

    def __init__(self):
        self.calls = []

    async def __call__(self, scope, receive, send):
        self.calls.append((scope, receive, send))


# ---- What is answered and what is passed on


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


# ---- The response


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


# ---- Refusals


def many_channels(request):
    return [f"c{number}" for number in range(65)]


def refusing(code, status, *, id=None, path="/events/me", method="GET", headers=(), **settings):
    return pytest.param(code, status, path, method, headers, settings, id=id or code)


EXPIRED = cookie(now=time.time() - 86400 - 5)
TAMPERED = {"cookie": cookie()["cookie"][:-3] + "AAA"}

REFUSED = [
    refusing("bad-request", 400, id="body", headers={**cookie(), "content-length": "5"}),
    refusing("bad-request", 400, id="channels", headers=cookie(), channels=many_channels),
    refusing("bad-request", 400, id="origins", headers=[("origin", ORIGIN), ("origin", ORIGIN)]),
    refusing("unauthenticated", 401, id="no cookie"),
    refusing("unauthenticated", 401, id="tampered", headers=TAMPERED),
    refusing("unauthenticated", 401, id="expired", headers=EXPIRED),
    refusing("origin", 403, headers={**cookie(), "origin": "https://evil.example"}),
    refusing("origin", 403, id="null", headers={**cookie(), "origin": "null"}),
    refusing("origin", 403, id="sec-fetch-site", headers={**cookie(), "sec-fetch-site": "cross-site"}),
    refusing("origin", 403, id="host", headers=cookie(), hosts=["app.example.com"]),
    refusing("forbidden", 403, path="/events/orders/7", headers=cookie("u42", ["order:8"])),
    refusing("forbidden", 403, id="no", path="/events/orders/7", headers=cookie(), authorize=says_no),
    refusing("not-found", 404, path="/events/nowhere", headers=cookie()),
    refusing("method", 405, method="POST", headers=cookie()),
    refusing("method", 405, id="DELETE", method="DELETE", headers=cookie()),
    refusing("user-limit", 429, headers=cookie(), **at_cap(per_user=1)),
    refusing("ip-limit", 429, headers=cookie(), **at_cap(per_ip=1)),
    refusing("connect-rate", 429, headers=cookie(), **at_cap(connects_per_ip="1/hour")),
    refusing("worker-full", 503, headers=cookie(), **at_cap(per_worker=1)),
    refusing("draining", 503, headers=cookie(), draining=True),
    refusing("backend-down", 503, headers=cookie(), backend="nowhere"),
    refusing("backend-down", 503, id="fails", path="/events/orders/7", headers=cookie(), authorize=fails),
]


@pytest.mark.parametrize("own_origin", [False, True], ids=["", "cors"])
@pytest.mark.parametrize(("code", "status", "path", "method", "headers", "settings"), REFUSED)
async def test_refusals(
    edge, asgi, caplog, terminated, code, status, path, method, headers, settings, own_origin
):
    """Each row of the table: its status, its code in JSON, its headers, counted once, nothing held."""
    settings = dict(settings)
    others, draining = settings.pop("others", 0), settings.pop("draining", False)
    if settings.get("backend") == "nowhere":
        settings["backend"] = RedisBackend("redis://127.0.0.1:1/0", timeout=0.2)
    middleware = edge(Recorder(), **settings)
    for _ in range(others):
        await asgi(middleware, "/events/me", headers=cookie()).start()
    if draining:
        await terminated(middleware)
    before = holds(middleware) if others or draining else NOTHING
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    given = {name for name, _ in pairs}
    own_origin = own_origin and given.isdisjoint({"origin", "sec-fetch-site"})
    if own_origin:
        pairs.append(("origin", ORIGIN))
    client = asgi(middleware, path, method=method, headers=pairs)
    body = json.loads(await client.whole())
    assert (client.status, body["error"]) == (status, code)
    assert set(body) == {"error", "detail"}
    assert body["detail"]
    assert client.header("content-type") == "application/json"
    assert client.header("cache-control") == "no-store, no-transform"
    assert client.header("x-content-type-options") == "nosniff"
    assert client.header("vary") == "Origin"
    assert client.header("www-authenticate") is None
    assert client.header("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)
    assert int(client.header("content-length")) == len(client.body())
    if status in (429, 503):
        assert int(client.header("retry-after")) >= 1
    else:
        assert client.header("retry-after") is None
    assert client.header("access-control-allow-origin") == (ORIGIN if own_origin else None)
    assert middleware.figures()["refusals"] == {code: 1}
    assert middleware.app.calls == []
    assert holds(middleware) == before
    if settings.get("authorize") is not fails:  # which is no fault of the client's
        assert [record for record in caplog.records if record.exc_info] == []


class Length:
    """Stands in for so many bytes of a header, and lets nobody look at them."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length


@pytest.mark.parametrize("name", [b"cookie", b"host", b"origin", b"x-forwarded-for", b"last-event-id"])
async def test_what_is_too_long_is_not_looked_at(edge, asgi, name):
    """Twenty megabytes of a header cost what a look at their length costs: nothing else is done with them."""
    middleware = edge(trusted_proxies=["127.0.0.1"])
    client = asgi(middleware, "/events/me", extra={"headers": [(name, Length(20_000_000))]})
    body = json.loads(await client.whole())
    assert (client.status, body["error"]) == (400, "bad-request")
    assert "20000000 bytes" in body["detail"]
    assert middleware.figures()["refusals"] == {"bad-request": 1}
    assert holds(middleware) == NOTHING


PAGE, FOREIGN = (b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example.com")


@pytest.mark.parametrize(
    ("headers", "query", "allowed"),
    [
        ([(b"cookie", Length(20_000)), PAGE], b"", True),
        ([PAGE, (b"last-event-id", Length(9000))], b"", True),
        ([PAGE], Length(9000), True),
        ([PAGE, (b"host", Length(9000))], b"", True),
        ([(b"cookie", Length(20_000)), FOREIGN], b"", False),
        ([(b"cookie", Length(20_000)), PAGE, FOREIGN], b"", False),
        ([(b"cookie", Length(20_000))], b"", False),
        ([(b"origin", Length(9000))], b"", False),
        ([PAGE, (b"origin", Length(9000))], b"", False),
        ([PAGE, *[(b"x", b"")] * 600], b"", False),  # no page can send as many
    ],
)
async def test_a_page_reads_what_was_too_long(edge, asgi, headers, query, allowed):
    """A refusal by length has the headers that any other has, as far as what they go by is short."""
    middleware = edge(origins=["https://app.example.com"])
    client = asgi(middleware, "/events/me", extra={"headers": headers, "query_string": query})
    assert json.loads(await client.whole())["error"] == "bad-request"
    assert client.header("access-control-allow-origin") == (PAGE[1].decode() if allowed else None)
    assert client.header("vary") == "Origin"


@pytest.mark.parametrize(
    ("method", "headers", "version", "status", "closed"),
    [
        ("GET", {"content-length": "5"}, "1.1", 400, "close"),
        ("GET", {"transfer-encoding": "chunked"}, "1.1", 400, "close"),
        ("HEAD", {"content-length": "5"}, "1.1", 400, "close"),
        ("OPTIONS", {"content-length": "5"}, "1.0", 400, "close"),
        ("POST", {"content-length": "5"}, "1.1", 405, "close"),
        ("GET", {"content-length": "5"}, "2.0", 400, "close"),
        ("GET", {"content-length": "5"}, "0.9", 400, "close"),
        ("GET", {"content-length": "5", "cookie": Length(20_000)}, "1.1", 400, "close"),
        ("GET", {"content-length": "5"}, "2", 400, None),
        ("POST", {"content-length": "0"}, "1.1", 405, None),
        ("GET", {"content-length": "0"}, "1.1", 401, None),
    ],
)
async def test_a_body_is_not_read(edge, asgi, method, headers, version, status, closed):
    """A request with a body is refused by its head; over HTTP/1 its connection ends with the answer.

    What still comes is dropped until the client has had the time to take the answer.
    """
    pairs = [
        (name.encode(), value if isinstance(value, Length) else value.encode())
        for name, value in headers.items()
    ]

    async def receive():
        dropped.append(client.status)
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def app(scope, _, send):
        await middleware(scope, receive, send)

    middleware, dropped = edge(), []
    client = asgi(app, "/events/me", method=method, extra={"headers": pairs, "http_version": version})
    await client.whole()
    assert (client.status, client.header("connection")) == (status, closed)
    assert dropped == ([status] * 3 if closed else [])


@pytest.mark.parametrize(
    "last", [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]
)
async def test_a_body_that_ends(edge, asgi, last):
    """Whoever has sent all of its body is not waited for, and neither is who leaves."""

    async def receive():
        return last

    async def app(scope, _, send):
        await middleware(scope, receive, send)

    middleware = edge()
    client = asgi(app, "/events/me", extra={"headers": [(b"content-length", b"5")]})
    async with asyncio.timeout(LINGER * 0.8):
        await client.whole()
    assert client.status == 400


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_body_that_nobody_announced(edge, asgi, spec_version):
    """HTTP/2 need not tell of a body beforehand: its first byte ends the stream; little more is asked for."""
    middleware = edge()
    body = asyncio.Event()
    asked = 0

    async def app(scope, receive, send):
        async def receiving():
            nonlocal asked
            asked += 1
            if asked == 1:
                return {"type": "http.request", "body": b"", "more_body": True}
            await body.wait()
            return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

        await middleware(scope, receiving, send)

    client = asgi(app, "/events/me", headers=cookie(), spec_version=spec_version)
    await client.wait_for(b"\nid: ")
    body.set()
    await client.whole()
    assert asked < 10
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert holds(middleware) == NOTHING


@pytest.fixture
async def terminated():
    """``await terminated(edge)`` starts an edge and sends this process a SIGTERM that only it minds."""
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda number, frame: loop.call_soon_threadsafe(heard.set))

    async def terminate(middleware):
        await middleware.start()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 5)

    yield terminate
    signal.signal(signal.SIGTERM, before)


async def test_refusals_are_counted_by_code(edge, asgi):
    """Figures count each code by itself."""
    middleware = edge()
    for path, headers in [("/events/x", {}), ("/events/me", {}), ("/events/me", TAMPERED), ("/events/y", {})]:
        await asgi(middleware, path, headers=headers).whole()
    assert middleware.figures()["refusals"] == {"not-found": 2, "unauthenticated": 2}


async def test_a_proxy_that_asks_whether_the_process_is_there(edge, asgi, caplog):
    """Where never is a stream a proxy is told so, each second: uncounted, without a line, Redis or none."""
    caplog.set_level(logging.INFO)
    middleware = edge(backend=RedisBackend("redis://127.0.0.1:1/0", timeout=0.2))
    client = asgi(middleware, "/events/.")
    assert (json.loads(await client.whole())["error"], client.status) == ("not-found", 404)
    assert middleware.figures()["refusals"] == {}
    assert "refused:" not in caplog.text
    await asgi(
        middleware, "/events/.", headers={"x-forwarded-for": "192.0.2.1"}
    ).whole()  # somebody's behind it
    assert middleware.figures()["refusals"] == {"not-found": 1}
    assert "refused: not-found" in caplog.text


# ---- Keep-alive


async def test_keep_alive(edge, asgi):
    """A quiet stream gets a comment within the setting, again and again, and no event."""
    client = asgi(edge(keep_alive=0.2), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    started = time.monotonic()
    await eventually(lambda: client.body().count(b": keep-alive\n") == 3, "three keep-alives")
    assert 3 * 0.16 - 0.05 <= time.monotonic() - started <= 2
    assert decoded(client)[1] == []


async def test_no_keep_alive_on_a_busy_stream(edge, asgi):
    """A stream that gets events often enough gets no keep-alives, until it is quiet."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    client = asgi(edge(backend=backend, keep_alive=0.5), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    for number in range(20):
        await async_publisher.publish("news", f"event {number}")
        await asyncio.sleep(0.05)
    assert b"keep-alive" not in client.body()
    await client.wait_for(b": keep-alive\n")
    assert len(decoded(client)[1]) == 20


async def test_keep_alive_moves_the_cursor(edge, asgi):
    """A keep-alive has the present place as its id, so that a quiet client need not resume from long ago."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    client = asgi(edge(backend=backend, keep_alive=0.1), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    last = await async_publisher.publish("elsewhere", "x")
    await client.wait_for(b": keep-alive\nid: ")
    await client.wait_for(b": keep-alive\nid: ")
    commits = [Place.parse(id) for id in decoded(client)[0].commits]
    assert commits == sorted(commits)
    assert commits[-1] >= Place.parse(last)


# ---- Endings


async def test_max_duration(edge, asgi):
    """A stream ends by itself within 80 to 100 % of the maximum, each in its own time."""
    middleware = edge(max_duration=1.0, limits=Limits(per_user=None, connects_per_ip=None))
    clients = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(20)]
    started = time.monotonic()
    lives, ends = set(), []

    async def last(client):
        await client.start()
        lives.update(stream.deadline - stream.opened for stream in middleware._worker.hub.streams)
        await client.whole()
        ends.append(time.monotonic() - started)

    await asyncio.gather(*(last(client) for client in clients))
    assert [goodbye(client) for client in clients] == [{"reason": "max-duration"}] * 20
    assert len(lives) == 20
    assert 0.8 <= min(lives) < max(lives) <= 1.0
    assert max(lives) - min(lives) > 0.05
    assert 0.8 <= min(ends) <= max(ends) <= 1.5  # a tick, and a slow machine
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"max-duration": 20}


async def test_session_expires(edge, asgi):
    """A session that ends before the maximum duration ends its stream, at its own time."""
    middleware = edge(auth=Until(0.4), max_duration=60)
    client = asgi(middleware, "/events/me")
    started = time.monotonic()
    await client.start()
    await client.whole()
    assert 0.4 <= time.monotonic() - started + 0.01 <= 1.0
    assert goodbye(client) == {"reason": "session-expired"}
    assert middleware.figures()["endings"] == {"session-expired": 1}
    assert holds(middleware) == NOTHING


class Numbered:
    """An authenticator of an application's own, whose users are numbers."""

    def identify(self, request, now):
        return Identity(42, session=7)


async def test_users_that_are_numbers(edge, asgi):
    """They hear, are refused, ended and logged as their text is."""
    middleware = edge(auth=Numbered())
    refused = asgi(middleware, "/events/orders/1")
    await refused.whole()
    assert refused.status == 403
    client = asgi(middleware, "/events/me")
    await client.start()
    assert middleware.disconnect(user="42") == 1
    await client.whole()
    assert goodbye(client) == {"reason": "revoked"}
    assert holds(middleware) == NOTHING


async def test_cookie_expires(edge, asgi):
    """The stream of a signed cookie ends when the cookie does."""
    client = asgi(edge(), "/events/me", headers=cookie(now=time.time() - 86400 + 1.6))
    await client.start()
    await client.whole()
    assert goodbye(client) == {"reason": "session-expired"}


async def test_drain(edge, asgi, terminated):
    """When the process is to stop, open streams end as drained and new ones are refused."""
    middleware = edge()
    clients = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(3)]
    for client in clients:
        await client.wait_for(b"\nid: ")
    await terminated(middleware)
    for client in clients:
        await client.whole()
    assert [goodbye(client) for client in clients] == [{"reason": "drain"}] * 3
    late = asgi(middleware, "/events/me", headers=cookie())
    assert json.loads(await late.whole())["error"] == "draining"
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"drain": 3}


async def test_stop(edge, asgi, url):
    """``stop`` ends open streams as drained, and their slots are released."""
    middleware = edge(backend=url)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    hub = middleware._worker.hub
    await middleware.stop()
    await client.whole()
    assert goodbye(client) == {"reason": "drain"}
    assert hub.streams == set()
    assert middleware._leases.count("user:u42") == 0


@pytest.mark.parametrize("by", [{"user": "u42"}, {"channel": "user:u42"}])
async def test_disconnect(edge, asgi, url, async_publisher, by):
    """``disconnect`` ends a user's or a channel's streams as revoked, and nobody else's."""
    middleware = edge(backend=url)
    chosen = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(2)]
    other = asgi(middleware, "/events/me", headers=cookie("u43"))
    for client in [*chosen, other]:
        await client.wait_for(b"\nid: ")
    assert middleware.disconnect(**by) == 2
    assert middleware.disconnect(user="nobody") == 0
    for client in chosen:
        await client.whole()
        assert goodbye(client) == {"reason": "revoked"}
    await async_publisher.publish("news", "still here")
    await other.wait_for(b"still here")
    assert middleware.figures()["endings"] == {"revoked": 2}
    assert middleware.figures()["streams"] == 1


async def test_disconnect_before_the_first_request(edge):
    """``disconnect`` with nothing open ends nothing; it needs exactly one of user and channel."""
    assert edge().disconnect(user="u42") == 0
    for wrong in ({}, {"user": "u", "channel": "c"}):
        with pytest.raises(EventError):
            edge().disconnect(**wrong)


async def test_pending_events_come_before_the_goodbye(edge, asgi):
    """What was published before an ending is sent before the goodbye."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await Publisher(backend).publish_many([("news", "1"), ("news", "2")])
    middleware.disconnect(user="u42")  # in the same turn of the loop, before anything was flushed
    await client.whole()
    assert [event.data for event in decoded(client)[1]] == ["1", "2", '{"reason": "revoked"}']


async def test_slow(edge, asgi):
    """A client that does not read ends as slow, without a goodbye, and the others notice nothing."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    middleware = edge(backend=backend, max_unsent=1000)
    slow, other = (asgi(middleware, "/events/me", headers=cookie(user)) for user in ("u42", "u43"))
    await slow.wait_for(b"\nid: ")
    await other.wait_for(b"\nid: ")
    slow.block_send()
    for number in range(4):
        await async_publisher.publish("news", f"{number} " + "x" * 600)
        await other.wait_for(b"data: %d " % number)
    await slow.ended()
    assert not slow.complete
    assert holds(middleware)["leases"][0] == 0
    assert middleware.figures()["endings"] == {"slow": 1}
    assert middleware.figures()["streams"] == 1


async def test_an_ending_nobody_reads(edge, asgi, monkeypatch):
    """A client that does not read its goodbye is let go of soon, and hears nothing in between."""
    monkeypatch.setattr("sse_edge.delivery.clock.GOODBYE", 0.2)
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    middleware = edge(backend=backend)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    client.block_send()
    await async_publisher.publish("news", "never read")
    (stream,) = middleware._worker.hub.streams
    assert middleware.disconnect(user="u42") == 1
    await async_publisher.publish("news", "too late")
    assert stream.sink.unsent < 300
    await client.ended()
    assert stream.pending is None
    assert middleware.figures()["endings"] == {"revoked": 1}
    assert holds(middleware) == NOTHING


# ---- Nothing is left behind


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("repeats", [True, False])
async def test_client_gone(edge, asgi, url, spec_version, repeats):
    """When the client leaves, everything is released, however the server tells of it."""
    middleware = edge(backend=url)
    client = asgi(
        middleware, "/events/me", headers=cookie(), spec_version=spec_version, repeats_disconnect=repeats
    )
    await client.wait_for(b"\nid: ")
    assert middleware.figures()["streams"] == 1
    assert holds(middleware)["leases"] == [1, 1]
    client.disconnect()
    await client.ended()
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}


async def test_client_gone_before_the_first_byte(edge, asgi, url):
    """A client that has left before it is answered leaves nothing behind."""
    middleware = edge(backend=url)
    for spec_version in ("2.3", "2.4"):
        client = asgi(middleware, "/events/me", headers=cookie(), spec_version=spec_version)
        client.disconnect()
        client.open()
        await client.ended()
        assert holds(middleware) == NOTHING


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("unable to perform operation")])
async def test_send_raises(edge, asgi, caplog, error, after):
    """A send that raises, at whatever point, is a client that has left: released, and no traceback."""
    caplog.set_level(logging.DEBUG)
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    sends = 0

    async def app(scope, receive, send):
        async def failing(message):
            nonlocal sends
            sends += 1
            if sends >= after:
                raise error
            await send(message)

        await middleware(scope, receive, failing)

    client = asgi(app, "/events/me", headers=cookie()).open()
    while not client.task.done():
        await Publisher(backend).publish("news", "hello")
        await asyncio.sleep(0)
    await client.ended()
    assert sends == after
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert [record for record in caplog.records if record.exc_info] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_receive_raises(edge, asgi, caplog):
    """A receive that raises is a client that has left."""
    middleware = edge()
    leave = asyncio.Event()

    async def app(scope, receive, send):
        async def failing():
            await leave.wait()
            raise ConnectionResetError

        await middleware(scope, failing, send)

    client = asgi(app, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    leave.set()
    await client.ended()
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert [record for record in caplog.records if record.exc_info] == []


ODD_REQUESTS = {
    "no headers": {"headers": []},
    "binary cookie": {"headers": [(b"cookie", b"session=\xff\x00\xfe; =; ;;=x")]},
    "long cookie": {"headers": [("cookie", "session=" + "x" * 60_000)]},
    "many cookies": {"headers": [("cookie", "session=a; " * 3000)]},
    "binary origin": {"headers": [(b"origin", b"\xff\x00://")]},
    "empty host": {"headers": [("host", "")]},
    "binary host": {"headers": [(b"host", b"\xff:\xff"), ("origin", "http://x")]},
    "binary cursor": {"headers": [(b"last-event-id", b"\xe2\x80\xa8-1")]},
    "superscript cursor": {"headers": [(b"last-event-id", "²-1".encode())]},
    "binary query": {"query": b"last_event_id=%ff%00&" * 300},
    "forwarded": {"headers": [("x-forwarded-for", "unknown, _obf, [::1, %00, 1.2.3.4.5")]},
    "no client": {"client": None},
    "odd client": {"client": ("not an address", "80")},
    "odd path": {"path": "/events/orders/\udcff\n\r\x00é"},
    "braces": {"path": "/events/orders/{user}"},
    "percent": {"path": "/events/orders/%(x)s%"},
    "long path": {"path": "/events/orders/" + "x" * 60_000},
    "odd method": {"method": "BREW\n"},
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
async def test_client_faults_are_no_errors(edge, asgi, caplog, name):
    """No request, however odd, makes the app raise or log anything above info, or more than one line."""
    caplog.set_level(logging.DEBUG)
    middleware = edge(trusted_proxies=["127.0.0.0/8", "unix"])
    options = dict(ODD_REQUESTS[name])
    path = options.pop("path", "/events/me")
    client = ASGIClient(middleware, "/", **options)
    client.scope["path"] = path
    await client.whole()
    assert 400 <= client.status < 500
    assert json.loads(client.body())["error"]
    edges = [record for record in caplog.records if record.name.startswith("sse_edge")]
    assert [record for record in edges if record.exc_info or record.levelno > logging.INFO] == []
    assert all("\n" not in record.getMessage() and "\r" not in record.getMessage() for record in edges)
    assert len(edges) == 1


async def test_log_lines(edge, asgi, caplog):
    """One line per ending and per refusal, with its code."""
    caplog.set_level(logging.INFO, "sse_edge.access")
    middleware = edge()
    await asgi(middleware, "/events/me").whole()
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    client.disconnect()
    await client.ended()
    refused, ended = [record.getMessage() for record in caplog.records if record.name == "sse_edge.access"]
    assert '"GET /events/me" refused: unauthenticated' in refused
    assert '"GET /events/me" ended: client-gone after 0.0 s, 0 events' in ended
    assert ended.endswith("user=u42 address=127.0.0.1")


async def test_cancelled_at_every_await(edge, url, async_publisher):
    """A request that is cancelled at whichever of its awaits leaves nothing behind."""
    middleware = edge(backend=url, authorize=may_read, limits=Limits(1, 1, connects_per_ip=None))
    start = await async_publisher.cursor()
    assert not await cancelled_at(
        middleware, async_publisher, 0, start
    )  # after this one all that stays is there
    tasks = asyncio.all_tasks()
    n = 1
    while await cancelled_at(middleware, async_publisher, n, start):
        assert holds(middleware) == NOTHING, f"after a cancellation at the suspension no. {n}"
        await eventually(lambda: asyncio.all_tasks() <= tasks, f"tasks after a cancellation at no. {n}")
        n += 1
    assert holds(middleware) == NOTHING
    assert n > 6  # authorize, two sends, history, receive, more sends


async def cancelled_at(middleware, async_publisher, n, start):
    """One request (history, an event, an ending); whether it was cancelled at its ``n``-th suspension."""
    # A channel of its own each time, so that Redis has to be asked for it.
    headers = {**cookie(), "last-event-id": start}
    client = ASGIClient(middleware, f"/events/orders/{n}", headers=headers)

    async def send(message):
        await asyncio.sleep(0)
        await client._send(message)
        await asyncio.sleep(0)

    await async_publisher.publish(f"order:{n}", "history")
    request = CancelledAt(middleware(client.scope, client._receive, send), n)

    async def serve():
        return await request

    task = asyncio.ensure_future(serve())

    async def events():
        await client.wait_for(b"data: history")
        await async_publisher.publish(f"order:{n}", "live")
        await client.wait_for(b"data: live")
        middleware.disconnect(user="u42")

    client.task = task
    task.add_done_callback(client._done)
    script = asyncio.ensure_future(events())
    await asyncio.wait([task], timeout=10)
    assert task.done()
    script.cancel()
    await asyncio.wait([script])
    if not script.cancelled():
        script.exception()
    client.check()
    if not task.cancelled():
        assert task.exception() is None
        assert goodbye(client) == {"reason": "revoked"}
    return task.cancelled()


@pytest.mark.live
async def test_cancelled_requests_leave_redis_connections_usable(edge, redis_url):
    """After requests cancelled while Redis answers, later commands get their own answers."""
    backend = RedisBackend(redis_url)
    middleware = edge(backend=backend)
    async_publisher = Publisher(backend)
    start = await async_publisher.cursor()
    for turn in range(30):
        client = ASGIClient(middleware, "/events/me", headers={**cookie(), "last-event-id": start}).open()
        publish = asyncio.ensure_future(async_publisher.publish("news", f"cancelled {turn}"))
        for _ in range(turn % 10):
            await asyncio.sleep(0)
        publish.cancel()
        client.disconnect()
        await client.cancel()
        await asyncio.wait([publish])
        assert holds(middleware) == NOTHING
        ids = [await async_publisher.publish("news", f"{turn}"), await async_publisher.cursor()]
        places = [Place.parse(id) for id in ids]
        assert places == sorted(places)
    client = ASGIClient(middleware, "/events/me", headers={**cookie(), "last-event-id": start})
    await client.wait_for(b"data: 29\n\n")
    data = [event.data for event in decoded(client)[1] if not event.data.startswith("cancelled")]
    assert data == [str(turn) for turn in range(30)]
    await client.close()
    await backend.close()


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


# ---- Settings


def bad(field, shown, **settings):
    return pytest.param(field, shown, settings, id=f"{field}={shown}")


BAD_SETTINGS = [
    bad("app", "5", app=5),
    bad("ipv6_prefix", "129", ipv6_prefix=129),
    bad("auth", "None", auth=None),
    bad("auth", "a value of type str", auth="secret"),
    bad("auth", "SignedCookie", auth=SignedCookie),
    bad("channels", "None", channels=None),
    bad("channels", "{}", channels={}),
    bad("channels", "5", channels=5),
    bad("channels", "'/other/x'", channels={"/other/x": "a"}),
    bad("channels", "'a:{nothing}'", channels={"/events/{x}": "a:{nothing}"}),
    bad("channels", "'/events/{user}'", channels={"/events/{user}": "a"}),
    bad("channels", "5", channels={"/events/x": 5}),
    bad("channels", "[]", channels={"/events/x": []}),
    bad("channels", "'u:{user}'", channels={"/events/x": "u:{user}"}, auth=Anonymous()),
    bad("path", "'events'", path="events"),
    bad("path", "'/events/'", path="/events/"),
    bad("path", "None", path=None),
    bad("backend", "None", backend=None),
    bad("backend", "'kafka://broker'", backend="kafka://broker"),
    bad("backend", "''", backend=""),
    bad("authorize", "True", authorize=True),
    bad("origins", "'app.example.com'", origins=["app.example.com"]),
    bad("origins", "'https://app.example.com/'", origins=["https://app.example.com/"]),
    bad("origins", "'*'", origins=["*"]),
    bad("origins", "'https://app.example.com'", origins="https://app.example.com"),
    bad("hosts", "[]", hosts=[]),
    bad("hosts", "'a:80'", hosts=["a:80"]),
    bad("missing_origin", "'maybe'", missing_origin="maybe"),
    bad("limits", "5", limits=5),
    bad("trusted_proxies", "'10.0.0.0/40'", trusted_proxies=["10.0.0.0/40"]),
    bad("trusted_proxies", "'proxy'", trusted_proxies=["proxy"]),
    bad("trusted_proxies", "'0.0.0.0/0'", trusted_proxies=["0.0.0.0/0"]),
    bad("trusted_proxies", "'10.0.0.1'", trusted_proxies="10.0.0.1"),
    bad("keep_alive", "-1", keep_alive=-1),
    bad("keep_alive", "0", keep_alive=0),
    bad("keep_alive", "True", keep_alive=True),
    bad("keep_alive", "'15'", keep_alive="15"),
    bad("keep_alive", "nan", keep_alive=float("nan")),
    bad("max_duration", "-0.5", max_duration=-0.5),
    bad("max_duration", "False", max_duration=False),
    bad("max_duration", "inf", max_duration=float("inf")),
    bad("retry", "0", retry=0),
    bad("retry", "None", retry=None),
    bad("max_unsent", "0", max_unsent=0),
    bad("max_unsent", "True", max_unsent=True),
    bad("max_unsent", "1.5", max_unsent=1.5),
    bad("max_unsent_age", "0", max_unsent_age=0),
    bad("max_unsent_age", "True", max_unsent_age=True),
    bad("max_unsent_age", "'30'", max_unsent_age="30"),
    bad("max_unsent_age", "inf", max_unsent_age=float("inf")),
    bad("query_cursor", "'yes'", query_cursor="yes"),
    bad("joins", "'yes'", joins="yes"),
    bad("max_event_bytes", "1023", max_event_bytes=1023),
]


@pytest.mark.parametrize(("field", "shown", "settings"), BAD_SETTINGS)
def test_bad_settings(field, shown, settings):
    """A setting it cannot work with raises at construction, naming the field and showing the value."""
    settings = {"auth": AUTH, "channels": CHANNELS, **settings}
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(settings.pop("app", None), **settings)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert shown in str(caught.value)


@pytest.mark.parametrize("secret", ["", b"", [], ["good", ""], ["  "], None, 5, "good", ["good" * 4]])
def test_bad_secret(secret):
    """A bad secret is refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        SignedCookie(secret)
    assert (caught.value.field, caught.value.value) == ("secret", None)
    assert "got" not in str(caught.value)
    assert "good" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("per_user", {"per_user": 0}),
        ("per_user", {"per_user": True}),
        ("per_ip", {"per_ip": -1}),
        ("per_worker", {"per_worker": "many"}),
        ("per_worker", {"per_worker": 1.0}),
        ("connects_per_ip", {"connects_per_ip": "often"}),
        ("connects_per_ip", {"connects_per_ip": "0/minute"}),
    ],
)
def test_bad_limits(field, settings):
    """A limit that is none is refused, naming it and showing the value."""
    with pytest.raises(ConfigError) as caught:
        Limits(**settings)
    assert caught.value.field == field
    assert repr(settings[field]) in str(caught.value)


def middleware_on(url):
    return SSEMiddleware(auth=AUTH, channels=CHANNELS, backend=url)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://user:s3cr3t@broker/0",
        "redis://:s3cr3t@127.0.0.1:notaport/0",
        "redis://:s3cr3t/x@127.0.0.1/0",
        "redis://:s3cr3t@127.0.0.1:99999/0",
        "redis://:s3cr3t@127.0.0.1/0?db=x",
        "redis://:s3cr3t@127.0.0.1/0?nonsense=1",
        "redis://127.0.0.1/0?password=s3cr3t&nonsense=1",
        "redis://:s3cr3t@[::1/0",
        "redis://:s3cr3t\u2100@127.0.0.1/0",
        "redis+sentinel://:s3cr3t@127.0.0.1:26379",
        "redis+sentinel://:s3cr3t@127.0.0.1/service",
        "redis+sentinel://127.0.0.1:26379/service?password=s3cr3t&nonsense=1",
        "redis+cluster://:s3cr3t/x@127.0.0.1:7000",
    ],
)
@pytest.mark.parametrize("make", [Publisher, SyncPublisher, middleware_on])
def test_bad_backend_url(url, make):
    """A bad backend URL is refused without its password in the traceback, message and causes included."""
    with pytest.raises(ConfigError) as caught:
        make(url)
    assert caught.value.field == "backend"
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cr3t" not in shown
    assert "s3cr3t" not in repr(caught.value.value)


async def test_event_objects(edge, asgi, url, async_publisher):
    """An Event travels with its name and retry, line by line."""
    client = asgi(edge(backend=url), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await async_publisher.publish("news", Event("one\ntwo", event="lines", retry=1234))
    await client.wait_for(b"two\n\n")
    decoder, events = decoded(client)
    assert (events[0].event, events[0].data, decoder.retry) == ("lines", "one\ntwo", 1234)


async def test_redis_lost_while_a_place_is_checked(edge, asgi, private_redis, caplog):
    """A stream that waits for Redis when the connection dies ends as backend-lost, and is not cancelled."""
    server = private_redis()
    middleware = edge(backend=RedisBackend(server.url, timeout=5))
    first = asgi(middleware, "/events/me", headers=cookie())
    await first.wait_for(b"\nid: ")
    server.pause()
    # Its cursor is ahead of everything this worker has heard, so that Redis is asked what the time is.
    subscriber = middleware._worker.hub.subscriber
    ahead = asgi(
        middleware,
        "/events/me",
        headers={**cookie(), "last-event-id": str(Place(EventId(99999999999999, 1), subscriber.tag))},
    )
    await ahead.wait_for(b"retry: ")
    await eventually(lambda: subscriber._ticks.waiting, "a waiting tick")
    server.kill()
    await ahead.whole()
    assert goodbye(ahead) == {"reason": "backend-lost"}
    assert middleware.figures()["endings"] == {"backend-lost": 1}
    assert not first.task.done()
    assert [record for record in caplog.records if record.exc_info] == []
