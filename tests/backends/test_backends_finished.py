"""One contract for every backend: channels that have had their last event."""

import asyncio

import pytest

from parts.ears import end, out, reopening, said
from sse_edge import Publisher, PublishError
from sse_edge.backends.base import Outgoing
from sse_edge.backends.retention import Retention
from sse_edge.errors import EventError
from sse_edge.event import FINISHED, MAX_EVENT_BYTES, NOWHERE, REOPENED, Place, finishing

# ---- Channels that finish


async def test_the_last_event_is_heard_and_says_so(start):
    """It is an event like others, with a comment in it that none of them can have."""
    backend, subscriber, ear = await start()
    before = await subscriber.subscribe(["a", "b"])
    assert subscriber.finished(["a"]) is None
    ids = await backend.publish([out("a", ": finished\n: reopened"), end("a", "last")])
    await ear.wait(2)
    assert [frame.endswith(FINISHED) for _, _, frame in ear.heard] == [False, True]
    assert subscriber.finished(["a"]) == Place.parse(ids[1])
    assert subscriber.finished(["a", "b"]) is None
    assert said(await subscriber.replay(["a"], before)) == [": finished", "last"]
    (other,) = await backend.publish([end("b", "its last")])
    await ear.wait(3)
    assert subscriber.finished(["a", "b"]) == subscriber.finished(["b", "a"]) == Place.parse(other)


async def test_that_a_channel_has_finished_is_known_to_whoever_comes(start, make_backend):
    """Also where nobody heard it; whoever is new is given the last event, whatever else comes first."""
    backend, subscriber, _ = await start()
    ids = await backend.publish([out("a", "1"), end("a", "last"), out("b", "1")])
    begin = await subscriber.subscribe(["a", "b"])
    assert subscriber.finished(["a"]) == Place.parse(ids[1])
    assert subscriber.finished(["b"]) is None
    assert subscriber.finished(["a", "b"]) is None
    assert said(await subscriber.replay(["a", "b"], None)) == ["last"]
    assert said(await subscriber.replay(["a", "b"], None, {"a": 5, "b": 5})) == ["1", "last", "1"]
    assert said(await subscriber.replay(["a", "b"], NOWHERE)) == ["last"]
    assert said(await subscriber.replay(["a"], Place.parse(ids[0]))) == ["last"]
    assert said(await subscriber.replay(["a"], begin)) == []


@pytest.mark.parametrize("make", [out, end], ids=["published to", "finished again"])
async def test_a_finished_channel_takes_no_more(start, make):
    """It is said that nothing happened and why; other channels of the call, and of the worker, go on."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    await backend.publish([end("a", "last")])
    with pytest.raises(PublishError) as caught:
        await backend.publish([make("a", "more")])
    assert (caught.value.reason, caught.value.may_have_happened) == ("finished", False)
    assert caught.value.published == []
    with pytest.raises(PublishError) as caught:
        await backend.publish([out("b", "1"), make("a", "more"), out("b", "2")])
    assert (caught.value.reason, len(caught.value.published)) == ("finished", 1)
    await backend.publish([out("b", "3")])
    await ear.until(lambda: ear.data[-1:] == ["3"])
    assert ear.data[:2] == ["last", "1"]
    assert "more" not in ear.data


async def test_a_repeated_key_of_a_finished_channel_is_answered(start):
    """Whoever is not sure that it finished may try again, as with any other event."""
    backend, _, _ = await start()
    ids = await backend.publish([out("a", "1", "one"), end("a", "last", "k")])
    assert await backend.publish([end("a", "last", "k")]) == ids[1:]
    assert await backend.publish([out("a", "1", "one")]) == ids[:1]
    with pytest.raises(PublishError):
        await backend.publish([end("a", "last", "another")])


async def test_a_job_that_runs_again_finishes_again(start):
    """By the same key as before, or one that another event of the channel had: pages wait for its end."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    (first,) = await backend.publish([end("a", "done", "k")])
    await backend.publish([reopening("a")])
    (step,) = await backend.publish([out("a", "again", "step")])
    assert subscriber.finished(["a"]) is None
    (second,) = await backend.publish([end("a", "done again", "k")])
    assert second not in (first, step)
    assert await backend.publish([end("a", "done again", "k")]) == [second]
    await ear.until(lambda: "done again" in ear.data)
    assert subscriber.finished(["a"]) is not None
    await backend.publish([reopening("a")])
    (third,) = await backend.publish([end("a", "done", "step")])
    assert third != step


