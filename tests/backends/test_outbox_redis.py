"""Concurrent publishes travel together, in a real Redis: how many calls, in which order."""

import asyncio
import threading
import time

import pytest

from parts.ears import Ear, until
from parts.faulty import Proxy
from sse_edge import Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.errors import EventError
from sse_edge.event import Place


@pytest.fixture
def stats(private_redis):
    """A server, and ``calls()``: how many scripts it has run since the last time."""
    server = private_redis()
    client = server.client()

    def calls():
        known = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        client.config_resetstat()
        return known

    server.calls = calls
    return server


@pytest.fixture
async def backend(stats):
    """A backend whose script is loaded."""
    backend = RedisBackend(stats.url)
    await Publisher(backend).publish("first", "x")
    stats.calls()
    yield backend
    await backend.close()


def kept(server, channel):
    """The data that a channel has kept, and the ids."""
    entries = server.client().xrange(f"sse:history:{channel}")
    return [(fields["b"].removeprefix("data: ").strip(), id) for id, fields in entries]


def bare(place):
    """An id without the tag."""
    return place.partition(".")[0]


async def test_hundreds_at_once_are_a_few_calls(stats, backend):
    """Each has its own id, and they are in the order of the calls, within a channel and over all of them."""
    events = Publisher(backend)
    places = await asyncio.gather(*(events.publish(f"c{n % 7}", str(n)) for n in range(450)))
    assert stats.calls() == 3
    ids = [Place.parse(place).id for place in places]
    assert ids == sorted(set(ids))
    for channel in range(7):
        mine = range(channel, 450, 7)
        assert kept(stats, f"c{channel}") == [(str(n), bare(places[n])) for n in mine]


async def test_the_order_of_each_caller(stats, backend):
    """Callers who wait for one event before the next, many on one channel, each keep their order."""
    events = Publisher(RedisBackend(stats.url, history=2000))

    async def call(name):
        return [await events.publish("c", f"{name} {n}") for n in range(20)]

    places = await asyncio.gather(*(call(name) for name in range(50)))
    assert stats.calls() < 100
    heard = kept(stats, "c")
    assert len(heard) == 1000
    for name in range(50):
        expected = [(f"{name} {n}", bare(place)) for n, place in enumerate(places[name])]
        assert [pair for pair in heard if pair[0].startswith(f"{name} ")] == expected
    await events._backend.close()


@pytest.mark.parametrize("partitions", [1, 4])
async def test_no_call_overtakes_an_earlier_one(stats, partitions):
    """On each channel, however many events the earlier one has, and whatever partitions they fall into."""
    backend = RedisBackend(stats.url, partitions=partitions)
    events = Publisher(backend)
    channels = [f"c{n}" for n in range(8)]
    await events.publish_many([(channel, "loads") for channel in channels])
    outcomes = await asyncio.gather(
        events.publish_many([(channel, "1") for channel in channels]),
        *(events.publish(channel, "2") for channel in channels),
        events.publish_many([(channel, str(n)) for n in range(200) for channel in channels]),
        *(events.publish(channel, "4") for channel in channels),
    )
    for n in range(8):
        places = [*outcomes[0][n::8], outcomes[1 + n], *outcomes[9][n::8], outcomes[10 + n]]
        ids = [Place.parse(place).id for place in places]
        assert ids == sorted(set(ids))
    await backend.close()


async def test_one_by_one_is_a_call_each(stats, backend):
    """Nothing is waited for that may come."""
    events = Publisher(backend)
    for n in range(10):
        await events.publish("c", str(n))
    assert stats.calls() == 10


async def test_partitions_travel_apart(stats):
    """Each has its own order, and its own calls."""
    backend = RedisBackend(stats.url, partitions=3)
    events = Publisher(backend)
    await asyncio.gather(*(events.publish(f"c{n}", "loads") for n in range(20)))
    stats.calls()
    places = await asyncio.gather(*(events.publish(f"c{n % 20}", str(n)) for n in range(300)))
    assert stats.calls() == 3
    for partition in backend.partitions:
        ids = [
            Place.parse(place).id
            for n, place in enumerate(places)
            if backend.partition(f"c{n % 20}") is partition
        ]
        assert ids == sorted(set(ids))
    await backend.close()


async def test_one_bad_event_among_many(stats, backend):
    """It alone fails, and has certainly not happened; of its own call what is before it has."""
    stats.client().set("sse:history:bad", "somebody else's")
    events = Publisher(backend)
    many = events.publish_many([("c", "m1"), ("bad", "m2"), ("c", "m3")])
    outcomes = await asyncio.gather(
        events.publish("c", "1"), events.publish("bad", "2"), many, events.publish("c", "3"),
        return_exceptions=True,
    )  # fmt: skip
    assert stats.calls() == 1
    for error in outcomes[1:3]:
        assert isinstance(error, PublishError)
        assert "WRONGTYPE" in str(error)
        assert error.may_have_happened is False
    assert outcomes[1].published == []
    ids = [outcomes[0], *outcomes[2].published, outcomes[3]]
    assert kept(stats, "c") == list(zip(["1", "m1", "3"], map(bare, ids), strict=True))


