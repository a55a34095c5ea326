"""Writers while the backend is away, and writers that are taken for dead."""

import asyncio

import pytest

from parts.ears import Ear
from parts.written import PATIENCE, forever, pieces, told, until, until_told
from sse_edge import Event, MemoryBackend, Publisher, PublishError
from sse_edge.backends.base import Outgoing
from sse_edge.backends.writers import HOLDS, IS_FINISHED, Writing
from sse_edge.errors import BackendError
from sse_edge.publishing.writer import end_abandoned, keeper, output, writer
from sse_edge.publishing.writer.output import Output

pytestmark = pytest.mark.usefixtures("quiet")


async def test_a_process_that_stood_still(events):
    """A writer that was taken for dead meanwhile finds that out before it publishes, and writes no more."""
    closed = []
    writers = events._backend.writers()
    task = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    keeping = events._keeper()
    (one,) = keeping._kept
    await writers.end(one.writing)
    await events._backend.publish([Outgoing("a", one.writing.last)])
    assert (await task).reason == "abandoned"
    assert closed == [True]
    assert await told(events) == [("token", "x"), ("abandoned", "abandoned")]


async def test_a_channel_is_left_though_that_fails_once(events, monkeypatch):
    """Otherwise it would be ended as abandoned later, and by then somebody else may have reopened it."""
    writers, failed = type(events._backend.writers()), []
    end = writers.end

    async def fails_once(self, writing):
        if not failed:
            failed.append(True)
            raise BackendError("the connection was lost")
        await end(self, writing)

    monkeypatch.setattr(writers, "end", fails_once)
    assert (await events.write("a", ["x"])).reason == "complete"
    assert failed
    assert await events._backend.writers().standing("a") == "finished"
    assert (await events.write("a", ["y"], reopen=True)).reason == "complete"


async def test_who_lost_its_channel_does_not_take_anothers_end_for_its_own(events, monkeypatch):
    """A writer that was taken for dead, after which another has written the channel to its end."""
    closed = []
    task = asyncio.create_task(events.write("a", forever(closed)))
    await until_told(events, ("token", "x"))
    backend, writers = events._backend, events._backend.writers()
    (writing,) = [each.writing for each in events._keepers[asyncio.get_running_loop()]._kept]
    # As a worker does that takes it for dead; and then there is another.
    await backend.publish([Outgoing("a", writing.last)])
    await writers.end(writing)
    other = Publisher(backend)
    assert (await other.write("a", ["y"], event="other", reopen=True)).reason == "complete"
    async with asyncio.timeout(PATIENCE):
        written = await task
    assert (written.reason, written.events) == ("abandoned", 1)
    assert closed
    assert [data for _, data in await told(events)] == ["x", "abandoned", "y", "complete"]


async def test_dead_writers_are_ended_once(events, monkeypatch):
    """Of several workers that find a dead one, its channel hears one end."""
    for name in ("LIFE", "DOUBT"):
        monkeypatch.setattr(f"sse_edge.backends.memory.writers.{name}", 0.5)
        monkeypatch.setattr(f"sse_edge.backends.redis.writers.{name}_MS", 500)
    ear = Ear()
    subscriber = events._backend.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a"])
    task = asyncio.create_task(events.write("a", forever([]), abandoned="gone"))
    await ear.wait(1)
    (one,) = events._keeper()._kept
    events._keeper().remove(one)  # as if its process had died
    async with asyncio.timeout(PATIENCE):
        while len(ear.data) < 2:
            await asyncio.gather(*(end_abandoned(events._backend) for _ in range(3)))
            await asyncio.sleep(0.2)
    assert await told(events) == [("token", "x"), ("abandoned", "gone")]
    assert await events._backend.writers().standing("a") == IS_FINISHED
    task.cancel()
    await asyncio.wait([task])
    assert len(await told(events)) == 2
    await subscriber.close()


