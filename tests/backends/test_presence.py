"""How many streams all workers have: one contract for memory and Redis; then what Redis's faults add."""

import asyncio
import logging
import time
import uuid

import pytest

from apps.edge import AUTH
from parts.delivery import ScriptedBackend, join, make_hub, settle
from parts.ears import until
from parts.reported import SAID
from sse_edge import EventError, MemoryBackend, Publisher, RedisBackend, Source, SSEMiddleware, SyncPublisher
from sse_edge.backends.redis import presence as redis_presence
from sse_edge.backends.redis.presence import RedisPresence
from sse_edge.errors import BackendError
from sse_edge.outcome import DRAIN

BEAT = 0.1
"""Seconds between heartbeats."""

HERE = "sse:{leases}:here"
NAMES = ["u1", "ü: 7\n", "\ud800", "workers", "report"]
"""Users and channels may be called almost anything."""


class Workers:
    """Workers of one backend, each with a hub, and what counts their streams."""

    def __init__(self, kind, url):
        self.kind, self.url = kind, url
        self.prefix = f"{uuid.uuid4().hex}:" if kind == "cluster" else "sse:"
        self.memory = MemoryBackend()
        self.backends = []
        self.made = []

    def presence(self, **settings):
        if self.kind == "memory":
            return self.memory.presence()
        backend = RedisBackend(self.url, **{"prefix": self.prefix, **settings})
        self.backends.append(backend)
        return RedisPresence(backend.server, backend.leases_prefix + "here", heartbeat=BEAT)

    async def start(self, tell=None, **settings):
        hub, presence = await make_hub(ScriptedBackend()), self.presence(**settings)
        await presence.start(hub.census, tell)
        self.made.append((hub, presence))
        return hub, presence

    async def close(self):
        for hub, presence in self.made:
            await presence.close()
            await hub.close()
        for backend in self.backends:
            await backend.close()


@pytest.fixture(params=["memory", "redis", pytest.param("cluster", marks=pytest.mark.live)])
async def workers(request):
    """``await workers.start()``: one more worker."""
    url = None
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    elif request.param == "cluster":
        url = request.getfixturevalue("cluster").url
    made = Workers(request.param, url)
    yield made
    await made.close()


@pytest.fixture
async def redis(redis_url):
    """The same on Redis."""
    made = Workers("redis", redis_url)
    yield made
    await made.close()


class Counted:
    """What a presence says, asked again and again."""

    def __init__(self, presence):
        self.presence = presence

    async def become(self, expected, channel=None, user=None, timeout=5.0):
        """Wait until there are so many; the seconds it took."""
        began = time.monotonic()
        async with asyncio.timeout(timeout):
            while await self.now(channel, user) != expected:
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def now(self, channel=None, user=None):
        return await (self.presence.present(user) if channel is None else self.presence.count(channel))


async def beats(presence, count):
    """Wait until a worker has said so many times more what it has."""
    before = presence.calls
    await until(lambda: presence.calls >= before + count)


async def test_over_all_workers(workers):
    """Streams of every worker count, by channel and by user; and no more when they have gone."""
    (one, presence), (two, _) = await workers.start(), await workers.start()
    counted = Counted(workers.presence())
    streams = [
        await join(one, "a", user="u1"),
        await join(one, "a", "b", user="u1"),
        await join(two, "a", user="u2", live=False),
        await join(two, "b"),
    ]
    await counted.become(3, "a")
    await counted.become(2, "b")
    await counted.become(2, user="u1")
    await counted.become(1, user="u2")
    assert [await counted.now("c"), await counted.now(user="u3"), await counted.now("u1")] == [0, 0, 0]
    one.drop_channel(streams[1], "b")
    await counted.become(1, "b")
    one.end(streams[0], DRAIN)
    one.close_stream(streams[0])
    two.close_stream(streams[2])
    await counted.become(1, "a")
    await counted.become(1, user="u1")
    await counted.become(0, user="u2")
    assert await Counted(presence).now("a") == 1


async def test_what_workers_say_besides(workers):
    """Each is read with the others', as of its last heartbeat; of one that stops no more."""

    def teller(name):
        async def tell():
            return {**SAID, "worker": {**SAID["worker"], "name": name}}

        return tell

    (_, one), _ = await workers.start(teller("one")), await workers.start(teller("two"))
    asking, began = workers.presence(), time.time()
    async with asyncio.timeout(5):
        while len((reports := await asking.reports()).told) < 2:
            await asyncio.sleep(0.01)
    assert sorted(each["worker"]["name"] for each in reports.told) == ["one", "two"]
    assert all(began - 5 < each["heard"] <= reports.now for each in reports.told)
    await one.close()
    (left,) = (await asking.reports()).told
    assert left == {**SAID, "worker": {**SAID["worker"], "name": "two"}, "heard": left["heard"]}


@pytest.mark.parametrize("name", NAMES)
async def test_names(workers, name):
    """Any name is one user's and one channel's only."""
    hub, _ = await workers.start()
    await join(hub, name, user=name)
    await join(hub, name + "x", user=name)
    counted = Counted(workers.presence())
    await counted.become(2, user=name)
    assert await counted.now(name) == 1


