"""Writers that are stopped or cancelled, or whose application, publisher or event loop ends."""

import asyncio
import threading
import time

import pytest

from parts.written import PATIENCE, Closable, forever, pieces, told, until
from sse_edge import Publisher
from sse_edge.backends.writers import IS_FINISHED, WRITES
from sse_edge.publishing.writer import give_up, thread, writer

pytestmark = pytest.mark.usefixtures("quiet")


async def lingering(go_on):
    """An iterator with one piece that, once closed, takes until ``go_on`` to clean up."""
    try:
        yield "x"
        await asyncio.sleep(3600)
    finally:
        await go_on.wait()


async def test_stopped(events):
    """``stop`` ends an iterator that never yields again, within a second; its ``finally`` has run."""
    closed = []
    task = asyncio.create_task(events.write("a", forever(closed), stopped="by you"))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    assert await events.stop("a") is True
    began = time.monotonic()
    assert (await task).reason == "stopped"
    assert time.monotonic() - began < 2
    assert closed == [True]
    assert await told(events) == [("token", "x"), ("stopped", "by you")]
    assert await events.stop("a") is False


async def test_stopped_while_it_blocks(remembered, monkeypatch):
    """A sync iterator that blocks is not waited for without end, and closed when it no longer does."""
    monkeypatch.setattr(thread, "WAIT", 0.1)
    go_on, closed = threading.Event(), threading.Event()

    def produce():
        try:
            go_on.wait(PATIENCE)
            yield "too late"
        finally:
            closed.set()

    task = asyncio.create_task(remembered.write("a", produce()))
    await until(lambda: remembered._backend._writers._held)
    await remembered.stop("a")
    assert (await task).reason == "stopped"
    assert not closed.is_set()
    go_on.set()
    assert await asyncio.to_thread(closed.wait, PATIENCE)
    assert await told(remembered) == [("stopped", "stopped")]


async def test_stopped_in_a_group(remembered, caplog):
    """An iterator that gave a piece inside a task group is closed there, and that is not an error."""
    closed = []

    async def produce():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))
                while True:
                    yield "x" * 1000
        finally:
            closed.append(True)

    task = asyncio.create_task(remembered.write("a", produce()))
    async with asyncio.timeout(PATIENCE):
        while not await told(remembered):
            await asyncio.sleep(0.01)
    await remembered.stop("a")
    assert (await task).reason == "stopped"
    assert closed == [True]
    assert caplog.text == ""


async def test_an_iterator_that_does_not_mind(remembered):
    """One that goes on when it is cancelled is closed with its next piece, and that is not published."""
    closed = []

    async def produce():
        try:
            yield "x"
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                yield "more"
        finally:
            closed.append(True)

    task = asyncio.create_task(remembered.write("a", produce()))
    await until(lambda: remembered._backend._writers._held)
    await remembered.stop("a")
    assert (await task).reason == "stopped"
    assert closed == [True]
    assert ("token", "more") not in await told(remembered)


async def test_cancelled(events):
    """When the task is cancelled the iterator is closed and the channel abandoned, before the task ends."""
    closed = []
    task = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]
    assert await told(events) == [("token", "x"), ("abandoned", "abandoned")]
    assert await events._backend.writers().standing("a") == IS_FINISHED


async def test_cancelled_in_the_middle_of_a_publish(remembered):
    """What was under way then is out once."""
    backend = remembered._backend
    publish, under_way = backend.publish, asyncio.Event()

    async def slow(given):
        ids = await publish(given)
        if not under_way.is_set():
            under_way.set()
            await asyncio.sleep(3600)
        return ids

    backend.publish = slow
    task = asyncio.create_task(remembered.write("a", pieces("x", "y", wait=0.001)))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [data for _, data in await told(remembered)] == ["xy", "abandoned"]


