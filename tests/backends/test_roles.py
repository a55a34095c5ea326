"""Copies of a data set, and servers that change their role: places of one are not places of the other."""

import shutil

import pytest

from parts.ears import Ear, out, until
from sse_edge import Publisher, RedisBackend
from sse_edge.backends.redis.outbox import outcomes

pytestmark = pytest.mark.usefixtures("watchful")


@pytest.fixture
async def listen():
    """``await listen(url, *channels)``: a backend, its subscriber, and an ear that is subscribed;
    ``listen.backend(url)`` only a backend."""
    backends, subscribers = [], []

    def make(url, **settings):
        backends.append(RedisBackend(url, **settings))
        return backends[-1]

    async def begin(url, *channels, **settings):
        backend, ear = make(url, **settings), Ear()
        subscribers.append(backend.subscriber(ear))
        await subscribers[-1].start()
        await subscribers[-1].subscribe(channels)
        return backend, subscribers[-1], ear

    begin.backend = make
    yield begin
    for subscriber in subscribers:
        await subscriber.close()
    for backend in backends:
        await backend.close()


def follow(replica, primary):
    """Make ``replica`` one of ``primary``, and wait until it is level."""
    replica.cli("REPLICAOF", "127.0.0.1", str(primary.port))

    def is_level():
        info = replica.client().info("replication")
        return info.get("master_link_status") == "up" and not info.get("master_sync_in_progress")

    return until(is_level, 20)


async def test_a_copy_on_another_server(private_redis, listen):
    """Workers move to a copy of the data, one after the other: a client that moves with them is told."""
    old = private_redis(save="3600 1")
    backend, _, _ = await listen(old.url, "a")
    await backend.publish([out("a", "1")])
    old.cli("SAVE")
    new = private_redis(save="3600 1")
    new.stop()
    shutil.copy(old.directory / "dump.rdb", new.directory / "dump.rdb")
    new.start()
    _, moved, _ = await listen(new.url, "a")
    await Publisher(listen.backend(new.url)).publish("a", "2")  # nobody on the old one hears it
    place = await backend.cursor()
    replay = await moved.replay(["a"], place)
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", "epoch")]


async def test_a_replica_is_promoted_by_hand(private_redis, listen):
    """While one worker is on the new primary, another goes on with the old one: it is told when it comes."""
    a, b = private_redis(), private_redis()
    _, late, heard = await listen(a.url, "a")
    await Publisher(listen.backend(a.url)).publish("a", "1")
    await heard.wait(1)
    await follow(b, a)
    b.cli("REPLICAOF", "NO", "ONE")
    backend, _, _ = await listen(b.url, "a")
    await backend.publish([out("a", "2")])
    place = late.position
    await until(lambda: late.position.id > place.id)
    _, after, _ = await listen(b.url, "a")
    replay = await after.replay(["a"], late.position)
    assert [reset.reason for reset in replay.resets] == ["epoch"]


async def test_a_primary_becomes_a_replica_under_its_worker(private_redis, listen):
    """What was published to the new primary meanwhile is read, or the channel is reset: no hole."""
    a, b = private_redis(), private_redis()
    _, _, ear = await listen(a.url, "busy", "quiet")
    await Publisher(listen.backend(a.url)).publish("quiet", "1")
    await ear.wait(1)
    await follow(b, a)
    b.cli("REPLICAOF", "NO", "ONE")
    events = Publisher(listen.backend(b.url))
    await events.publish("quiet", "2")
    await follow(a, b)
    await until(lambda: ear.resets or "2" in ear.data)
    await events.publish("busy", "3")
    await until(lambda: {reset.channel for reset in ear.resets} >= {"busy"} or "3" in ear.data)
    missing = {"1", "2", "3"} - set(ear.data)
    assert not missing or {reset.channel for reset in ear.resets} >= {"busy", "quiet"}


async def test_durable_is_what_the_workers_say(private_redis, listen):
    """Whoever reads first after a restart: a publisher that knows nothing of it makes no reset."""
    server = private_redis(appendonly=True, appendfsync="always")
    _, subscriber, ear = await listen(server.url, "a", durable=True)
    await Publisher(listen.backend(server.url)).publish("a", "1")
    await ear.wait(1)
    generation = subscriber.generation
    server.kill()
    server.start()
    await listen.backend(server.url).cursor()
    await until(lambda: subscriber.generation > generation)
    await Publisher(listen.backend(server.url)).publish("a", "2")
    await ear.wait(2)
    assert (ear.data, ear.resets) == (["1", "2"], [])


async def test_a_lossy_restart_is_not_hidden_by_who_reads_first(private_redis, listen):
    """A reader that takes the server to be durable decides nothing; the workers do."""
    server = private_redis(save="3600 1")
    backend, subscriber, ear = await listen(server.url, "a")
    await backend.publish([out("a", "1")])
    place = await backend.cursor()
    server.cli("SAVE")
    await backend.publish([out("a", "2")])
    await ear.wait(2)
    server.kill()
    server.start()
    await listen.backend(server.url, durable=True).cursor()
    await until(lambda: ear.resets)
    await until(lambda: subscriber.connected)
    assert [reset.reason for reset in (await subscriber.replay(["a"], place)).resets] == ["epoch"]


async def test_from_no_history_to_some(private_redis, listen):
    """What was published while nothing was kept is no hole that nobody sees."""
    server = private_redis()
    backend, _, _ = await listen(server.url, "a", history=100)
    await backend.publish([out("a", "1")])
    place = await backend.cursor()
    without, *_ = await listen(server.url, "a", history=0)
    await without.publish([out("a", "2")])
    again, resumed, _ = await listen(server.url, "a", history=100)
    await again.publish([out("a", "3")])
    await until(lambda: resumed.connected)
    assert [reset.reason for reset in (await resumed.replay(["a"], place)).resets] == ["epoch"]


async def test_the_clock_is_lost_while_its_ids_were_ahead(private_redis, listen):
    """Publishing goes on above what the streams have."""
    server = private_redis()
    backend, _, _ = await listen(server.url, "a")
    client = server.client()
    client.hset("sse:clock", "last", "99999999999999-5")
    await backend.publish([out("a", "1")])
    client.delete("sse:clock")
    (place,) = await backend.publish([out("a", "2")])
    assert place.startswith("99999999999999-7.")


async def test_a_permission_to_publish_that_is_missing_for_one_channel(private_redis, listen):
    """The event is not kept where it cannot be announced: nothing has happened, and nobody misses it."""
    server = private_redis()
    server.cli("ACL", "SETUSER", "edge", "on", ">secret", "~sse:*", "resetchannels", "&sse:b", "+@all")
    backend = listen.backend(f"redis://edge:secret@127.0.0.1:{server.port}/0")
    (published,) = await outcomes([backend.partitions[0].queue([out("b", "1"), out("a", "2")])])
    assert len(published.places) == 1
    assert published.error is not None
    assert not published.error.sent
    assert server.client().exists("sse:history:a") == 0


async def test_a_worker_that_says_durable_only_now(private_redis, listen):
    """It speaks of the restarts to come, and not of the one before it began."""
    server = private_redis(save="3600 1")
    backend, subscriber, ear = await listen(server.url, "a")
    await backend.publish([out("a", "1")])
    server.cli("SAVE")
    await backend.publish([out("a", "2")])
    await ear.wait(2)
    place = subscriber.position
    await subscriber.close()
    server.kill()
    server.start()
    _, begun, _ = await listen(server.url, "a", durable=True)
    assert [reset.reason for reset in (await begun.replay(["a"], place)).resets] == ["epoch"]
