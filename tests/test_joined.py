"""Several URLs on one response, through the door: each is a stream of its own, on both sinks and backends."""

import asyncio
import contextlib
import json
import logging
import random
import socket
import uuid

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from door import NOTHING, CancelledAt, eventually, holds, may_read
from servers.asgi import ASGIClient
from servers.sse import StreamClient
from sse_edge import Channel, Limits, Publisher, RedisBackend, SignedCookie, Source, SSEMiddleware
from sse_edge.event import Place
from strands import also, heard, place, strands

AUTH = SignedCookie("a secret of the tests", secure=False)


async def ticks(request, identity, after):
    """Says what it was asked, and goes on until it is closed."""
    yield f"{request.path} {request.query} after {after}"
    await asyncio.Event().wait()


async def hello(request, identity):
    return f"hello {identity.user}"


CHANNELS = {
    "/events/me": ["user:{user}", "news"],
    "/events/orders/{order_id}": "order:{order_id}",
    "/events/clock": Source(ticks),
    "/events/hello": Channel("user:{user}", greeting=hello),
    "/events/packed": Channel("user:{user}", compress=True),
}
SETTINGS = {"auth": AUTH, "channels": CHANNELS}
"""Of every edge here."""


def cookie(user="u42", channels=("order:*", "news"), **options):
    """Headers with a cookie that lets ``user`` in."""
    return {"cookie": f"session={AUTH.issue(user, channels, **options)}"}


class Task:
    """A client within this process, whose server takes what it is sent."""

    def __init__(self, edge, closing):
        self.client = None
        self._edge, self._closing = edge, closing

    async def ask(self, path, query, headers):
        self.client = ASGIClient(self._edge, path, query=query, headers=headers)
        self._closing.append(self.client.close)
        await self.client.start()
        return self

    def body(self):
        return self.client.body()

    def leave(self):
        self.client.disconnect()

    @property
    def status(self):
        return self.client.status

    @property
    def complete(self):
        return self.client.complete


class Handover:
    """A client of a uvicorn, whose connection the edge takes over."""

    def __init__(self, edge, closing):
        self.client = None
        self._edge, self._closing = edge, closing

    async def ask(self, path, query, headers):
        if not hasattr(self._edge, "port"):
            self._edge.port = await _serve(self._edge, self._closing)
        url = f"http://127.0.0.1:{self._edge.port}{path}?{query}"
        self.client = await StreamClient.connect(url, headers=headers)
        self._closing.insert(0, self.client.aclose)
        return self

    def body(self):
        return bytes(self.client.raw)

    def leave(self):
        self.client.abort()

    @property
    def status(self):
        return self.client.status

    @property
    def complete(self):
        return self.client.response.complete


async def _serve(edge, closing):
    server = uvicorn.Server(uvicorn.Config(edge, ws="none", lifespan="off", log_config=None))
    server.capture_signals = contextlib.nullcontext
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started, "the server")

    async def stop():
        server.should_exit = True
        await task

    closing.append(stop)
    return listener.getsockname()[1]


@pytest.fixture(params=[Task, Handover])
async def ask(request):
    """``await ask(edge, path, *also, headers=…)`` is a client with its first bytes, on each of the sinks."""
    closing = []

    async def ask(edge, path, *urls, headers=None, query=""):
        query = "&".join(filter(None, [query, also(*urls)]))
        return await request.param(edge, closing).ask(path, query, headers or cookie())

    yield ask
    for close in closing:
        await close()


async def live(client, count):
    """Wait until so many strands have their place."""
    await eventually(
        lambda: len([1 for piece in strands(client.body()).values() if b"\nid: " in piece]) == count,
        "all strands' places",
    )


async def until(client, number, text):
    """Wait until a strand says so."""
    await eventually(lambda: text in strands(client.body()).get(number, b""), f"{text} on {number}")


