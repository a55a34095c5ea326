"""How streams end that share a response, also while others are let in, and what they say together."""

import asyncio
import random

import pytest

from parts.door import NOTHING, CancelledAt, eventually, holds, may_read
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
from servers.asgi import ASGIClient
from sse_edge import Limits, Publisher
from sse_edge.event import Place

SETTINGS = {"auth": AUTH, "channels": CHANNELS}
"""Of every edge here."""


@pytest.fixture(params=[Task, Handover])
async def ask(request):
    async with asking(request.param) as ask:
        yield ask


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
