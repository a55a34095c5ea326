"""First events and channels that finish, through the door: routes, places, 204, and what is refused."""

import asyncio
import html
import json
import logging
import random
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from servers.sse import Decoder
from sse_edge import (
    Anonymous,
    Channel,
    ConfigError,
    Limits,
    MemoryBackend,
    Publisher,
    PublishError,
    RedisBackend,
    Retention,
    SSEMiddleware,
)
from sse_edge.backends.redis.partition import Partition
from sse_edge.terms import Terms

EVERYBODY = Anonymous(["*"])
CHANNELS = {
    "/events/order/{id}": Channel("order:{id}", first=1),
    "/events/both/{id}": [Channel("order:{id}", first=1), Channel("task:{id}", first="all"), "news"],
    "/events/news": "news",
    "/events/asked": lambda request: [Channel("order:7", first=2), "news"],
}


@pytest.fixture
async def edge(url):
    """``edge(…)`` makes an SSEMiddleware that is stopped after the test's clients."""
    made = []

    def make(**settings):
        settings = {"backend": url, "auth": EVERYBODY, "channels": CHANNELS, **settings}
        made.append(SSEMiddleware(hosts=["testserver"], **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


@pytest.fixture
async def events(url):
    async with Publisher(url) as publisher:
        yield publisher


def said(client):
    """The events of a client so far: data, or the name where it is the edge's own."""
    return [
        event.event if event.event.startswith("edge-") else event.data
        for event in Decoder().feed(client.body())
    ]


def place(client):
    """Where an EventSource would come back from."""
    decoder = Decoder()
    decoder.feed(client.body())
    return decoder.last_event_id


async def hears(client, *expected):
    """Wait until the client has heard exactly this."""
    async with asyncio.timeout(5):
        while len(said(client)) < len(expected):
            await client.wait_for(b"\n\n")
            await asyncio.sleep(0.005)
    assert said(client) == list(expected)


async def test_a_page_that_opens_sees_the_state(edge, asgi, events):
    """The last events of each channel, as many as its route says, in one order, and then what is new."""
    middleware = edge()
    for channel, text in (
        ("order:7", "new"), ("task:7", "10 %"), ("news", "old"), ("order:7", "paid"), ("task:7", "60 %"),
        ("order:8", "another"),
    ):  # fmt: skip
        await events.publish(channel, text)
    client = asgi(middleware, "/events/both/7")
    await hears(client, "10 %", "paid", "60 %")
    await events.publish("news", "fresh")
    await hears(client, "10 %", "paid", "60 %", "fresh")
    again = asgi(middleware, "/events/both/7", headers={"last-event-id": place(client)})
    await again.wait_for(b"\nid: ")
    await events.publish("order:7", "shipped")
    await hears(again, "shipped")


async def test_channels_of_a_function_say_what_comes_first(edge, asgi, events):
    """As those of a template do."""
    for n in range(3):
        await events.publish("order:7", str(n))
    await hears(asgi(edge(), "/events/asked"), "1", "2")


FIRST = {"a": 1, "b": 3, "c": 0, "d": "all"}


async def publish_by_chance(events, published, chance, done):
    """Numbers on each channel, as fast as they go, until it is ``done``."""
    while not done.is_set():
        channel = chance.choice(list(FIRST))
        published[channel] += 1
        await events.publish(channel, str(published[channel]), event=channel)
        await asyncio.sleep(chance.random() * 0.004)


@pytest.mark.parametrize("kind", ["memory", pytest.param("partitions", marks=pytest.mark.live)])
async def test_pages_that_open_while_events_are_published(request, asgi, kind):
    """At whatever moment: the last events, as many as there are to be, and each one after them, once."""
    backend, chance = MemoryBackend(history=1000), random.Random(7)
    if kind == "partitions":
        backend = RedisBackend(request.getfixturevalue("redis_url"), history=1000, partitions=3)
    channels = {"/events": [Channel(name, first=first) for name, first in FIRST.items()]}
    middleware = SSEMiddleware(
        backend=backend,
        auth=EVERYBODY,
        channels=channels,
        hosts=["testserver"],
        limits=Limits(None, None, None),
    )
    published, done, clients = dict.fromkeys(FIRST, 0), asyncio.Event(), []
    publishing = asyncio.create_task(publish_by_chance(Publisher(backend), published, chance, done))
    for _ in range(100):
        clients.append(asgi(middleware, "/events").open())
        await asyncio.sleep(chance.random() * 0.01)
    done.set()
    await publishing
    for client in clients:
        await client.wait_for(b"data: %d\n" % published["d"])
    for channel in FIRST:
        await Publisher(backend).publish(channel, "end", event=channel)
    for client in clients:
        async with asyncio.timeout(10):
            while client.body().count(b"data: end\n") < len(FIRST):
                await asyncio.sleep(0.01)
        events = Decoder().feed(client.body())
        for channel, first in FIRST.items():
            *numbers, end = [event.data for event in events if event.event == channel]
            last = published[channel]
            assert (end, numbers) == ("end", [str(n) for n in range(last - len(numbers) + 1, last + 1)])
            assert len(numbers) >= (last if first == "all" else min(first, last))
    await middleware.stop()
    await backend.close()


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({"last-event-id": "earliest"}, "", ["state"]),
        ({}, "last_event_id=earliest", ["state"]),
        ({"last-event-id": "earliest"}, "last_event_id=1-1.abcde", ["state"]),
        ({"last-event-id": "1-1.abcde"}, "last_event_id=earliest", ["edge-reset", "state"]),
        ({"last-event-id": "latest"}, "", ["edge-reset", "state"]),
    ],
)
async def test_earliest_is_no_place(edge, asgi, events, headers, query, expected):
    """Who says it is given what the route says comes first, as without a place; a header counts first."""
    await events.publish("order:7", "state")
    client = asgi(edge(), "/events/order/7", headers=headers, query=query)
    await hears(client, *expected)


