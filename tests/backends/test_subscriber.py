"""The Redis subscriber's own edges, against a real Redis: churn, batches, ticks, resumes, its end."""

import asyncio
import contextlib
import gc
import random
import weakref

import pytest

from parts.ears import closed, out, said, until
from servers.processes import free_port
from sse_edge import RedisBackend
from sse_edge.backends.base import Outgoing
from sse_edge.backends.redis import connection, recovery, subscriptions
from sse_edge.errors import BackendError
from sse_edge.event import Place

pytestmark = pytest.mark.usefixtures("impatient", "spoken")


@pytest.fixture
def make_backend(redis_url):
    return lambda url=redis_url, **settings: RedisBackend(url, **settings)


async def test_channels_that_come_and_go(start, redis_server, monkeypatch):
    """Whatever was left and taken up again in between: who is subscribed hears."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.004)
    backend, subscriber, ear = await start()
    rng = random.Random(1)
    channels = [f"c{n}" for n in range(12)]
    open_ = []
    for n in range(300):
        if open_ and rng.random() < 0.5:
            subscriber.unsubscribe(open_.pop(rng.randrange(len(open_))))
        chosen = rng.sample(channels, rng.randrange(1, 5))
        await subscriber.subscribe(chosen)
        open_.append(chosen)
        name = rng.choice(chosen)
        await backend.publish([out(name, n)])
        await ear.until(lambda n=n: ear.data and ear.data[-1] == str(n))
        if rng.random() < 0.2:
            await asyncio.sleep(rng.choice([0.002, 0.005, 0.01]))
    assert ear.data == [str(n) for n in range(300)]
    assert ear.resets == []
    assert subscriber.generation == 1  # no reconnect for what it did itself
    for chosen in open_:
        subscriber.unsubscribe(chosen)
    client = redis_server.client()
    await until(lambda: not [name for name in client.pubsub_channels() if name.startswith("sse:c")])
    assert not [name for name in subscriber._members.channels if name in channels]


async def test_churn_in_parallel(start, monkeypatch):
    """The same with many at once, some of whom leave while they still wait."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.004)
    backend, subscriber, ear = await start()
    rng = random.Random(2)

    async def visit(number):
        for round in range(20):
            chosen = rng.sample([f"c{n}" for n in range(10)], 3)
            task = asyncio.create_task(subscriber.subscribe(chosen))
            if rng.random() < 0.3:
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                continue
            text = f"{number}-{round}"
            await backend.publish([out(chosen[0], text)])
            await ear.until(lambda text=text: text in ear.data)
            subscriber.unsubscribe(chosen)
            await asyncio.sleep(rng.choice([0, 0, 0.003, 0.01]))

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(visit(number))
    assert len(ear.data) == len(set(ear.data))
    await until(lambda: not [name for name in subscriber._members.channels if name.startswith("c")])
    assert ear.resets == []
    assert subscriber.generation == 1


async def test_thousands_of_channels(start, redis_server):
    """They are subscribed and read in batches, and all of them are level again after a lost connection."""
    backend, subscriber, ear = await start()
    channels = [f"c{n}" for n in range(3000)]
    await subscriber.subscribe(channels)
    await backend.publish([out(channel, channel) for channel in channels])
    await ear.wait(3000)
    assert ear.data == channels
    client = redis_server.client()
    reads = subscriber.reads
    generation = subscriber.generation
    client.config_resetstat()
    client.client_kill_filter(_type="pubsub")
    ids = await backend.publish([out(channel, f"again {channel}") for channel in channels])
    await ear.wait(6000)
    assert ear.data[3000:] == [f"again {channel}" for channel in channels]
    assert [id for _, id, _ in ear.heard[3000:]] == [Place.parse(id).id for id in ids]
    await until(lambda: subscriber.connected)
    assert subscriber.generation == generation + 1
    assert subscriber.reads - reads <= 1 + 3000 // recovery.BATCH
    assert client.info("commandstats")["cmdstat_subscribe"]["calls"] <= 2 + 3000 // subscriptions.BATCH
    assert ear.resets == []


