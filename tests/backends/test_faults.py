"""Causes each fault of one Redis, and of workers and clients, while events are published.

The assertion is always the checker's: every client ends with exactly the published sequence of each
channel, or was told by an edge-reset before the hole.  Where no reset may happen, the test says so.
"""

import asyncio
import random

import pytest

from parts.crowds import CHANNELS, crowd, keep_alives, sizes, stayed_open

pytestmark = pytest.mark.usefixtures("hurried")


# Redis fails


@pytest.mark.parametrize("durable", [True, False])
async def test_redis_is_killed_and_comes_back_with_its_data(private_redis, make_fleet, durable):
    """With every write on disk, kill -9 and restart cost no event, and reset nobody once we are told so."""
    server = private_redis(appendonly=True, appendfsync="always")
    fleet = make_fleet(durable=durable)
    listeners = await crowd(fleet, await fleet.worker(server.url), await fleet.worker(server.url))
    traffics = [fleet.traffic(server.url, CHANNELS[:3]), fleet.traffic(server.url, CHANNELS[3:])]
    for traffic in traffics:
        await traffic.start().reach(100)
    await asyncio.to_thread(server.kill)
    await traffics[0].until(lambda: traffics[0].errors)
    await keep_alives(listeners)
    await asyncio.to_thread(server.start)
    for traffic in traffics:
        await traffic.reach(100)
    await fleet.verdict()
    assert stayed_open(listeners)
    for listener in listeners:
        told = [] if durable else [(channel, "epoch") for channel in sorted(listener.channels)]
        assert sorted(listener.resets) == told


async def test_redis_is_killed_and_comes_back_empty(private_redis, make_fleet):
    """Without its data every channel is reset once, as epoch; streams stay open, keep-alives go on."""
    server = private_redis()
    fleet = make_fleet()
    workers = [await fleet.worker(server.url), await fleet.worker(server.url)]
    listeners = await crowd(fleet, *workers)
    traffic = fleet.traffic(server.url, CHANNELS).start()
    await traffic.reach(200)
    async with traffic.lock:  # a publish of unknown outcome could be repeated by an empty Redis
        await asyncio.to_thread(server.kill)
    # The first may be written into a connection whose end has not been noticed yet: outcome unknown.
    # Whoever finds nobody to connect to knows that nothing happened.
    await traffic.until(lambda: any(not error.may_have_happened for error in traffic.errors))
    await keep_alives(listeners)
    await asyncio.to_thread(server.start)
    await traffic.reach(200)
    report = await fleet.verdict()
    assert stayed_open(listeners)
    for listener in listeners:
        assert sorted(listener.resets) == [(channel, "epoch") for channel in sorted(listener.channels)]
    assert set(report.resets) == {"epoch"}


async def test_a_client_from_before_an_empty_restart(private_redis, make_fleet):
    """Who was away while Redis lost its data is told epoch by any worker, then hears what is new."""
    server = private_redis()
    fleet = make_fleet()
    first = await fleet.worker(server.url)
    listener, *_ = await crowd(fleet, first, count=1)
    traffic = fleet.traffic(server.url, CHANNELS)
    await traffic.publish_some(30)
    await listener.level()
    await listener.hang_up()
    await traffic.publish_some(30)
    server.kill()
    server.start()
    await traffic.publish_some(10)
    listener.worker = await fleet.worker(server.url)
    listener.start()
    await fleet.verdict()
    assert sorted(listener.resets) == [(channel, "epoch") for channel in CHANNELS]


async def test_pubsub_connections_are_killed_in_a_burst(redis_server, redis_url, make_fleet):
    """CLIENT KILL TYPE pubsub in the middle of a burst: exactly the sequence, and no reset."""
    fleet = make_fleet()
    workers = [await fleet.worker(redis_url), await fleet.worker(redis_url)]
    listeners = await crowd(fleet, *workers)
    traffics = [fleet.traffic(redis_url, [channel], pause=0) for channel in CHANNELS]
    for traffic in traffics:
        traffic.start()
    client = redis_server.client()
    for _ in range(5):
        generations = [worker.subscriber.generation for worker in workers]
        await traffics[0].reach(40)
        client.client_kill_filter(_type="pubsub")
        for worker, before in zip(workers, generations, strict=True):
            await traffics[0].until(
                lambda worker=worker, before=before: worker.subscriber.generation > before
            )
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert stayed_open(listeners)


