"""Producers in processes of their own: who writes, who stops one, and what happens when it or Redis dies."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from apps.edge import AUTH
from parts.ears import Ear, until
from servers.processes import TESTS, ServerProcess, free_port
from sse_edge import Publisher, RedisBackend, SyncPublisher
from sse_edge.backends.writers import IS_FINISHED, LOOK, WRITES
from sse_edge.errors import BackendError
from sse_edge.publishing.writer import end_abandoned
from sse_edge.stored import stored

ENDLESS = 1_000_000


class Producer:
    """A process that writes, and what its iterator gave."""

    def __init__(self, url, channel, path, count, how):
        self.path = path
        path.touch()
        package = str(Path(sys.modules["sse_edge"].__path__[0]).parent)
        env = {"PYTHONPATH": os.pathsep.join([str(TESTS), package])}
        arguments = [sys.executable, "-m", "apps.producing", url, channel, path, count, how]
        self.process = ServerProcess(arguments, env=env)

    @property
    def given(self):
        """Every piece so far."""
        return [line for line in self.path.read_text().split("\n")[:-1] if line != "finally"]

    @property
    def is_closed(self):
        return "finally" in self.path.read_text()

    async def said(self):
        """What it printed about the end."""
        await self.process.exited(40)
        return self.process.log.strip().split("\n")[-1].split()


@pytest.fixture
def produce(tmp_path):
    """``produce(url, channel, count, how)`` starts a Producer."""
    started = []

    def start(url, channel="a", count=ENDLESS, how=""):
        started.append(Producer(url, channel, tmp_path / str(len(started)), count, how))
        return started[-1]

    yield start
    for each in started:
        each.process.close()


@pytest.fixture
async def backend_of():
    """``backend_of(url, **settings)``: a RedisBackend that is closed in the end."""
    backends = []

    def make(url, **settings):
        backends.append(RedisBackend(url, **settings))
        return backends[-1]

    yield make
    for each in backends:
        await each.close()


@pytest.fixture
async def look():
    """``look(backend, every)``: look for dead writers, as a worker does."""
    tasks = []

    async def looks(backend, every):
        while True:
            await asyncio.sleep(every)
            with contextlib.suppress(BackendError):
                await end_abandoned(backend)

    def begin(backend, every=LOOK):
        tasks.append(asyncio.create_task(looks(backend, every)))

    yield begin
    for task in tasks:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def listen():
    """``await listen(backend)``: an ear on channel a."""
    started = []

    async def begin(backend):
        ear = Ear()
        started.append(backend.subscriber(ear))
        await started[-1].start()
        await started[-1].subscribe(["a"])
        return ear

    yield begin
    for each in started:
        await each.close()


async def told(backend, channel="a"):
    """(name, data) of all that history has."""
    recent = await backend.recent(channel, 100_000)
    return [(event.event, event.data) for event in (stored(channel, frame) for _, frame in recent)]


@pytest.mark.parametrize("how", ["", "sync"])
async def test_one_writes(redis_url, backend_of, produce, how):
    """A second process is refused or waits; a third stops the first one, whose ``finally`` has run."""
    backend = backend_of(redis_url)
    first = produce(redis_url, how=how)
    await until(lambda: len(first.given) > 20, 20)
    refused, joins = produce(redis_url), produce(redis_url, how="join")
    assert await refused.said() == ["refused", "writing"]
    assert refused.given == []
    assert joins.process.alive
    with SyncPublisher(redis_url) as events:
        began = time.monotonic()
        assert await asyncio.to_thread(events.stop, "a") is True
        while await backend.writers().standing("a") != IS_FINISHED:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 2  # one second, on a machine that has nothing else to do
        _, reason, id, count = await first.said()
        assert reason == "stopped"
        assert first.is_closed
        assert await joins.said() == ["ended", "stopped", id, "0"]
        assert joins.given == []
        assert int(count) < len(first.given) / 2  # 200 pieces a second are some 45 events
        assert await asyncio.to_thread(events.stop, "a") is False


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.heavy)])
async def test_a_producer_that_is_gone(redis_url, serve_app, connect, produce, backend_of, number):
    """An open stream hears within 10 s of a producer's end; one that only stood still writes no more."""
    app = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "ORIGINS": "https://x.test"}, workers=2)
    cookies = {"session": AUTH.issue("u42", ["order:*"])}
    stream = await connect(f"{app.url}/events/orders/7", cookies=cookies)
    producer = produce(redis_url, "order:7")
    await stream.until(lambda event: event.event == "token")
    producer.process.signal(number)
    began = time.monotonic()
    await stream.until(lambda event: event.event == "abandoned", 20)
    assert time.monotonic() - began < 11  # and one for a busy machine
    (close,) = await stream.take(1)
    assert (close.event, close.data) == ("edge-close", '{"reason": "finished"}')
    if number == signal.SIGSTOP:
        producer.process.signal(signal.SIGCONT)
        assert (await producer.said())[:2] == ["ended", "abandoned"]
        assert producer.is_closed
    backend = backend_of(redis_url)
    events = await told(backend, "order:7")
    assert events[-1] == ("abandoned", "abandoned")
    assert [name for name, _ in events].count("abandoned") == 1
    async with asyncio.timeout(10):  # it is written by who ended it, for a moment longer
        while await backend.writers().standing("order:7") != IS_FINISHED:
            await asyncio.sleep(0.01)


