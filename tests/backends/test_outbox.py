"""Concurrent publishes travel together: who waits for whom, and what each is told."""

import asyncio

import pytest

from sse_edge.backends.base import Outgoing
from sse_edge.backends.redis.failure import CommandError
from sse_edge.backends.redis.outbox import BATCH, BYTES, PART, Outbox, Published, outcomes
from sse_edge.backends.redis.scripts import PUBLISH


def out(text="x", key=None):
    """An event."""
    return Outgoing("c", text.encode(), key)


class Road:
    """A carrier that keeps each call until the test lets it go."""

    def __init__(self):
        self.calls = []
        self.arrived = asyncio.Event()

    def compose(self, steps):
        return PUBLISH, [], []

    async def carry(self, batch):
        batch.prepare()
        batch.sent = True
        answer = asyncio.get_running_loop().create_future()
        self.calls.append(([event.body.decode() for step in batch.steps for event in step.events], answer))
        self.arrived.set()
        await answer
        for step in batch.steps:
            step.settle(Published([event.body.decode() for event in step.events]))

    async def call(self, number):
        """The texts in a call that is under way, and its answer, to be set."""
        async with asyncio.timeout(5):
            while len(self.calls) <= number:
                self.arrived.clear()
                await self.arrived.wait()
        return self.calls[number]


@pytest.fixture
def road():
    """See ``Road``."""
    return Road()


@pytest.fixture
def publish(road):
    """``publish(*texts)``: a task that publishes them in one step."""
    outbox = Outbox(road, 60.0)
    return lambda *texts: asyncio.create_task(outcome(outbox, *texts))


async def outcome(outbox, *texts):
    """What comes of publishing them in one step."""
    (published,) = await outcomes([outbox.queue([out(text) for text in texts])])
    return published


async def test_who_comes_alone_does_not_wait(road, publish):
    """Its call is sent in the next turn of the event loop."""
    publish("1")
    for _ in range(2):
        await asyncio.sleep(0)
    assert [texts for texts, _ in road.calls] == [["1"]]


