"""Redis with TLS, with a user that may do only what is needed, with a prefix, on a unix socket."""

import asyncio
import os
import warnings
from pathlib import Path

import pytest
import redis

from servers.processes import free_port
from sse_edge import (
    Limits,
    Publisher,
    PublishError,
    RedisBackend,
    SignedCookie,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.backends.redis.presence import RedisPresence
from sse_edge.errors import BackendError, EdgeError
from sse_edge.event import Place
from sse_edge.publishing.writer import end_abandoned

MINIMAL_ACL = (
    "+evalsha +eval +subscribe +unsubscribe +publish +time +info +get +set +hget +hset +pexpire "
    "+xadd +xrange +xrevrange"
)
"""The permissions that docs/REDIS.md gives for a Redis user."""

LIMITS_ACL = "+hdel +hgetall +zadd +zscore +zrem +zremrangebyscore +zrangebyscore"
"""What limits over all workers and revocation need besides, as docs/REDIS.md gives it."""


def user(permissions):
    """A line of redis.conf."""
    return f"user edge on >hunter2 resetchannels ~sse:* &sse:* {permissions}"


class Ear:
    """Keeps the texts it hears."""

    def __init__(self):
        self.texts = asyncio.Queue()

    def deliver(self, channel, id, frame, except_user=None):
        self.texts.put_nowait(frame.partition(b"data: ")[2].strip().decode())

    def flush(self):
        pass

    def reset(self, reset):
        self.texts.put_nowait(reset)


async def round_trip(backend):
    """Publish, hear it, resume, leave a channel: everything that the backend does."""
    ear = Ear()
    subscriber, resumed = backend.subscriber(ear), backend.subscriber(Ear())
    await subscriber.start()
    await resumed.start()
    try:
        await subscriber.subscribe(["news", "quiet"])
        events = Publisher(backend)
        before = Place.parse(await events.cursor())
        first = await events.publish("news", "one", dedupe_key="k")
        assert await events.publish("news", "one", dedupe_key="k") == first
        await events.publish("news", "two")
        assert [await asyncio.wait_for(ear.texts.get(), 5) for _ in range(2)] == ["one", "two"]
        await resumed.subscribe(["news", "quiet"])
        replay = await resumed.replay(["news", "quiet"], before)
        assert (len(replay.events), replay.resets) == (2, [])
        subscriber.unsubscribe(["quiet"])
        while "quiet" in subscriber._members.channels:
            await asyncio.sleep(0.01)
        await subscriber.subscribe(["again"])
        await subscriber.replay(["again"], None)
        assert subscriber.generation == 1  # it is still the first connection
    finally:
        await subscriber.close()
        await resumed.close()
        await backend.close()


@pytest.fixture(autouse=True)
def _leave_soon(monkeypatch):
    monkeypatch.setattr("sse_edge.backends.redis.subscriptions.LINGER", 0.05)


def over_tls(private_redis, certificate):
    """Start a Redis that talks TLS too; the port for that."""
    cert, key = certificate
    port = free_port()
    files = [f"tls-cert-file {cert}", f"tls-key-file {key}", f"tls-ca-cert-file {cert}"]
    private_redis(config=[f"tls-port {port}", *files, "tls-auth-clients no"])
    return port


async def test_tls(private_redis, certificate):
    """rediss:// talks TLS and checks the certificate against the given authority."""
    port = over_tls(private_redis, certificate)
    await round_trip(RedisBackend(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate[0]}"))


async def test_tls_with_an_unknown_authority_is_refused(private_redis, certificate):
    """A certificate that nobody vouches for is an error, and nothing was published."""
    port = over_tls(private_redis, certificate)
    backend = RedisBackend(f"rediss://localhost:{port}/0")
    with pytest.raises(PublishError, match="certificate") as caught:
        await Publisher(backend).publish("news", "x")
    assert not caught.value.may_have_happened
    await backend.close()


async def test_the_minimal_user_is_enough(private_redis):
    """A user with only the documented permissions can do everything."""
    server = private_redis(config=[user(MINIMAL_ACL)])
    await round_trip(RedisBackend(f"redis://edge:hunter2@127.0.0.1:{server.port}/0"))


@pytest.mark.parametrize("permission", MINIMAL_ACL.split())
async def test_every_permission_is_needed(private_redis, permission):
    """Without any single one of them something fails: the list is minimal."""
    fewer = " ".join(other for other in MINIMAL_ACL.split() if other != permission)
    server = private_redis(config=[user(fewer)])
    backend = RedisBackend(f"redis://edge:hunter2@127.0.0.1:{server.port}/0", timeout=0.3)
    with pytest.raises((EdgeError, TimeoutError, AssertionError)):
        async with asyncio.timeout(2):
            await round_trip(backend)


async def test_limits_and_revocation_with_their_permissions(private_redis, asgi, caplog):
    """With the further permissions limits count over all workers, sessions are revoked, and writers write."""
    server = private_redis(config=[user(f"{MINIMAL_ACL} {LIMITS_ACL}")])
    url = f"redis://edge:hunter2@127.0.0.1:{server.port}/0"
    auth = SignedCookie("a secret of the tests")
    limits = Limits(per_user=2, connects_per_ip="3/second")
    async with (
        SSEMiddleware(backend=url, auth=auth, channels={"/events/me": "user:{user}"}, limits=limits) as edge,
        Publisher(url) as events,
    ):
        cookie = {"cookie": f"session={auth.issue('u42', session='s1')}"}
        stream = asgi(edge, "/events/me", headers=cookie)
        await stream.wait_for(b"\nid: ")
        for _ in range(4):  # to go over both the current and the previous second's allowance
            await asgi(edge, "/events/me").whole()
        assert edge.figures()["refusals"]["connect-rate"] >= 1
        assert (await events.write("job", ["x"])).reason == "complete"
        await end_abandoned(events._backend)
        await events.revoke("s1")
        await stream.whole()
        assert b"revoked" in stream.body()
        assert edge.figures()["degraded"] == []
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


async def test_what_the_minimal_user_may_not(private_redis, asgi, caplog, monkeypatch):
    """It is said by name what counting over all workers lacks, and that Redis is there and refuses it."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": 0.05})
    server = private_redis(config=[user(MINIMAL_ACL)])
    url = f"redis://edge:hunter2@127.0.0.1:{server.port}/0"
    auth = SignedCookie("a secret of the tests")
    async with (
        SSEMiddleware(backend=url, auth=auth, channels={"/events/me": "user:{user}"}) as edge,
        Publisher(url) as events,
    ):
        stream = asgi(edge, "/events/me", headers={"cookie": f"session={auth.issue('u42')}"})
        await stream.wait_for(b"\nid: ")
        for ask, name in ((events.count, "news"), (events.present, "u42")):
            with pytest.raises(BackendError, match="^Redis: this user has no permission for ZRANGEBYSCORE$"):
                await ask(name)
        with pytest.raises(BackendError, match="has no permission for ZADD, ZRANGEBYSCORE, "):
            await events.revoke("s1")
        async with asyncio.timeout(10):
            while "is not told" not in caplog.text or "leases" not in caplog.text:
                await asyncio.sleep(0.01)
        warnings = "\n".join(record.message for record in caplog.records if record.levelname == "WARNING")
    no = "Redis: this user has no permission for"
    assert f"leases are counted in this worker alone while Redis refuses it ({no} HDEL, HGETALL, " in warnings
    assert f"Redis is not told which streams are open: {no} HDEL, ZADD, ZREM, ZREMRANGEBYSCORE" in warnings
    assert f"which sessions are revoked cannot be read: {no} ZADD, ZRANGEBYSCORE" in warnings
    assert "can't run" not in warnings


async def test_a_redis_that_is_full_is_there(private_redis, asgi, caplog):
    """What is counted alone then is so because Redis refuses it."""
    server = private_redis()
    auth = SignedCookie("a secret of the tests")
    edge = SSEMiddleware(backend=server.url, auth=auth, channels={"/events/me": "user:{user}"})
    server.cli("CONFIG", "SET", "maxmemory", "1")
    asgi(edge, "/events/me", headers={"cookie": f"session={auth.issue('u42')}"}).open()
    async with asyncio.timeout(10):
        while "leases are counted" not in caplog.text or "connects are counted" not in caplog.text:
            await asyncio.sleep(0.01)
    await edge.stop()
    assert "used memory > 'maxmemory'" in caplog.text
    for what in ("leases", "connects"):
        assert f"{what} are counted in this worker alone while Redis refuses it (Redis: " in caplog.text
    assert "Redis is away" not in caplog.text


@pytest.mark.parametrize("permissions", [MINIMAL_ACL, LIMITS_ACL])
def test_the_page_gives_the_same_permissions(permissions):
    """What operators copy is what was tested."""
    page = (Path(__file__).parents[2] / "docs" / "REDIS.md").read_text()
    assert permissions in " ".join(page.replace("`", "").split())


async def test_a_wrong_password_is_said(private_redis):
    """A refused login is a PublishError that says so, and nothing was published."""
    server = private_redis(password="right")
    backend = RedisBackend(f"redis://:wrong@127.0.0.1:{server.port}/0")
    with pytest.raises(PublishError, match="WRONGPASS|invalid") as caught:
        await Publisher(backend).publish("news", "x")
    assert not caught.value.may_have_happened
    assert "wrong@" not in str(caught.value)
    await backend.close()


async def test_a_unix_socket(private_redis):
    """unix:// works like any other."""
    server = private_redis(unixsocket=True)
    await round_trip(RedisBackend(server.unix_url))


async def test_prefixes_keep_apart(redis_url):
    """Two prefixes share nothing: not an event, not an order, not a key."""
    one, two = RedisBackend(redis_url, prefix="one:"), RedisBackend(redis_url, prefix="two:")
    ear = Ear()
    subscriber = two.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["news"])
    await Publisher(one).publish("news", "not for two")
    await Publisher(two).publish("news", "for two")
    assert await asyncio.wait_for(ear.texts.get(), 5) == "for two"
    await subscriber.close()
    await one.close()
    await two.close()
    with redis.Redis.from_url(redis_url) as client:
        assert {key.split(b":")[0] for key in client.scan_iter()} == {b"one", b"two"}


def test_sync_publisher_survives_a_fork(redis_url):
    """A publisher made before a fork works in the child, as pre-forking servers need it."""
    with SyncPublisher(redis_url) as events:
        events.publish("news", "parent")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads; that is the point
            child = os.fork()
        if child == 0:
            try:
                events.publish("news", "child")
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the child must not go on as a second pytest
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        events.publish("news", "parent again")
