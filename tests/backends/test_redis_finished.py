"""Channels that have had their last event, in Redis: what is refused, who learns of it, and for how long."""

import asyncio

import pytest

from parts import ears
from parts.ears import Ear, _text, listening, out, reopening, said, until
from sse_edge import Event, PublishError, RedisBackend, Retention
from sse_edge.backends.base import Outgoing
from sse_edge.backends.redis import connection
from sse_edge.errors import EventError
from sse_edge.event import EventId, Place, finishing, reopens

REOPEN = reopening("a")

pytestmark = pytest.mark.usefixtures("impatient")


def end(channel, key=None):
    """Its last event."""
    return ears.end(channel, "end", key)


@pytest.fixture(params=[1, 4], ids=["one order", "partitions"])
async def worker(request, redis_url):
    """``await worker(url=…, **settings)``: a backend, a subscriber that is connected, and its ear."""

    def make(url=redis_url, **settings):
        return RedisBackend(url, **{"partitions": request.param, **settings})

    async with listening(make) as begin:
        yield begin


async def refusal(backend, *events):
    """The error that publishing these raises."""
    with pytest.raises(PublishError) as raised:
        await backend.publish(events)
    return raised.value


async def test_a_finished_channel_takes_no_more(worker):
    """Neither in a later call nor in the same, and nothing of it is heard; others go on."""
    backend, subscriber, ear = await worker()
    await subscriber.subscribe(["a", "b"])
    await backend.publish([out("a", "1"), end("a")])
    for events in ([out("a", "2")], [end("a")], [Outgoing("a", finishing(b"data: x\n\n"), "key")]):
        error = await refusal(backend, *events)
        assert (error.reason, error.may_have_happened, error.published) == ("finished", False, [])
        assert "'a' has had its last event" in str(error)
    error = await refusal(backend, end("b"), out("b", "2"))
    assert (error.reason, error.may_have_happened, len(error.published)) == ("finished", False, 1)
    await backend.publish([out("c", "1")])
    await ear.until(lambda: len(ear.heard) >= 3)
    assert ear.data == ["1", "end", "end"]
    assert subscriber.finished(["a", "b"]) is not None


async def test_a_known_key_is_answered_first(worker):
    """Who finishes a channel again with the same key is told the id, as with any event."""
    backend, _, _ = await worker()
    (first,) = await backend.publish([end("a", key="k")])
    assert await backend.publish([end("a", key="k")]) == [first]
    assert (await refusal(backend, end("a", key="other"))).reason == "finished"


async def test_a_channel_goes_on(worker):
    """Reopened it takes events; what is not finished does not change, whether it has events or none."""
    backend, subscriber, ear = await worker()
    await subscriber.subscribe(["a"])
    await backend.publish([REOPEN])
    await backend.publish([out("a", "1")])
    await backend.publish([REOPEN])
    await backend.publish([end("a")])
    await ear.wait(2)
    assert subscriber.finished(["a"]) is not None
    await backend.publish([REOPEN])
    await backend.publish([REOPEN])
    await backend.publish([out("a", "2")])
    await ear.wait(4)
    assert ear.data == ["1", "end", "", "2"]
    assert subscriber.finished(["a"]) is None
    assert [frame.partition(b"\n")[2] for _, frame in await backend.recent("a", 9)] == [
        b"data: 1\n\n",
        end("a").body,
        b"data: 2\n\n",
    ]


async def test_who_comes_later_learns_of_the_end(worker):
    """A worker that subscribes after the end knows it, with what is given first, before any of its streams is
    open; of several channels only if all are finished."""
    backend, _, _ = await worker()
    (last,) = await backend.publish([end("a")])
    await backend.publish([out("b", "1")])
    _, subscriber, ear = await worker()
    begin = await subscriber.subscribe(["a", "b"])
    place = subscriber.finished(["a"])
    assert str(place.id) == last.partition(".")[0]
    assert place.tag == begin.tag
    assert subscriber.finished(["b"]) is None
    assert subscriber.finished(["a", "b"]) is None
    assert said(await subscriber.replay(["a", "b"], None)) == ["end"]
    both = said(await subscriber.replay(["a", "b"], None, {"b": 1}))
    assert sorted(both) == ["1", "end"]  # two partitions may number alike
    assert said(await subscriber.replay(["a"], begin)) == []
    assert ear.heard == []


