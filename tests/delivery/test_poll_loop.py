"""Clients that poll again and again: over real servers and backends they get what a stream gets."""

import asyncio
import contextlib
import json
import random
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from apps.edge import AUTH
from parts.ears import until
from servers.asgi import ASGIClient
from servers.browser import wait_for
from servers.sse import Decoder
from sse_edge import (
    Anonymous,
    Channel,
    Limits,
    MemoryBackend,
    Publisher,
    PublishError,
    RedisBackend,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.delivery import poll

CHANNELS = ["c0", "c1", "c2", "c3"]
UNLIMITED = Limits(per_user=None, per_ip=None, per_worker=None, connects_per_ip=None)
COOKIES = {"session": AUTH.issue("u42", ["order:*"])}


def make(backend, **settings):
    """A middleware on ``backend`` where everybody may hear CHANNELS."""
    return SSEMiddleware(
        backend=backend,
        auth=Anonymous(),
        hosts=["testserver"],
        limits=UNLIMITED,
        **{"channels": {"/events/all": CHANNELS}, **settings},
    )


def query(next, wait=10):
    return urlencode({"poll": wait} | ({"last_event_id": next} if next else {}))


class Looping:
    """Polls in a loop over ASGI, and leaves some of its polls before they are answered."""

    def __init__(self, middleware, leaves=0.0):
        self.middleware = middleware
        self.leaves = leaves
        self.next = None
        self.heard = []
        self.resets = []
        self.left = self.answered = 0
        self.chance = random.Random(7)

    async def run(self):
        while True:
            client = ASGIClient(self.middleware, "/events/all", query=query(self.next)).open()
            if self.next and self.chance.random() < self.leaves:
                await asyncio.wait([client.task], timeout=self.chance.random() * 0.02)
                client.disconnect()
                await client.ended()
                if not client.complete:
                    self.left += 1
                    continue
            body = await client.whole(30)
            if client.status == 204:  # it has had the end
                return
            if client.status != 200:
                assert (client.status, json.loads(body)["error"]) == (503, "backend-down")
                await asyncio.sleep(0.05)
                continue
            answer = json.loads(body)
            self.answered += 1
            self.heard += [event["data"] for event in answer["events"]]
            self.resets += answer["resets"]
            self.next = answer["next"]
            if answer["close"] == {"reason": "finished"}:
                return
            if answer["close"] is not None:
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def going(*loops):
    """Run these in the background; what fails in one fails here."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run()) for loop in loops]
        await until(lambda: all(loop.next for loop in loops))
        yield
        for task in tasks:
            task.cancel()


def by_channel(heard):
    """Each channel's events, in the order in which they were heard; a text begins with its channel."""
    return {channel: [text for text in heard if text.startswith(channel)] for channel in CHANNELS}


@pytest.fixture(params=["memory", "redis", "partitions"])
async def backend(request):
    """A backend of each kind."""
    if request.param == "memory":
        backend = MemoryBackend(history=10_000)
    else:
        url = request.getfixturevalue("redis_url")
        partitions = 3 if request.param == "partitions" else 1
        backend = RedisBackend(url, history=10_000, partitions=partitions)
    yield backend
    await backend.close()


async def test_a_loop_gets_what_a_stream_gets(backend, asgi):
    """Exactly what is published, none twice, on each channel in order; also who leaves many polls."""
    middleware, publisher = make(backend), Publisher(backend)
    stream = asgi(middleware, "/events/all")
    await stream.wait_for(b"\nid: ")
    steady, restless = Looping(middleware), Looping(middleware, leaves=0.7)
    published = []
    async with going(steady, restless):
        for n in range(400):
            text = f"{CHANNELS[n % 4]} {n}"
            await publisher.publish(CHANNELS[n % 4], text)
            published.append(text)
            if n % 7 == 0:
                await asyncio.sleep(0.004)
        await until(lambda: min(len(steady.heard), len(restless.heard)) >= 400, 20)
        await stream.wait_for(published[-1].encode())
    streamed = [event.data for event in Decoder().feed(stream.body()) if event.event == "message"]
    for heard in (streamed, steady.heard, restless.heard):
        assert by_channel(heard) == by_channel(published)
        assert len(heard) == 400
    assert steady.resets == restless.resets == []
    assert restless.left > 5
    assert steady.answered > 5
    stream.disconnect()
    await stream.ended()
    await middleware.stop()


async def test_loops_that_begin_with_all_there_is(backend, monkeypatch):
    """Who comes late, in the middle of events, is told all of them once, in pieces, and then of the end."""
    monkeypatch.setattr(poll, "MOST", 2000)
    firsts = [Channel(channel, first="all") for channel in CHANNELS]
    middleware, publisher = make(backend, channels={"/events/all": firsts}), Publisher(backend)
    loops = [Looping(middleware) for _ in range(8)]
    published = []

    async def publish(count):
        for _ in range(count):
            text = f"{CHANNELS[len(published) % 4]} {len(published)}"
            await publisher.publish(text[:2], text)
            published.append(text)

    await publish(200)
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run())
            await publish(25)
        for channel in CHANNELS:
            published.append(f"{channel} end")
            await publisher.finish(channel, published[-1])
    for loop in loops:
        assert by_channel(loop.heard) == by_channel(published)
    await middleware.stop()


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_loop_while_redis_restarts(private_redis, partitions):
    """What is published before, meanwhile and after comes once and in order; the loop just goes on."""
    server = private_redis(appendonly=True, appendfsync="always")
    backend = RedisBackend(server.url, history=10_000, partitions=partitions, durable=True)
    middleware, publisher = make(backend), Publisher(backend)
    loop = Looping(middleware)
    published = []

    async def publish(count):
        for _ in range(count):
            text = f"{CHANNELS[len(published) % 4]} {len(published)}"
            while True:
                try:
                    await publisher.publish(text[:2], text, dedupe_key=text)
                except PublishError:
                    await asyncio.sleep(0.05)
                    continue
                break
            published.append(text)

    async with going(loop):
        await publish(50)
        meanwhile = asyncio.create_task(publish(100))
        await asyncio.to_thread(server.restart, keep_data=True)
        await meanwhile
        await publish(50)
        await until(lambda: len(loop.heard) >= 200, 30)
    assert by_channel(loop.heard) == by_channel(published)
    assert len(loop.heard) == 200
    assert loop.resets == []
    await middleware.stop()
    await backend.close()


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_loop_when_redis_loses_its_data(private_redis, partitions):
    """Each channel is reset, once; what is published afterwards comes once."""
    server = private_redis()
    backend = RedisBackend(server.url, partitions=partitions)
    middleware, publisher = make(backend), Publisher(backend)
    loop = Looping(middleware)
    async with going(loop):
        await publisher.publish("c0", "c0 before")
        await until(lambda: loop.heard)
        await asyncio.to_thread(server.restart, keep_data=False)
        await until(lambda: len(loop.resets) >= len(CHANNELS))
        for channel in CHANNELS:
            await publisher.publish(channel, f"{channel} after")
        await until(lambda: len(loop.heard) > len(CHANNELS))
    assert sorted(loop.resets, key=str) == [{"channel": name, "reason": "epoch"} for name in CHANNELS]
    assert sorted(loop.heard) == sorted(["c0 before", *(f"{channel} after" for channel in CHANNELS)])
    assert loop.answered < 20
    await middleware.stop()
    await backend.close()


