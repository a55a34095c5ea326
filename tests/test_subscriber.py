"""The Redis subscriber's own edges, against a real Redis: churn, batches, ticks, gaps, bad messages."""

import asyncio
import contextlib
import gc
import json
import random
import weakref

import pytest
from redis.exceptions import ResponseError

from ears import Ear, out, said, until
from servers.processes import free_port
from sse_edge import RedisBackend
from sse_edge.backends.base import CONTROL, Outgoing
from sse_edge.backends.redis import connection, inlet, order, pool, recovery, subscriptions
from sse_edge.backends.redis.channel import State
from sse_edge.errors import BackendError
from sse_edge.event import EventId, Place


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Reconnect soon."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.01, 0.2))


@pytest.fixture(autouse=True, params=["RESP2", "RESP3", "redis-py's parser"])
def spoken(request, monkeypatch):
    """However the connection is spoken and read, all is the same."""
    if request.param == "RESP3":
        manners = pool.manners
        monkeypatch.setattr(pool, "manners", lambda timeout: {**manners(timeout), "protocol": 3})
    elif request.param != "RESP2":
        monkeypatch.setattr(inlet, "hiredis", None)
    return request.param


@pytest.fixture
async def start(redis_url):
    """``await start(url=…, **settings)``: a backend, its subscriber, and the ear that it speaks to."""
    started = []

    async def begin(url=redis_url, **settings):
        backend = RedisBackend(url, **{"timeout": 5.0, **settings})
        ear = Ear()
        subscriber = backend.subscriber(ear)
        await subscriber.start()
        started.append((backend, subscriber))
        return backend, subscriber, ear

    yield begin
    for backend, subscriber in started:
        await closed(subscriber)
        await backend.close()


async def closed(subscriber):
    """Close it; when that hangs, end it by force, and fail instead of hanging the whole run."""
    closing = asyncio.create_task(subscriber.close())
    _, hangs = await asyncio.wait([closing], timeout=5)
    while hangs and not closing.done():
        for task in asyncio.all_tasks() - {asyncio.current_task(), closing}:
            task.cancel()
        await asyncio.wait([closing], timeout=0.1)
    assert not hangs, "close() hangs"


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


async def test_the_first_connection_is_lost_at_once(start, redis_server, monkeypatch):
    """Before anything was delivered nothing can be missing: no reset."""
    backend, subscriber, ear = await start()
    await backend.publish([out("a", "before")])
    partition, client = subscriber._partition, redis_server.client()
    tick, ticks = partition.tick, 0

    async def cut_off(*given):
        nonlocal ticks
        ticks += 1
        if ticks == 2:  # the channel is settled, and the subscriber not yet live
            client.client_kill_filter(_type="pubsub")
        return await tick(*given)

    monkeypatch.setattr(partition, "tick", cut_off)
    await subscriber.subscribe(["a"])
    await until(lambda: subscriber.connected)
    assert ticks > 2
    await backend.publish([out("a", "after")])
    await ear.until(lambda: "after" in ear.data)
    assert ear.resets == []


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


async def test_a_tick_that_is_not_awaited_is_ignored(start, redis_server):
    """A tick of an earlier connection, or anybody's message on the worker's channel, moves nothing."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    await until(lambda: subscriber.connected)
    client = redis_server.client()
    ahead = 99_999_999_999_999
    for payload in (
        f"00000000 {ahead}-0 abcde 0 -",
        f"{ahead}-0",
        f"{ahead}-0 ",
        "",
        "x",
        b"\xff\xfe",
        "- -\n",
    ):
        client.publish(subscriber._own, payload)
    await backend.publish([out("a", "on")])
    await ear.wait(1)
    assert subscriber.position.id.ms < ahead
    assert subscriber.generation == 1


BAD = [
    b"",
    b"x",
    b"- -",
    b"- -\n",
    b"s 1-1 -\ndata: x\n",
    b"s 1 -\ndata: x\n\n",
    b"s 1-1\ndata: x\n\n",
    b"s -1-1 -\ndata: x\n\n",
    b"s 1-1 1\ndata: x\n\n",
    b"s " + b"9" * 5000 + b"-1 -\ndata: x\n\n",
    b"s 9999999999999999-1 -\ndata: x\n\n",
    b"s \xff\xfe -\ndata: x\n\n",
    b"1-1 -\ndata: x\n\n",
    b"{",
    b"{}",
    b'{"data": NaN}',
    b'{"data": "x", "event": 5}',
    b'{"data": "x", "event": "a\\nb"}',
    b'{"data": "x", "event": "error"}',
    b'{"data": "x", "event": "edge-close"}',
    b'{"data": "\\ud800"}',
    b'{"data": "\xff"}',
    b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"data": "' + b"x" * 300_000 + b'"}',
    b"[1]",
    b'"data"',
]


async def test_malformed_messages_are_counted_and_dropped(start, redis_server):
    """Whatever anybody publishes on a channel, the worker goes on, and says how much it dropped."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    client = redis_server.client()
    for n, payload in enumerate(BAD):
        client.publish("sse:a", payload)
        client.publish("sse:a", json.dumps({"data": f"good {n}"}))
    await backend.publish([out("a", "end")])
    await ear.until(lambda: ear.data and ear.data[-1] == "end")
    assert ear.data[:-1] == [f"good {n}" for n in range(len(BAD))]
    assert subscriber.dropped["malformed"] == len(BAD)
    assert subscriber.generation == 1
    assert ear.resets == []