async def test_a_reset_of_a_channel_that_goes_on(redis_url, redis_server):
    """It has not finished, however many of its events come first."""
    backend, ear = RedisBackend(redis_url), Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a"])
    await subscriber.replay(["a"], None, {"a": 5})
    await backend.publish([out("a", "1"), end("a"), REOPEN])
    await ear.wait(3)
    redis_server.client().hset("sse:clock", "run", "another process that may have lost something")
    await backend.cursor()
    await backend.publish([out("b", "1")])
    subscriber._ticks.want()
    await ear.until(lambda: ear.resets)
    assert subscriber.finished(["a"]) is None
    assert [entry[2] for entry in ear.resets[0].first] == [b"data: 1\n\n", end("a").body, REOPEN.body]
    await subscriber.close()
    await backend.close()


async def test_an_end_holds_for_its_retention(worker):
    """Exactly: Redis has the stream a little longer, and neither refuses nor tells of an end then."""
    settings = {"retention": {"a": Retention(10, 0.5), "b": Retention(10, 60)}}
    backend, subscriber, _ = await worker(**settings)
    await subscriber.subscribe(["a", "b"])
    began = asyncio.get_running_loop().time()
    await backend.publish([out("b", "1"), end("a"), end("b")])
    assert (await refusal(backend, out("a", "2"))).reason == "finished"
    assert subscriber.finished(["a", "b"]) is not None
    while True:
        try:
            await backend.publish([out("a", "2")])
            break
        except PublishError:
            await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - began >= 0.5
    assert (await refusal(backend, out("b", "2"))).reason == "finished"
    await until(lambda: subscriber.finished(["a"]) is None)
    _, later, _ = await worker(**settings)
    await later.subscribe(["a", "b"])
    assert later.finished(["a"]) is None
    assert later.finished(["b"]) is not None


async def test_without_history_nothing_finishes(worker):
    """Nobody who comes later could know of it."""
    backend, _, _ = await worker(history=0)
    for event in (end("a"), REOPEN):
        with pytest.raises(EventError, match="keeps history"):
            await backend.publish([event])
    alike = [Outgoing("a", Event(text).encode()) for text in (": reopened", "x\n: finished")]
    assert await backend.publish(alike) == ["", ""]


async def test_many_channels_settle(worker, monkeypatch):
    """Thousands of channels that are subscribed at once are asked about some at a time, and each is known."""
    from sse_edge.backends.redis import ticks  # noqa: PLC0415

    monkeypatch.setattr(ticks, "BATCH", 7)
    backend, _, _ = await worker()
    names = [f"c{n}" for n in range(100)]
    await backend.publish([end(name) for name in names[::3]])
    _, subscriber, _ = await worker()
    await asyncio.gather(*(subscriber.subscribe([name]) for name in names))
    assert [name for name in names if subscriber.finished([name])] == names[::3]


@pytest.mark.parametrize("lost", ["a few events", "more than is kept"])
async def test_an_end_while_nothing_is_heard(worker, redis_server, lost):
    """It is delivered when the worker hears again; also behind a reset, where too much was missed."""
    backend, subscriber, ear = await worker(history=3)
    await subscriber.subscribe(["a"])
    await backend.publish([out("a", "0")])
    await ear.wait(1)
    other = RedisBackend(redis_server.url, partitions=len(backend.partitions))
    await cut_off(subscriber, redis_server)
    count = 1 if lost == "a few events" else 9
    await other.publish([*(out("a", str(n)) for n in range(1, count + 1)), end("a")])
    await other.close()
    await ear.until(lambda: ear.heard and ear.data[-1] == "end")
    told = ["0", "1", "end"] if count == 1 else ["0", "end"]
    assert ear.data == told
    assert [reset.reason for reset in ear.resets] == ([] if count == 1 else ["trimmed"])
    assert subscriber.finished(["a"]) is not None


async def cut_off(subscriber, server):
    """End its connections, and wait until it has seen that."""
    server.client().client_kill_filter(_type="pubsub")
    await until(lambda: not subscriber.connected)