def told(client, number, name):
    """What the last event of a strand says, which has that name and a time to come back after."""
    event = heard(client.body(), number)[-1]
    assert event.event == name
    assert b"\nretry: " in strands(client.body())[number].rpartition(b"event: ")[2]
    return json.loads(event.data)


# ---- Each is a stream of its own


async def test_events_of_two_urls(edge, ask, url, async_publisher):
    """Each strand has the events of its own channels with their ids, in order, and no other's."""
    middleware = edge(backend=url)
    client = await ask(middleware, "/events/me", "/events/orders/7", "/events/orders/8")
    await live(client, 3)
    ids = [
        await async_publisher.publish("news", "a"),
        await async_publisher.publish("order:7", "b", event="status"),
        await async_publisher.publish("user:u42", "c"),
        await async_publisher.publish("order:7", "d"),
        await async_publisher.publish("order:9", "nobody's"),
    ]
    await until(client, 0, b"data: c")
    await until(client, 1, b"data: d")
    body = client.body()
    assert heard(body, 0) == [("message", "a", ids[0]), ("message", "c", ids[2])]
    assert heard(body, 1) == [("status", "b", ids[1]), ("message", "d", ids[3])]
    assert heard(body, 2) == []
    assert middleware.figures()["streams"] == 3
    assert middleware._leases.count("user:u42") == 3
    client.leave()
    await eventually(lambda: holds(middleware) == NOTHING, "nothing left")


async def test_each_comes_back_from_its_own_place(edge, ask, url, async_publisher):
    """With its own last id each strand begins with exactly what it missed."""
    middleware = edge(backend=url)
    first = await async_publisher.publish("news", "seen")
    start = await async_publisher.publish("order:7", "seen")
    missed = [await async_publisher.publish("news", "1"), await async_publisher.publish("order:7", "2")]
    client = await ask(
        middleware,
        "/events/me",
        f"/events/orders/7?last_event_id={start}",
        "/events/orders/8",
        headers={**cookie(), "last-event-id": first},
    )
    await until(client, 0, b"data: 1")
    await until(client, 1, b"data: 2")
    await live(client, 3)
    body = client.body()
    assert [[event.id for event in heard(body, number)] for number in range(3)] == [
        missed[:1],
        missed[1:],
        [],
    ]
    client.leave()
    again = [await async_publisher.publish("order:7", "3"), await async_publisher.publish("order:8", "4")]
    client = await ask(
        middleware,
        f"/events/orders/7?last_event_id={place(body, 1)}".partition("?")[0],
        f"/events/orders/8?last_event_id={place(body, 2)}",
        headers={**cookie(), "last-event-id": place(body, 1)},
    )
    await until(client, 0, b"data: 3")
    await until(client, 1, b"data: 4")
    assert [[event.id for event in heard(client.body(), number)] for number in (0, 1)] == [
        [again[0]],
        [again[1]],
    ]


@pytest.mark.live
async def test_with_partitions(edge, ask, redis_url):
    """Where events come from several partitions, a strand's place is its own channels', too."""
    middleware = edge(backend=RedisBackend(redis_url, partitions=3))
    numbers = range(4)
    urls = [f"/events/orders/{number}" for number in numbers]
    async with Publisher(middleware.backend) as async_publisher:
        client = await ask(middleware, *urls)
        await live(client, 4)
        for number in numbers:
            await async_publisher.publish(f"order:{number}", f"first {number}")
        for number in numbers:
            await until(client, number, b"data: first %d" % number)
            assert [event.data for event in heard(client.body(), number)] == [f"first {number}"]
        client.leave()
        body = client.body()
        for number in numbers:
            await async_publisher.publish(f"order:{number}", f"missed {number}")
        rest = [f"{url}?last_event_id={place(body, number)}" for number, url in enumerate(urls)]
        client = await ask(middleware, "/events/me", *rest)
        for number in numbers:
            await until(client, number + 1, b"data: missed %d" % number)
            # What came after the place of the slowest partition is repeated.
            assert {event.data for event in heard(client.body(), number + 1)} <= {
                f"first {number}",
                f"missed {number}",
            }