@pytest.mark.parametrize(
    ("permissions", "may_have_happened"),
    [
        (["~sse:clock", "~sse:history:a", "&*", "+@all"], False),  # Redis refuses the call as a whole
        (["~*", "resetchannels", "&sse:a", "+@all"], False),
        (["~*", "&*", "+@all", "-pexpire"], True),
    ],
)
async def test_permissions_that_are_missing_for_some(stats, permissions, may_have_happened):
    """Who may publish on a channel does so, whoever else may not on another."""
    stats.cli("ACL", "SETUSER", "edge", "on", ">secret", *permissions)
    backend = RedisBackend(f"redis://edge:secret@127.0.0.1:{stats.port}/0")
    events = Publisher(backend)
    outcomes = await asyncio.gather(
        *(events.publish(channel, "x") for channel in "abab"), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, PublishError)]
    assert [error.may_have_happened for error in failed] == [may_have_happened] * len(failed)
    if not may_have_happened:
        assert failed == outcomes[1::2]
        assert [id for _, id in kept(stats, "a")] == [bare(place) for place in outcomes[::2]]
        assert kept(stats, "b") == []
    await backend.close()


async def test_the_same_key_twice_in_one_call(stats, backend):
    """The second is told the first one's id, and nothing more is published."""
    events = Publisher(backend)
    places = await asyncio.gather(
        *(events.publish("c", str(n), dedupe_key=f"k{n % 2}") for n in range(6)), events.publish("c", "6")
    )
    assert stats.calls() == 1
    assert places[:6] == [places[0], places[1]] * 3
    assert kept(stats, "c") == [("0", bare(places[0])), ("1", bare(places[1])), ("6", bare(places[6]))]


async def test_a_key_where_nothing_is_kept(stats, backend):
    """It alone is refused; what travels with it is announced."""
    worker = RedisBackend(stats.url, history=0)
    subscriber = worker.subscriber(Ear())
    await subscriber.start()
    await until(lambda: subscriber.connected)
    events = Publisher(backend)
    listening = stats.client().pubsub()
    listening.subscribe("sse:c")
    assert listening.get_message(timeout=5)["type"] == "subscribe"
    outcomes = await asyncio.gather(
        events.publish("c", "1"), events.publish("c", "2", dedupe_key="k"), events.publish("c", "3"),
        return_exceptions=True,
    )  # fmt: skip
    assert [outcomes[0], outcomes[2]] == ["", ""]
    assert isinstance(outcomes[1], EventError)
    heard = [listening.get_message(timeout=5)["data"].partition("\n")[2] for _ in range(2)]
    assert heard == ["data: 1\n\n", "data: 3\n\n"]
    await subscriber.close()
    await worker.close()


async def test_only_the_newest_are_kept_of_many_in_one_call(stats):
    """As many as the channel keeps, of each channel, whoever else travels with them."""
    backend = RedisBackend(stats.url, history=5)
    events = Publisher(backend)
    await asyncio.gather(*(events.publish(f"c{n % 3}", str(n)) for n in range(100)))
    for channel in range(3):
        assert [data for data, _ in kept(stats, f"c{channel}")] == list(map(str, range(channel, 100, 3)))[-5:]
        assert 0 < stats.client().pttl(f"sse:history:c{channel}") <= 320_000
    await backend.close()