async def test_a_thousand_polls(redis_url):
    """All that missed the same are answered from one read of history, and all that wait by one event."""
    backend = RedisBackend(redis_url)
    publisher = Publisher(backend)
    place = str(await backend.cursor())
    for n in range(10):
        await publisher.publish("c0", f"missed {n}")
    middleware = make(backend)
    clients = [ASGIClient(middleware, "/events/all", query=query(place)) for _ in range(1000)]
    answers = [json.loads(body) for body in await asyncio.gather(*(client.whole(30) for client in clients))]
    assert all(len(answer["events"]) == 10 for answer in answers)
    subscriber = middleware._worker.hub.subscriber
    assert subscriber.reads == 1
    clients = [ASGIClient(middleware, "/events/all", query=query(answer["next"], 60)) for answer in answers]
    for client in clients:
        client.open()
    hub = middleware._worker.hub
    await until(lambda: len(hub.streams) == 1000 and not any(stream.owed for stream in hub.streams))
    await publisher.publish("c0", "news")
    answers = [json.loads(body) for body in await asyncio.gather(*(client.whole(30) for client in clients))]
    assert [[event["data"] for event in answer["events"]] for answer in answers] == [["news"]] * 1000
    assert subscriber.reads == 1
    await until(lambda: not hub.streams)
    await middleware.stop()
    await backend.close()


SERVERS = {
    "uvicorn, httptools": {"options": ["--http", "httptools"]},
    "uvicorn, h11": {"options": ["--http", "h11"]},
    "hypercorn": {"server": "hypercorn"},
    "granian": {"server": "granian"},
}


