"""What a subscriber did not hear, against a real Redis: lost connections, gaps, and what history has not."""

import asyncio

import pytest

from parts.ears import out, said, until
from sse_edge import RedisBackend
from sse_edge.backends.redis import order, subscriptions
from sse_edge.backends.redis.channel import State
from sse_edge.event import EventId, Place

pytestmark = pytest.mark.usefixtures("impatient", "spoken")


@pytest.fixture
def make_backend(redis_url):
    return lambda url=redis_url, **settings: RedisBackend(url, **settings)


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