async def test_a_place_from_elsewhere(edge, ask):
    """A strand whose place is another data set's is reset, and no other."""
    client = await ask(edge(), "/events/me", "/events/orders/7?last_event_id=1-1.foreign")
    await live(client, 2)
    assert [event.event for event in heard(client.body(), 1)] == ["edge-reset"]
    assert heard(client.body(), 0) == []


async def test_sources_and_greetings(edge, ask):
    """A strand may be played, or greeted, with its own path, query and place."""
    client = await ask(edge(), "/events/hello", "/events/clock?x=1&last_event_id=9", query="y=2")
    await until(client, 0, b"hello u42")
    await until(client, 1, b"data: ")
    (event,) = heard(client.body(), 1)
    assert event.data == "/events/clock {'x': ['1'], 'last_event_id': ['9']} after 9"


async def test_a_source_is_not_told_of_others(edge, ask):
    """Its request is the one that it would be alone."""
    client = await ask(edge(), "/events/clock", "/events/me", query="x=1")
    await until(client, 0, b"data: ")
    (event,) = heard(client.body(), 0)
    assert event.data == "/events/clock {'x': ['1']} after None"


async def test_nothing_is_compressed(edge, ask):
    """Bytes that are compressed for one strand would mean nothing beside another's."""
    headers = {**cookie(), "accept-encoding": "gzip"}
    client = await ask(edge(), "/events/packed", "/events/packed?x", headers=headers)
    await live(client, 2)
    assert client.client.header("content-encoding") is None


# ---- Refusals


@pytest.mark.parametrize(
    ("url", "code", "status"),
    [
        ("/events/nowhere/at/all", "not-found", 404),
        ("/events/orders/../me", "not-found", 404),
        ("/events/orders/x:y", "bad-request", 400),
        ("/events/orders/secret", "forbidden", 403),
        ("/other", "bad-request", 400),
        ("/events/me?poll", "bad-request", 400),
    ],
)
async def test_what_is_refused_is_told_inside(edge, ask, url, code, status):
    """The strand is over with its refusal, whatever it is; the others go on."""
    middleware = edge()
    headers = cookie(channels=["order:7"])
    client = await ask(middleware, "/events/me", url, "/events/orders/7", headers=headers)
    await until(client, 1, b"edge-refused")
    said = told(client, 1, "edge-refused")
    assert (said["error"], said["status"]) == (code, status)
    assert middleware.refusals == {code: 1}
    async with Publisher(middleware.backend) as async_publisher:
        await eventually(lambda: middleware.figures()["streams"] == 2, "the others")
        await async_publisher.publish("order:7", "goes on")
    await until(client, 2, b"goes on")
    assert not client.complete


async def test_a_refusal_inside_is_logged(edge, ask, caplog):
    """By the path that was refused, and not by the response's."""
    caplog.set_level(logging.INFO, "sse_edge.access")
    client = await ask(edge(), "/events/me", "/events/orders/secret", headers=cookie(channels=()))
    await until(client, 1, b"edge-refused")
    assert [line for line in caplog.messages if '"GET /events/orders/secret" refused: forbidden' in line]
    assert not [line for line in caplog.messages if '"GET /events/me" refused' in line]


async def test_who_was_let_in_is_not_entering(edge, ask):
    """A drain has nothing to wait for but what is not answered yet."""
    middleware = edge()
    client = await ask(middleware, "/events/me", "/events/orders/7", "/events/nowhere")
    await live(client, 2)
    await until(client, 2, b"edge-refused")
    assert middleware._worker.hub.drain.entering == set()


async def test_what_has_finished(edge, ask, url, async_publisher):
    """A strand whose client has had all is over as one that finishes: 204 could not be told."""
    end = await async_publisher.finish("order:7", "done")
    client = await ask(edge(backend=url), "/events/me", f"/events/orders/7?last_event_id={end}")
    await until(client, 1, b"edge-close")
    assert told(client, 1, "edge-close") == {"reason": "finished"}