@pytest.mark.parametrize("server", SERVERS)
async def test_many_polls_over_one_connection(serve_app, redis_url, server):
    """A connection survives its polls, those that waited too; and whoever leaves is let go of at once."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url}, **SERVERS[server])
    opened, connections = [], httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))

    async def note(name, info):
        if name == "connection.connect_tcp.complete":
            opened.append(name)

    url = f"{process.url}/events/me"
    async with (
        httpx.AsyncClient(transport=connections, cookies=COOKIES, timeout=20) as client,
        Publisher(redis_url) as publisher,
    ):
        ask = {"headers": {"accept": "application/json"}, "extensions": {"trace": note}}
        next = (await client.get(url, **ask)).json()["next"]
        for n in range(30):
            polling = asyncio.create_task(client.get(f"{url}?{query(next)}", **ask))
            if n % 3:
                await asyncio.sleep(0.02)
            await publisher.publish("news", str(n))
            answer = (await polling).json()
            assert [event["data"] for event in answer["events"]] == [str(n)]
            next = answer["next"]
        assert (await client.get(f"{url}?{query(next, 0.3)}", **ask)).json()["events"] == []
        assert len(opened) == 1
        leaving = asyncio.create_task(client.get(f"{url}?{query(next, 60)}", **ask))
        figures = f"{process.url}/figures"
        async with httpx.AsyncClient() as other:
            while (await other.get(figures)).json()["streams"] < 1:
                await asyncio.sleep(0.01)
            leaving.cancel()
            async with asyncio.timeout(5):
                while (await other.get(figures)).json()["streams"]:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
async def test_polls_through_a_proxy(behind, redis_url, proxy):
    """As shipped both pass a poll on, while it waits and when it is answered or refused."""
    site = behind(proxy)
    url = f"{site.url}/events/me"
    async with (
        httpx.AsyncClient(verify=site.ssl, cookies=COOKIES, timeout=20) as client,
        Publisher(redis_url) as publisher,
    ):
        next = (await client.get(url, headers={"accept": "application/json"})).json()["next"]
        for n in range(5):
            polling = asyncio.create_task(client.get(f"{url}?{query(next)}"))
            await asyncio.sleep(0.02)
            await publisher.publish("news", str(n))
            answer = (await polling).json()
            assert [event["data"] for event in answer["events"]] == [str(n)]
            next = answer["next"]
        assert (await client.get(f"{url}?{query(next, 0.3)}")).json()["events"] == []
        assert (await client.get(f"{url}?poll=soon")).json()["error"] == "bad-request"


async def test_a_signal_answers_polls(serve_app):
    """SIGTERM ends what waits with an answer, and the server waits for none of them."""
    process = serve_app("apps.edge:edge")
    async with httpx.AsyncClient(cookies=COOKIES, timeout=20) as client:
        url = f"{process.url}/events/me"
        next = (await client.get(f"{url}?poll")).json()["next"]
        polls = [asyncio.create_task(client.get(f"{url}?{query(next, 60)}")) for _ in range(3)]
        async with httpx.AsyncClient() as other:
            while (await other.get(f"{process.url}/figures")).json()["streams"] < 3:
                await asyncio.sleep(0.01)
        process.terminate()
        for answer in await asyncio.gather(*polls):
            assert answer.json()["close"] == {"reason": "drain"}


# ---- A page

POLLING = (Path(__file__).parents[2] / "docs" / "EVENTS.md").read_text()
EXAMPLE = POLLING.partition("\n## Polling\n")[2].partition("```js\n")[2].partition("```")[0]
PAGE = """
window.heard = []; window.failed = []
const show = (event, data) => heard.push(data), loadAgain = async () => failed.push("reset");
(async () => {%s})().catch(error => failed.push(error.name))
"""


def poll_in(page, url):
    """Run the loop of docs/EVENTS.md in a page, on ``url`` and with cookies."""
    code = EXAMPLE.replace("`/events/me", f"`{url}").replace(
        "${next}`)", '${next}`, {credentials: "include"})'
    )
    assert code.count(url) == code.count("include") == 1
    page.execute_script(PAGE % code)


@pytest.mark.parametrize("origin", ["same", "cross", "foreign"])
def test_a_page_polls(serve_app, redis_url, page, origin):
    """The page's loop hears everything: on its own origin, on an allowed one, and not on another."""
    home = serve_app("apps.edge:edge")
    allowed = home.url if origin == "cross" else ""
    server = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "ORIGINS": allowed})
    page.get(server.url)
    page.add_cookie({"name": "session", "value": COOKIES["session"]})
    if origin != "same":
        page.get(home.url)
    poll_in(page, f"{server.url}/events/me")
    if origin == "foreign":
        wait_for(page, "failed.length === 1")
        assert page.execute_script("return [failed, heard]") == [["TypeError"], []]
        return
    wait_for(page, "performance.getEntriesByType('resource').some(entry => entry.name.includes('poll'))")
    with SyncPublisher(redis_url) as publisher:
        for n in range(20):
            publisher.publish("news", str(n))
    wait_for(page, "heard.length >= 20")
    assert page.execute_script("return [heard, failed]") == [[str(n) for n in range(20)], []]