class Flaky:
    """A backend that fails as it is told: ``before`` a publish happened or ``after`` it, or in the middle."""

    def __init__(self, backend, faults):
        self.backend = backend
        self.faults = iter(faults)

    async def publish(self, given):
        fault = next(self.faults, None)
        if fault == "before":
            raise PublishError("no", may_have_happened=False)
        if fault == "lost":
            raise PublishError("no", may_have_happened=True)
        if fault == "half":
            ids = await self.backend.publish(given[: len(given) // 2])
            raise PublishError("no", may_have_happened=True, published=ids[:1])
        ids = await self.backend.publish(given)
        if fault == "after":
            raise PublishError("no", may_have_happened=True)
        if fault == "others":
            await self.backend.publish([Outgoing(given[0].channel, Event("other").encode())] * 3)
            raise PublishError("no", may_have_happened=True)
        return ids

    async def recent(self, channel, count):
        if next(self.faults, None) == "unread":
            raise BackendError("no")
        return await self.backend.recent(channel, count)


@pytest.mark.parametrize(
    "faults",
    [
        ["before", "before"],
        ["lost", "", "", "lost"],
        ["after", "", "", "after"],
        ["half", "", "", "half"],
        ["half", "unread", "", "", "before", "after"],
        ["others", "", "unread", "", "", "others"],
        ["before", "lost", "", "", "others", "", "", "half"],
    ],
    ids=" ".join,
)
async def test_nothing_twice_and_nothing_missed(faults, monkeypatch):
    """Whatever is uncertain is looked at before it is repeated, also where others publish in between."""
    monkeypatch.setattr(output, "SETTLED", 0.0)
    monkeypatch.setattr(output, "AGAIN", (0.0,))
    backend = MemoryBackend(history=1000)

    async def ready():
        pass

    out = Output(Flaky(backend, faults), "a", ready, 5)
    out.begin(backend.store.now(), 1000)
    bodies = [Event(str(number % 3)).encode() for number in range(20)]
    await out.send(bodies[:8])
    await out.send(bodies[8:])
    heard = [frame.partition(b"\n")[2] for _, frame in await backend.recent("a", 1000)]
    assert [body for body in heard if b"other" not in body] == bodies
    assert out.events == 20


async def test_patience_is_over(remembered):
    """When the backend is away for longer than the writer waits it says so, and the iterator is closed."""
    backend, closed = remembered._backend, []

    async def away(given):
        raise PublishError("away", may_have_happened=False)

    backend.publish = away
    with pytest.raises(PublishError, match="away") as raised:
        await remembered.write("a", pieces("x", wait=0.001, closed=closed), patience=0.2)
    assert raised.value.reason == "unconfirmed"
    assert closed == [True]


async def test_away_from_the_beginning(private_redis):
    """The same where Redis is not even there when it is to begin; nothing is asked of the iterator."""
    server = private_redis()
    server.stop()
    used = []

    async def produce():
        used.append(True)
        yield "x"

    async with Publisher(server.url) as events:
        with pytest.raises(PublishError):
            await events.write("a", produce(), patience=0.3)
        task = asyncio.create_task(events.write("a", produce()))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        assert (await task).reason == "complete"
    assert used == [True]


async def test_what_waits_is_said(private_redis, caplog):
    """While writers wait for Redis the log says so once, and once that they go on."""
    server, closed = private_redis(appendonly=True), []
    async with Publisher(server.url) as events:
        task = asyncio.create_task(events.write("a", forever(closed)))
        async with asyncio.timeout(PATIENCE):
            while not await told(events):
                await asyncio.sleep(0.01)
            server.kill()
            await until(lambda: "writers wait for the backend: 1" in caplog.messages)
            await asyncio.to_thread(server.start)
            await until(lambda: "writers go on" in caplog.messages)
        await events.stop("a")
        assert (await task).reason == "stopped"
    assert [record.message for record in caplog.records if record.name == "sse_edge"] == [
        "writers wait for the backend: 1",
        "writers go on",
    ]


async def test_away_for_too_long(private_redis, monkeypatch):
    """The same where not even the lease can be renewed: whoever waits for that is not patient without end."""
    monkeypatch.setattr(keeper, "LIFE", 0.3)
    monkeypatch.setattr(keeper, "PATIENCE", 0.2)
    server, closed = private_redis(), []

    async def produce():
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.01)
        finally:
            closed.append(True)

    async with Publisher(server.url) as events:
        task = asyncio.create_task(events.write("a", produce(), patience=1.5))
        async with asyncio.timeout(PATIENCE):
            while not await told(events):
                await asyncio.sleep(0.01)
            server.kill()
            with pytest.raises(PublishError) as raised:
                await task
    assert raised.value.reason == "unconfirmed"
    assert closed == [True]


async def test_taken_over_by_another(events, monkeypatch):
    """A writer whose channel another has, because the lease was lost, is over without an end of its own."""
    monkeypatch.setattr(writer, "OVER", 0.5)
    closed = []
    backend = events._backend
    task = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    (one,) = events._keeper()._kept
    other = Writing("a", "other", one.writing.last)
    await backend.writers().end(one.writing)
    assert not (await backend.writers().begin(other)).refused
    async with asyncio.timeout(PATIENCE):
        assert await task == ("abandoned", "", 1)
    assert closed == [True]
    assert await backend.writers().renew([other]) == [HOLDS]