async def test_a_finished_channel_goes_on_once_it_is_reopened(start):
    """Nobody is given an event of that, but a place; and it can finish again."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    events = Publisher(backend)
    await events.finish("a", "last")
    await ear.wait(1)
    await events.reopen("a")
    await ear.wait(2)
    assert subscriber.finished(["a"]) is None
    assert ear.heard[1][2].endswith(b"\n" + REOPENED)
    assert said(await subscriber.replay(["a"], None)) == []
    assert said(await subscriber.replay(["a"], None, {"a": 5})) == ["last"]
    assert [event.data for event in await events.recent("a", 5)] == ["last"]
    await events.publish("a", "on")
    last = await events.finish("a", "again")
    await ear.wait(4)
    assert subscriber.finished(["a"]) == Place.parse(last)
    assert said(await subscriber.replay(["a"], None, {"a": 2})) == ["on", "again"]


async def test_to_reopen_what_is_open_changes_nothing(start):
    """Nothing is numbered, kept or heard."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    events = Publisher(backend)
    await events.reopen("a")
    await events.publish("a", "1")
    await events.reopen("a")
    await events.publish("a", "2")
    await ear.wait(2)
    assert ear.data == ["1", "2"]
    assert len(await backend.recent("a", 9)) == 2


async def test_a_finished_channel_is_forgotten_with_its_history(start):
    """When its own time has passed it is like one that never was, whatever is kept longer."""
    backend, subscriber, ear = await start(history_ttl=0.5, retention={"long:*": Retention(2, 60)})
    await subscriber.subscribe(["a", "long:a"])
    await backend.publish([end("a", "last", "k"), end("long:a", "last")])
    await ear.wait(2)
    assert subscriber.finished(["a"]) is not None
    await asyncio.sleep(0.7)
    await backend.publish([out("other", "x"), out("a", "anew"), end("a", "last", "k")])
    await ear.wait(4)
    with pytest.raises(PublishError):
        await backend.publish([out("long:a", "no")])


async def test_a_finished_channel_is_over_when_its_time_is(start):
    """To its listeners, too."""
    backend, subscriber, ear = await start(history_ttl=0.3)
    await subscriber.subscribe(["a"])
    await backend.publish([end("a", "last")])
    await ear.wait(1)
    async with asyncio.timeout(10):
        while subscriber.finished(["a"]) is not None:
            await backend.publish([out("other", "x")])
            await asyncio.sleep(0.02)
    assert said(await subscriber.replay(["a"], None, {"a": 1})) == []


async def test_the_largest_event_can_be_the_last(start):
    """What says so does not count as its size."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    body = b"data: " + b"x" * (MAX_EVENT_BYTES - 8) + b"\n\n"
    await Publisher(backend).finish("a", body[6:-2].decode())
    await ear.wait(1)
    assert ear.heard[0][2].endswith(body[:-2] + FINISHED)
    assert said(await subscriber.replay(["a"], None)) == [body[6:-2].decode()]


@pytest.mark.parametrize("body", [finishing(b"data: x\n\n"), REOPENED], ids=["finish", "reopen"])
async def test_to_finish_needs_history(start, body):
    """Without it nobody could know later; this is said before anything is sent."""
    backend, subscriber, ear = await start(history=0)
    await subscriber.subscribe(["a"])
    with pytest.raises(EventError, match="^channel: "):
        await backend.publish([Outgoing("a", body)])
    await backend.publish([out("a", ": reopened")])
    await ear.wait(1)
    assert ear.data == [": reopened"]