class TestLife:
    """How long a stream is kept: for its time after its newest event, though not every event says so."""

    TTL = 640

    async def published(self, server, events, channel="c"):
        """Publish, and see that the stream lives long enough."""
        place = Place.parse(await events.publish(channel, "x"))
        client = server.client()
        lives = client.execute_command("PEXPIRETIME", f"sse:history:{channel}")
        seconds, us = client.time()
        if seconds * 1000 + us // 1000 >= place.id.ms + self.TTL:  # looked too late: this process had no turn
            return await self.published(server, events, channel)
        assert place.id.ms + self.TTL <= lives <= place.id.ms + 1.1 * self.TTL + 1000
        return place.id.ms

    async def test_event_by_event(self, stats):
        """It is said a few times for hundreds of events."""
        backend = RedisBackend(stats.url, history_ttl=self.TTL / 1000)
        began = await self.published(stats, Publisher(backend))
        count = 1
        while await self.published(stats, Publisher(backend)) < began + self.TTL:
            count += 1
        said = stats.client().info("commandstats")["cmdstat_pexpire"]["calls"]
        assert said <= 18 < count
        await backend.close()

    async def test_a_longer_time(self, stats):
        """What is kept for longer from now on is told so by the next event."""
        short = RedisBackend(stats.url, history_ttl=100)
        await Publisher(short).publish("c", "x")
        worker = RedisBackend(stats.url, history_ttl=self.TTL / 1000 + 200)
        subscriber = worker.subscriber(Ear())
        await subscriber.start()
        await until(lambda: subscriber.connected)
        await Publisher(short).publish("c", "x")
        assert stats.client().pttl("sse:history:c") > 150_000
        await subscriber.close()
        await short.close()
        await worker.close()

    async def test_the_clock_was_behind(self, stats):
        """What was said by a clock that was behind does not hold for when it has caught up."""
        backend = RedisBackend(stats.url, history_ttl=self.TTL / 1000)
        events = Publisher(backend)
        ms = await self.published(stats, events)
        ahead = (ms // 40 + 2) * 40
        stats.client().hset("sse:clock", "last", f"{ahead}-0")
        for _ in range(3):
            assert Place.parse(await events.publish("c", "x")).id.ms == ahead
        while Place.parse(await events.publish("other", "x")).id.ms <= ahead:
            pass
        await self.published(stats, events)
        await backend.close()

    async def test_streams_of_another_clock(self, stats):
        """Nothing is taken for granted of what is there when a clock begins."""
        backend = RedisBackend(stats.url, history_ttl=100)
        await Publisher(backend).publish("c", "x")
        client = stats.client()
        client.delete("sse:clock")
        client.pexpire("sse:history:c", 50_000)
        await Publisher(backend).publish("c", "x")
        assert client.pttl("sse:history:c") > 90_000
        await backend.close()

    async def test_it_could_not_be_said(self, stats):
        """The next event says it."""
        backend = RedisBackend(stats.url, history_ttl=100)
        stats.cli("ACL", "SETUSER", "default", "-pexpire")
        for _ in range(2):
            with pytest.raises(PublishError) as caught:
                await Publisher(backend).publish("c", "x")
            assert caught.value.may_have_happened is True
        stats.cli("ACL", "SETUSER", "default", "+@all")
        await Publisher(backend).publish("c", "x")
        assert stats.client().pttl("sse:history:c") > 90_000
        await backend.close()


async def test_a_flush_between_two_publishes(stats, backend):
    """The next ones begin another data set, each of them once."""
    events = Publisher(backend)
    before = await events.publish("c", "1")
    stats.client().flushall()
    places = await asyncio.gather(*(events.publish("c", str(n)) for n in range(2, 5)))
    assert [data for data, _ in kept(stats, "c")] == ["2", "3", "4"]
    assert {Place.parse(place).tag for place in places} != {Place.parse(before).tag}


async def test_behind_the_clock(stats, backend):
    """Ids rise within a call while the server's clock is behind them, and it is noted up to where."""
    client = stats.client()
    client.hset("sse:clock", "last", "99999999999999-5")
    events = Publisher(backend)
    places = await asyncio.gather(*(events.publish("c", str(n)) for n in range(3)))
    assert [bare(place) for place in places] == [f"99999999999999-{n}" for n in (6, 7, 8)]
    assert client.hmget("sse:clock", "last", "stuck") == ["99999999999999-8"] * 2
    client.delete("sse:clock")
    assert bare(await events.publish("c", "x")) == "99999999999999-9"


class TestOnTheWay:
    """Calls that a proxy holds up."""

    @pytest.fixture
    async def proxy(self, stats):
        """In front of the server."""
        proxy = await Proxy(stats.port).start()
        yield proxy
        await proxy.close()

    @pytest.fixture
    async def events(self, proxy):
        """A publisher through the proxy."""
        backend = RedisBackend(proxy.url, timeout=2)
        events = Publisher(backend)
        await events.publish("first", "x")
        yield events
        await backend.close()

    async def under_way(self, proxy, *works, direction="requests"):
        """Tasks whose call is held up."""
        proxy.stall(**{direction: True})
        tasks = [asyncio.create_task(work) for work in works]
        async with asyncio.timeout(5):
            await proxy.stalled.wait()
        return tasks

    @pytest.mark.parametrize("direction", ["requests", "replies"])
    async def test_the_connection_ends(self, stats, proxy, events, direction):
        """Who has a key is published once, who has none is told that it may have been; later ones are."""
        keys = ["a", None, "b", None]
        tasks = await self.under_way(
            proxy,
            *(events.publish("c", f"{n}", dedupe_key=key) for n, key in enumerate(keys)),
            direction=direction,
        )
        later = asyncio.create_task(events.publish("c", "later"))
        await asyncio.sleep(0)
        proxy.cut()
        proxy.resume()
        outcomes = await asyncio.gather(*tasks, later, return_exceptions=True)
        assert [getattr(each, "may_have_happened", None) for each in outcomes] == [
            None,
            True,
            None,
            True,
            None,
        ]
        heard = kept(stats, "c")
        assert heard == sorted(heard)  # what is repeated keeps its place before what came later
        assert len(heard) == len(dict(heard)) == (5 if direction == "replies" else 3)
        for data, outcome in zip(["0", "2", "later"], outcomes[::2], strict=True):
            assert dict(heard)[data] == bare(outcome)

    async def test_redis_is_killed(self, stats, proxy, events):
        """With a call on its way: it may have happened; without, it has not, and is said so soon."""
        tasks = await self.under_way(proxy, *(events.publish("c", str(n)) for n in range(3)))
        later = [asyncio.create_task(events.publish("c", "later")) for _ in range(3)]
        await asyncio.sleep(0)
        stats.kill()
        proxy.cut()
        proxy.resume()
        outcomes = await asyncio.gather(*tasks, *later, return_exceptions=True)
        assert [error.may_have_happened for error in outcomes[:3]] == [True] * 3
        assert all(isinstance(error, PublishError) for error in outcomes[3:])
        stats.start()
        assert await events.publish("c", "again")

    async def test_redis_does_not_answer(self, stats, proxy, events):
        """Each is told within its own time, which for who came later ends later."""
        (sent,) = await self.under_way(proxy, events.publish("c", "sent"))
        began = time.monotonic()
        await asyncio.sleep(0.5)
        waiting = asyncio.create_task(events.publish("c", "waiting"))
        with pytest.raises(PublishError, match="no answer in time") as caught:
            await sent
        assert caught.value.may_have_happened is True
        with pytest.raises(PublishError, match="no answer in time"):
            await waiting
        assert 2.4 < time.monotonic() - began < 5
        proxy.cut()
        proxy.resume()
        assert await events.publish("c", "again")

    async def test_who_leaves(self, stats, proxy, events):
        """One who leaves a call under way takes nobody along, and one who has not been sent is not out."""
        tasks = await self.under_way(proxy, *(events.publish("c", str(n)) for n in range(3)))
        later = [asyncio.create_task(events.publish("c", str(n))) for n in (3, 4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        later[0].cancel()
        await asyncio.wait([tasks[1], later[0]])
        proxy.resume()
        places = [await tasks[0], await tasks[2], await later[1]]
        heard = kept(stats, "c")
        assert [data for data, _ in heard] == ["0", "1", "2", "4"]
        assert [heard[n][1] for n in (0, 2, 3)] == list(map(bare, places))

    async def test_the_only_one_leaves(self, proxy, events):
        """Its call is given up, and the next one does not wait for it."""
        (task,) = await self.under_way(proxy, events.publish("c", "1"))
        task.cancel()
        await asyncio.wait([task])
        later = asyncio.create_task(events.publish("c", "2"))
        await until(lambda: proxy.accepted >= 2)
        proxy.resume()
        assert await later

    async def test_there_is_no_connection_yet(self, stats, proxy):
        """Who joins meanwhile travels in the first call; who leaves meanwhile is not published."""
        backend = RedisBackend(proxy.url, timeout=5)
        events = Publisher(backend)
        tasks = await self.under_way(proxy, *(events.publish("c", str(n)) for n in range(2)))
        tasks += [asyncio.create_task(events.publish("c", "2"))]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        proxy.resume()
        places = [await task for task in tasks[1:]]
        assert kept(stats, "c") == [("1", bare(places[0])), ("2", bare(places[1]))]
        await backend.close()

    async def test_threads_travel_together(self, stats, proxy):
        """Threads that share a publisher share its calls, and each is told its own id."""
        events = SyncPublisher(RedisBackend(proxy.url))
        await asyncio.to_thread(events.publish, "first", "x")
        stats.calls()
        proxy.stall(replies=True)
        found = {}

        def publish(n):
            found[n] = events.publish("c", str(n))

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(41)]
        threads[0].start()
        await proxy.stalled.wait()
        for thread in threads[1:]:
            thread.start()
        (outbox,) = events._backend.partitions[0]._outboxes._things.values()
        await until(lambda: len(outbox._waiting) == 40)
        proxy.resume()
        await asyncio.to_thread(lambda: [thread.join(10) for thread in threads])
        assert stats.calls() == 2
        assert sorted(kept(stats, "c")) == sorted((str(n), bare(place)) for n, place in found.items())
        events._backend.close_sync()