async def test_a_channel_that_is_joined_again_at_once(start, monkeypatch):
    """The answer to the worker's own UNSUBSCRIBE is not taken for the end of the next subscription."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.002)
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    drop = subscriber._subscriptions.drop_idle
    again = []

    def noting(linger):
        gone = drop(linger)
        if b"sse:a" in gone:  # wanted again before Redis has answered
            again.append(asyncio.create_task(subscriber.subscribe(["a"])))
        return gone

    monkeypatch.setattr(subscriber._subscriptions, "drop_idle", noting)
    for n in range(20):
        await until(lambda: subscriber.connected)
        subscriber.unsubscribe(["a"])
        await until(lambda n=n: len(again) == n + 1)
        await again[n]
        await backend.publish([out("a", n)])
        await ear.wait(n + 1)
    assert ear.data == [str(n) for n in range(20)]
    assert subscriber.generation == 1


@pytest.mark.parametrize("early", [False, True])
async def test_a_command_that_is_cancelled_ends(start, early):
    """At whatever step a command is cancelled, its task ends as cancelled (asyncio.wait_for of Python
    3.11, which redis-py sends with if it has a timeout, may return instead)."""
    backend, _, _ = await start()
    await backend.partitions[0].read([])
    ignored = [steps for steps in range(40) if not await _cancelled(backend.partitions[0], steps, early)]
    assert ignored == []


async def _cancelled(partition, steps, early):
    """Whether a read ends as cancelled that is cancelled after so many steps, unless it was done by then."""
    loop = asyncio.get_running_loop()
    late = False

    def cancel(left):
        nonlocal late
        if left:
            loop.call_soon(cancel, left - 1)
        else:
            late = task.done()
            task.cancel()

    if early:
        loop.call_soon(cancel, steps + 1)
    task = asyncio.create_task(partition.read([]))
    if not early:
        loop.call_soon(cancel, steps)
    await asyncio.wait([task])
    for _ in range(steps + 2):
        await asyncio.sleep(0)
    return task.cancelled() or late


async def test_closing_while_a_session_ends(start, redis_server, monkeypatch):
    """Closing ends the subscriber at any moment, also while a lost connection is being cleared away."""
    _, subscriber, _ = await start()
    ending = asyncio.Event()
    ticks = subscriber._tick_on

    async def slow_to_end():
        try:
            await ticks()
        finally:
            ending.set()
            await asyncio.sleep(0.05)

    monkeypatch.setattr(subscriber, "_tick_on", slow_to_end)
    await until(lambda: subscriber.connected)
    redis_server.client().client_kill_filter(_type="pubsub")
    await ending.wait()
    await closed(subscriber)


async def test_generations_count_connections(start, redis_server):
    """Each connection is a generation of its own, and the position never goes back."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    client = redis_server.client()
    positions = []
    for n in range(1, 6):
        await until(lambda n=n: subscriber.generation == n)
        await backend.publish([out("a", n)])
        await ear.wait(n)
        positions.append(subscriber.position)
        client.client_kill_filter(_type="pubsub")
        await until(lambda: not subscriber.connected)
        positions.append(subscriber.position)
    assert positions == sorted(positions)
    assert ear.data == ["1", "2", "3", "4", "5"]


async def test_the_position_is_what_was_delivered(start):
    """At any moment, everything up to the position has been delivered already."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    seen = []
    deliver = ear.deliver

    def noting(channel, id, frame, except_user=None):
        deliver(channel, id, frame)
        seen.append((id, subscriber.position))

    ear.deliver = noting
    for n in range(30):
        await backend.publish([out("ab"[n % 2], n), out("a", n)])
        place = subscriber.position
        later = [id for _, id, _ in ear.heard]
        await ear.wait(2 * n + 2)
        assert all(id > place.id for _, id, _ in ear.heard[len(later) :])
    assert all(position.id == id for id, position in seen)


async def test_a_fresh_subscriber_reads_nothing(start):
    """Streams that begin anew cost no read of history, however many channels they have."""
    _, subscriber, _ = await start()
    channels = [f"c{n}" for n in range(64)]
    await subscriber.subscribe(channels)
    reads = subscriber.reads
    for _ in range(100):
        await subscriber.replay(channels, None)
    assert subscriber.reads == reads


async def test_resuming_streams_share_a_read(start):
    """A hundred streams that resume at once on the same channels cost one read."""
    backend, subscriber, _ = await start()
    ids = await backend.publish([out(f"c{n % 8}", n) for n in range(80)])
    channels = [f"c{n}" for n in range(8)]
    await subscriber.subscribe(channels)
    reads = subscriber.reads
    replays = await asyncio.gather(
        *(subscriber.replay(channels, Place.parse(ids[n % 80])) for n in range(100))
    )
    for n, replay in enumerate(replays):
        assert said(replay) == [str(m) for m in range(n % 80 + 1, 80)]
        assert replay.resets == []
    assert subscriber.reads == reads + 1


async def test_a_channel_that_is_trimmed_while_another_is_read(start, redis_server):
    """While one channel is read apart, another's ring moves on: that is no reason for a reset."""
    backend, subscriber, ear = await start(history=50)
    cursor = await backend.cursor()
    await subscriber.subscribe(["small", "large"])
    await backend.publish([out("small", n) for n in range(5)])
    await backend.publish([Outgoing("large", b"data: %s\n\n" % (b"x" * 500)) for _ in range(20)])
    await ear.wait(25)
    recent = subscriber._recent
    recent._size_limit = 1000  # "large" never fits
    recent.forget(subscriber._members.channels["large"])
    read = subscriber._recent._read

    busy = 3

    async def slow(asked):
        nonlocal busy
        busy -= 1
        if busy > 0:  # what other channels bring pushes these two out of the ring
            for name in ("small", "large"):
                recent.forget(subscriber._members.channels[name])
        return await read(asked)

    subscriber._read_history = slow
    replay = await subscriber.replay(["small", "large"], cursor)
    assert replay.resets == []
    assert len(replay.events) == 25