async def test_a_worker_that_stops(workers):
    """Its streams count no more at once."""
    (one, presence), (two, _) = await workers.start(), await workers.start()
    for hub in (one, two):
        await join(hub, "a")
    counted = Counted(workers.presence())
    await counted.become(2, "a")
    await presence.close()
    assert await counted.now("a") == 1


async def test_what_changed_is_asked_for():
    """All at first, then only what may have changed; and nothing is noted for who never asks."""
    hub = await make_hub(ScriptedBackend())
    census = hub.census
    first = await join(hub, "a", "b", user="u1")
    assert (census._channels, census._names) == (None, set())
    assert [set(names) for names in census.changed()] == [{"a", "b"}, {"u1"}]
    assert [set(names) for names in census.changed()] == [set(), set()]
    await join(hub, "b")
    assert [set(names) for names in census.changed()] == [{"b"}, set()]
    hub.close_stream(first)
    assert [set(names) for names in census.changed()] == [{"a", "b"}, {"u1"}]
    assert (census.count("a"), census.count("b"), census.present("u1")) == (0, 1, 0)
    assert [set(names) for names in census.everybody()] == [{"b"}, set()]
    await settle()
    await hub.close()


# ---- Redis


async def test_a_killed_worker(redis, redis_server):
    """What it said is gone within two heartbeats; a live one's stays, though nothing changes there."""
    (one, killed), (two, living) = await redis.start(), await redis.start()
    for hub in (one, two):
        await join(hub, "a", user="u1")
    counted = Counted(redis.presence())
    await counted.become(2, "a")
    killed._task.cancel()
    assert await counted.become(1, "a") < 2 * BEAT + 1
    await beats(living, 3)
    assert (await counted.now("a"), await counted.now(user="u1")) == (1, 1)
    await until(lambda: redis_server.client().zcard(f"{HERE}:workers") == 1)  # nor is its name kept


async def test_nothing_is_written_while_nothing_changes(redis, redis_server):
    """A heartbeat says that what is there still holds, in one call; what changed is all that one writes."""
    hub, presence = await redis.start()
    for n in range(50):
        await join(hub, f"c{n}", user=f"u{n}")
    await Counted(redis.presence()).become(1, "c49")
    client = redis_server.client()
    client.config_resetstat()
    await beats(presence, 3)
    assert "cmdstat_hset" not in client.info("commandstats")
    await join(hub, "c7")
    await Counted(redis.presence()).become(2, "c7")
    assert client.info("commandstats")["cmdstat_hset"]["calls"] == 1
    assert presence._report == 2


async def test_many_streams_take_several_calls(redis, monkeypatch):
    """And none of them counts before all do."""
    monkeypatch.setattr(redis_presence, "BATCH", 7)
    hub, presence = await redis.start()
    for n in range(100):
        await join(hub, f"c{n}", user=f"u{n}")
    counted = Counted(redis.presence())
    await counted.become(1, "c0")
    assert all([await counted.now(f"c{n}") == await counted.now(user=f"u{n}") == 1 for n in range(100)])
    assert presence.calls >= 200 / 7


@pytest.mark.parametrize("lost", ["all", "a worker's", "the last report", "the list"])
async def test_data_are_lost(redis, redis_server, lost):
    """Whatever Redis has forgotten, each worker says it again with its next heartbeat or the one after."""
    hub, presence = await redis.start()
    await join(hub, "a", user="u1")
    counted = Counted(redis.presence())
    await counted.become(1, "a")
    client = redis_server.client()
    if lost == "all":
        redis_server.flush()
    elif lost == "a worker's":
        client.delete(f"{HERE}:{presence._name}")
    elif lost == "the list":
        client.delete(f"{HERE}:workers")
    else:  # as on a replica that was promoted without it
        client.hset(f"{HERE}:{presence._name}", mapping={"report": "0", "c:a": "7"})
    assert await counted.become(1, "a") < 2 * BEAT + 1
    assert await counted.now(user="u1") == 1
    await beats(presence, 3)
    assert (await counted.now("a"), len(client.keys(f"{HERE}:*"))) == (1, 2)


async def test_redis_is_away(redis, redis_url, proxy, caplog):
    """What changed meanwhile is said when it is back; asking raises until then, and the log says it once."""
    redis.url = proxy.url
    hub, presence = await redis.start(timeout=0.5)
    stream = await join(hub, "a")
    away = redis.presence(timeout=0.5)
    redis.url = redis_url
    counted = Counted(redis.presence())
    await counted.become(1, "a")
    proxy.refusing = True
    proxy.cut()
    await join(hub, "b")
    hub.close_stream(stream)
    await until(lambda: "is not told" in caplog.text)
    with pytest.raises(BackendError):
        await away.count("a")
    await beats(presence, 2)
    proxy.refusing = False
    await counted.become(1, "b")
    assert await counted.now("a") == 0
    await until(lambda: "is told again" in caplog.text)
    assert caplog.text.count("is not told") == 1