async def test_redis_stops_for_ten_seconds(private_redis, make_fleet):
    """A Redis that hangs (SIGSTOP) and goes on costs nothing but time: no loss, no reset, no stream."""
    server = private_redis()
    fleet = make_fleet(timeout=1.0)
    worker = await fleet.worker(server.url)
    listeners = await crowd(fleet, worker)
    traffic = fleet.traffic(server.url, CHANNELS).start()
    await traffic.reach(100)
    generation = worker.subscriber.generation
    server.pause()
    try:
        await asyncio.sleep(5)
        assert not worker.subscriber.connected
        await keep_alives(listeners)
        await asyncio.sleep(5)
    finally:
        server.resume()
    await traffic.reach(100)
    report = await fleet.verdict()
    assert any(error.may_have_happened for error in traffic.errors)
    assert worker.subscriber.generation > generation
    assert not report.resets, str(report)
    assert stayed_open(listeners)


async def test_scripts_are_flushed(redis_server, redis_url, make_fleet):
    """SCRIPT FLUSH at any moment is not noticed by anybody."""
    fleet = make_fleet()
    worker = await fleet.worker(redis_url)
    listeners = await crowd(fleet, worker, budget=sizes(3, 200, 4000))
    traffic = fleet.traffic(redis_url, CHANNELS).start()
    client = redis_server.client()
    for _ in range(20):
        await traffic.reach(15)
        client.script_flush()
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert not traffic.errors
    assert all(set(listener.statuses) == {200} for listener in listeners)


async def test_redis_is_down_when_the_worker_starts(private_redis, make_fleet):
    """Streams are refused as backend-down, and open by themselves once Redis is up."""
    server = private_redis()
    server.kill()
    fleet = make_fleet(timeout=0.3)
    worker = await fleet.worker(server.url)
    listener = fleet.listener(worker, CHANNELS)
    await listener.until(lambda: listener.statuses[503] >= 2)
    assert worker.edge.refusals["backend-down"] >= 2
    await asyncio.to_thread(server.start)
    await listener.opened()
    await fleet.traffic(server.url, CHANNELS).publish_some(20)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert listener.statuses[200] == 1


async def test_a_stream_that_opens_while_redis_is_away(redis_server, redis_url, make_fleet):
    """A client that comes back during an outage is refused until it is over, and then gets its events."""
    fleet = make_fleet(timeout=0.3)
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(proxy.url)
    listeners = await crowd(fleet, worker)
    traffic = fleet.traffic(redis_url, CHANNELS).start()
    await traffic.reach(50)
    proxy.refusing = True
    proxy.cut()
    listeners[1].worker = listeners[0].worker
    for listener in listeners[::2]:
        await listener.hang_up()
        listener.start()
    await listeners[0].until(lambda: listeners[0].status == 503)
    await traffic.reach(50)
    proxy.refusing = False
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert not listeners[0].closings
    assert stayed_open(listeners[1::2])


# What lies between a worker and Redis fails