async def test_the_first_is_refused(edge, ask):
    """That is the response's refusal, and nothing else is asked."""
    middleware = edge()
    client = await ask(middleware, "/events/orders/7", "/events/me", headers=cookie(channels=()))
    await eventually(lambda: client.complete, "the end")
    assert client.status == 403
    assert json.loads(client.body())["error"] == "forbidden"
    assert middleware.refusals == {"forbidden": 1}
    assert holds(middleware) == NOTHING


async def test_caps_count_each(edge, ask):
    """Each strand takes a slot of its user and address; who finds none is told when to ask again."""
    middleware = edge(limits=Limits(per_user=2, per_ip=5))
    client = await ask(middleware, "/events/me", "/events/orders/1", "/events/orders/2")
    await eventually(lambda: b"edge-refused" in client.body(), "a refusal")
    refused = next(number for number in (1, 2) if b"edge-refused" in strands(client.body()).get(number, b""))
    said = told(client, refused, "edge-refused")
    assert (said["error"], said["status"]) == ("user-limit", 429)
    assert middleware._leases.count("user:u42") == 2
    client.leave()
    await eventually(lambda: holds(middleware) == NOTHING, "nothing left")


async def test_each_that_is_refused_waits_by_itself(edge, ask):
    """Of several that are refused at once none was refused several times."""
    middleware = edge(limits=Limits(per_user=1))
    urls = [f"/events/orders/{number}" for number in range(8)]
    client = await ask(middleware, "/events/me", *urls)
    await eventually(lambda: client.body().count(b"edge-refused") == 8, "the refusals")
    waits = [int(strands(client.body())[1 + number].split(b"retry: ")[1].split()[0]) for number in range(8)]
    assert max(waits) < 10_000, waits


async def test_connects_count_each(edge, ask):
    """An address has as many attempts for strands as for streams."""
    middleware = edge(limits=Limits(connects_per_ip="2/hour"))
    client = await ask(middleware, "/events/me", "/events/orders/1", "/events/orders/2")
    await eventually(lambda: middleware.refusals == {"connect-rate": 1}, "a refusal")
    client.leave()


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (also(*[f"/events/orders/{number}" for number in range(16)]), "also: 16 URLs, and 15"),
        (also("/events/orders/7") + "&poll", "also: a poll has one answer"),
    ],
)
async def test_what_cannot_be_joined_at_all(edge, ask, query, detail):
    """The response is a 400, before anything else is asked."""
    middleware = edge()
    client = await ask(middleware, "/events/me", query=query)
    await eventually(lambda: client.complete, "the end")
    assert client.status == 400
    assert json.loads(client.body())["detail"].startswith(detail)
    assert holds(middleware) == NOTHING


async def test_an_edge_that_does_not_join(edge, ask):
    """It knows no such parameter, and says no such line."""
    client = await ask(edge(joins=False), "/events/me", "/events/orders/7", "//")
    await eventually(lambda: b"\nid: " in client.body(), "its place")
    assert b"strand" not in client.body()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204)])
async def test_asked_without_a_stream(edge, asgi, method, status):
    """HEAD and OPTIONS are answered as for the request's own URL."""
    middleware = edge()
    client = asgi(middleware, "/events/me", method=method, query=also("/events/orders/7"), headers=cookie())
    assert await client.whole() == b""
    assert client.status == status
    assert holds(middleware) == NOTHING


async def test_mounted(asgi):
    """Below a mount point the URLs are as pages know them."""
    middleware = SSEMiddleware(None, auth=AUTH, channels=CHANNELS, backend=f"memory://{uuid.uuid4().hex}")
    app = Starlette(routes=[Mount("/live", middleware)])
    query = also("/live/events/orders/7", "/other/events/orders/8")
    async with middleware:
        client = asgi(app, "/live/events/me", query=query, headers=cookie())
        await client.wait_for(b"edge-refused")
        await live(client, 2)
        assert "is not answered here" in told(client, 2, "edge-refused")["detail"]
        client.disconnect()
        await client.ended()


