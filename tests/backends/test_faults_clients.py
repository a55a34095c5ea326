"""Faults of workers and clients, while events are published; what is asserted is as in ``test_faults``."""

import asyncio
import random
import time

import pytest

from parts.crowds import CHANNELS, crowd, stayed_open
from parts.fleet import RemoteWorker
from sse_edge import MemoryBackend

pytestmark = pytest.mark.usefixtures("hurried")


async def test_a_worker_is_killed_and_its_clients_resume_on_another(private_redis, serve_app, make_fleet):
    """kill -9 for one of two servers: its clients get the rest from the other, nothing twice."""
    server = private_redis()
    processes = [serve_app("apps.faults:app", env={"REDIS_URL": server.url}) for _ in range(2)]
    workers = [RemoteWorker(process.url) for process in processes]
    fleet = make_fleet()
    listeners = await crowd(fleet, *workers, count=40)
    traffic = fleet.traffic(server.url, CHANNELS).start()
    await traffic.reach(200)
    processes[0].kill()
    for listener in listeners[::2]:
        listener.worker = workers[1]
    await traffic.reach(200)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert all(listener.connections >= 2 for listener in listeners[::2])
    assert stayed_open(listeners[1::2])


@pytest.mark.parametrize("over", ["asgi", "sockets"])
async def test_a_client_disconnects_at_a_random_byte(private_redis, serve_app, make_fleet, over):
    """Two hundred times, in the middle of anything, while events flow: exactly the sequence."""
    server = private_redis()
    fleet = make_fleet()
    if over == "asgi":
        worker = await fleet.worker(server.url)
    else:
        worker = RemoteWorker(serve_app("apps.faults:app", env={"REDIS_URL": server.url}).url)
    rng = random.Random(7)
    listener = fleet.listener(worker, CHANNELS[:3], budget=lambda: rng.randrange(1, 1500), pause=0)
    await listener.opened()
    fleet.traffic(server.url, CHANNELS[:3]).start()
    await listener.until(lambda: listener.connections > 200, timeout=30)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert len(listener.heard) > 200


async def test_clients_move_between_workers(redis_server, redis_url, make_fleet):
    """Clients that resume on a worker that is behind or ahead of theirs get exactly their events."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    workers = [await fleet.worker(proxy.url), await fleet.worker(redis_url), await fleet.worker(redis_url)]
    listeners = await crowd(fleet, *workers, count=9)
    traffic = fleet.traffic(redis_url, CHANNELS, pause=0).start()
    rng = random.Random(11)
    for round in range(60):
        await traffic.reach(rng.randrange(1, 10))
        if round % 6 == 0:
            proxy.cut()
        listener = rng.choice(listeners)
        listener.worker = rng.choice(workers)
        listener.disconnect()
    report = await fleet.verdict()
    assert not report.resets, str(report)


async def test_a_client_ahead_of_its_worker_while_redis_goes_away(redis_server, redis_url, make_fleet):
    """A resume that waits for the worker to catch up, and loses Redis meanwhile, ends told and not cut."""
    fleet = make_fleet(timeout=1.0)
    proxy = await fleet.proxy(redis_server.port)
    behind, ahead = await fleet.worker(proxy.url), await fleet.worker(redis_url)
    stays, listener = await crowd(fleet, behind, ahead, count=2, channels=["a"])
    traffic = fleet.traffic(redis_url, ["a"])
    proxy.stall(replies=True)
    await traffic.publish_some(3)
    await listener.level()
    await listener.hang_up()
    listener.worker = behind
    listener.start()
    await listener.until(lambda: listener.status == 200)
    await proxy.stalled.wait()
    proxy.cut()
    proxy.resume()
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert set(listener.closings) <= {"backend-lost"}
    assert stayed_open([stays])


async def test_sixty_four_channels_on_one_stream(redis_server, redis_url, make_fleet):
    """One cursor resumes them all: reconnects at random bytes and lost Redis connections, nothing lost."""
    fleet = make_fleet()
    channels = [f"ch{n}" for n in range(64)]
    worker = await fleet.worker(redis_url)
    rng = random.Random(13)
    listeners = [fleet.listener(worker, channels, budget=lambda: rng.randrange(500, 8000)) for _ in range(3)]
    listeners.append(fleet.listener(worker, channels))
    await fleet.opened()
    traffic = fleet.traffic(redis_url, channels, pause=0).start()
    client = redis_server.client()
    for _ in range(5):
        await traffic.reach(150)
        client.client_kill_filter(_type="pubsub")
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert all(listener.connections > 10 for listener in listeners[:3])
    assert stayed_open(listeners[3:])


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_subscribe_and_publish_in_both_orders(request, make_fleet, kind):
    """From a cursor, it does not matter whether the event or the stream comes first, or both at once."""
    fleet = make_fleet()
    backend = MemoryBackend() if kind == "memory" else fleet.backend(request.getfixturevalue("redis_url"))
    worker = await fleet.worker(backend)
    rng = random.Random(17)
    for round in range(60):
        channel = f"r{round}"
        traffic = fleet.traffic(backend, [channel])
        since = time.monotonic()
        cursor = str(await backend.cursor())
        steps = [
            lambda traffic=traffic: traffic.publish_some(3),
            lambda channel=channel, cursor=cursor, since=since: _listen(
                fleet, worker, channel, cursor, since
            ),
        ]
        if round % 3 == 1:
            steps.reverse()
        if round % 3 < 2:
            for step in steps:
                await step()
        else:
            async with asyncio.TaskGroup() as group:
                for step in steps:
                    for _ in range(rng.randrange(4)):
                        await asyncio.sleep(0)
                    group.create_task(step())
        await fleet.listeners[-1].level()
    report = await fleet.verdict()
    assert not report.resets, str(report)


async def _listen(fleet, worker, channel, cursor, since):
    listener = fleet.listener(worker, [channel], last_event_id=cursor, since=since)
    await listener.until(lambda: listener.status == 200)


async def test_everything_at_once(private_redis, make_fleet):
    """Cuts, kills, flushes, vanished announcements, moving clients and random bytes together."""
    server = private_redis()
    fleet = make_fleet()
    proxies = [await fleet.proxy(server.port) for _ in range(2)]
    workers = [await fleet.worker(proxy.url) for proxy in proxies]
    rng = random.Random(19)
    listeners = await crowd(fleet, *workers, count=6)
    for n in range(6):
        fleet.listener(workers[n % 2], rng.sample(CHANNELS, 3), budget=lambda: rng.randrange(300, 20_000))
    await fleet.opened()
    traffics = [fleet.traffic(proxies[n % 2].url, [channel]) for n, channel in enumerate(CHANNELS)]
    for traffic in traffics:
        traffic.start()
    client = server.client()
    for _ in range(60):
        await traffics[0].reach(rng.randrange(1, 8))
        proxy = rng.choice(proxies)
        match rng.randrange(6):
            case 0:
                proxy.cut()
            case 1:
                proxy.cut(pubsub=False)
            case 2:
                client.client_kill_filter(_type="pubsub")
            case 3:
                client.script_flush()
            case _:
                listener = rng.choice(listeners)
                listener.worker = rng.choice(workers)
                listener.disconnect()
    report = await fleet.verdict()
    assert not report.resets, str(report)