async def test_who_comes_meanwhile_travels_in_the_next_call(road, publish):
    """All of them together and in their order, however long the call under way takes."""
    first = publish("1")
    _, answer = await road.call(0)
    later = [publish("2"), publish("3", "4"), publish("5")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(road.calls) == 1
    answer.set_result(None)
    assert (await first).places == ["1"]
    texts, answer = await road.call(1)
    assert texts == ["2", "3", "4", "5"]
    answer.set_result(None)
    assert [(await each).places for each in later] == [["2"], ["3", "4"], ["5"]]


@pytest.mark.parametrize(
    ("steps", "calls"),
    [
        ([1] * (BATCH + 1), [BATCH, 1]),
        ([BATCH - 1, 2, 1], [BATCH - 1, 3]),
        ([1, 2 * BATCH, 1], [1, 2 * BATCH, 1]),
    ],
)
async def test_so_many_events_in_a_call(road, publish, steps, calls):
    """A call is bounded, and a step is not divided."""
    published = [publish(*["x"] * count) for count in steps]
    for number, count in enumerate(calls):
        texts, answer = await road.call(number)
        assert len(texts) == count
        answer.set_result(None)
    assert [len((await each).places) for each in published] == steps


async def test_a_large_step_goes_part_by_part(road, publish):
    """Nothing of those who come later is between its parts, and it is told what came of all of them."""
    large = publish(*map(str, range(2 * PART + 1)))
    later = publish("later")
    for number, count in enumerate((PART, PART, 2)):
        texts, answer = await road.call(number)
        assert len(texts) == count
        answer.set_result(None)
    assert texts == [str(2 * PART), "later"]
    assert (await large) == Published([str(n) for n in range(2 * PART + 1)])
    assert (await later).places == ["later"]


@pytest.mark.parametrize("sent", [False, True])
async def test_a_part_that_fails(road, publish, sent):
    """What is before it is out, and what is after it is not sent."""
    large = publish(*["x"] * (2 * PART + 1))
    later = publish("later")
    _, answer = await road.call(0)
    answer.set_result(None)
    _, answer = await road.call(1)
    answer.set_exception(CommandError(OSError("away"), sent=sent))
    published = await large
    assert (len(published.places), published.error.sent) == (PART, sent)
    texts, answer = await road.call(2)
    assert texts == ["later"]
    answer.set_result(None)
    await later


async def test_who_leaves_between_two_parts(road, publish):
    """What is not sent yet is not published."""
    large = publish(*["x"] * (2 * PART))
    _, answer = await road.call(0)
    later = publish("later")
    await asyncio.sleep(0)
    answer.set_result(None)
    large.cancel()
    texts, answer = await road.call(1)
    assert texts == ["later"]
    answer.set_result(None)
    await later


async def test_each_part_has_its_own_time(road):
    """It begins when the part before it is out; who comes later has its own meanwhile."""
    outbox = Outbox(road, 0.6)
    large = asyncio.create_task(outcome(outbox, *["x"] * (PART + 1)))
    _, answer = await road.call(0)
    later = asyncio.create_task(outcome(outbox, *["y"] * PART))
    await asyncio.sleep(0.3)
    answer.set_result(None)
    await road.call(1)
    late = await later
    assert late.error.sent is False
    assert not large.done()
    published = await large
    assert (len(published.places), published.error.sent) == (PART, True)


async def test_so_many_bytes_in_a_call(road, publish):
    """What is too large to travel together travels one after the other."""
    sizes = [BYTES // 2, BYTES // 2, 1, 2 * BYTES, 1]
    published = [publish("x" * size) for size in sizes]
    for number, expected in enumerate([sizes[:2], [1], [2 * BYTES], [1]]):
        texts, answer = await road.call(number)
        assert list(map(len, texts)) == expected
        answer.set_result(None)
    await asyncio.gather(*published)


async def test_who_leaves_while_waiting_is_not_published(road, publish):
    """The others are, in their order."""
    tasks = [publish(str(n)) for n in range(2)]
    _, answer = await road.call(0)
    waiting = [publish(str(n)) for n in range(2, 6)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    answer.set_result(None)
    await asyncio.gather(*tasks)
    texts, answer = await road.call(1)
    assert texts == ["2", "4", "5"]
    answer.set_result(None)
    for each in (waiting[0], *waiting[2:]):
        await each


async def test_who_leaves_while_a_call_is_under_way_harms_no_other(road, publish):
    """The call goes on for those who are left, and the next one comes after it."""
    tasks = [publish("1"), publish("2")]
    _, answer = await road.call(0)
    later = publish("3")
    tasks[0].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(road.calls) == 1
    assert not answer.cancelled()
    answer.set_result(None)
    assert (await tasks[1]).places == ["2"]
    _, answer = await road.call(1)
    answer.set_result(None)
    assert (await later).places == ["3"]


async def test_a_call_for_which_nobody_waits_is_given_up(road, publish):
    """And who comes next is not kept waiting by it."""
    tasks = [publish("1"), publish("2")]
    _, answer = await road.call(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    later = publish("3")
    texts, second = await road.call(1)
    assert texts == ["3"]
    assert answer.cancelled()
    second.set_result(None)
    assert (await later).places == ["3"]


async def test_a_thousand_that_leave_at_once(road, publish):
    """Leave nothing behind."""
    tasks = [publish(str(n)) for n in range(1000)]
    await road.call(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    later = publish("later")
    texts, answer = await road.call(1)
    assert texts == ["later"]
    answer.set_result(None)
    await later


async def test_an_error_is_told_to_those_who_travelled(road, publish):
    """Who came meanwhile is sent all the same."""
    tasks = [publish("1"), publish("2")]
    _, answer = await road.call(0)
    later = publish("3")
    await asyncio.sleep(0)
    answer.set_exception(CommandError(OSError("away"), sent=True))
    assert [(await task).error.sent for task in tasks] == [True, True]
    _, answer = await road.call(1)
    answer.set_exception(ValueError("not foreseen"))
    with pytest.raises(ValueError, match="not foreseen"):
        await later


async def test_who_was_sent_and_waits_too_long(road):
    """It may have been published; the call is given up, and who comes next is not kept waiting by it."""
    outbox = Outbox(road, 0.1)
    sent = await outcome(outbox, "sent")
    assert sent.error.sent is True
    assert "no answer in time" in str(sent.error)
    later = asyncio.create_task(outcome(outbox, "later"))
    texts, answer = await road.call(1)
    assert texts == ["later"]
    assert road.calls[0][1].cancelled()
    answer.set_result(None)
    assert (await later).places == ["later"]


async def test_who_was_not_sent_and_waits_too_long(road):
    """It is certain that it was not published, and what kept it is said where that is known."""

    async def stuck(batch):
        batch.why = OSError("slot not served")
        await asyncio.get_running_loop().create_future()

    road.carry = stuck
    outbox = Outbox(road, 0.1)
    outcomes = await asyncio.gather(*(outcome(outbox, str(n)) for n in range(3)))
    assert [outcome.error.sent for outcome in outcomes] == [False] * 3
    assert "slot not served" in str(outcomes[0].error)