async def test_a_worker_that_is_stopped(redis_url, serve, backend_of, tmp_path):
    """At SIGTERM a task of an edge worker ends its channel at once, and its iterator's finally runs."""
    port, path = free_port(), tmp_path / "given"
    path.touch()
    package = str(Path(sys.modules["sse_edge"].__path__[0]).parent)
    env = {"PYTHONPATH": os.pathsep.join([str(TESTS), package]), "BACKEND": redis_url, "DIARY": str(path)}
    command = [Path(sys.executable).with_name("sse-edge"), "serve", "apps.writing:app", "--port", port]
    server = serve([*command, "--workers", 2], port=port, env=env)
    async with httpx.AsyncClient() as client:
        await client.post(f"http://127.0.0.1:{port}/write/a")
    await until(lambda: "20" in path.read_text(), 20)
    server.signal(signal.SIGTERM)
    began = time.monotonic()
    backend = backend_of(redis_url)
    async with asyncio.timeout(20):
        while ("abandoned", "abandoned") not in await told(backend):
            await asyncio.sleep(0.02)
    assert time.monotonic() - began < 4  # a lease lasts for longer
    await server.exited()
    assert "finally" in path.read_text()
    assert "ended abandoned" in path.read_text()


async def test_a_producer_that_stands_still(redis_url, produce, backend_of, look):
    """A producer whose machine is slow for a moment is not taken for dead."""
    backend = backend_of(redis_url)
    producer = produce(redis_url, count=400)
    await until(lambda: len(producer.given) > 20, 20)
    look(backend)
    producer.process.signal(signal.SIGSTOP)
    await asyncio.sleep(2)
    producer.process.signal(signal.SIGCONT)
    assert (await producer.said())[:2] == ["ended", "complete"]


@pytest.mark.parametrize(
    ("fault", "how"), [("killed", ""), pytest.param("stands still", "sync", marks=pytest.mark.heavy)]
)
async def test_redis_goes_and_comes_back(private_redis, produce, backend_of, listen, look, fault, how):
    """Redis is killed and started again, or stands still for longer than anybody waits: nothing is missed,
    nothing is heard twice, and a living producer is not taken for dead."""
    server = private_redis(appendonly=True, appendfsync="always")
    backend = backend_of(server.url, history=1000, durable=True, timeout=1.0)
    ear = await listen(backend)
    look(backend, 0.1)
    producer = produce(server.url, count=2000, how=how)
    await until(lambda: len(producer.given) > 20, 20)
    for seconds in (0.3, 6.0):
        if fault == "killed":
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(server.start)
        else:
            server.pause()
            await asyncio.sleep(seconds)
            server.resume()
        heard = len(ear.data)
        await ear.until(lambda heard=heard: len(ear.data) > heard + 20, 20)
    assert (await producer.said())[:2] == ["ended", "complete"]
    await ear.until(lambda: b"event: complete" in ear.heard[-1][2])
    frames = [frame for _, _, frame in ear.heard]
    text = "".join(stored("a", frame).data for frame in frames[:-1])
    assert text.split() == producer.given == [str(number) for number in range(2000)]
    assert ear.resets == []


async def test_on_a_cluster(cluster, produce, backend_of):
    """On a Cluster one process writes to a channel, and another stops it."""
    producer = produce(cluster.url)
    await until(lambda: len(producer.given) > 20, 30)
    backend = backend_of(cluster.url)
    assert await backend.writers().standing("a") == WRITES
    refused = produce(cluster.url)
    assert await refused.said() == ["refused", "writing"]
    async with Publisher(backend) as events:
        assert await events.stop("a") is True
    assert (await producer.said())[:2] == ["ended", "stopped"]
    text = "".join(data for name, data in await told(backend) if name == "token").split()
    # The piece that is being given while it is stopped may be nobody's any more.
    assert text in (producer.given[-len(text) :], producer.given[-len(text) - 1 : -1])
