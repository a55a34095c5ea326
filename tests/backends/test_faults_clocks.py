"""Clocks that step back, and history that ends; what is asserted is as in ``test_faults``."""

import asyncio

import pytest

from parts.crowds import CHANNELS, crowd, sizes, stayed_open
from sse_edge import MemoryBackend
from sse_edge.event import EventId, Place

pytestmark = pytest.mark.usefixtures("hurried")


# Clocks


async def test_redis_clock_steps_back_an_hour(redis_server, redis_url, make_fleet):
    """Ids rise while the clock is behind them: live, resumed, after a lost connection, in a new worker."""
    fleet = make_fleet()
    worker = await fleet.worker(redis_url)
    listeners = await crowd(fleet, worker, budget=sizes(31, 300, 9000))
    traffic = fleet.traffic(redis_url, CHANNELS).start()
    await traffic.reach(100)
    client = redis_server.client()
    # Redis takes its time from the system: an hour that was given out already is the same thing.
    ahead = EventId.parse(client.hget("sse:clock", "last")).ms + 3_600_000
    client.hset("sse:clock", "last", f"{ahead}-7")
    await traffic.reach(100)
    client.client_kill_filter(_type="pubsub")
    await traffic.reach(50)
    listeners[0].worker = await fleet.worker(redis_url)
    listeners[0].disconnect()
    await traffic.reach(50)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    ids = [Place.parse(id).id for _, _, id in traffic.published]
    assert ids == sorted(set(ids))
    assert ids[-1].ms == ahead


async def test_the_memory_clock_steps_back_an_hour(make_fleet):
    """The same in memory."""
    now = [1_700_000_000.0]
    fleet = make_fleet()
    backend = MemoryBackend(history=10_000, clock=lambda: now[0])
    worker = await fleet.worker(backend)
    await crowd(fleet, worker, budget=sizes(31, 300, 9000))
    traffic = fleet.traffic(backend, CHANNELS)
    for step in (0, 1, 1, -3600, 0, 1, 3599, 10):
        now[0] += step
        await traffic.publish_some(50)
        await asyncio.sleep(0)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    ids = [Place.parse(id).id for _, _, id in traffic.published]
    assert ids == sorted(set(ids))


async def test_expiry_while_the_clock_is_behind(redis_server, redis_url, make_fleet):
    """Events that expire while ids stand still an hour ahead are reset like any others."""
    fleet = make_fleet(history_ttl=0.3)
    worker = await fleet.worker(redis_url)
    listener, *_ = await crowd(fleet, worker, count=1)
    traffic = fleet.traffic(redis_url, CHANNELS)
    client = redis_server.client()
    ahead = EventId.parse(client.hget("sse:clock", "last")).ms + 3_600_000
    client.hset("sse:clock", "last", f"{ahead}-0")
    await traffic.publish_some(20)
    await listener.level()
    await listener.hang_up()
    await traffic.publish_some(20)
    await _expired(client)
    listener.worker = await fleet.worker(redis_url)  # one that has heard nothing
    listener.start()
    await listener.until(lambda: listener.connections == 2 and listener.status == 200)
    await fleet.verdict()
    assert {reason for _, reason in listener.resets} == {"expired"}


async def _expired(client):
    async with asyncio.timeout(10):
        while any(client.exists(f"sse:history:{channel}") for channel in CHANNELS):
            await asyncio.sleep(0.02)


async def test_redis_comes_back_empty_with_a_clock_behind(private_redis, make_fleet):
    """New ids below the old ones are not taken for old events: open streams are reset and go on."""
    server = private_redis()
    fleet = make_fleet()
    worker = await fleet.worker(server.url)
    listeners = await crowd(fleet, worker)
    traffic = fleet.traffic(server.url, CHANNELS)
    client = server.client()
    ahead = EventId.parse(client.hget("sse:clock", "last")).ms + 3_600_000
    client.hset("sse:clock", "last", f"{ahead}-0")
    await traffic.publish_some(50)
    for listener in listeners:
        await listener.level()
    generation = worker.subscriber.generation
    server.kill()
    server.start()
    await listeners[0].until(lambda: worker.subscriber.generation > generation)
    for listener in listeners:
        listener.record._last_id = None  # the one case in which ids may go back
    await traffic.publish_some(50)
    await fleet.verdict(timeout=3)
    assert all({channel for channel, _ in it.resets} == set(it.channels) for it in listeners)


