"""Many streams on real servers: a rollout that evens out, and stops that nobody is stranded by."""

import asyncio
import json
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from apps.edge import AUTH
from servers.processes import free_port
from servers.sse import StreamClient, StreamEndedError, get
from sse_edge import Publisher

COOKIES = {"session": AUTH.issue("u42")}
CLI = [str(Path(sys.executable).with_name("sse-edge"))]
TESTS = str(Path(__file__).parents[1])


class Follower:
    """A client that hears numbers on the channel ``news`` and comes back, to any of the servers."""

    def __init__(self, first, servers, chance):
        self.server = first
        self.servers = servers
        self.chance = chance
        self.heard = []
        self.reasons = []
        self.last = None
        self.ready = asyncio.Event()

    async def follow(self):
        while True:
            url = f"{self.server.url}/events/me"
            try:
                client = await StreamClient.connect(url, cookies=COOKIES, last_event_id=self.last)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            try:
                await self._hear(client)
            finally:
                self.last = client.last_event_id or self.last
                client.abort()
                await client.aclose()
            self.server = self.chance.choice(self.servers)

    async def _hear(self, client):
        while True:
            if client.last_event_id:
                self.ready.set()
            try:
                event = await client.next(timeout=0.2)
            except TimeoutError:
                continue
            except StreamEndedError:
                return
            if event.event == "edge-close":
                self.reasons.append(json.loads(event.data)["reason"])
            elif event.event == "message":
                self.heard.append(int(event.data))


async def opened(*clients):
    """Until every one of them has been told its place."""
    async with asyncio.timeout(20):
        while not all(client.last_event_id for client in clients):
            await asyncio.sleep(0.02)


async def streams(process):
    return json.loads((await get(f"{process.url}/figures")).body)["streams"]


async def test_streams_even_out_within_one_maximum_duration(serve_app, redis_url):
    """After a rollout put all streams on one worker, they are spread once each has ended in its time."""
    env = {"BACKEND": redis_url, "MAX_DURATION": "2", "RETRY": "0.1"}
    servers = [serve_app("apps.edge:edge", env=env) for _ in range(3)]
    chance = random.Random(5)
    followers = [Follower(servers[0], servers, chance) for _ in range(90)]
    tasks = [asyncio.create_task(follower.follow()) for follower in followers]
    try:
        async with asyncio.timeout(20):
            for follower in followers:
                await follower.ready.wait()
        before = [await streams(server) for server in servers]
        assert before[0] > 60
        began, number = time.monotonic(), 0
        async with Publisher(redis_url) as events:
            while time.monotonic() - began < 3:  # the maximum duration, and time to come back
                number += 1
                await events.publish("news", str(number))
                await asyncio.sleep(0.02)
            spread = [await streams(server) for server in servers]
            await events.publish("news", str(number + 1))
        async with asyncio.timeout(10):
            while not all(follower.heard and follower.heard[-1] == number + 1 for follower in followers):
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for follower in followers:
        assert follower.heard == list(range(1, number + 2))
        assert set(follower.reasons) == {"max-duration"}
    # 90 by chance on three: 30 each, and with these bounds wrong once in a million times.
    assert all(12 <= count <= 50 for count in spread), f"{before} became {spread}"


@pytest.mark.parametrize("workers", [1, 3])
async def test_serve_drains_many_streams(serve, redis_url, connect, workers):
    """``sse-edge serve`` ends hundreds of streams in good order over its window, and exits with 0."""
    port = free_port()
    command = [
        *CLI,
        "serve",
        "apps.edge:edge",
        "--app-dir",
        TESTS,
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    process = serve(command, port=port, env={"BACKEND": redis_url, "DRAIN_WINDOW": "2"})
    clients = [await connect(f"http://127.0.0.1:{port}/events/me", cookies=COOKIES) for _ in range(300)]
    await opened(*clients)
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    ends, retries = [], set()
    for client in clients:
        goodbye = await client.until(lambda event: event.event == "edge-close")
        assert json.loads(goodbye.data) == {"reason": "drain"}
        assert await client.ended()
        retries.add(client.retry)
        ends.append(time.monotonic() - began)
    assert await process.exited(10) == 0
    assert len(retries) > 100  # each is told its own time to come back
    # None in the first fifth, and in each worker the last at the end; clients are read one after the other.
    assert min(ends) >= 0.4
    assert max(ends) > 1.9
    assert "Traceback" not in process.log


async def test_nobody_is_sent_back_to_a_worker_that_drains(behind, stream):
    """Whoever sends streams to a worker has time to take it out before the first of them ends: of its
    clients, which come back through nginx, none is refused by it.
    """
    env = {"RETRY": "0.1", "DRAIN_WINDOW": "4"}
    limits = {"per_address": "1000", "connect_burst": "1000"}
    site = behind("nginx", app="apps.draining:app", env=env, **limits)
    leaving, staying = site.apps
    clients = [await stream(site, placed=False) for _ in range(100)]
    await opened(*clients)
    there = await streams(leaving)
    assert 30 < there < 70
    refused, back = [], []

    async def come_back(client):
        await client.until(lambda event: event.event == "edge-close", timeout=30)
        await asyncio.sleep(client.retry / 1000)
        again = await stream(site, last_event_id=client.last_event_id, placed=False)
        back.append(again)
        if (await again.next(timeout=30)).event == "edge-refused":
            refused.append(again)

    tasks = [asyncio.create_task(come_back(client)) for client in clients]
    began = time.monotonic()
    await get(f"{leaving.url}/drain")
    await asyncio.sleep(0.2)  # a proxy's check, or Kubernetes, takes as long
    config = site.proxy.config.read_text()
    site.proxy.config.write_text(re.sub(rf".* 127\.0\.0\.1:{leaving.port} .*\n", "", config))
    await asyncio.to_thread(site.proxy.reload)
    try:
        async with asyncio.timeout(30):
            while len(back) < there:
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert refused == []
    assert time.monotonic() - began > 3.5
    await opened(*back)
    assert (await streams(leaving), await streams(staying)) == (0, 100)


async def test_a_second_signal_exits_at_once(serve, redis_url, connect):
    """While hundreds of streams drain, a second SIGTERM ends the process without waiting for them."""
    port = free_port()
    command = [*CLI, "serve", "apps.edge:edge", "--app-dir", TESTS, "--port", str(port)]
    process = serve(command, port=port, env={"BACKEND": redis_url, "DRAIN_WINDOW": "5"})
    clients = [await connect(f"http://127.0.0.1:{port}/events/me", cookies=COOKIES) for _ in range(300)]
    await opened(*clients)
    process.signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        while not any(client.over for client in clients):
            await asyncio.sleep(0.02)
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    assert await process.exited(5) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 2