# ---- Endings


async def test_one_is_revoked(edge, ask, url, async_publisher):
    """A strand that is ended leaves the others; the response is over with the last."""
    middleware = edge(backend=url)
    client = await ask(middleware, "/events/me", "/events/orders/7", "/events/orders/8")
    await live(client, 3)
    for number, channel in ((1, "order:7"), (0, "news")):
        await async_publisher.disconnect(channel=channel)
        await until(client, number, b"edge-close")
        assert told(client, number, "edge-close") == {"reason": "revoked"}
        await async_publisher.publish("order:8", f"after {channel}")
        await until(client, 2, f"after {channel}".encode())
    assert not client.complete
    await async_publisher.finish("order:8", "done")
    await eventually(lambda: client.complete, "the end")
    assert told(client, 2, "edge-close") == {"reason": "finished"}
    await eventually(lambda: holds(middleware) == NOTHING, "nothing left")
    assert middleware.figures()["endings"] == {"revoked": 2, "finished": 1}


async def test_a_drain(edge, ask):
    """Each is told, and then the response ends cleanly."""
    middleware = edge()
    client = await ask(middleware, "/events/me", "/events/orders/7")
    await live(client, 2)
    await middleware.drain(0.1)
    await eventually(lambda: client.complete, "the end")
    assert [told(client, number, "edge-close") for number in (0, 1)] == [{"reason": "drain"}] * 2
    assert holds(middleware) == NOTHING


async def test_times_of_each(edge, ask):
    """Each has its own maximum duration, and signs of life with a place."""
    middleware = edge(keep_alive=0.2, max_duration=1.5)
    client = await ask(middleware, "/events/me", "/events/orders/7")
    await live(client, 2)
    async with Publisher(middleware.backend) as async_publisher:
        last = Place.parse(await async_publisher.publish("order:8", "elsewhere"))
        for number in (0, 1):
            await eventually(lambda n=number: Place.parse(place(client.body(), n)) >= last, "its place")
    await eventually(lambda: client.complete, "the end")
    for number in (0, 1):
        assert told(client, number, "edge-close") == {"reason": "max-duration"}


async def test_one_may_not_go_on(edge, ask):
    """A strand's right is asked again, and takes nothing from the others."""
    yes = True

    async def authorize(identity, channel):
        return yes or channel == "order:8"

    middleware = edge(authorize=authorize, reauthorize_every=0.1)
    headers = cookie(channels=())
    client = await ask(middleware, "/events/me", "/events/orders/7", "/events/orders/8", headers=headers)
    await live(client, 3)
    yes = False
    await until(client, 1, b"edge-close")
    assert told(client, 1, "edge-close") == {"reason": "forbidden"}
    async with Publisher(middleware.backend) as async_publisher:
        await async_publisher.publish("order:8", "goes on")
    await until(client, 2, b"goes on")


async def test_who_does_not_read(edge, ask):
    """What waits for the client is the response's: all of it ends, and the one that found it is slow."""
    middleware = edge(max_unsent=300_000, max_unsent_age=1.0)
    client = await ask(middleware, "/events/me", "/events/orders/7")
    await live(client, 2)
    if isinstance(client, Task):
        client.client.block_send()
    else:
        client.client.stop_reading()
    async with Publisher(middleware.backend) as async_publisher:
        async with asyncio.timeout(30):
            while middleware.figures()["streams"]:
                await async_publisher.publish("order:7", "x" * 100_000)
                await asyncio.sleep(0.01)
    assert middleware.figures()["endings"] == {"slow": 1, "client-gone": 1}
    await eventually(lambda: holds(middleware) == NOTHING, "nothing left")


# ---- While they are let in