# History ends


@pytest.mark.parametrize("kind", ["memory", "redis"])
@pytest.mark.parametrize("fresh", [False, True], ids=["same-worker", "fresh-worker"])
async def test_trimmed_between_disconnect_and_resume(request, make_fleet, kind, fresh):
    """Only the channel that lost events is reset, before its hole; the others are complete."""
    fleet = make_fleet(history=20)
    backend = _backend(request, fleet, kind, history=20)
    worker = await fleet.worker(backend)
    listener, *_ = await crowd(fleet, worker, count=1)
    traffic = fleet.traffic(backend, CHANNELS)
    await traffic.publish_some(30)
    await listener.level()
    await listener.hang_up()
    for _ in range(50):
        await traffic.publish("a")
    for channel in ["b"] * 20 + ["c"] * 3:
        await traffic.publish(channel)
    if fresh:
        listener.worker = await fleet.worker(backend)
    listener.start()
    await listener.until(lambda: listener.resets)
    await fleet.verdict()
    assert listener.resets == [("a", "trimmed")]


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_expired_between_disconnect_and_resume(request, make_fleet, kind):
    """Channels whose events expired are reset; a quiet channel that had none is reset with them,
    because nothing can tell the two apart."""
    fleet = make_fleet()
    backend = _backend(request, fleet, kind, history=20, history_ttl=0.3)
    worker = await fleet.worker(backend)
    listener, *_ = await crowd(fleet, worker, count=1)
    traffic = fleet.traffic(backend, CHANNELS)
    await traffic.publish_some(20)
    await listener.level()
    await listener.hang_up()
    await traffic.publish("a")
    await asyncio.sleep(0.5)
    listener.worker = await fleet.worker(backend)
    listener.start()
    await listener.until(lambda: listener.resets)
    await fleet.verdict()
    assert sorted(listener.resets) == [(channel, "expired") for channel in CHANNELS]


async def test_a_live_reset_and_a_late_resume(private_redis, make_fleet, monkeypatch):
    """More was missed in an outage than is kept: open streams and resuming ones are reset as trimmed."""
    server = private_redis()
    fleet = make_fleet(history=20)
    proxy = await fleet.proxy(server.port)
    worker = await fleet.worker(proxy.url)
    listeners = await crowd(fleet, worker, channels=CHANNELS[:2])
    traffic = fleet.traffic(server.url, CHANNELS[:2])
    await traffic.publish_some(10)
    for listener in listeners:
        await listener.level()
    proxy.refusing = True
    proxy.cut()
    await listeners[-1].hang_up()
    for _ in range(30):
        await traffic.publish("a")
    await traffic.publish("b")
    listeners[-1].start()
    await listeners[-1].until(lambda: listeners[-1].status == 200)  # it waits for history from here on
    read = worker.subscriber._partition.read

    async def late(asked):
        await asyncio.sleep(0.01)  # so that history ends a few milliseconds after the position
        return await read(asked)

    monkeypatch.setattr(worker.subscriber._partition, "read", late)
    proxy.refusing = False
    await fleet.verdict()
    for listener in listeners:
        assert listener.resets == [("a", "trimmed")] * ("a" in listener.channels)
    assert stayed_open(listeners[:-1])


def _backend(request, fleet, kind, **settings):
    if kind == "memory":
        return MemoryBackend(**settings)
    return fleet.backend(request.getfixturevalue("redis_url"), **settings)
