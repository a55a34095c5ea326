"""Sources on real servers, both sinks and both loops: iterators end with their clients, and wait for them."""

import asyncio
import json
import signal
import time

import pytest

from apps import inside
from apps.sources import AUTH
from servers.sse import get

pytestmark = pytest.mark.live

SINKS = ["auto", "task"]
KINDS = [(sink, loop) for sink in SINKS for loop in ("uvloop", "asyncio")]
PATIENCE = 20


@pytest.fixture
def served(serve_app):
    """``served(sink, loop)`` is the app of sources in uvicorn."""

    def start(sink, loop="uvloop", **env):
        return serve_app("apps.sources:edge", env={"SSE_EDGE_SINK": sink, **env}, options=["--loop", loop])

    return start


@pytest.fixture
def listen(connect):
    """``await listen(process, "ticks")`` opens a stream."""

    async def open_stream(process, path, user="u", **options):
        cookies = {"session": AUTH.issue(user)}
        return await connect(f"{process.url}/events/{path}", cookies=cookies, timeout=PATIENCE, **options)

    return open_stream


async def figures(process):
    return json.loads((await get(f"{process.url}/figures")).body)


async def until(process, **expected):
    """Wait until the figures are so; how long that took."""
    began = time.monotonic()
    while {name: (seen := await figures(process))[name] for name in expected} != expected:
        assert time.monotonic() < began + PATIENCE, seen
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize(("sink", "loop"), KINDS)
async def test_a_counter(served, listen, sink, loop):
    """It counts, goes on where its client was, and is closed within a second of its client's leaving."""
    process = served(sink, loop)
    client = await listen(process, "ticks")
    await client.until(lambda event: event.data == "5", PATIENCE)
    client.abort()
    again = await listen(process, "ticks", last_event_id=client.last_event_id)
    seen = int(client.last_event_id)
    await again.until(lambda event: event.data == str(seen + 3), PATIENCE)
    assert [int(event.data) for event in again.events] == list(range(seen + 1, seen + 4))
    hanging = await listen(process, "hang")
    await hanging.until(lambda event: event.data == "hangs", PATIENCE)
    again.abort()
    hanging.abort()
    assert await until(process, open=0, closed=3, streams=0) < 1


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_on_another_server(serve_app, listen, server):
    """An iterator is closed within a second of its client's leaving, in the middle of an item, too."""
    process = serve_app("apps.sources:edge", server=server)
    clients = [await listen(process, path) for path in ("ticks", "hang", "flood")]
    for client in clients:
        await client.until(lambda event: True, PATIENCE)
    assert (await figures(process))["open"] == 3
    for client in clients:
        client.abort()
    assert await until(process, open=0, closed=3, streams=0) < 1


@pytest.mark.parametrize("sink", SINKS)
async def test_whatever_they_do_inside(serve_app, listen, sink):
    """Time-outs, failures, task groups, a model's answer: each lives for longer than one that is let go of,
    and its finally has run within a second of its client's leaving; nothing is left, or complained of."""
    process = serve_app("apps.inside:edge", env={"SSE_EDGE_SINK": sink})
    clients = {name: await listen(process, name) for name in inside.KINDS}
    began = time.monotonic()
    for client in clients.values():
        await client.until(lambda event: time.monotonic() > began + 2 and event.data == "x", PATIENCE)
    assert (await figures(process))["finished"] == 0
    for client in clients.values():
        client.abort()
    count = len(clients)
    assert await until(process, begun=count, finished=count, connections=0, streams=0) < 1
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 10) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.log
    assert "WARNING" not in process.log
    assert "ERROR" not in process.log


@pytest.mark.parametrize(("sink", "loop"), KINDS)
async def test_a_client_that_does_not_read(served, listen, sink, loop):
    """Its iterator waits, a little ahead of what server and kernel take, and is closed when it is slow."""
    process = served(sink, loop, MAX_UNSENT_AGE="1.5")
    client = await listen(process, "flood", receive_buffer=4096)
    client.stop_reading()
    made = -1
    while made != (made := (await figures(process))["flooded"]) or not made:
        await asyncio.sleep(0.4)
    # TaskSink sees neither the transport nor the kernel, whose buffer grows to some megabytes.
    assert made * 1007 < (200_000 if sink == "auto" else 8_000_000)
    if sink == "auto":
        assert client.raw.count(b"data: ") < made
        await until(process, open=0, closed=1, streams=0, endings={"slow": 1})
    client.abort()
    await until(process, open=0, closed=1, streams=0)


async def test_fast_and_many(served, listen):
    """500 clocks and three iterators that never wait leave a channel's events on time; all end."""
    process = served("auto")
    clocks = await asyncio.gather(*(listen(process, "ticks", user=f"c{n % 5}") for n in range(500)))
    floods = [await listen(process, "flood", user="flood") for _ in range(3)]
    news = await listen(process, "news", user="news")
    latest = 0.0
    for n in range(10):
        began = time.monotonic()
        await get(f"{process.url}/publish", method="POST", body=f"news {n}".encode())
        await news.until(lambda event, n=n: event.data == f"news {n}", PATIENCE)
        latest = max(latest, time.monotonic() - began)
    assert latest < 3
    for client in clocks:
        await client.until(lambda event: int(event.data) >= 5, PATIENCE)
        assert [int(event.data) for event in client.events][:5] == [1, 2, 3, 4, 5]
    assert (await figures(process))["open"] == 503
    for client in [*clocks, *floods]:
        client.abort()
    assert await until(process, open=0, closed=503, streams=1) < 5


@pytest.mark.parametrize("sink", SINKS)
async def test_drain(served, listen, sink):
    """Clients of iterators that hang, and of one that ends for nothing, are told; the process ends."""
    process = served(sink)
    clients = [await listen(process, path) for path in ("hang", "ticks", "stubborn", "hang")]
    for client in clients:
        await client.until(lambda event: True, PATIENCE)
    keep_alives = clients[0]
    async with asyncio.timeout(PATIENCE):
        while b": keep-alive" not in keep_alives.raw:
            await asyncio.sleep(0.05)
    process.signal(signal.SIGTERM)
    for client in clients:
        close = await client.until(lambda event: event.event == "edge-close", PATIENCE)
        assert json.loads(close.data) == {"reason": "drain"}
    began = time.monotonic()
    assert await asyncio.to_thread(process.wait, 10) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5
    assert process.log.count("was let go of, for /events/stubborn, user=u") == 1
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("server", "options"),
    [("uvicorn", []), ("gunicorn", ["-k", "asgi", "--graceful-timeout", "25"]), ("hypercorn", [])],
)
async def test_who_does_not_read_holds_up_no_stop(serve_app, listen, server, options):
    """Who has not taken the goodbye in time is cut off, or let go of before the server gives up: it would
    wait until they have read what they were given."""
    process = serve_app("apps.sources:edge", server=server, options=options, env={"SSE_EDGE_SINK": "task"})
    client = await listen(process, "flood", receive_buffer=4096)
    client.stop_reading()
    made = -1
    while made != (made := (await figures(process))["flooded"]) or not made:
        await asyncio.sleep(0.4)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 12) in (0, -signal.SIGTERM)
    client.abort()
