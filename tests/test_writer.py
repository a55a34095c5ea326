"""Writing to a channel from an iterator: what is published, how it ends, and what it waits for."""

import asyncio
import logging
import threading
import time

import pytest

from ears import Ear
from sse_edge import Event, MemoryBackend, Publisher, PublishError, RedisBackend
from sse_edge.backends.base import Outgoing
from sse_edge.backends.writers import HOLDS, IS_FINISHED, WRITES, Writing
from sse_edge.errors import BackendError, EventError
from sse_edge.writer import end_abandoned, give_up, keeper, output, thread, writer
from sse_edge.writer.output import Output

PATIENCE = 20


@pytest.fixture(params=["memory", "redis"])
async def events(request):
    """A Publisher on each kind of backend."""
    if request.param == "memory":
        backend = MemoryBackend(history=1000)
    else:
        backend = RedisBackend(request.getfixturevalue("redis_url"), history=1000)
    events = Publisher(backend)
    yield events
    await backend.close()


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Of the log only what somebody is to read."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
async def remembered():
    """A Publisher on memory."""
    return Publisher(MemoryBackend(history=1000))


async def told(events, channel="a"):
    """(name, data) of everything that history has of a channel."""
    return [(event.event, event.data) for event in await events.recent(channel, 100_000)]


async def text(events, channel="a"):
    return "".join(data for name, data in await told(events, channel) if name == "token")


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def pieces(*given, wait=0.0, closed=None):
    try:
        for piece in given:
            await asyncio.sleep(wait)
            yield piece
    finally:
        if closed is not None:
            await asyncio.sleep(0.02)
            closed.append(True)


async def forever(closed, first="x"):
    try:
        yield first
        while True:
            await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.05)
        closed.append(True)


async def test_complete(events):
    """Texts that come together are one event, the end is the channel's last, and what came of it is said."""
    written = await events.write("a", pieces("a", "b", "c"))
    assert await told(events) == [("token", "abc"), ("complete", "complete")]
    (last,) = await events.recent("a", 1)
    assert written == ("complete", last.id, 2)
    with pytest.raises(PublishError) as raised:
        await events.publish("a", "more")
    assert raised.value.reason == "finished"


async def test_sync(events):
    """A sync iterator does the same, and blocks nobody: one thread gets all its pieces and closes it."""
    threads, closed = set(), []

    def produce():
        try:
            for number in range(10):
                threads.add(threading.current_thread())
                time.sleep(0.001)
                yield str(number)
        finally:
            closed.append(threading.current_thread())

    assert (await events.write("a", produce())).reason == "complete"
    assert await text(events) == "0123456789"
    assert [*threads] == closed != [threading.current_thread()]


@pytest.mark.parametrize("make", [list, tuple, iter, lambda given: pieces(*given)])
async def test_kinds(remembered, make):
    """Lists, iterators and async generators of text and Events."""
    await remembered.write("a", make(["x", Event("y", event="other"), "z"]), event=None)
    assert await told(remembered) == [
        ("message", "x"), ("other", "y"), ("message", "z"), ("complete", "complete")
    ]  # fmt: skip


async def test_a_slow_one(events):
    """A single text is out after 20 ms, and not with the next."""
    ended = asyncio.Event()

    async def produce():
        yield "first"
        await ended.wait()

    task = asyncio.create_task(events.write("a", produce()))
    async with asyncio.timeout(PATIENCE):
        while await told(events) != [("token", "first")]:
            await asyncio.sleep(0.005)
    ended.set()
    await task


async def test_yields_nothing(events):
    """An iterator without pieces has completed."""
    assert (await events.write("a", pieces())).reason == "complete"
    assert await told(events) == [("complete", "complete")]


async def test_ten_megabytes(events):
    """10 MB in one piece arrive, as events that are as large as may be."""
    large = "0123456789" * 1_000_000
    written = await events.write("a", pieces("begin ", large, " end"))
    assert written.events in (40, 41)
    assert await text(events) == f"begin {large} end"


async def test_raises(events, caplog):
    """An iterator that raises fails: what it gave is out, and its traceback is in the log alone."""

    async def produce():
        yield "half"
        raise RuntimeError("the password is hunter2")

    written = await events.write("a", produce(), failed="Something went wrong.")
    assert written.reason == "failed"
    assert await told(events) == [("token", "half"), ("failed", "Something went wrong.")]
    (record,) = [record for record in caplog.records if record.name == "sse_edge"]
    assert record.exc_info[1].args == ("the password is hunter2",)
    assert record.getMessage() == "writing failed, channel=a"


def _no_pieces():
    raise RuntimeError("at once")
    yield


class NotEvenIterable:
    def __iter__(self):
        raise RuntimeError("at once")