async def test_other_replies(start):
    """A push of another kind, or about what nobody asked for, is nothing; an error ends the session."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    for reply in (
        [b"invalidate", [b"a"]],
        [b"pong", b""],
        [b"message", b"elsewhere", b"x"],
        [b"moving", b"sse:a", b"x"],
        [b"unsubscribe", b"elsewhere", 0],
        b"OK",
        b"abc",
        None,
        5,
    ):
        subscriber._on_reply(reply)
    with pytest.raises(ResponseError):
        subscriber._on_reply(ResponseError("NOPERM"))
    await backend.publish([out("a", "on")])
    await ear.wait(1)
    assert (subscriber.generation, subscriber.dropped) == (1, {"malformed": 0, "foreign": 0})


def announce(client, channel, id, previous, text):
    """What publish.lua announces."""
    seal = client.hget("sse:clock", "seal")
    client.publish(f"sse:{channel}", f"{seal} {id} {previous}\ndata: {text}\n\n")


async def test_a_gap_is_read_from_history(start, redis_server):
    """An announcement whose previous one was not heard makes the worker read that channel, once."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    (first,) = await backend.publish([out("a", 1)])
    await ear.wait(1)
    reads = subscriber.reads
    client = redis_server.client()
    ms = Place.parse(first).id.ms + 1000  # ahead of the clock, which then goes on from here
    first, second, third = (EventId(*id) for id in (Place.parse(first).id, (ms, 1), (ms, 2)))
    for id, previous, text in ((second, first, 2), (third, second, 3)):
        client.xadd("sse:history:a", {"p": str(previous), "b": f"data: {text}\n\n"}, id=str(id))
    client.hset("sse:clock", "last", str(third))
    announce(client, "a", third, second, 3)
    await ear.wait(3)
    assert ear.data == ["1", "2", "3"]
    assert [id for _, id, _ in ear.heard] == [first, second, third]
    assert subscriber.reads == reads + 1
    await backend.publish([out("b", 4), out("a", 5)])
    await ear.wait(5)
    assert ear.data == ["1", "2", "3", "4", "5"]
    assert (subscriber.generation, ear.resets) == (1, [])