async def test_a_stream_ends_with_its_channel(edge, asgi, events, caplog):
    """The last event, the reason, the end; who comes back from there gets 204, and nothing is held for it."""
    caplog.set_level(logging.INFO)
    middleware = edge(origins=["https://app.example.com"])
    client = asgi(middleware, "/events/order/7")
    await client.wait_for(b"\nid: ")
    await events.publish("order:7", "paid")
    await events.finish("order:7", "delivered", event="status")
    await client.whole()
    decoder = Decoder()
    *_, last, close = decoder.feed(client.body())
    assert (last.event, last.data) == ("status", "delivered")
    assert (close.event, json.loads(close.data)) == ("edge-close", {"reason": "finished"})
    assert not decoder.pending
    for mode in ("auto", "stream", "status"):
        middleware._streams._terms = Terms(refusals=mode)
        for id in (last.id, close.id):
            headers = {
                "last-event-id": id, "accept": "text/event-stream", "origin": "https://app.example.com",
            }  # fmt: skip
            again = asgi(middleware, "/events/order/7", headers=headers)
            assert await again.whole() == b""
            assert again.status == 204
            assert again.header("access-control-allow-origin") == "https://app.example.com"
            assert again.header("cache-control") == "no-store, no-transform"
            assert again.header("content-type") is again.header("content-length") is None
    figures = middleware.figures()
    assert (figures["refusals"], figures["endings"]) == ({"finished": 6}, {"finished": 1})
    assert (figures["streams"], figures["opened"]) == (0, 1)
    assert middleware._leases.count("ip:127.0.0.1") == 0
    lines = [record.getMessage() for record in caplog.records if record.name == "sse_edge.access"]
    assert sum("refused: finished (" in line for line in lines) == 5  # one address has five lines
    head = asgi(middleware, "/events/order/7", method="HEAD", headers={"last-event-id": last.id})
    await head.whole()
    assert head.status == 200