async def held(edge, ask, **settings):
    """A response of which one strand waits for ``authorize``; and what lets it go on."""
    go_on = asyncio.Event()

    async def authorize(identity, channel):
        await go_on.wait()
        return True

    middleware = edge(authorize=authorize, **settings)
    headers = cookie(channels=["order:8"])
    client = await ask(middleware, "/events/me", "/events/orders/7", "/events/orders/8", headers=headers)
    await live(client, 2)
    return middleware, client, go_on


async def test_nobody_waits_for_another(edge, ask):
    """While one is asked about, all others are live."""
    _, client, go_on = await held(edge, ask)
    assert set(strands(client.body())) == {0, 2}
    go_on.set()
    await live(client, 3)


async def test_the_client_leaves_meanwhile(edge, ask):
    """What a strand waits for is given up."""
    middleware, client, _ = await held(edge, ask)
    tasks = asyncio.all_tasks()
    client.leave()
    await eventually(lambda: holds(middleware) == NOTHING, "nothing left")
    await eventually(lambda: asyncio.all_tasks() <= tasks, "no task")


async def test_a_drain_meanwhile(edge, ask):
    """A strand that is not let in yet is refused, and the response is over."""
    middleware, client, _ = await held(edge, ask)
    await middleware.drain(0.1)
    await eventually(lambda: client.complete, "the end")
    assert told(client, 1, "edge-refused")["error"] == "draining"
    assert told(client, 0, "edge-close") == {"reason": "drain"}


async def test_refused_as_a_whole(edge, ask):
    """Where the first is refused as a stream, that it is a joint response is said all the same."""
    middleware = edge(limits=Limits(per_user=1))
    first = await ask(middleware, "/events/me", headers=cookie())
    await eventually(lambda: b"\nid: " in first.body(), "its place")
    headers = {**cookie(), "accept": "text/event-stream"}
    refused = await ask(middleware, "/events/me", "/events/orders/7", headers=headers)
    await eventually(lambda: refused.complete, "the end")
    assert refused.body().startswith(b": strand 0\nevent: edge-refused\n")


async def test_a_query_is_not_repeated(edge, ask):
    """Why a URL cannot be joined says its path: a query may hold a token, and the log has the same."""
    client = await ask(edge(), "/events/me", "/elsewhere?token=abc", headers=cookie())
    await eventually(lambda: b"edge-refused" in client.body(), "the refusal")
    detail = told(client, 1, "edge-refused")["detail"]
    assert detail == "also: '/elsewhere' is not answered here"


# ---- Nothing is left


async def test_cancelled_at_every_await(edge, url, async_publisher):
    """A request that is cancelled at whichever of its awaits leaves no strand behind."""
    middleware = edge(backend=url, authorize=may_read, limits=Limits(3, 3, connects_per_ip=None))
    assert not await cancelled_at(middleware, async_publisher, 0)
    tasks = asyncio.all_tasks()
    n = 1
    while await cancelled_at(middleware, async_publisher, n):
        await eventually(lambda: holds(middleware) == NOTHING, f"a cancellation at the suspension no. {n}")
        await eventually(lambda: asyncio.all_tasks() <= tasks, f"tasks after a cancellation at no. {n}")
        n += 1
    assert n > 6


async def cancelled_at(middleware, async_publisher, n):
    """One request for three streams; whether it was cancelled at its ``n``-th suspension."""
    client = ASGIClient(
        middleware,
        "/events/me",
        headers=cookie(channels=()),
        query=also(f"/events/orders/a{n}", f"/events/orders/b{n}"),
    )

    async def send(message):
        await asyncio.sleep(0)
        await client._send(message)
        await asyncio.sleep(0)

    request = CancelledAt(middleware(client.scope, client._receive, send), n)

    async def serve():
        return await request

    task = asyncio.ensure_future(serve())
    client.task = task
    task.add_done_callback(client._done)

    async def events():
        for number, channel in enumerate(("news", f"order:a{n}", f"order:b{n}")):
            await until(client, number, b"\nid: ")
            await async_publisher.publish(channel, "live")
            await until(client, number, b"data: live")
        middleware.disconnect(user="u42")

    script = asyncio.ensure_future(events())
    await asyncio.wait([task], timeout=10)
    assert task.done()
    script.cancel()
    await asyncio.wait([script])
    client.check()
    if not task.cancelled():
        assert task.exception() is None
        assert [told(client, number, "edge-close") for number in range(3)] == [{"reason": "revoked"}] * 3
    return task.cancelled()