async def test_an_announcement_that_vanished_before_the_connection_was_lost(start, redis_server):
    """The position went past it; what history knows of the channel shows it all the same."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    (first,) = await backend.publish([out("a", 1)])
    await ear.wait(1)
    client = redis_server.client()
    first = Place.parse(first).id
    vanished = EventId(first.ms + 1, 1)
    client.xadd("sse:history:a", {"p": str(first), "b": "data: 2\n\n"}, id=str(vanished))
    await backend.publish([out("b", 3)])
    await ear.wait(2)
    await until(lambda: subscriber.position.id > vanished)
    client.client_kill_filter(_type="pubsub")
    await ear.until(lambda: "2" in ear.data)
    await until(lambda: subscriber.connected)
    assert ear.data == ["1", "3", "2"]
    assert not ear.heard[-1][2].startswith(b"id: ")  # it is late: no place goes back
    assert ear.resets == []


async def test_a_gap_that_history_cannot_fill(start, redis_server):
    """What is missing and no longer kept is a reset of that channel, and of no other."""
    backend, subscriber, ear = await start(history=2)
    await subscriber.subscribe(["a", "b"])
    (first,) = await backend.publish([out("a", 1)])
    await ear.wait(1)
    client = redis_server.client()
    ms = Place.parse(first).id.ms + 1000
    client.xadd("sse:history:a", {"p": f"{ms}-3", "b": "data: 4\n\n"}, id=f"{ms}-4")
    client.xtrim("sse:history:a", maxlen=1)
    client.hset("sse:clock", "last", f"{ms}-4")
    announce(client, "a", f"{ms}-4", f"{ms}-3", 4)
    await ear.until(lambda: ear.resets)
    await backend.publish([out("b", 5), out("a", 6)])
    await ear.until(lambda: ear.data[-1] == "6")
    assert [(reset.channel, reset.reason) for reset in ear.resets] == [("a", "trimmed")]


async def test_repeated_announcements_are_heard_once(start, redis_server):
    """The same announcement again, or an older one, is nothing new."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    first, second = [Place.parse(place).id for place in await backend.publish([out("a", 1), out("a", 2)])]
    await ear.wait(2)
    client = redis_server.client()
    for _ in range(3):
        announce(client, "a", first, "-", 1)
        announce(client, "a", second, first, 2)
    await backend.publish([out("a", 3)])
    await ear.wait(3)
    assert ear.data == ["1", "2", "3"]


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


async def test_too_much_while_history_is_read(start, redis_server, monkeypatch):
    """When more arrives than may be held, the connection is begun anew, and nothing is lost."""
    monkeypatch.setattr(order, "HELD", 50)
    backend, subscriber, ear = await start(history=5000)
    await subscriber.subscribe(["a"])
    await until(lambda: subscriber.connected)
    read = subscriber._partition.read
    delay = asyncio.Event()

    async def slow(asked):
        await delay.wait()
        return await read(asked)

    monkeypatch.setattr(subscriber._partition, "read", slow)
    generation = subscriber.generation
    redis_server.client().client_kill_filter(_type="pubsub")
    await until(lambda: not subscriber.connected)
    await until(lambda: redis_server.client().pubsub_numsub("sse:a")[0][1] == 1)
    await backend.publish([out("a", n) for n in range(200)])
    delay.set()
    await ear.wait(200)
    await until(lambda: subscriber.connected)
    assert subscriber.generation > generation
    assert ear.data == [str(n) for n in range(200)]
    assert ear.resets == []


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


@pytest.fixture
async def gated(start, redis_server, monkeypatch):
    """``await gated(*channels, **settings)``: the same as ``start``, its connection lost, and history not
    read before the event that it gives is set."""

    async def begin(*channels, **settings):
        backend, subscriber, ear = await start(**settings)
        await subscriber.subscribe(channels)
        read, gate, asked = subscriber._partition.read, asyncio.Event(), asyncio.Event()

        async def wait(what):
            if what:
                asked.set()
                await gate.wait()
            return await read(what)

        monkeypatch.setattr(subscriber._partition, "read", wait)
        redis_server.client().client_kill_filter(_type="pubsub")
        await asked.wait()
        return backend, subscriber, ear, gate

    return begin


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_stream_that_opens_while_others_are_read_again(gated, resumes):
    """What is published while a worker catches up reaches a stream that opened meanwhile."""
    backend, subscriber, ear, gate = await gated("a")
    cursor = await backend.cursor()
    opening = asyncio.create_task(subscriber.subscribe(["new"]))
    client_knows = asyncio.Event()

    async def stream():
        begin = await opening
        client_knows.set()
        return await subscriber.replay(["new"], cursor if resumes else begin)

    given = asyncio.create_task(stream())
    members = subscriber._members.channels
    await until(lambda: "new" in members and members["new"].state is State.HEARD)
    if resumes:
        await backend.publish([out("new", "meanwhile")])
    gate.set()
    await client_knows.wait()
    await backend.publish([out("new", "after")])
    await ear.until(lambda: "after" in ear.data)
    replay = await given
    heard = [
        *said(replay),
        *[text for text, (_, id, _) in zip(ear.data, ear.heard, strict=True) if id > replay.upto.id],
    ]
    assert heard == (["meanwhile", "after"] if resumes else ["after"])
    assert (replay.resets, ear.resets) == ([], [])