async def test_events_before_the_channel_is_settled_leave_nothing_behind(start, monkeypatch):
    """Busy channels that are joined and left for days do not use up the room for recent events."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.004)
    backend, subscriber, _ = await start()
    await subscriber.subscribe(["keep"])

    async def noise(stop):
        while not stop.is_set():
            await backend.publish([out("busy", n) for n in range(20)])

    stop = asyncio.Event()
    task = asyncio.create_task(noise(stop))
    for _ in range(40):
        await subscriber.subscribe(["busy"])
        subscriber.unsubscribe(["busy"])
        await until(lambda: "busy" not in subscriber._members.channels)
    stop.set()
    await task
    assert subscriber._recent._size == sum(
        channel.log.size for channel in subscriber._members.channels.values()
    )


async def test_a_redis_that_is_away_for_hours(start, monkeypatch):
    """The subscriber goes on trying, however many attempts have failed."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.0, 0.0))
    _, subscriber, _ = await start(f"redis://127.0.0.1:{free_port()}/0")
    attempts = 0
    listener = subscriber._partition.listener

    async def counted():
        nonlocal attempts
        attempts += 1
        if attempts > 5:  # the first are real
            raise OSError("away")
        return await listener()

    monkeypatch.setattr(subscriber._partition, "listener", counted)
    await until(lambda: attempts > 3000 or subscriber._task.done())
    assert not subscriber._task.done()


async def test_a_lost_connection_keeps_nobody_alive(start, redis_server):
    """Who waited for a tick when the connection was lost is forgotten, while the subscriber goes on."""
    _, subscriber, _ = await start()
    await subscriber.subscribe(["a"])

    class Somebody:
        """Is only waited for."""

    async def wait(somebody):
        with pytest.raises(BackendError):
            await subscriber._ticks.next()

    somebody = Somebody()
    known = weakref.ref(somebody)
    waiting = asyncio.create_task(wait(somebody))
    del somebody
    await asyncio.sleep(0)
    redis_server.client().flushall()  # the tick that comes back is of another data set
    await waiting
    del waiting
    await until(lambda: subscriber.connected)
    gc.collect()
    assert known() is None


async def test_subscribing_without_redis(start):
    """It fails in time as a BackendError and leaves no count behind."""
    _, subscriber, _ = await start(f"redis://127.0.0.1:{free_port()}/0", timeout=0.1)
    for _ in range(3):
        with pytest.raises(BackendError):
            await subscriber.subscribe(["a", "b"])
    assert all(channel.count == 0 for channel in subscriber._members.channels.values())
    assert not subscriber.connected
    assert subscriber.position is None


async def test_a_subscriber_that_is_closed_while_streams_wait(start):
    """Closing ends what waits, one way or another, and leaves no task behind."""
    backend, subscriber, _ = await start(timeout=0.3)
    await subscriber.subscribe(["a"])
    (id,) = await backend.publish([out("a", 1)])
    tasks = [
        asyncio.create_task(subscriber.replay(["a"], Place.parse(id))),
        asyncio.create_task(subscriber.subscribe(["b"])),
    ]
    await asyncio.sleep(0)
    await subscriber.close()
    _, pending = await asyncio.wait(tasks, timeout=5)
    assert not pending
    for task in tasks:
        with contextlib.suppress(BackendError):
            task.result()


async def test_new_channels_do_not_starve_each_other(start, monkeypatch):
    """However many channels are begun one after the other, each waits for two ticks or three."""
    _, subscriber, _ = await start()
    await until(lambda: subscriber.connected)
    partition, ticks = subscriber._partition, 0
    tick = partition.tick

    async def slow(*given):
        nonlocal ticks
        ticks += 1
        await asyncio.sleep(0.01)  # the way to Redis and back
        return await tick(*given)

    monkeypatch.setattr(partition, "tick", slow)

    async def settle(name):
        before = ticks
        await subscriber.subscribe([name])
        return ticks - before

    tasks = []
    for n in range(300):
        tasks.append(asyncio.create_task(settle(f"user:{n}")))
        await asyncio.sleep(0.001)
    took = await asyncio.gather(*tasks)
    assert max(took) <= 3  # one may be on its way, and one leave before the subscription is confirmed
    assert ticks > 5


async def test_a_resume_reads_what_was_missed(start, private_redis):
    """Streams that missed three events make Redis send three events each channel, and not its history."""
    server = private_redis()
    backend, subscriber, _ = await start(server.url, history=1000)
    channels = [f"c{n}" for n in range(5)]
    body = b"data: %s\n\n" % (b"x" * 2000)
    for _ in range(5):
        await backend.publish([Outgoing(channel, body) for channel in channels for _ in range(100)])
    cursor = await backend.cursor()
    await backend.publish([Outgoing(channel, body) for channel in channels for _ in range(3)])
    await subscriber.subscribe(channels)
    subscriber._recent._size_limit = 8000  # no room for what was read: each stream costs as much as the first
    before = server.client().info("stats")["total_net_output_bytes"]
    replays = await asyncio.gather(
        *(subscriber.replay([name], cursor) for name in channels for _ in range(4))
    )
    sent = server.client().info("stats")["total_net_output_bytes"] - before
    assert all(len(replay.events) == 3 and not replay.resets for replay in replays)
    assert sent < 2 * len(replays) * 3 * 2000 + 20_000
