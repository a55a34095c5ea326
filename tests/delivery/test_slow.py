"""Clients that do not read, on real servers and both sinks: they are let go of, and nobody else notices."""

import asyncio
import json
import time

import pytest

from apps.edge import AUTH
from loadtest.measure.process import rss
from servers.sse import get
from sse_edge import Publisher

pytestmark = pytest.mark.live

KINDS = ["auto", "task"]
SMALL = 4096
"""A socket's receive buffer: the rest waits on the server's side."""

PATIENCE = 40


def serve_edge(serve_app, redis_url, sink, *, loop="uvloop", **env):
    """An edge on a sink, with settings from the environment.  In a new process: its memory is looked at."""
    env = {"BACKEND": redis_url, "SSE_EDGE_SINK": sink, **{name: str(value) for name, value in env.items()}}
    return serve_app("apps.edge:edge", env=env, options=["--loop", loop], new=True)


async def figures(process):
    return json.loads((await get(f"{process.url}/figures")).body)


async def listen(connect, process, user, **options):
    """A stream of a user that has its place: from here on it misses nothing."""
    cookies = {"session": AUTH.issue(user)}
    client = await connect(f"{process.url}/events/me", cookies=cookies, timeout=PATIENCE, **options)
    deadline = time.monotonic() + PATIENCE
    while not client.last_event_id:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return client


async def stuck(connect, process, user, **options):
    """The same, and from here on it reads nothing."""
    client = await listen(connect, process, user, receive_buffer=SMALL, **options)
    client.stop_reading()
    return client


async def endings(process, **expected):
    """Wait until streams have ended so."""
    deadline = time.monotonic() + PATIENCE
    while (seen := (await figures(process))["endings"]) != expected:
        assert time.monotonic() < deadline, f"expected {expected}, and they are {seen}"
        await asyncio.sleep(0.05)


def numbers(client):
    """The numbers of the events that a client has, which are the first words of their data."""
    return [int(event.data.split(" ", 1)[0]) for event in client.events]


@pytest.mark.parametrize("sink", KINDS)
async def test_stops_reading(serve_app, redis_url, connect, sink):
    """Who stops reading is ended as slow, costs no more memory, and misses nothing when it comes back."""
    # asyncio copies what waits in a transport, so that it would show.
    process = serve_edge(serve_app, redis_url, sink, loop="asyncio", MAX_UNSENT=200_000)
    reader = await listen(connect, process, "reader")
    clients = [await stuck(connect, process, f"u{number}") for number in range(20)]
    before = rss(process.pid)
    events, pad = 90, "x" * 200_000  # what history keeps of a channel
    async with Publisher(redis_url) as publisher:
        for number in range(events):
            await publisher.publish("news", f"{number} {pad}")
            if number % 4 == 3 or number == events - 1:  # as fast as a good client reads
                await reader.until(lambda event, n=number: event.data.startswith(f"{n} "), PATIENCE)
    await endings(process, slow=20)
    # What the kernel has no room for would be 15 MB for each of them.
    assert rss(process.pid) - before < 100_000_000
    assert process.log.count(" ended: slow after") == 20
    assert numbers(reader) == list(range(events))
    for number, client in enumerate(clients):
        client.resume_reading()
        while not client.closed:
            await asyncio.sleep(0.01)
        assert not client.clean_end
        # TaskSink cannot reset a connection: the server closes it behind what it holds.
        assert isinstance(client.error, ConnectionResetError) or sink == "task"
        if number < 3:
            again = await connect(
                f"{process.url}/events/me",
                cookies={"session": AUTH.issue(f"u{number}")},
                last_event_id=client.last_event_id,
            )
            await again.until(lambda event: event.data.startswith(f"{events - 1} "), PATIENCE)
            assert numbers(client) + numbers(again) == list(range(events))


@pytest.mark.parametrize("sink", ["auto", pytest.param("task", marks=pytest.mark.heavy)])
async def test_stuck_among_many(serve_app, redis_url, connect, sink):
    """Fifty stuck clients of five hundred end as slow; the others get every event, in order."""
    process = serve_edge(serve_app, redis_url, sink, MAX_UNSENT=100_000)
    good = [await listen(connect, process, "good") for _ in range(450)]
    bad = [await stuck(connect, process, "bad") for _ in range(50)]
    pad = "x" * 100_000
    async with Publisher(redis_url) as publisher:
        for number in range(60):
            await publisher.publish_many([("news", f"{number} "), ("user:bad", f"0 {pad}")])
        await endings(process, slow=50)
        await publisher.publish("news", "60 ")
    for client in good:
        await client.until(lambda event: event.data == "60 ", PATIENCE)
        assert numbers(client) == list(range(61))
    assert (await figures(process))["streams"] == 450
    assert not any(client.over for client in good)
    for client in bad:
        client.abort()


@pytest.mark.parametrize("sink", KINDS)
async def test_slow_but_steady(serve_app, redis_url, connect, sink):
    """A client that is always some events behind, and goes on reading, is not slow."""
    process = serve_edge(serve_app, redis_url, sink, MAX_UNSENT=400_000, MAX_UNSENT_AGE=1.5)
    client = await stuck(connect, process, "u")
    lag, last, pad = 4, 100, "x" * 20_000
    async with Publisher(redis_url) as publisher:
        for number in range(last + 1):
            await publisher.publish("news", f"{number} {pad}")
            if number >= lag:
                client.resume_reading()
                await client.until(lambda event, n=number - lag: event.data.startswith(f"{n} "), PATIENCE)
                client.stop_reading()
            await asyncio.sleep(0.04)
    client.resume_reading()
    await client.until(lambda event: event.data.startswith(f"{last} "), PATIENCE)
    assert numbers(client) == list(range(last + 1))
    assert (await figures(process))["endings"] == {}