async def test_a_settled_channel_joined_while_it_is_read_again(gated):
    """A stream that begins on a channel that others hear already begins when it is level again."""
    backend, subscriber, ear, gate = await gated("a")
    await backend.publish([out("a", "before")])
    opening = asyncio.create_task(subscriber.subscribe(["a"]))
    await asyncio.sleep(0)
    assert not opening.done()
    gate.set()
    begin = await opening
    assert "before" in ear.data
    await backend.publish([out("a", "after")])
    await ear.until(lambda: "after" in ear.data)
    assert said(await subscriber.replay(["a"], begin)) == ["after"]


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


async def test_a_gap_on_a_channel_that_nobody_wants_any_more(start, redis_server, monkeypatch):
    """It ends with the channel: other channels are heard, and nothing is read again and again."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.002)
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    (first,) = await backend.publish([out("a", 1)])
    await ear.wait(1)
    read, gate, reads = subscriber._partition.read, asyncio.Event(), 0

    async def slow(asked):
        nonlocal reads
        reads += 1
        await gate.wait()
        return await read(asked)

    monkeypatch.setattr(subscriber._partition, "read", slow)
    ms = Place.parse(first).id.ms + 1000
    announce(redis_server.client(), "a", f"{ms}-2", f"{ms}-1", 3)
    await until(lambda: reads == 1)
    announce(redis_server.client(), "a", f"{ms}-4", f"{ms}-3", 5)
    subscriber.unsubscribe(["a"])
    await until(lambda: "a" not in subscriber._members.channels)
    gate.set()
    await until(lambda: subscriber.connected)
    redis_server.client().hset("sse:clock", "last", f"{ms}-4")
    await backend.publish([out("b", "on")])
    await ear.until(lambda: "on" in ear.data)
    assert (reads, subscriber.generation, ear.resets) == (1, 1, [])


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


async def test_data_that_are_lost_under_a_living_connection(start, redis_server):
    """FLUSHALL is noticed by the first announcement or tick after it: every channel is reset, with the tag
    of the new data set, and goes on."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    await backend.publish([out("a", 1)])
    await ear.wait(1)
    before = subscriber.position
    redis_server.client().flushall()
    await backend.publish([out("a", 2)])
    await ear.until(lambda: len(ear.resets) == 2)
    await until(lambda: subscriber.connected)
    await backend.publish([out("a", 3)])
    await ear.until(lambda: ear.data[-1] == "3")
    assert {(reset.channel, reset.reason) for reset in ear.resets} == {("a", "epoch"), ("b", "epoch")}
    assert {reset.head.tag for reset in ear.resets} == {subscriber.position.tag} != {before.tag}
    assert (await subscriber.replay(["a"], before)).resets[0].reason == "epoch"
    assert subscriber.dropped["foreign"] >= 1


FORGED = [
    b"%s 99999999999999-1 -\ndata: far ahead\n\n",
    b"%s - -\ndata: live only\n\n",
    b"%s 99999999999999-1 99999999999998-1\ndata: a gap\n\n",
    b"%s - -\nevent: edge-close\ndata: {}\n\n",
    b"%s - -\ndata: two\n\ndata: events\n\n",
]


@pytest.mark.parametrize("seal", [b"00000000", b"x"])
async def test_who_may_only_publish_moves_nothing(start, redis_server, seal, caplog):
    """An announcement without the seal that only the data set knows is dropped, counted, and logged once."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    client = redis_server.client()
    for forged in FORGED:
        client.publish("sse:a", forged % seal)
    await backend.publish([out("a", "real")])
    await ear.until(lambda: "real" in ear.data)
    assert ear.data == ["real"]
    assert (subscriber.generation, ear.resets) == (1, [])
    assert subscriber.dropped == {"malformed": 2, "foreign": len(FORGED) - 2}  # two are no single events
    assert len([record for record in caplog.records if "somebody else" in record.message]) == 1


async def test_a_plain_order_to_all_workers_is_dropped(start, redis_server):
    """Streams are ended by who can read the data set, and not by who may only PUBLISH."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe([CONTROL])
    redis_server.client().publish(f"sse:{CONTROL}", json.dumps({"data": {"channel": "a"}}))
    await backend.publish([out(CONTROL, "real")])
    await ear.wait(1)
    assert ear.data == ["real"]
    assert subscriber.dropped == {"malformed": 0, "foreign": 1}