async def test_nobody_who_is_owed_something_is_told_that_it_is_over(edge, asgi, events):
    """Not who missed the end, nor who is new, nor who comes from another data set: they get it first."""
    paid = await events.publish("order:7", "paid")
    await events.finish("order:7", "delivered")
    middleware = edge()
    for headers, expected in (
        ({"last-event-id": paid}, ["delivered", "edge-close"]),
        ({}, ["delivered", "edge-close"]),
        ({"last-event-id": "earliest"}, ["delivered", "edge-close"]),
        ({"last-event-id": "junk"}, ["edge-reset", "delivered", "edge-close"]),
        ({"last-event-id": "99999999999999-1.other"}, ["edge-reset", "delivered", "edge-close"]),
    ):
        client = asgi(middleware, "/events/order/7", headers=headers)
        await client.whole()
        assert (client.status, said(client)) == (200, expected)
        back = asgi(middleware, "/events/order/7", headers={"last-event-id": place(client)})
        await back.start()
        assert back.status == 204


async def test_a_page_that_was_rendered_with_the_end_makes_one_request(edge, asgi, events):
    """It has had all of it, and connects from there."""
    await events.publish("order:7", "paid")
    await events.finish("order:7", "delivered")
    *_, last = await events.recent("order:7", 5)
    client = asgi(edge(), "/events/order/7", headers={"last-event-id": last.id})
    assert (await client.start())[0] == 204


async def test_a_stream_of_several_goes_on_until_all_have_finished(edge, asgi, events):
    """And who comes back after some of them gets no 204."""
    middleware = edge()
    client = asgi(middleware, "/events/both/7")
    await client.wait_for(b"\nid: ")
    await events.finish("order:7", "delivered")
    await events.finish("task:7", "100 %")
    await hears(client, "delivered", "100 %")
    again = asgi(middleware, "/events/both/7", headers={"last-event-id": place(client)})
    await again.wait_for(b"stream open")
    await events.finish("news", "that was it")
    for each in (client, again):
        await each.whole()
        assert said(each)[-2:] == ["that was it", "edge-close"]


async def test_a_reopened_channel_is_heard_again(edge, asgi, events):
    """By who comes back to it, and what it said before is what comes first."""
    id = await events.finish("order:7", "delivered")
    await events.reopen("order:7")
    client = asgi(edge(), "/events/order/7", headers={"last-event-id": id})
    await client.wait_for(b"\nid: ")
    await events.publish("order:7", "returned")
    await hears(client, "returned")


async def test_a_finished_channel_refuses_what_comes_after(events):
    """Finished twice, or written to: it is said why, and that nothing happened."""
    await events.finish("order:7", "delivered")
    for attempt in (events.publish, events.finish):
        with pytest.raises(PublishError, match="order:7.* has had its last event") as caught:
            await attempt("order:7", "more")
        assert (caught.value.reason, caught.value.may_have_happened) == ("finished", False)
    assert [event.data for event in await events.recent("order:7", 9)] == ["delivered"]


# ---- What cannot be


@pytest.mark.parametrize("first", [-1, True, False, 1.0, 1_000_001, 10**30, "", "ALL", "1", None, [1]])
def test_first_is_a_number_or_all(first):
    """Anything else is refused by name, with its value."""
    with pytest.raises(ConfigError, match="^first: ") as caught:
        Channel("a", first=first)
    assert repr(first)[:100] in str(caught.value)


STATES = {"order:*": Retention(1, 86_400), "task:*": Retention(10_000, 3600)}