async def test_an_answer_is_lost(redis, redis_url, proxy):
    """Nobody relies on a report that may not have arrived: all is said anew, and counts once."""
    redis.url = proxy.url
    hub, presence = await redis.start(timeout=0.3)
    await join(hub, "a")
    redis.url = redis_url
    counted = Counted(redis.presence())
    await counted.become(1, "a")
    name = presence._name
    proxy.stall(replies=True)
    await join(hub, "a")
    await until(lambda: presence._report == 0)
    proxy.resume()
    await counted.become(2, "a")
    await until(lambda: presence._name != name and presence._report)
    assert await counted.now("a") == 2


async def test_an_error_nobody_thought_of(redis, monkeypatch, caplog):
    """It is logged, and the next heartbeat is there."""
    hub, presence = await redis.start()
    await join(hub, "a")
    counted = Counted(redis.presence())
    await counted.become(1, "a")

    async def fails(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(presence._server, "run", fails)
    await until(lambda: "ZeroDivisionError" in caplog.text)
    monkeypatch.undo()
    await join(hub, "a")
    await counted.become(2, "a")


async def test_two_applications_on_one_redis(redis):
    """Another prefix or database knows nothing of it."""
    hub, _ = await redis.start()
    await join(hub, "a", user="u1")
    await Counted(redis.presence()).become(1, "a")
    other = Counted(redis.presence(prefix="other:"))
    assert (await other.now("a"), await other.now(user="u1")) == (0, 0)


# ---- Publishers, and the whole way


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_streams_and_polls_count(request, asgi, monkeypatch, kind):
    """What a publisher is told is what is open: in one process at once, through Redis after a heartbeat."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": BEAT})
    url = request.getfixturevalue("redis_url") if kind == "redis" else f"memory://{uuid.uuid4().hex}"
    edge = SSEMiddleware(backend=url, auth=AUTH, channels={"/events/me": ["user:{user}", "news"]})
    headers = {"cookie": f"session={AUTH.issue('u42')}"}
    async with Publisher(url) as events:
        counted = Counted(events)
        clients = [asgi(edge, "/events/me", headers=headers) for _ in range(2)]
        for client in clients:
            await client.wait_for(b"id: ")
        if kind == "memory":
            assert (await events.count("news"), await events.present("u42")) == (2, 2)
        await counted.become(2, "news")
        await counted.become(2, user="u42")
        place = clients[0].body().rpartition(b"id: ")[2].partition(b"\n")[0].decode()
        polling = {**headers, "accept": "application/json", "last-event-id": place}
        asgi(edge, "/events/me", headers=polling).open()
        await counted.become(3, "news")
        with SyncPublisher(url) as sync:
            assert await asyncio.to_thread(sync.count, "user:u42") == 3
            assert await asyncio.to_thread(sync.present, "u42") == 3
        for client in clients:
            client.disconnect()
        await counted.become(1, user="u42")
        await events.publish("news", "x")
        await counted.become(0, "news")
    await edge.stop()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_streams_of_iterators_count(request, asgi, monkeypatch, kind):
    """A stream that has an iterator of its own is its user's, and its channel's where it names one."""

    async def ticks(request, identity, after):
        while True:
            yield "tick"
            await asyncio.sleep(60)

    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": BEAT})
    url = request.getfixturevalue("redis_url") if kind == "redis" else f"memory://{uuid.uuid4().hex}"
    edge = SSEMiddleware(backend=url, auth=AUTH, channels={"/events/clock": Source(ticks, "clock:{user}")})
    async with Publisher(url) as events:
        counted = Counted(events)
        asgi(edge, "/events/me").open()  # the worker has begun, and told that nobody is there
        await counted.become(0, user="u42")
        await asyncio.sleep(2 * BEAT)
        client = asgi(edge, "/events/clock", headers={"cookie": f"session={AUTH.issue('u42')}"})
        await client.wait_for(b"tick")
        await counted.become(1, "clock:u42")
        await counted.become(1, user="u42")
        client.disconnect()
        await counted.become(0, "clock:u42")
        await counted.become(0, user="u42")
    await edge.stop()


@pytest.mark.parametrize("value", ["", None, 7, b"u1"])
async def test_bad_input(value):
    """It is an error that names the field."""
    events = Publisher(MemoryBackend())
    for ask, field in ((events.count, "channel"), (events.present, "user")):
        with pytest.raises(EventError) as raised:
            await ask(value)
        assert raised.value.field == field


async def test_a_loop_that_is_gone(caplog):
    """The streams of an event loop that was closed without a word are no streams."""
    caplog.set_level(logging.WARNING)
    backend = MemoryBackend()

    async def work():
        hub = await make_hub(ScriptedBackend())
        await backend.presence().start(hub.census)
        await join(hub, "a")
        return await backend.presence().count("a")

    for _ in range(3):
        assert await asyncio.to_thread(asyncio.run, work()) == 1
    assert await backend.presence().count("a") == 0
    assert len(backend._workers) == 1
