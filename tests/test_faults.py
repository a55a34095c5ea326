"""Causes each fault of one Redis, and of workers and clients, while events are published.

The assertion is always the checker's: every client ends with exactly the published sequence of each
channel, or was told by an edge-reset before the hole.  Where no reset may happen, the test says so.
"""

import asyncio
import contextlib
import random
import time

import pytest

from faulty import Fleet, Listener, RemoteWorker
from loadtest.checker import Checker
from sse_edge import MemoryBackend, Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.backends.redis import connection, subscriber
from sse_edge.event import EventId, Place

CHANNELS = ["a", "b", "c", "d", "e"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Recover as in production, in less time."""
    monkeypatch.setitem(subscriber.RedisSubscriber.__init__.__kwdefaults__, "watch", 0.5)
    monkeypatch.setattr(connection, "BACK_OFF", (0.01, 0.2))


@pytest.fixture
async def make_fleet():
    """``make_fleet(**backend settings)``: a Fleet that is ended with the test."""
    fleets = []

    def make(**settings):
        fleets.append(Fleet(**settings))
        return fleets[-1]

    yield make
    for fleet in fleets:
        await fleet.close()


async def crowd(fleet, *workers, count=6, seed=1, channels=CHANNELS, **options):
    """``count`` open clients, spread over the workers, each on some of the channels."""
    rng = random.Random(seed)
    for n in range(count):
        some = channels if n < len(workers) else rng.sample(channels, rng.randrange(1, len(channels) + 1))
        fleet.listener(workers[n % len(workers)], some, **options)
    await fleet.opened()
    return fleet.listeners


def sizes(seed, least, most):
    """A client's budget: a random number of bytes for each connection."""
    rng = random.Random(seed)
    return lambda: rng.randrange(least, most)


def stayed_open(listeners):
    """Whether no client ever had to connect again."""
    return all(listener.connections == 1 and not listener.closings for listener in listeners)


async def keep_alives(listeners, more=2, timeout=5):
    """Wait until each client has got ``more`` comments."""
    for listener in listeners:
        await listener.until(lambda it=listener, goal=listener.comments + more: it.comments >= goal, timeout)


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


# Workers and clients fail


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


# Storms


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


@pytest.mark.parametrize("heard", [False, True], ids=["cold", "warm"])
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


# Publishers


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_publishing_to_a_stopped_redis_has_not_happened(private_redis, kind):
    """With no Redis to take it the event is certainly not out, and the same publisher recovers."""
    server = private_redis()
    backend = RedisBackend(server.url, timeout=1.0)
    events = Publisher(backend) if kind == "async" else SyncPublisher(backend)

    async def publish():
        if kind == "async":
            return await events.publish("a", "x", dedupe_key="k")
        return await asyncio.to_thread(events.publish, "a", "x", dedupe_key="k")

    first = await publish()
    assert await publish() == first
    await asyncio.to_thread(server.stop)  # in a thread, so that this loop sees it end
    for _ in range(3):
        with pytest.raises(PublishError) as caught:
            await publish()
        assert caught.value.may_have_happened is False
        assert caught.value.published == []
    server.start()
    assert Place.parse(await publish()).id > Place.parse(first).id
    await backend.close()


@pytest.mark.parametrize("direction", ["requests", "replies"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_publishing_that_is_cut_in_the_middle_may_have_happened(
    redis_server, redis_url, make_fleet, kind, direction
):
    """Whether the request or only the reply was lost, repeating it with its key makes it one event."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(redis_url)
    listener, *_ = await crowd(fleet, worker, count=1, channels=["a"])
    backend = fleet.backend(proxy.url, timeout=5.0)
    events = Publisher(backend) if kind == "async" else SyncPublisher(backend)
    heard = []

    async def publish(n):
        data = f'{{"channel":"a","n":{n},"at":0}}'
        if kind == "async":
            return await events.publish("a", data, dedupe_key=f"k{n}")
        return await asyncio.to_thread(events.publish, "a", data, dedupe_key=f"k{n}")

    for n in (1, 3, 5):
        fleet.checker.numbering("a").next(time.monotonic())
        await publish(n)
        fleet.checker.numbering("a").next(time.monotonic())
        proxy.stall(**{direction: True})
        task = asyncio.create_task(publish(n + 1))
        await proxy.stalled.wait()
        if direction == "replies":
            await listener.until(lambda n=n: listener.record.ears["a"].high == n + 1)
        proxy.refusing = True  # or the key would let it be repeated silently
        proxy.cut()
        with pytest.raises(PublishError) as caught:
            await task
        assert caught.value.may_have_happened is True
        proxy.refusing = False
        proxy.resume()
        id = await publish(n + 1)
        assert id == await publish(n + 1)
        heard.append(id)
    await listener.level()
    report = fleet.checker.report()
    assert report.ok, str(report)
    assert [id for _, n, id in listener.heard if n % 2 == 0] == heard


async def test_a_publish_that_is_cancelled_harms_no_later_one(redis_url, make_fleet):
    """A publisher that gives up in the middle leaves no reply behind for the next command to take."""
    fleet = make_fleet()
    backend = fleet.backend(redis_url)
    worker = await fleet.worker(redis_url)
    listener, *_ = await crowd(fleet, worker, count=1, channels=["a"])
    traffic = fleet.traffic(backend, ["a"])
    rng = random.Random(37)
    for _ in range(100):
        task = asyncio.create_task(Publisher(backend).publish("other", "x"))
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()
        await traffic.publish("a")
        with contextlib.suppress(asyncio.CancelledError):
            await task
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert listener.heard == traffic.published