@pytest.mark.parametrize(
    ("template", "first", "settings", "why"),
    [
        ("order:{id}", 1, {"retention": STATES}, None),
        ("order:{id}", 2, {"retention": STATES}, "no more than 1 "),
        ("order:{id}:log", 2, {"retention": STATES}, "no more than 1 "),
        ("task:{id}", 10_000, {"retention": STATES}, None),
        ("task:{id}", 10_001, {"retention": STATES}, "no more than 10000 "),
        ("news", 100, {"retention": STATES}, None),
        ("news", 101, {"retention": STATES}, "no more than 100 "),
        ("news", 101, {"history": 200, "retention": STATES}, None),
        # What is kept of it depends on what it is filled with: only what nothing allows is refused.
        ("{kind}:x", 10_000, {"retention": STATES}, None),
        ("{kind}:x", 10_001, {"retention": STATES}, "no more than 10000 "),
        ("news", "all", {"retention": STATES}, None),
        ("news", 0, {"history": 0}, None),
        ("news", 1, {"history": 0}, "needs a backend that keeps history"),
        ("news", "all", {"history": 0}, "needs a backend that keeps history"),
    ],
)
@pytest.mark.parametrize("make", [MemoryBackend, RedisBackend])
def test_no_more_comes_first_than_is_kept(make, template, first, settings, why):
    """It is said at construction, where the backend was told what it keeps."""

    def construct():
        channels = {"/events/{kind}/{id}": Channel(template, first=first)}
        SSEMiddleware(backend=make(**settings), auth=EVERYBODY, channels=channels)

    if why is None:
        construct()
        return
    with pytest.raises(ConfigError, match=f"^first: .*{why}") as caught:
        construct()
    assert caught.value.field == "first"
    assert caught.value.value in (first, 2_147_483_647)
    assert template in str(caught.value)


def test_a_backend_that_was_not_told_refuses_nothing():
    """What Redis keeps may be said by another worker."""
    channels = {"/events/news": Channel("news", first=5_000)}
    SSEMiddleware(backend=RedisBackend(), auth=EVERYBODY, channels=channels)


# ---- The page of docs/EVENTS.md


async def test_a_page_that_is_rendered_first_goes_on_without_a_hole(edge, asgi, events):
    """As the page has it: with the state, from its place; without any, from before it was looked for."""
    events_page = (Path(__file__).parents[2] / "docs" / "EVENTS.md").read_text()
    (code,) = re.findall(r"```python\n(@api\.get\(\"/orders/.*?)```", events_page, re.DOTALL)
    app = FastAPI()
    names = {"api": app, "events": events, "html": html, "quote": quote, "HTMLResponse": HTMLResponse}
    exec(code, names)
    middleware = edge(app=app, channels={"/events/orders/{id}": "order:{id}"})

    async def opened():
        page = asgi(middleware, "/orders/7")
        text = (await page.whole()).decode()
        state, query = re.search(
            r'<p id="state">(.*?)</p>.*"/events/orders/7\?(.*?)"', text, re.DOTALL
        ).groups()
        return state, query

    state, query = await opened()
    assert state == "nothing yet"
    await events.publish("order:7", "paid & <packed>", event="status")
    await hears(asgi(middleware, "/events/orders/7", query=query), "paid & <packed>")
    state, query = await opened()
    assert state == "paid &amp; &lt;packed&gt;"
    await events.publish("order:7", "shipped", event="status")
    await hears(asgi(middleware, "/events/orders/7", query=query), "shipped")


