"""How much history is kept lives in the data set: a worker says it, and everybody keeps to it."""

import asyncio
import logging

import pytest

from parts.ears import Ear, said, until
from sse_edge import Publisher, PublishError, RedisBackend, Retention
from sse_edge.errors import EventError
from sse_edge.event import NOWHERE, EventId, Place


@pytest.fixture
async def make(redis_url):
    """``make(**settings)``: a backend on the shared Redis; ``await make.worker(**settings)`` one that
    listens, with its subscriber and its ear."""
    backends, subscribers = [], []

    def begin(**settings):
        backends.append(RedisBackend(redis_url, **settings))
        return backends[-1]

    async def worker(**settings):
        backend, ear = begin(**settings), Ear()
        subscriber = backend.subscriber(ear)
        subscribers.append(subscriber)
        await subscriber.start()
        await until(lambda: subscriber.connected)
        return backend, subscriber, ear

    begin.worker = worker
    yield begin
    for subscriber in subscribers:
        await subscriber.close()
    for backend in backends:
        await backend.close()


async def test_a_publisher_by_url_keeps_what_the_worker_says(make, redis_server):
    """It trims no more and no less than the worker's settings, which it has never been told."""
    await make.worker(history=250, history_ttl=1000, retention={"short:*": Retention(3, 10)})
    events = Publisher(make())
    await events.publish_many([("a", str(n)) for n in range(300)])
    await events.publish_many([("short:a", str(n)) for n in range(300)])
    client = redis_server.client()
    assert client.xlen("sse:history:a") == 250
    assert client.xlen("sse:history:short:a") == 3
    assert 1000 <= client.ttl("sse:history:a") <= 1063  # and a sixteenth
    assert 10 <= client.ttl("sse:history:short:a") <= 11


async def test_a_change_while_a_publisher_runs(make, redis_server):
    """Another worker says something else: the next publish keeps to that, and nothing is published twice."""
    events = Publisher(make())
    await make.worker(history=5)
    await events.publish_many([("a", str(n)) for n in range(10)])
    _, subscriber, ear = await make.worker(history=7)
    await subscriber.subscribe(["a"])
    await events.publish_many([("a", str(n)) for n in range(10)])
    await ear.wait(10)
    assert redis_server.client().xlen("sse:history:a") == 7
    assert ear.data == [str(n) for n in range(10)]


async def test_a_difference_is_logged(make, caplog):
    """Whoever is told something else than what holds says so, once: a worker wins, a publisher gives in."""
    caplog.set_level(logging.WARNING, "sse_edge")
    await make.worker(history=5)
    publisher = make(history=9)
    await Publisher(publisher).publish("a", "x")
    await Publisher(publisher).publish("a", "x")
    said = [record.getMessage() for record in caplog.records]
    kept, own = "history=5, history_ttl=300", "history=9, history_ttl=300"
    assert said == [f"history is kept as {kept}, as a worker said, and not as {own}"]
    await make.worker(history=6)
    assert "from now on; it was history=5" in caplog.records[-1].getMessage()


async def test_the_first_publisher_says_it_where_no_worker_has(make, redis_server):
    """Then a publisher by URL and a worker by URL keep to that."""
    await Publisher(make(history=4)).publish_many([("a", str(n)) for n in range(10)])
    await Publisher(make()).publish_many([("b", str(n)) for n in range(10)])
    backend, subscriber, _ = await make.worker()
    await subscriber.subscribe(["a"])
    assert redis_server.client().xlen("sse:history:b") == 4
    assert backend.partitions[0].kept.default == Retention(4, 300.0)


async def test_a_short_history_ttl_does_not_last_for_ever(make):
    """What was kept for a moment only proves nothing about that time; later everything is as it was."""
    short = make(history_ttl=0.2)
    before = await short.cursor()
    await Publisher(short).publish("a", "gone")
    await asyncio.sleep(0.4)
    _, subscriber, _ = await make.worker(history_ttl=100)
    await subscriber.subscribe(["a", "b"])
    replay = await subscriber.replay(["a"], before)
    assert [reset.reason for reset in replay.resets] == ["expired"]
    after = await short.cursor()
    await asyncio.sleep(0.4)
    replay = await subscriber.replay(["a", "b"], after)
    assert (said(replay), replay.resets) == ([], [])


async def test_without_history_the_publishers_number_nothing(make):
    """A worker with history=0 makes every publisher of its data set live-only, and a resume a reset."""
    _, subscriber, ear = await make.worker(history=0)
    events = Publisher(make())
    await subscriber.subscribe(["a"])
    assert await events.publish("a", "x") == ""
    await ear.wait(1)
    assert ear.heard[0][1] is None
    with pytest.raises(EventError, match="dedupe_key"):
        await events.publish("a", "x", dedupe_key="k")


async def test_a_worker_by_url_follows_what_changes_to_no_history(make):
    """It learns it by its next tick, and then claims to prove nothing."""
    backend, subscriber, _ = await make.worker()
    await subscriber.subscribe(["a"])
    before = await backend.cursor()
    await make.worker(history=0)
    subscriber._ticks.want()
    await until(lambda: subscriber.position is None)
    assert [reset.reason for reset in (await subscriber.replay(["a"], before)).resets] == ["unknown-id"]
    await make.worker(history=10)
    subscriber._ticks.want()
    await until(lambda: subscriber.position is not None)
    replay = await subscriber.replay(["a"], before)
    assert [reset.reason for reset in replay.resets] == ["epoch"]


async def test_settings_are_said_again_after_the_data_were_lost(make, redis_server):
    """A flush loses them too; the worker says them anew."""
    _, subscriber, _ = await make.worker(history=5)
    events = Publisher(make())
    await events.publish("a", "x")
    redis_server.client().flushall()
    generation = subscriber.generation
    subscriber._ticks.want()
    await until(lambda: subscriber.generation > generation)
    await events.publish_many([("a", str(n)) for n in range(10)])
    assert redis_server.client().xlen("sse:history:a") == 5


async def test_settings_that_cannot_be_read(make, redis_server):
    """Somebody wrote something else there: an error that says so, and nothing is published."""
    redis_server.client().hset("sse:clock", mapping={"settings": "junk", "version": "x", "last": "1-0"})
    with pytest.raises(PublishError, match="settings") as raised:
        await Publisher(make()).publish("a", "x")
    assert not raised.value.may_have_happened


async def test_data_of_an_earlier_release(make, redis_server):
    """A clock without a tag gets one: its ids go on rising, and a client from before is told so."""
    client = redis_server.client()
    seconds, _ = client.time()
    ahead = seconds * 1000 + 60_000
    client.hset("sse:clock", mapping={"last": f"{ahead}-3", "epoch": "1-0", "run": "x", "ttl": "5000"})
    client.xadd("sse:history:a", {"p": "-", "b": "data: old\n\n"}, id=f"{ahead}-3")
    backend, subscriber, ear = await make.worker()
    await subscriber.subscribe(["a"])
    place = Place.parse(await Publisher(make()).publish("a", "new"))
    await ear.until(lambda: "new" in ear.data)
    assert place.id == EventId(ahead, 4)
    assert place.tag == (await backend.cursor()).tag
    replay = await subscriber.replay(["a"], NOWHERE)
    assert [reset.reason for reset in replay.resets] == ["unknown-id"]
    assert subscriber.dropped == {"malformed": 0, "foreign": 0}
