"""Two applications on one Redis: nothing of one reaches the other, whatever their prefixes and databases."""

import asyncio
import json
from itertools import permutations

import pytest

from parts.ears import Ear, out, said, until
from sse_edge import Publisher, RedisBackend
from sse_edge.backends.base import CONTROL


def backend(server, db=0, prefix="sse:", **settings):
    return RedisBackend(f"redis://127.0.0.1:{server.port}/{db}", prefix=prefix, **settings)


@pytest.fixture
async def listen():
    """``await listen(backend, *channels)``: an ear that is subscribed."""
    started = []

    async def begin(backend, *channels):
        ear = Ear()
        subscriber = backend.subscriber(ear)
        await subscriber.start()
        started.append((backend, subscriber))
        await subscriber.subscribe(channels)
        return subscriber, ear

    yield begin
    for backend, subscriber in started:
        await subscriber.close()
        await backend.close()


NEIGHBOURS = [
    pytest.param([({"db": 0}, "x"), ({"db": 1}, "x")], id="databases"),
    pytest.param([({"prefix": "sse:"}, "staging:x"), ({"prefix": "sse:staging:"}, "x")], id="nested"),
    pytest.param([({"prefix": "sse"}, ":x"), ({"prefix": "sse:"}, "x")], id="colon"),
    pytest.param([({"prefix": "sse@1:"}, "x"), ({"db": 1}, "x")], id="like a database"),
    pytest.param([({"prefix": "a%3Ab:"}, "x"), ({"prefix": "a:b:"}, "x")], id="quoted"),
    pytest.param([({"prefix": "sse:", "partitions": 2}, "x"), ({"db": 2, "partitions": 2}, "x")], id="parts"),
    pytest.param([({}, CONTROL), ({"db": 1}, CONTROL)], id="orders"),
]


@pytest.mark.parametrize(
    ("one", "other"), [pair for each in NEIGHBOURS for pair in permutations(each.values[0])]
)
async def test_nothing_crosses(redis_server, redis_url, listen, one, other):
    """Neither events, nor plain ones, nor orders, nor history."""
    (mine, channel), (others, neighbour) = one, other
    here, there = backend(redis_server, **mine), backend(redis_server, **others)
    _, ear = await listen(here, channel)
    foreign, heard = await listen(there, neighbour)
    cursor = await there.cursor()
    (id,) = await here.publish([out(channel, "here")])
    redis_server.client().publish(
        here.partition(channel).names.announce(channel), json.dumps({"data": "plain"})
    )
    await ear.until(lambda: "here" in ear.data)
    await there.publish([out(neighbour, "there")])
    await heard.wait(1)
    assert heard.data == ["there"]
    assert foreign.dropped == {"malformed": 0, "foreign": 0}
    replay = await foreign.replay([neighbour], cursor)
    assert "here" not in said(replay)
    assert (await there.cursor()).tag != id.partition(".")[2]


async def test_leases_and_revocations_are_apart(redis_server, redis_url):
    """A user of one application has nothing to do with one of the other's."""
    here, there = backend(redis_server), backend(redis_server, db=1)
    leases = [here.leases(), there.leases()]
    try:
        for each in leases:
            await each.start()
        await here.revoke("s1", 4e9)
        assert await there.revoked() == {}
        assert [await each.acquire([("user:u", 1)]) for each in leases] == [None, None]
        assert await leases[0].acquire([("user:u", 1)]) == "user:u"
    finally:
        for each in leases:
            await each.close()
        await here.close()
        await there.close()


async def test_a_move_to_another_redis_is_a_reset(redis_server, redis_url, private_redis, listen):
    """A client that comes back to workers on a new Redis is told, and not left with a hole."""
    old, new = backend(redis_server), backend(private_redis())
    place = await _placed(old)
    subscriber, _ = await listen(new, "a")
    await Publisher(new).publish("a", "only here")
    replay = await subscriber.replay(["a"], place)
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", "epoch")]
    assert replay.upto.tag != place.tag
    await old.close()


async def _placed(backend):
    await Publisher(backend).publish("a", "x")
    return await backend.cursor()


async def test_the_same_prefix_twice_is_one_application(redis_server, redis_url, listen):
    """Two publishers and a worker with one prefix and database share everything, tag included."""
    subscriber, ear = await listen(backend(redis_server), "a")
    first, second = backend(redis_server), backend(redis_server)
    await Publisher(first).publish("a", "1")
    await Publisher(second).publish("a", "2")
    await ear.wait(2)
    assert ear.data == ["1", "2"]
    await until(lambda: subscriber.connected)
    assert (await first.cursor()).tag == (await second.cursor()).tag == subscriber.position.tag
    await asyncio.gather(first.close(), second.close())
