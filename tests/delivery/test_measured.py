"""What is measured of a worker: streams by pattern, and how long things take."""

import asyncio
import json
import uuid

import pytest

from parts.delivery import ListSink, ScriptedBackend, at, frame, join, make_hub, place, settle
from parts.ears import Ear, out, until
from sse_edge import Event, MemoryBackend, Publisher, RedisBackend, SignedCookie, Source, SSEMiddleware
from sse_edge.backends.base import Replay
from sse_edge.backends.redis.subscriber import RedisSubscriber
from sse_edge.delivery.stream import PIECE

AUTH = SignedCookie("a secret of the tests")
CHANNELS = {"/events/me": ["user:{user}", "news"], "/events/some": lambda request: ["a", "b"]}


def cookie(user):
    return {"cookie": f"session={AUTH.issue(user, channels=['*'])}"}


def count(histogram):
    """How many values it has."""
    return sum(histogram["counts"])


@pytest.fixture
async def edge():
    """``edge(**settings)`` makes one that is stopped at the end."""
    made = []

    def make(**settings):
        backend = settings.pop("backend", f"memory://{uuid.uuid4().hex}")
        made.append(SSEMiddleware(backend=backend, auth=AUTH, **{"channels": CHANNELS, **settings}))
        return made[-1]

    yield make
    for each in made:
        await each.stop()


async def test_who_is_here(edge, asgi):
    """Users and channels are counted once each, and streams by each pattern that they hear."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    clients = [
        asgi(middleware, path, headers=cookie(user))
        for user, path in [("u1", "/events/me"), ("u1", "/events/me"), ("u2", "/events/some")]
    ]
    for client in clients:
        await client.wait_for(b"\nid: ")
    figures = middleware.figures()
    assert (figures["users"], figures["channels"]) == (2, 4)
    assert figures["pattern_streams"] == {"user:{user}": 2, "news": 2, "(function)": 2}
    await Publisher(backend).publish("news", "to both")
    await Publisher(backend).publish("user:u1", "to both of u1")
    await Publisher(backend).publish("a", "to one")
    await Publisher(backend).publish("b", "to the same")
    for client, text in zip(clients, [b"to both of u1", b"to both of u1", b"to the same"], strict=True):
        await client.wait_for(text)
    figures = middleware.figures()
    assert figures["pattern_events"] == {"user:{user}": 2, "news": 2, "(function)": 2}
    assert figures["delivered"] == 6  # and nothing that only said where a stream is
    for client in clients:
        client.disconnect()
        await client.ended()
    figures = middleware.figures()
    assert (figures["users"], figures["channels"]) == (0, 0)
    assert figures["pattern_streams"] == {"user:{user}": 0, "news": 0, "(function)": 0}
    assert figures["pattern_events"] == {"user:{user}": 2, "news": 2, "(function)": 2}


async def test_an_event_for_all_but_one(edge, asgi):
    """Whoever is not to hear an event is not counted among those who did."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    clients = [asgi(middleware, "/events/me", headers=cookie(user)) for user in ("u1", "u2", "u3")]
    for client in clients:
        await client.wait_for(b"\nid: ")
    await Publisher(backend).publish("news", "to some", except_user="u2")
    await Publisher(backend).publish("news", "to all")
    for client in clients:
        await client.wait_for(b"to all")
    assert middleware.figures()["pattern_events"]["news"] == 5


async def test_a_source_goes_by_its_path(edge, asgi):
    """A stream that is played an iterator has its path template for a pattern, whatever channel guards it."""
    go = asyncio.Event()

    async def play(request, identity, after):
        yield "first"
        yield Event("second", id="7")
        await go.wait()

    middleware = edge(channels={"/events/tasks/{task}": Source(play, channel="task:{task}")})
    client = asgi(middleware, "/events/tasks/9", headers=cookie("u1"))
    await client.wait_for(b"second")
    figures = middleware.figures()
    assert figures["pattern_streams"] == {"/events/tasks/{task}": 1}
    assert figures["pattern_events"] == {"/events/tasks/{task}": 2}
    go.set()
    await client.wait_for(b"edge-close")
    await until(lambda: middleware.figures()["pattern_streams"] == {"/events/tasks/{task}": 0})


