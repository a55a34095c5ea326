"""A Redis that answers and takes no writes: listening goes on, publishing fails honestly, and it is said."""

import json
import re
import shutil

import pytest

from parts.ears import Ear, until
from sse_edge import Anonymous, Limits, Publisher, PublishError, RedisBackend, SSEMiddleware


def disk_fails(server):
    """Redis cannot write its snapshot, and so refuses writes (MISCONF)."""
    server.cli("CONFIG", "SET", "save", "3600 1")
    shutil.rmtree(server.directory)
    server.cli("BGSAVE")


def commands(*lines):
    """What is to be sent to make a server refuse, or heal."""
    return lambda server: [server.cli(*line) for line in lines]


REFUSALS = [
    pytest.param(
        "OOM",
        commands(["CONFIG", "SET", "maxmemory-policy", "noeviction"], ["CONFIG", "SET", "maxmemory", "1"]),
        commands(["CONFIG", "SET", "maxmemory", "0"]),
        id="maxmemory",
    ),
    pytest.param(
        "MISCONF",
        disk_fails,
        commands(["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
        id="disk",
    ),
    pytest.param(
        "READONLY",
        commands(["REPLICAOF", "127.0.0.1", "1"]),
        commands(["REPLICAOF", "NO", "ONE"]),
        id="replica",
    ),
    pytest.param(
        "NOREPLICAS",
        commands(["CONFIG", "SET", "min-replicas-to-write", "1"]),
        commands(["CONFIG", "SET", "min-replicas-to-write", "0"]),
        id="replicas",
    ),
    pytest.param(
        "can't run|permission",
        commands(["ACL", "SETUSER", "default", "-hset"]),
        commands(["ACL", "SETUSER", "default", "+@all"]),
        id="denied",
    ),
]


@pytest.mark.parametrize(("said", "refuse", "heal"), REFUSALS)
@pytest.mark.usefixtures("watchful")
async def test_listening_goes_on(private_redis, said, refuse, heal):
    """Open streams, new channels and resumes need no write; publishing says that nothing has happened."""
    server = private_redis()
    backend, ear = RedisBackend(server.url), Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    events = Publisher(backend)
    try:
        await subscriber.subscribe(["a"])
        cursor = await backend.cursor()
        await events.publish("a", "before")
        await until(lambda: ear.heard)
        assert subscriber.refused is None
        refuse(server)
        await until(lambda: subscriber.refused is not None)
        assert re.search(said, subscriber.refused)
        with pytest.raises(PublishError, match=said) as raised:
            await events.publish("a", "refused")
        assert not raised.value.may_have_happened
        server.cli("PUBLISH", "sse:a", json.dumps({"data": "plain"}))
        await until(lambda: "plain" in ear.data)
        begin = await subscriber.subscribe(["new"])
        assert (await subscriber.replay(["new"], begin)).resets == []
        replay = await subscriber.replay(["a"], cursor)
        assert (len(replay.events), replay.resets) == (1, [])
        assert (await backend.cursor()).tag == cursor.tag
        assert subscriber.connected
        heal(server)
        await events.publish("new", "after")
        await until(lambda: "after" in ear.data and subscriber.refused is None)
        assert ear.data == ["before", "plain", "after"]
        # A replica that becomes a primary goes on with another history: a worker reads, and misses nothing.
        assert subscriber.generation <= (2 if said == "READONLY" else 1)
        assert ear.resets == []
    finally:
        await subscriber.close()
        await backend.close()


@pytest.mark.parametrize(("said", "refuse", "heal"), REFUSALS[:1])
@pytest.mark.usefixtures("watchful")
async def test_the_status_says_so(private_redis, said, refuse, heal):
    """``degraded`` names ``writes`` as long as none are taken, and the worker is ready all the same."""
    server = private_redis()
    edge = SSEMiddleware(
        backend=server.url, auth=Anonymous(), channels={"/events/a": "a"}, limits=Limits(per_ip=None)
    )
    async with edge:
        await until(lambda: edge.ready)
        assert edge.figures()["degraded"] == []
        refuse(server)
        await until(lambda: "writes" in edge.figures()["degraded"])
        assert edge.ready
        heal(server)
        await until(lambda: "writes" not in edge.figures()["degraded"])


async def test_a_session_that_begins_while_writes_are_refused(private_redis):
    """A worker that starts, or comes back, while Redis is full listens as well."""
    server = private_redis()
    backend = RedisBackend(server.url)
    await Publisher(backend).publish("a", "before")
    REFUSALS[0].values[1](server)
    ear = Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    try:
        await subscriber.subscribe(["a"])
        server.client().client_kill_filter(_type="pubsub")
        await until(lambda: subscriber.generation == 2)
        server.cli("PUBLISH", "sse:a", json.dumps({"data": "plain"}))
        await until(lambda: ear.heard)
        assert ear.resets == []
    finally:
        await subscriber.close()
        await backend.close()


async def test_missing_permissions_are_named(private_redis, caplog):
    """A worker whose user of Redis may not do everything says at its start what is missing."""
    server = private_redis()
    server.cli("ACL", "SETUSER", "edge", "on", ">secret", "~sse:*", "&sse:*", "+@all", "-xadd", "-zadd")
    backend = RedisBackend(f"redis://edge:secret@127.0.0.1:{server.port}/0")
    subscriber = backend.subscriber(Ear())
    await subscriber.start()
    try:
        await until(lambda: subscriber.connected)
        (record,) = [record for record in caplog.records if "permission" in record.message]
        assert "XADD sse:history:*" in record.message
        assert "HSET" not in record.message
        (partition,) = backend.partitions
        assert await partition.denied() == ["XADD sse:history:*"]
        assert await partition.denied(leases=backend.leases_prefix) == [
            "ZADD sse:{leases}:workers",
            "ZADD sse:{leases}:here:workers",
            "ZADD sse:revoked",
            "ZADD sse:since",
            "ZADD sse:lives",
            "ZADD sse:writers",
        ]
    finally:
        await subscriber.close()
        await backend.close()


async def test_a_permission_that_is_missing_after_the_first_write(private_redis):
    """What is refused when the event is kept already may have happened, and says so."""
    server = private_redis()
    server.cli("ACL", "SETUSER", "default", "-pexpire")
    backend = RedisBackend(server.url)
    try:
        with pytest.raises(PublishError, match="can't run|permission") as raised:
            await Publisher(backend).publish("a", "x")
    finally:
        await backend.close()
    assert raised.value.may_have_happened
    assert server.client().xlen("sse:history:a") == 1


async def test_evicted_history_is_a_reset(private_redis):
    """When Redis has evicted keys, a channel without history proves nothing about the time before."""
    server = private_redis()
    backend, ear = RedisBackend(server.url), Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    client = server.client()
    try:
        cursor = await backend.cursor()
        await Publisher(backend).publish("a", "evicted")
        used = client.info("memory")["used_memory"]
        # The clock has no expiry, so that volatile-lru can only take the history.
        client.config_set("maxmemory-policy", "volatile-lru")
        client.config_set("maxmemory", used - 1000)
        await until(lambda: not client.exists("sse:history:a") or client.set("more", "x"))
        client.config_set("maxmemory", 0)
        assert client.info("stats")["evicted_keys"] >= 1
        await subscriber.subscribe(["a", "b"])
        replay = await subscriber.replay(["a", "b"], cursor)
        assert [(reset.channel, reset.reason) for reset in replay.resets] == [
            ("a", "evicted"),
            ("b", "evicted"),
        ]
        later = await backend.cursor()
        await subscriber.subscribe(["c"])
        assert (await subscriber.replay(["c"], later)).resets == []
    finally:
        await subscriber.close()
        await backend.close()


@pytest.mark.parametrize("command", ["time", "info", "hget", "hset", "xrange", "publish", "subscribe"])
async def test_the_most_basic_permissions_are_named_too(private_redis, caplog, command):
    """Also those without which a worker does not come as far as to listen."""
    server = private_redis()
    server.cli("ACL", "SETUSER", "edge", "on", ">secret", "~sse:*", "&sse:*", "+@all", f"-{command}")
    backend = RedisBackend(f"redis://edge:secret@127.0.0.1:{server.port}/0", timeout=1.0)
    subscriber = backend.subscriber(Ear())
    await subscriber.start()

    def named():
        return [record.message for record in caplog.records if "no permission for" in record.message]

    try:
        await until(named)
        assert command.upper() in named()[0]
    finally:
        await subscriber.close()
        await backend.close()


async def test_malformed_messages_do_not_fill_the_log(private_redis, caplog):
    """All are counted; one in a while is told."""
    server = private_redis()
    backend = RedisBackend(server.url)
    subscriber = backend.subscriber(Ear())
    await subscriber.start()
    try:
        await subscriber.subscribe(["a"])
        client = server.client()
        for _ in range(50):
            client.publish("sse:a", b"junk")
        await until(lambda: subscriber.dropped["malformed"] == 50)
        assert len([record for record in caplog.records if "malformed" in record.message]) == 1
    finally:
        await subscriber.close()
        await backend.close()
