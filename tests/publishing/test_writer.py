"""Writing to a channel from an iterator: what is published, how it ends, and what it waits for."""

import asyncio
import threading
import time

import pytest

from parts.written import PATIENCE, forever, pieces, text, told, until
from sse_edge import Event, Publisher, PublishError
from sse_edge.backends.writers import WRITES
from sse_edge.errors import EventError
from sse_edge.publishing.writer import thread, writer

pytestmark = pytest.mark.usefixtures("quiet")


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