async def test_admission(edge, asgi):
    """Each stream and each refusal is measured once, from the request on."""
    middleware = edge()
    assert {key: count(value) for key, value in middleware.figures()["admission"].items()} == {
        "accepted": 0,
        "refused": 0,
    }
    await asgi(middleware, "/events/me").whole()
    await asgi(middleware, "/events/nothing").whole()
    await asgi(middleware, "/events/me", headers=cookie("u1")).wait_for(b"\nid: ")
    await asgi(middleware, "/events/me", method="HEAD", headers=cookie("u1")).whole()  # is no stream
    admission = middleware.figures()["admission"]
    assert (count(admission["accepted"]), count(admission["refused"])) == (1, 2)
    assert 0 < admission["accepted"]["sum"] < 5


async def test_replay(edge, asgi):
    """What a client that came back has missed is looked for, and how long that takes is measured."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    async with Publisher(backend) as events:
        seen = await events.publish("news", "seen")
        await events.publish("news", "missed")
    await asgi(middleware, "/events/me", headers=cookie("u1")).wait_for(b"\nid: ")
    assert count(middleware.figures()["replay"]) == 0
    back = asgi(middleware, "/events/me", headers={**cookie("u1"), "last-event-id": seen})
    await back.wait_for(b"missed")
    assert count(middleware.figures()["replay"]) == 1
    assert middleware.figures()["delivered"] == 1
    assert sum(middleware.figures()["pattern_events"].values()) == 0  # of history nobody knows the channel


async def test_delivery_is_measured_when_all_have_it(hub, backend):
    """One round is one value, however many streams it was written to; one stream alone is measured too."""
    backend.age = lambda channel, id: {"many": 0.2, "one": 3.0}[channel]
    for _ in range(400):
        await join(hub, "many")
    await join(hub, "one")
    hub.deliver("many", at(1), frame(1, "many"))
    await asyncio.sleep(0)
    assert count(hub.figures()["delivery"]) == 0  # 250 still wait
    await settle()
    hub.deliver("one", at(2), frame(2, "one"))
    await settle()
    hub.deliver("many", None, b"data: without an id\n\n")
    await settle()
    assert hub.figures()["delivery"] == {"counts": [0, 0, 0, 1, 0, 1, 0], "sum": 3.2}


async def test_events_that_come_during_a_round_are_measured_with_the_next(hub, backend):
    """The next round is as old as the first event that it is for."""
    asked = []
    backend.age = lambda channel, id: asked.append(id) or 0.01
    for _ in range(400):
        await join(hub, "many")
    hub.deliver("many", at(1), frame(1, "many"))
    await asyncio.sleep(0)
    hub.deliver("many", at(2), frame(2, "many"))
    hub.deliver("many", at(3), frame(3, "many"))
    await settle()
    assert asked == [at(1), at(2)]


async def test_nobody_knows_how_old_an_event_is(hub, backend):
    """Before a worker knows the clock of ids nothing is measured."""
    backend.age = lambda channel, id: None
    await join(hub)
    hub.deliver("c", at(1), frame(1))
    await settle()
    assert count(hub.figures()["delivery"]) == 0


@pytest.mark.parametrize("channels", [("c",), ("c", "d")])
async def test_what_was_never_written_is_not_counted(channels):
    """Of a client that does not read only what it was given counts, by pattern as without, also when it is
    let go of."""
    hub = await make_hub(ScriptedBackend(), max_unsent=10_000_000)
    slow, quick = await join(hub, *channels, sink=ListSink(stuck=True)), await join(hub, *channels)
    for n in range(1, 6):
        hub.deliver("c", at(n), frame(n, "x" * PIECE))
        await settle()
    assert len(slow.pending) > 1
    assert (hub.delivered, hub.figures()["pattern_events"]) == (slow.events + 5, {"": slow.events + 5})
    hub.close_stream(slow)
    hub.deliver("c", at(6), frame(6))
    await settle()
    assert (hub.delivered, hub.figures()["pattern_events"]) == (slow.events + 6, {"": slow.events + 6})
    assert quick.events == 6
    await hub.close()


async def test_what_waited_is_counted_when_it_is_written():
    """Once its client reads again all is written, a piece at a time, and counted."""
    hub = await make_hub(ScriptedBackend(), max_unsent=10_000_000)
    sink = ListSink(stuck=True)
    stream = await join(hub, sink=sink)
    for n in range(1, 6):
        hub.deliver("c", at(n), frame(n, "x" * (PIECE // 2)))
        await settle()
    assert 1 < len(stream.pending) < 5
    sink.stuck = False
    sink.then()
    await settle()
    assert (stream.pending, hub.delivered, hub.figures()["pattern_events"]) == (None, 5, {"": 5})
    await hub.close()


async def test_a_poll_counts_what_it_tells(edge, asgi):
    """A poll is given its events with its answer, and they count once, by pattern as without."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    client = asgi(middleware, "/events/me", query="poll", headers=cookie("u1"))
    place = json.loads(await client.whole())["next"]
    client = asgi(middleware, "/events/me", query=f"poll=10&last_event_id={place}", headers=cookie("u1"))
    client.open()
    await until(lambda: middleware.figures()["streams"] == 1)
    await Publisher(backend).publish("news", "told")
    assert len(json.loads(await client.whole())["events"]) == 1
    figures = middleware.figures()
    assert (figures["delivered"], figures["pattern_events"]["news"]) == (1, 1)