@pytest.mark.parametrize(
    "make",
    [
        _no_pieces,
        NotEvenIterable,
        lambda: pieces(1),
        lambda: [b"x"],
        lambda: [Event("x", id="1")],
        lambda: ["\ud800"],
    ],
)
async def test_raises_at_once(remembered, make, caplog):
    """One that raises before its first piece, or whose first piece is none, has failed."""
    assert (await remembered.write("a", make())).reason == "failed"
    assert await told(remembered) == [("failed", "failed")]
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_raises_what_ends_a_process(remembered):
    """SystemExit in an iterator's thread is a failure of that iterator."""

    def produce():
        yield "x"
        raise SystemExit(1)

    assert (await remembered.write("a", produce())).reason == "failed"


@pytest.mark.parametrize("cancels", ["what it waits for", "its own task"])
async def test_cancelled_from_within(remembered, caplog, cancels):
    """An iterator that cancels what it waits for has failed, which is logged; nobody cancelled the writer."""

    async def produce():
        yield "x"
        waits = asyncio.create_task(asyncio.sleep(3600))
        (waits if cancels == "what it waits for" else asyncio.current_task()).cancel()
        try:
            await waits
        finally:
            waits.cancel()

    assert (await remembered.write("a", produce())).reason == "failed"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "writing failed, channel=a"
    assert "await waits" in caplog.text


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ("sorry", "sorry"),
        (lambda error: f"no {error.args[0]}", "no luck"),
        (lambda error: 1, "failed"),
        (lambda error: error.nothing, "failed"),
    ],
)
async def test_what_is_said_of_a_failure(remembered, failed, said):
    """It is a text, or what a function makes of the exception; one that fails itself says nothing."""

    async def produce():
        raise RuntimeError("luck")
        yield

    await remembered.write("a", produce(), failed=failed)
    assert await told(remembered) == [("failed", said)]


async def says_later(error):
    return "failed"


def says_much(error):
    yield "failed"


@pytest.mark.parametrize("failed", [says_later, says_much])
async def test_what_says_nothing_of_a_failure(remembered, failed):
    """A function that cannot be asked when it fails is refused before anything is written."""
    with pytest.raises(EventError, match="a function that returns it and is not async"):
        await remembered.write("a", pieces("x"), failed=failed)
    assert await told(remembered) == []


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

    async def produce():
        try:
            yield "x"
            await asyncio.sleep(3600)
        finally:
            await go_on.wait()

    task = asyncio.create_task(remembered.write("a", produce()))
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


class Closable:
    """An iterator that waits for ever, and notes that it is closed."""

    def __init__(self, closed):
        self._closed = closed

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(3600)

    async def aclose(self):
        self._closed.append(True)


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


async def test_without_an_event_loop(redis_url):
    """A thread, or a task of Celery, writes in an event loop of its own, with a publisher of its own."""

    async def produce():
        async with Publisher(redis_url) as events:
            return await events.write("a", iter("xyz"))

    written = await asyncio.to_thread(lambda: asyncio.run(produce()))
    assert written.reason == "complete"
    async with Publisher(redis_url) as events:
        assert await text(events) == "xyz"


async def test_a_second_one(events):
    """While one writes another is refused, its iterator closed unused; with ``join`` it waits for the end."""
    closed, used = [], []

    async def unused():
        used.append(True)
        yield "no"

    first = asyncio.create_task(events.write("a", forever(closed)))
    async with asyncio.timeout(PATIENCE):
        while await events._backend.writers().standing("a") != WRITES:
            await asyncio.sleep(0.01)
    with pytest.raises(PublishError, match="somebody else") as raised:
        await events.write("a", unused())
    assert raised.value.reason == "writing"
    assert raised.value.may_have_happened is False
    joined = asyncio.create_task(events.write("a", unused(), join=True))
    await asyncio.sleep(0.1)
    assert not joined.done()
    await events.stop("a")
    written = await first
    assert written.events == 2
    assert await joined == (written.reason, written.id, 0)
    assert not used


async def test_finished_before(events):
    """To a finished channel nobody writes, until it may be reopened; then it goes on after its end."""
    await events.write("a", pieces("x"))
    for join in (False, True):
        with pytest.raises(PublishError) as raised:
            await events.write("a", pieces("y"), join=join)
        assert raised.value.reason == "finished"
    assert (await events.write("a", pieces("y"), reopen=True)).reason == "complete"
    assert [data for _, data in await told(events)] == ["x", "complete", "y", "complete"]