async def test_an_end_from_before_redis_restarted(worker, private_redis, monkeypatch):
    """In a data set of another name the end is known again, and told to whoever is open; a new stream is
    given what came before."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.5, 1.0))  # it hears nothing before Redis is killed
    server = private_redis(appendonly=True, appendfsync="always")
    backend, subscriber, ear = await worker(server.url)
    await subscriber.subscribe(["a", "b"])
    await backend.publish([out("a", "1"), out("b", "1")])
    await ear.wait(2)
    await cut_off(subscriber, server)
    other = RedisBackend(server.url, partitions=len(backend.partitions))
    await other.publish([end("a")])
    await other.close()
    server.kill()
    server.start()
    await until(lambda: subscriber.connected)
    await ear.until(lambda: ear.data[-1] == "end")
    assert {(reset.channel, reset.reason) for reset in ear.resets} == {("a", "epoch"), ("b", "epoch")}
    assert ear.data == ["1", "1", "end"]
    assert subscriber.finished(["a"]) is not None
    assert (await refusal(backend, out("a", "2"))).reason == "finished"
    _, later, _ = await worker(server.url)
    await later.subscribe(["a", "b"])
    replay = await later.replay(["a", "b"], None, {"a": 2, "b": 5})
    assert sorted(said(replay)) == ["1", "1", "end"]
    assert later.finished(["a"]) is not None
    # From the middle of what it was given first a client is told that nothing is proven of that time.
    replay = await later.replay(["b"], Place(EventId(5, 1), later.position.tag), {"b": 1})
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("b", "epoch")]
    assert said(replay) == ["1"]


@pytest.mark.parametrize("first", [0, 2, 50])
async def test_a_channel_that_was_reopened_before_redis_restarted(worker, private_redis, monkeypatch, first):
    """It goes on in the new data set, however much of what came before is told again."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.5, 1.0))
    server = private_redis(appendonly=True, appendfsync="always")
    backend, subscriber, ear = await worker(server.url)
    await subscriber.subscribe(["a"])
    await subscriber.replay(["a"], None, {"a": first})
    for event in (out("a", "1"), end("a"), REOPEN):
        await backend.publish([event])
    await ear.wait(3)
    assert subscriber.finished(["a"]) is None
    server.kill()
    server.start()
    await ear.until(lambda: ear.resets)
    (reset,) = ear.resets
    told = [frame for _, _, frame in reset.first if not reopens(frame)]
    assert [_text(frame) for frame in told] == ["1", "end"][:first]
    assert subscriber.finished(["a"]) is None
    await backend.publish([out("a", "2")])
    await ear.until(lambda: ear.data[-1] == "2")


async def test_a_state_is_told_again_after_a_reset(worker, private_redis, monkeypatch):
    """Of channels of which something was to come first, as much as that; of others only an end."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.5, 1.0))
    server = private_redis(appendonly=True, appendfsync="always")
    backend, subscriber, ear = await worker(server.url)
    for first in ({"a": 2, "b": 1}, {"b": 3}):
        await subscriber.subscribe(["a", "b", "c"])
        await subscriber.replay(["a", "b", "c"], None, first)
    await backend.publish([out(channel, f"{channel}{n}") for channel in "abc" for n in range(5)])
    await ear.wait(15)
    server.kill()
    server.start()
    await ear.until(lambda: len(ear.resets) >= 3)
    texts = {reset.channel: [_text(frame) for _, _, frame in reset.first] for reset in ear.resets}
    assert texts == {"a": ["a3", "a4"], "b": ["b2", "b3", "b4"], "c": []}
    assert not any(frame.startswith(b"id: ") for reset in ear.resets for _, _, frame in reset.first)
    reads = backend_reads(subscriber)
    assert said(await subscriber.replay(["a"], None, {"a": 2})) == ["a3", "a4"]
    assert backend_reads(subscriber) == reads  # it is known by now


def backend_reads(subscriber):
    """How many reads its connections have done."""
    return sum(ear.reads for ear in getattr(subscriber, "_ears", {0: subscriber}).values())


async def test_recent(worker):
    """The last events of a channel with their places, which a client can come back with; oldest first."""
    backend, _, _ = await worker()
    assert await backend.recent("a", 5) == []
    await backend.publish([out("a", str(n)) for n in range(5)])
    events = await backend.recent("a", 3)
    assert [frame.partition(b"\n")[2] for _, frame in events] == [out("a", n).body for n in (2, 3, 4)]
    assert all(frame.startswith(place.line()) for place, frame in events)
    assert len(await backend.recent("a", 50)) == 5
    _, subscriber, _ = await worker()
    await subscriber.subscribe(["a"])
    assert said(await subscriber.replay(["a"], events[1][0])) == ["4"]


async def test_recent_of_what_has_expired(worker):
    """Nothing, as soon as its time has passed."""
    backend, _, _ = await worker(retention={"a": Retention(10, 0.2)})
    await backend.publish([out("a", "1")])
    assert len(await backend.recent("a", 1)) == 1
    async with asyncio.timeout(5):
        while await backend.recent("a", 1):
            await asyncio.sleep(0.01)
