"""Several URLs on one response, through the door: each is a stream of its own, on both sinks and backends."""

import json
import logging
import uuid

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from parts.door import NOTHING, eventually, holds
from parts.strands import (
    AUTH,
    CHANNELS,
    Handover,
    Task,
    also,
    asking,
    cookie,
    heard,
    live,
    place,
    strands,
    told,
    until,
)
from sse_edge import Limits, Publisher, RedisBackend, SSEMiddleware

SETTINGS = {"auth": AUTH, "channels": CHANNELS}
"""Of every edge here."""


@pytest.fixture(params=[Task, Handover])
async def ask(request):
    async with asking(request.param) as ask:
        yield ask


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