async def test_what_waits_is_looked_at_now_and_then():
    """Each stream is looked at where the clock comes by anyway."""
    hub = await make_hub(ScriptedBackend(), max_unsent=1_000_000, keep_alive=0.05)
    await join(hub, sink=ListSink())
    sink = ListSink()
    sink.lag = 5000
    await join(hub, "d", sink=sink)
    async with asyncio.timeout(10):
        while not all(hub.figures()["unsent"]["counts"][:2]):
            await asyncio.sleep(0.01)
    assert hub.figures()["unsent"]["counts"][2:] == [0, 0, 0]
    await hub.close()


async def test_a_replay_of_several_events_counts_them(hub, backend):
    """Pieces of history count as the events that they are, and the place behind them does not."""
    backend.answers = Replay([(1000, n, b"data: x\n\n") for n in range(1, 4)], [], place(3))
    await join(hub, after=place(0))
    assert hub.delivered == 3


@pytest.mark.parametrize("partitions", [1, 3])
async def test_how_well_redis_is_heard(private_redis, partitions):
    """All is heard within a tick, and while Redis is away it is ever longer ago."""
    server = private_redis()
    backend, ear = RedisBackend(server.url, partitions=partitions), Ear()
    subscriber = backend.subscriber(ear)
    assert subscriber.hearing.age < 5
    await subscriber.start()
    await subscriber.subscribe(["news", "a", "b"])
    assert subscriber.hearing[:2] == (0, 0)
    assert subscriber.hearing.age < 10
    await backend.publish([out("news", "x")])
    await ear.wait(1)
    _, id, _ = ear.heard[0]
    # Redis counts from 1970, and this process from whenever: none of it shows.
    said = []
    for hour in (0, 1):
        subscriber.measure("news", id._replace(ms=id.ms - hour * 3_600_000), said.append)
        await until(lambda hour=hour: len(said) > hour)
    assert 0 <= said[0] < 10
    assert 3599 <= said[1] < 3610
    server.stop()
    await until(lambda: not subscriber.connected)
    assert subscriber.hearing.settling == 3
    before = subscriber.hearing.age
    await until(lambda: subscriber.hearing.age > before)
    await subscriber.close()
    await backend.close()


async def test_ids_that_stand_still_are_not_measured(private_redis):
    """While Redis's clock is behind the ids, as after it stepped back, no event seems to be late, and what is
    heard is not old."""
    server = private_redis()
    backend, ear = RedisBackend(server.url), Ear()
    subscriber = RedisSubscriber(backend.partitions[0], ear, watch=0.05)
    await subscriber.start()
    await subscriber.subscribe(["news"])
    seconds, _ = server.client().time()
    server.client().hset("sse:clock", "last", f"{1000 * (seconds + 3600)}-0")
    said = []
    await until(lambda: subscriber.position.id.ms >= 1000 * (seconds + 3600))
    for number in range(5):
        await subscriber._ticks.next()
        await backend.publish([out("news", "x")])
        await ear.wait(number + 1)
        subscriber.measure("news", ear.heard[-1][1], said.append)
    assert ear.heard[-1][1].ms == 1000 * (seconds + 3600)
    await subscriber._ticks.next()
    assert said == []
    assert subscriber.hearing.age < 5
    await subscriber.close()
    await backend.close()


def test_memory_has_a_clock_of_its_own():
    """A backend in memory tells the age of an event by the clock that numbered it, where ids do not stand
    still."""
    backend, said = MemoryBackend(clock=lambda: 1000.0), []
    for ms in (999_750, 2_000_000):
        backend.subscriber(Ear()).measure("c", at(0)._replace(ms=ms), said.append)
    assert said == [0.25]