async def test_cancelled_before_it_began(remembered):
    """A task that is cancelled at once closes the iterator and publishes nothing."""
    task = asyncio.create_task(remembered.write("a", pieces("x")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await told(remembered) == []


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
async def test_cancelled_while_it_begins(events, turns):
    """One that is cancelled on the way to its channel gives it back, before the task ends: a retry begins."""
    closed = []
    await events.write("before", ["x"])  # it is connected
    task = asyncio.create_task(events.write("a", Closable(closed)))
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]
    said = await told(events)
    assert said in ([], [("abandoned", "abandoned")])  # it had begun: memory does at once
    if said:
        assert turns > 0
    assert await events._backend.writers().standing("a") == (IS_FINISHED if said else "")
    assert (await events.write("a", pieces("x"), reopen=bool(said))).reason == "complete"


async def test_cancelled_while_it_is_refused(events):
    """One that would have been refused takes nothing from who has the channel."""
    closed = []
    first = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    task = asyncio.create_task(events.write("a", pieces("x")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await events._backend.writers().standing("a") == WRITES
    await events.stop("a")
    assert (await first).reason == "stopped"


async def test_cancelled_while_it_reopens(events):
    """A channel that may be open again, with nobody who writes to it, is abandoned."""
    await events.write("a", ["x"])
    backend, under_way = events._backend, asyncio.Event()
    publish = backend.publish

    async def slow(given):
        ids = await publish(given)
        if not under_way.is_set():
            under_way.set()
            await asyncio.sleep(0.1)
        return ids

    backend.publish = slow
    task = asyncio.create_task(events.write("a", pieces("y"), reopen=True))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await told(events) == [("token", "x"), ("complete", "complete"), ("abandoned", "abandoned")]
    assert await backend.writers().standing("a") == IS_FINISHED


async def test_cancelled_while_nothing_answers(private_redis, monkeypatch):
    """The task ends after a while also where Redis says nothing to whether the channel is its own."""
    monkeypatch.setattr(writer, "GRACE", 0.3)
    server, closed = private_redis(), []
    async with Publisher(server.url) as events:
        await events.write("before", ["x"])
        server.pause()
        task = asyncio.create_task(events.write("a", Closable(closed)))
        await asyncio.sleep(0.1)
        task.cancel()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(asyncio.CancelledError):
                await task
        server.resume()
    assert closed == [True]


async def test_the_application_stops(events):
    """Who writes on an event loop ends as abandoned when that is to end, and is told so; whoever only begins
    gives its channel back."""
    closed = []
    task = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    begins = asyncio.create_task(events.write("b", Closable(closed)))
    await asyncio.sleep(0)
    await give_up()
    assert task.done()
    assert begins.done()
    assert closed == [True, True]
    (last,) = await events.recent("a", 1)
    assert last.event == "abandoned"
    assert await task == ("abandoned", last.id, 2)
    assert (await begins).reason == "abandoned"
    await give_up()  # with nobody there


@pytest.mark.parametrize("turns", range(8))
async def test_the_application_stops_at_any_moment(remembered, turns):
    """Wherever one is on its way, its iterator is closed, once, and its channel is free or has an end."""
    closed = []
    task = asyncio.create_task(remembered.write("a", Closable(closed)))
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    await give_up()
    assert (await task).reason == "abandoned"
    assert closed == [True]
    assert await remembered._backend.writers().standing("a") in ("", IS_FINISHED)


async def test_the_application_stops_while_one_cleans_up(remembered, monkeypatch):
    """It is not waited for without end; the channel has its end before."""
    monkeypatch.setattr(writer, "GRACE", 0.2)
    go_on = asyncio.Event()
    task = asyncio.create_task(remembered.write("a", lingering(go_on)))
    async with asyncio.timeout(PATIENCE):
        while not await told(remembered):
            await asyncio.sleep(0.01)
        await give_up()
        assert await told(remembered) == [("token", "x"), ("abandoned", "abandoned")]
        assert not task.done()
        go_on.set()
        assert (await task).reason == "abandoned"


async def test_a_publisher_that_is_closed(redis_url):
    """Before a publisher closes its connections, what is written through them ends; nobody else's does."""
    closed = []
    async with Publisher(redis_url) as other:
        goes_on = asyncio.create_task(other.write("b", forever(closed)))
        async with Publisher(redis_url) as events:
            task = asyncio.create_task(events.write("a", forever(closed)))
            async with asyncio.timeout(PATIENCE):
                while not (await told(other, "a") and await told(other, "b")):
                    await asyncio.sleep(0.01)
        assert (await task).reason == "abandoned"
        assert not goes_on.done()
        await other.stop("b")
        await goes_on
        assert await told(other) == [("token", "x"), ("abandoned", "abandoned")]


def test_a_loop_that_ends(redis_url):
    """``asyncio.run`` cancels everything there is when it ends: the channel is abandoned all the same."""
    closed = []

    async def produce():
        async with Publisher(redis_url) as events:
            await events.write("a", forever(closed))

    async def main():
        task = asyncio.create_task(produce())
        async with Publisher(redis_url) as events, asyncio.timeout(PATIENCE):
            while not await told(events):
                await asyncio.sleep(0.01)
        return task

    asyncio.run(main())
    assert closed == [True]

    async def look():
        async with Publisher(redis_url) as events:
            return await told(events)

    assert asyncio.run(look()) == [("token", "x"), ("abandoned", "abandoned")]


async def test_cancelled_while_it_cleans_up(remembered, monkeypatch):
    """The channel ends at once also where the iterator takes its time to clean up, which is not waited for
    without end, nor cut short."""
    monkeypatch.setattr(writer, "GRACE", 0.2)
    go_on, closed = asyncio.Event(), []

    async def produce():
        try:
            yield "x"
            await asyncio.sleep(3600)
        finally:
            await go_on.wait()
            closed.append(True)

    task = asyncio.create_task(remembered.write("a", produce()))
    async with asyncio.timeout(PATIENCE):
        while not await told(remembered):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.1)
        assert await told(remembered) == [("token", "x"), ("abandoned", "abandoned")]
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed
        go_on.set()
        await until(lambda: closed)


async def test_cancelled_after_the_end(remembered):
    """A task that is cancelled when its channel has its end, and its iterator is waited for, adds none."""
    go_on = asyncio.Event()
    task = asyncio.create_task(remembered.write("a", lingering(go_on)))
    async with asyncio.timeout(PATIENCE):
        while not await told(remembered):
            await asyncio.sleep(0.01)
        await remembered.stop("a")
        while len(await told(remembered)) < 2:
            await asyncio.sleep(0.01)
        await remembered.reopen("a")
        task.cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await told(remembered) == [("token", "x"), ("stopped", "stopped")]