async def test_reopened_first(events):
    """A channel that is written again is open before its first piece."""
    closed = []
    await events.write("a", pieces("x"))
    task = asyncio.create_task(events.write("a", forever(closed, Event("y")), reopen=True))
    async with asyncio.timeout(PATIENCE):
        while ("message", "y") not in await told(events):
            await asyncio.sleep(0.01)
    await events.publish("a", "between")
    await events.stop("a")
    await task
    assert [data for _, data in await told(events)] == ["x", "complete", "y", "between", "stopped"]


async def test_finished_by_somebody_else(events):
    """Where the application itself finishes the channel, the iterator is closed, and that was the end."""
    closed = []

    async def produce():
        async for piece in forever(closed):
            yield piece
        yield "no"

    async def many():
        try:
            while True:
                yield "."
                await asyncio.sleep(0.01)
        finally:
            closed.append(True)

    task = asyncio.create_task(events.write("a", many()))
    async with asyncio.timeout(PATIENCE):
        while not await told(events):
            await asyncio.sleep(0.01)
    id = await events.finish("a", "enough", event="over")
    written = await task
    assert written[:2] == ("over", id)
    assert closed == [True]
    assert (await told(events))[-1] == ("over", "enough")


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


async def test_back_pressure(remembered):
    """While nothing can be published the iterator is asked for no more than is stated."""
    backend, free, asked = remembered._backend, asyncio.Event(), []
    publish = backend.publish

    async def slow(given):
        await free.wait()
        return await publish(given)

    async def produce():
        for number in range(100):
            asked.append(number)
            yield "x" * 40_000

    backend.publish = slow
    task = asyncio.create_task(remembered.write("a", produce()))
    await until(lambda: len(asked) > 6)
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert len(asked) * 40_000 <= 2 * writer.AHEAD + 80_000
    free.set()
    assert (await task).reason == "complete"
    assert len(asked) == 100


async def test_back_pressure_of_a_thread(remembered):
    """The same of a sync iterator, which is some pieces ahead."""
    backend, free, asked = remembered._backend, asyncio.Event(), []
    publish = backend.publish

    async def slow(given):
        await free.wait()
        return await publish(given)

    def produce():
        for number in range(1000):
            asked.append(number)
            yield "x" * 40_000

    backend.publish = slow
    task = asyncio.create_task(remembered.write("a", produce()))
    await until(lambda: len(asked) > thread.AHEAD)
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert len(asked) <= 15 + thread.AHEAD + 2
    free.set()
    assert (await task).reason == "complete"


async def test_others_get_their_turn(remembered):
    """An iterator that never waits, and gives nothing worth publishing, holds nobody up."""

    def produce():
        while True:
            yield ""

    async def never_waits():
        while True:
            yield ""

    for make in (produce, never_waits):
        task = asyncio.create_task(remembered.write("a", make(), reopen=True))
        await asyncio.sleep(0.05)
        await remembered.stop("a")
        async with asyncio.timeout(PATIENCE):
            assert (await task).reason == "stopped"


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ({"channel": ""}, "channel"),
        ({"iterator": "text"}, "iterator"),
        ({"iterator": {"a": 1}}, "iterator"),
        ({"iterator": 7}, "iterator"),
        ({"event": "edge-x"}, "event"),
        ({"event": "a\nb"}, "event"),
        ({"event": "complete"}, "event"),
        ({"event": "abandoned"}, "event"),
        ({"complete": 1}, "complete"),
        ({"failed": None}, "failed"),
        ({"failed": "\ud800"}, "failed"),
        ({"stopped": "\ud800"}, "stopped"),
        ({"abandoned": "x" * 300_000}, "abandoned"),
        ({"complete": "x" * 300_000}, "complete"),
        ({"join": 1}, "join"),
        ({"reopen": "yes"}, "reopen"),
        ({"patience": -1}, "patience"),
        ({"patience": True}, "patience"),
    ],
)
async def test_bad_input(remembered, argument, why):
    """What is wrong with the arguments is said before anything is published."""
    given = {"channel": "a", "iterator": ["x"], **argument}
    with pytest.raises(EventError) as raised:
        await remembered.write(given.pop("channel"), given.pop("iterator"), **given)
    assert raised.value.field == why
    assert raised.value.value == argument[why] or why in ("complete", "abandoned")  # those say how large
    assert "xxx" not in str(raised.value)
    assert await told(remembered) == []


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_coroutine(remembered):
    """A coroutine is no iterator."""

    async def produce():
        return "x"

    with pytest.raises(EventError, match="iterator"):
        await remembered.write("a", produce())


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


async def until_told(events, piece, channel="a"):
    async with asyncio.timeout(PATIENCE):
        while piece not in await told(events, channel):
            await asyncio.sleep(0.01)


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

    async def produce():
        try:
            yield "x"
            await asyncio.sleep(3600)
        finally:
            await go_on.wait()

    task = asyncio.create_task(remembered.write("a", produce()))
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