@pytest.mark.parametrize(("sink", "size"), [("auto", 1000), ("task", 250_000)])
async def test_few_events(serve_app, redis_url, connect, sink, size):
    """A client that lets a byte wait for too long is slow, however few there are.

    TaskSink does not see what the server's machine has taken, a few megabytes: it takes more for it to know.
    """
    process = serve_edge(serve_app, redis_url, sink, MAX_UNSENT=100_000_000, MAX_UNSENT_AGE=0.5)
    reader = await listen(connect, process, "reader")
    client = await stuck(connect, process, "u")
    async with Publisher(redis_url) as publisher:
        for number in range(20):
            await publisher.publish("news", f"{number} {'x' * size}")
    await endings(process, slow=1)
    assert numbers(reader) == list(range(20))
    assert not reader.over
    client.abort()


@pytest.mark.parametrize(
    ("server", "options"),
    [
        pytest.param("uvicorn", [], marks=pytest.mark.heavy),
        pytest.param("gunicorn", ["-k", "asgi"], marks=pytest.mark.heavy),
        ("hypercorn", []),
    ],
)
async def test_is_cut_off(serve_app, redis_url, connect, server, options):
    """Who is slow is cut off where the server sends, too: it would wait until they have read all of it."""
    env = {"BACKEND": redis_url, "SSE_EDGE_SINK": "task", "MAX_UNSENT_AGE": "0.5"}
    process = serve_app("apps.edge:edge", server=server, options=options, env=env)
    client = await stuck(connect, process, "u")
    async with Publisher(redis_url) as publisher:
        for number in range(20):
            await publisher.publish("news", f"{number} {'x' * 250_000}")
    await endings(process, slow=1)
    client.resume_reading()
    while not client.closed:
        await asyncio.sleep(0.01)
    assert isinstance(client.error, ConnectionResetError)


async def history(connect, process, redis_url):
    """20 MB of history, which the worker has heard: the place before it, how many events, and a reader."""
    reader = await listen(connect, process, "reader")
    place, events = reader.last_event_id, 95
    async with Publisher(redis_url) as publisher:
        for number in range(events):
            await publisher.publish("news", f"{number} {'x' * 210_000}")
            await reader.until(lambda event, n=number: event.data.startswith(f"{n} "), PATIENCE)
    return place, events, reader


async def resume(connect, process, place, user="u"):
    """A client that comes back from ``place``, and reads little by little, if at all."""
    cookies = {"session": AUTH.issue(user)}
    client = await connect(
        f"{process.url}/events/me",
        cookies=cookies,
        timeout=PATIENCE,
        last_event_id=place,
        receive_buffer=SMALL,
    )
    client.stop_reading()
    return client


async def at_rest(process, streams):
    """Wait until there are so many streams and nothing is written to them any more."""
    deadline, seen = time.monotonic() + PATIENCE, []
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        assert time.monotonic() < deadline
        now = await figures(process)
        seen = [*seen, now["delivered"]] if now["streams"] == streams else []
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("sink", KINDS)
async def test_what_is_owed_is_shared(serve_app, redis_url, connect, sink, loop):
    """Ten clients that resume 20 MB and do not read cost 30 MB at most; who reads on gets all of it."""
    process = serve_edge(serve_app, redis_url, sink, loop=loop, MAX_UNSENT=100_000, MAX_UNSENT_AGE=6)
    place, events, reader = await history(connect, process, redis_url)
    before = rss(process.pid)
    clients = [await resume(connect, process, place, f"u{number}") for number in range(10)]
    await at_rest(process, 11)
    assert rss(process.pid) - before <= 30_000_000
    async with Publisher(redis_url) as publisher:
        await publisher.publish("news", f"{events} ")
    clients[0].resume_reading()
    await clients[0].until(lambda event: event.data == f"{events} ", PATIENCE)
    assert numbers(clients[0]) == list(range(events + 1))
    await endings(process, slow=9)
    assert not clients[0].over
    assert not reader.over
    for client in clients[1:]:
        client.abort()


@pytest.mark.parametrize("sink", KINDS)
async def test_a_replay_that_takes_long(serve_app, redis_url, connect, sink):
    """A client that reads a large replay slowly, and never stops, gets all of it and what came meanwhile."""
    process = serve_edge(serve_app, redis_url, sink, MAX_UNSENT=1_000_000, MAX_UNSENT_AGE=1)
    place, events, _ = await history(connect, process, redis_url)
    client = await resume(connect, process, place)
    began = time.monotonic()
    async with Publisher(redis_url) as publisher:
        for number in range(events):
            client.resume_reading()
            await client.until(lambda event, n=number: event.data.startswith(f"{n} "), PATIENCE)
            client.stop_reading()
            if number % 10 == 0:
                await publisher.publish("news", f"{events + number // 10} ")
            await asyncio.sleep(0.05)
    assert time.monotonic() - began > 4  # longer than any byte may wait
    client.resume_reading()
    last = events + (events - 1) // 10
    await client.until(lambda event: event.data == f"{last} ", PATIENCE)
    assert numbers(client) == list(range(last + 1))
    assert (await figures(process))["endings"] == {}