@pytest.mark.live
async def test_two_thousand_pages_read_each_channel_once(redis_url, asgi, monkeypatch):
    """However many pages open on channels that this worker has not heard of, and in whatever turns."""
    backend = RedisBackend(redis_url)
    channels = {"/events/order/{id}": Channel("order:{id}", first=1)}
    limits = Limits(per_ip=None, per_user=None, connects_per_ip=None)
    read, asked = Partition.read, []

    async def counted(partition, channels):
        asked.extend(one.channel for one in channels)
        return await read(partition, channels)

    monkeypatch.setattr(Partition, "read", counted)
    async with Publisher(backend) as events:
        await events.publish_many([(f"order:{n}", f"{n} is {state}") for state in "ab" for n in range(20)])
        edge = SSEMiddleware(
            backend=backend, auth=EVERYBODY, channels=channels, limits=limits, hosts=["testserver"]
        )
        chance = random.Random(15)
        pages, opening = [], []
        for number in range(2000):
            page = asgi(edge, f"/events/order/{number % 20}")
            pages.append(page)
            opening.append(asyncio.create_task(page.start()))
            if chance.random() < 0.05:
                await asyncio.sleep(chance.choice([0, 0.001]))
        await asyncio.gather(*opening)
        for number, page in enumerate(pages):
            await hears(page, f"{number % 20} is b")
        await edge.stop()
    assert sorted(asked) == sorted(f"order:{n}" for n in range(20))
    await backend.close()


@pytest.mark.live
async def test_who_hears_the_end_over_several_orders_of_events(redis_url, asgi):
    """It is ended when all of them have come as far, so that it need not be told the end again."""
    backend = RedisBackend(redis_url, partitions=4)
    edge = SSEMiddleware(backend=backend, auth=EVERYBODY, channels=CHANNELS, hosts=["testserver"])
    async with Publisher(backend) as events:
        pages = [asgi(edge, f"/events/order/{n}") for n in range(8)]
        await asyncio.gather(*(page.start() for page in pages))
        for n in range(8):
            await events.finish(f"order:{n}", "shipped")
        for n, page in enumerate(pages):
            await page.ended()
            assert said(page) == ["shipped", "edge-close"]
            again = asgi(edge, f"/events/order/{n}", headers={"last-event-id": place(page)})
            assert (await again.start())[0] == 204
    await edge.stop()
    await backend.close()


@pytest.mark.live
async def test_an_open_page_after_redis_lost_its_name(private_redis, asgi):
    """Its stream is reset, and given the state again; one that has nothing first is only reset."""
    server = private_redis(appendonly=True, appendfsync="always")
    backend = RedisBackend(server.url)
    edge = SSEMiddleware(backend=backend, auth=EVERYBODY, channels=CHANNELS, hosts=["testserver"])
    async with Publisher(backend) as events:
        await events.publish_many([("order:7", "packed"), ("order:7", "shipped"), ("news", "old")])
        pages = [asgi(edge, path) for path in ("/events/order/7", "/events/news", "/events/asked")]
        for page in pages:
            await page.start()
        await hears(pages[0], "shipped")
        await hears(pages[2], "packed", "shipped")
        async with asyncio.timeout(5):
            while not place(pages[1]):
                await pages[1].wait_for(b"id: ")
        headers = {"last-event-id": place(pages[0]), "accept": "application/json"}
        poll = asgi(edge, "/events/order/7", headers=headers)
        waiting = asyncio.create_task(poll.open().ended())
        async with asyncio.timeout(5):
            while len(edge._worker.hub.streams) < 4 or any(each.owed for each in edge._worker.hub.streams):
                await asyncio.sleep(0.005)
        server.kill()
        server.start()
        await waiting
        answer = json.loads(poll.body())
        assert ([event["data"] for event in answer["events"]], len(answer["resets"])) == (["shipped"], 1)
        await hears(pages[0], "shipped", "edge-reset", "shipped")
        await hears(pages[1], "edge-reset")
        again = ["edge-reset", "packed", "shipped"]
        await hears(pages[2], "packed", "shipped", *again, "edge-reset")  # and of the news
        async with asyncio.timeout(10):
            while not edge.ready:
                await asyncio.sleep(0.01)
        await events.publish("order:7", "delivered")
        await hears(pages[0], "shipped", "edge-reset", "shipped", "delivered")
        again = asgi(edge, "/events/order/7", headers={"last-event-id": place(pages[0])})
        await again.start()
        await events.publish("order:7", "returned")
        await hears(again, "returned")
    await edge.stop()
    await backend.close()
