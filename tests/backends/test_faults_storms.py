"""Thousands of clients that resume at once; what is asserted is as in ``test_faults``."""

import random
import time

import pytest

from loadtest.checker import Checker
from parts.crowds import CHANNELS, crowd
from parts.fleet import Listener

pytestmark = pytest.mark.usefixtures("hurried")


def commands(client):
    """How many commands Redis has executed, those inside scripts too, without the question itself."""
    stats = client.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name not in ("cmdstat_info", "cmdstat_ping"))


async def storm(server, fleet, worker, traffic, count, *, busy=False):
    """``count`` clients resume at once from random places; the Redis commands that this took."""
    ids = [id for _, _, id in traffic.published]
    rng = random.Random(23)
    client = server.client()
    checker = Checker()
    checker.numberings = fleet.checker.numberings
    positions = {}
    listeners = []
    for n in range(count):
        at = rng.randrange(len(ids))
        listener = Listener(checker, f"s{n}", worker, traffic.channels, last_event_id=ids[at])
        numbers = dict.fromkeys(traffic.channels, 0)
        if at not in positions:
            for channel, number, _ in traffic.published[: at + 1]:
                numbers[channel] = number
            positions[at] = numbers
        for channel, number in positions[at].items():
            listener.record.listen(channel, after=number)
        listeners.append(listener)
    if busy:
        traffic.start()
    before, published = commands(client), traffic.count
    for listener in listeners:
        listener.start()
    try:
        for listener in listeners:
            await listener.opened()
            await listener.level()
        used = commands(client) - before
        if busy:
            await traffic.stop()
            for listener in listeners:
                await listener.level()
        report = checker.report()
        assert report.ok, str(report)
        assert not report.resets, str(report)
        assert all(listener.connections == 1 for listener in listeners)
    finally:
        for listener in listeners:
            await listener.close()
    return used, traffic.count - published


@pytest.mark.parametrize(
    "heard",
    [pytest.param(False, id="cold"), pytest.param(True, id="warm", marks=pytest.mark.heavy)],  # as when busy
)
async def test_two_thousand_clients_resume_at_once(private_redis, make_fleet, heard):
    """Each gets exactly what it missed, and Redis does as much for 2000 as for 100."""
    server = private_redis()
    fleet = make_fleet(history=1000, timeout=20.0)
    channels = CHANNELS[:3]
    used = {}
    traffic = fleet.traffic(server.url, channels)
    await traffic.publish_some(150)
    for count in (100, 2000):
        worker = await fleet.worker(server.url)  # one that has read nothing yet
        if heard:
            await (await _open(fleet, worker, channels)).hang_up()
        used[count], _ = await storm(server, fleet, worker, traffic, count)
    per_second = 2 * 4  # the ticks of two workers; each is a script of a few commands
    assert used[2000] <= used[100] + 30 * per_second, (
        f"Redis commands: {used[100]} for 100 clients, {used[2000]} for 2000"
    )
    print(f"Redis commands: {used[100]} for 100 clients, {used[2000]} for 2000")


async def _open(fleet, worker, channels):
    listener = fleet.listener(worker, channels)
    await listener.opened()
    fleet.listeners.remove(listener)
    return listener


async def test_two_thousand_clients_resume_on_busy_channels(private_redis, make_fleet):
    """The same while events flow: beyond what publishing costs, 2000 clients cost no more than 100."""
    server = private_redis()
    fleet = make_fleet(history=1000, timeout=20.0)
    extra = {}
    for count in (100, 2000):
        channels = [f"{name}{count}" for name in CHANNELS[:3]]
        traffic = fleet.traffic(server.url, channels, pause=0.05)
        await traffic.publish_some(150)
        worker = await fleet.worker(server.url)
        reads = worker.subscriber.reads
        await storm(server, fleet, worker, traffic, count, busy=True)
        extra[count] = worker.subscriber.reads - reads
    assert extra[2000] <= 10, f"reads: {extra[100]} for 100 clients, {extra[2000]} for 2000"
    print(f"reads: {extra[100]} for 100 clients, {extra[2000]} for 2000")


async def test_two_thousand_clients_whose_history_is_gone(private_redis, make_fleet):
    """Resuming from before the history of a busy channel is a reset for each, and no read for each."""
    server = private_redis()
    reads = {}
    for count in (100, 2000):
        fleet = make_fleet(history=30, timeout=20.0)
        channels = [f"{name}{count}" for name in CHANNELS[:2]]
        traffic = fleet.traffic(server.url, channels, pause=0 if count == 100 else 0.02)
        await traffic.publish_some(10)
        cursor, since = traffic.published[-1][2], time.monotonic()
        await traffic.publish_some(200)
        worker = await fleet.worker(server.url)
        traffic.start()
        await traffic.reach(10)
        listeners = [
            fleet.listener(worker, channels, last_event_id=cursor, since=since) for _ in range(count)
        ]
        for listener in listeners:
            await listener.until(lambda it=listener: len(it.resets) >= 2)
        reads[count] = worker.subscriber.reads
        report = await fleet.verdict()
        assert set(report.resets) == {"trimmed"}
        assert all(len(listener.resets) == 2 for listener in listeners)
        await fleet.close()
    assert reads[2000] <= 50, f"reads: {reads[100]} for 100 clients, {reads[2000]} for 2000"


async def test_recent_events_stay_within_their_bounds(redis_server, redis_url, make_fleet):
    """A ring too small for what clients ask for costs reads, and neither memory nor events nor resets."""
    fleet = make_fleet(history=50)
    worker = await fleet.worker(redis_url)
    recent = worker.subscriber._recent
    recent._size_limit = 6_000
    channels = [f"ch{n}" for n in range(20)]
    listeners = await crowd(fleet, worker, count=8, channels=channels)
    traffic = fleet.traffic(redis_url, channels, pause=0).start()
    rng = random.Random(29)
    for _ in range(60):
        await traffic.reach(rng.randrange(1, 12))
        rng.choice(listeners).disconnect()
        kept = sum(channel.log.size for channel in worker.subscriber._members.channels.values())
        assert kept <= 6_000
        assert max(len(channel.log.events) for channel in worker.subscriber._members.channels.values()) <= 50
    report = await fleet.verdict()
    assert not report.resets, str(report)