async def test_a_worker_is_cut_off_again_and_again(redis_server, redis_url, make_fleet):
    """A proxy that cuts one worker's connections at random costs its clients and its neighbour's nothing."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    cut_off, other = await fleet.worker(proxy.url), await fleet.worker(redis_url)
    listeners = await crowd(fleet, cut_off, other)
    traffic = fleet.traffic(redis_url, CHANNELS, pause=0).start()
    rng = random.Random(5)
    for _ in range(15):
        await traffic.reach(rng.randrange(1, 40))
        proxy.cut(pubsub=rng.random() < 0.8, commands=rng.random() < 0.5)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert stayed_open(listeners)


async def test_a_connection_that_is_dead_without_saying_so(redis_server, redis_url, make_fleet):
    """A connection that stays open and brings nothing is given up, and what it missed is fetched."""
    fleet = make_fleet(timeout=0.5)
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(proxy.url)
    listeners = await crowd(fleet, worker)
    traffic = fleet.traffic(redis_url, CHANNELS).start()
    await traffic.reach(50)
    generation = worker.subscriber.generation
    proxy.stall(replies=True)
    await traffic.until(lambda: not worker.subscriber.connected)
    proxy.cut()
    proxy.resume()
    await traffic.until(lambda: worker.subscriber.generation > generation)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert stayed_open(listeners)


@pytest.mark.parametrize(("skip", "count"), [(0, 1), (3, 1), (7, 5)])
async def test_announcements_vanish_on_a_live_connection(redis_server, redis_url, make_fleet, skip, count):
    """The next announcement of the channel says that one is missing: it is fetched, in order."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker, other = await fleet.worker(proxy.url), await fleet.worker(redis_url)
    listeners = await crowd(fleet, worker, other)
    traffic = fleet.traffic(redis_url, CHANNELS)
    await traffic.publish_some(20)
    for listener in listeners:
        await listener.level()
    generation = worker.subscriber.generation
    proxy.drop("a", skip=skip, count=count)
    for _ in range(20):
        await traffic.publish("a")
    await traffic.publish_some(20)
    report = await fleet.verdict()
    assert proxy.dropped == count
    assert not report.resets, str(report)
    assert stayed_open(listeners)
    assert worker.subscriber.generation == generation


async def test_vanished_announcements_of_several_channels(redis_server, redis_url, make_fleet):
    """Announcements that vanish here and there, under load and with clients that come and go."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(proxy.url)
    await crowd(fleet, worker)
    traffics = [fleet.traffic(redis_url, [channel], pause=0) for channel in CHANNELS]
    for traffic in traffics:
        traffic.start()
    rng = random.Random(9)
    for _ in range(25):
        await traffics[0].reach(rng.randrange(3, 12))
        proxy.drop(rng.choice(CHANNELS), skip=rng.randrange(3), count=rng.randrange(1, 4))
    await traffics[0].until(lambda: proxy.dropped >= 20)
    proxy.keep()  # the last of all could not be noticed
    report = await fleet.verdict()
    assert not report.resets, str(report)


async def test_a_client_resumes_before_a_vanished_announcement_is_noticed(
    redis_server, redis_url, make_fleet
):
    """What this worker has not heard is still owed to a client that resumes from before it."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(proxy.url)
    listener, stays = (fleet.listener(worker, ["a", "b"]) for _ in range(2))
    await fleet.opened()
    traffic = fleet.traffic(redis_url, ["a", "b"])
    await traffic.publish("a")
    await stays.level()
    await listener.level()
    await listener.hang_up()
    proxy.drop("a")
    await traffic.publish("a")
    await traffic.publish("b")
    await stays.until(lambda: stays.heard[-1][0] == "b")
    listener.start()
    await listener.until(lambda: listener.heard[-1][0] == "b")
    report = await fleet.verdict(timeout=3)  # publishes on a, which reveals the hole
    assert proxy.dropped == 1
    assert not report.resets, str(report)


async def test_events_published_while_the_subscriber_reconnects(redis_server, redis_url, make_fleet):
    """They reach the open streams afterwards, in the order of publishing over all channels."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(proxy.url)
    listeners = await crowd(fleet, worker, count=3)
    traffic = fleet.traffic(redis_url, CHANNELS)
    await traffic.publish_some(20)
    for _ in range(3):
        proxy.refusing = True
        proxy.cut()
        await traffic.publish_some(60)
        proxy.refusing = False
        await traffic.publish_some(60)
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert stayed_open(listeners)
    assert listeners[0].heard == traffic.published