async def test_a_client_leaves_in_every_turn(edge, url, async_publisher):
    """Nor does a client that leaves at whichever turn of the loop its strands are let in."""
    middleware = edge(backend=url, authorize=may_read, limits=Limits(4, 4, connects_per_ip=None))
    for n in [None, *range(30)]:
        client = ASGIClient(
            middleware,
            "/events/me",
            headers=cookie(channels=()),
            query=also(f"/events/orders/a{n}", "/events/clock", "/events/hello"),
        )
        await client.start()
        if n is None:
            await live(client, 3)  # all that stays is there
        else:
            for _ in range(n):
                await asyncio.sleep(0)
        client.disconnect()
        await client.ended()
        await eventually(lambda: holds(middleware) == NOTHING, f"nothing left after turn {n}")
        if n is None:
            tasks = asyncio.all_tasks()
        await eventually(lambda tasks=tasks: asyncio.all_tasks() <= tasks, f"no task after turn {n}")


# ---- By chance


async def has(client, number, ids):
    """Wait until a strand has had just these events."""
    await eventually(
        lambda: [event.id for event in heard(client.body(), number)] == ids, f"{ids} on {number}"
    )


@pytest.mark.parametrize("seed", range(3))
async def test_a_joint_response_says_what_separate_streams_say(edge, ask, url, async_publisher, seed):
    """Whatever is published, ended and left: over all its responses each URL has every event of its channels
    once, in order, from the first that it was live for."""
    chance = random.Random(seed)
    middleware = edge(backend=url, limits=Limits(None, None, None, None), keep_alive=0.05)
    urls = ["/events/me", *[f"/events/orders/{number}" for number in range(5)]]
    channels = {path: [f"order:{path[-1]}"] for path in urls[1:]} | {"/events/me": ["user:u42", "news"]}
    places = dict.fromkeys(urls, "")
    begun = await async_publisher.cursor()
    said = {path: [] for path in urls}
    got = {path: [] for path in urls}
    count = 0
    for _ in range(6):
        chosen = chance.sample(urls, chance.randint(2, len(urls)))
        first, *rest = [f"{path}?last_event_id={places[path] or begun}" for path in chosen]
        path, _, own = first.partition("?last_event_id=")
        client = await ask(middleware, path, *rest, headers={**cookie(), "last-event-id": own})
        for _ in range(chance.randint(0, 30)):
            count += 1
            path = chance.choice(urls)
            channel = chance.choice(channels[path])
            id = await async_publisher.publish(channel, f"{count} " + "x" * chance.choice([1, 100, 5000]))
            said[path].append(id)
            if chance.random() < 0.2:
                await asyncio.sleep(0.02)
        if chance.random() < 0.5:  # wait for all of it, or be cut off anywhere
            for number, path in enumerate(chosen):
                await has(client, number, said[path][len(got[path]) :])
        client.leave()
        body = client.body()
        for number, path in enumerate(chosen):
            if number in strands(body):
                got[path] += [event.id for event in heard(body, number)]
                places[path] = place(body, number) or places[path]
        await eventually(lambda: holds(middleware) == NOTHING, "nothing left")
    last = [f"{path}?last_event_id={places[path] or begun}" for path in urls]
    client = await ask(middleware, "/events/hello", *last)
    for number, path in enumerate(urls, 1):
        await has(client, number, said[path][len(got[path]) :])
