"""One contract for every backend: what comes first, and reading it back for a page."""

import asyncio

import pytest

from parts.ears import AHEAD, out, said
from sse_edge import Publisher
from sse_edge.backends.retention import Retention
from sse_edge.errors import EventError
from sse_edge.event import NOWHERE, Place

# ---- First events


@pytest.mark.parametrize("heard", [False, True], ids=["read", "heard"])
@pytest.mark.parametrize(
    ("first", "given"),
    [
        ({}, []),
        ({"a": 1}, ["a3"]),
        ({"a": 2, "b": 1}, ["a2", "b1", "a3"]),
        ({"b": 5}, ["b0", "b1"]),
        ({"a": 2_147_483_647, "b": 1}, ["a1", "a2", "b1", "a3"]),
        ({"quiet": 3}, []),
        ({"another": 3}, []),
    ],
)
async def test_whoever_comes_new_is_given_what_comes_first(start, first, given, heard):
    """The last events of each channel, as many as there are of them, in one order, up to one place."""
    backend, subscriber, ear = await start()
    channels = ["a", "b", "quiet"]
    if heard:
        await subscriber.subscribe(channels)
    ids = await backend.publish(
        [out("b", "b0"), out("a", "a1"), out("a", "a2"), out("b", "b1"), out("a", "a3")]
    )
    if heard:
        await ear.wait(5)
    else:
        await subscriber.subscribe(channels)
    replay = await subscriber.replay(channels, None, first)
    assert (said(replay), replay.resets) == (given, [])
    assert replay.upto >= Place.parse(ids[-1])
    assert all(frame.startswith(b"id: ") for _, _, frame in replay.events)


async def test_whoever_has_a_place_is_given_what_it_missed_and_no_more(start):
    """What comes first is for those without a place."""
    backend, subscriber, _ = await start()
    ids = await backend.publish([out("a", str(n)) for n in range(5)])
    await subscriber.subscribe(["a"])
    assert said(await subscriber.replay(["a"], Place.parse(ids[2]), {"a": 4})) == ["3", "4"]
    assert said(await subscriber.replay(["a"], Place.parse(ids[4]), {"a": 4})) == []


async def test_a_channel_that_is_reset_is_given_what_comes_first(start):
    """Who cannot be told what it missed begins anew on that channel, and goes on on the others."""
    backend, subscriber, _ = await start(history=2)
    ids = await backend.publish([out("b", "b0"), *(out("a", f"a{n}") for n in range(5)), out("b", "b1")])
    await subscriber.subscribe(["a", "b"])
    replay = await subscriber.replay(["a", "b"], Place.parse(ids[0]), {"a": 1, "b": 2})
    assert said(replay) == ["a4", "b1"]
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", "trimmed")]
    for elsewhere in (NOWHERE, Place(AHEAD, "other")):
        replay = await subscriber.replay(["a", "b"], elsewhere, {"a": 1, "b": 2})
        assert said(replay) == ["b0", "a4", "b1"]
        assert [reset.channel for reset in replay.resets] == ["a", "b"]


async def test_what_has_expired_comes_first_to_nobody(start):
    """A state is as old as its channel's retention says, and no older, whatever is kept longer."""
    backend, subscriber, _ = await start(history_ttl=0.3, retention={"long:*": Retention(2, 60)})
    await backend.publish([out("a", "gone"), out("long:a", "there")])
    await asyncio.sleep(0.5)
    channels = ["a", "long:a"]
    await subscriber.subscribe(channels)
    assert said(await subscriber.replay(channels, None, dict.fromkeys(channels, 2))) == ["there"]
    assert [await backend.recent(channel, 2) != [] for channel in channels] == [False, True]


async def test_without_history_nothing_comes_first(start):
    """There is nothing to be given, and no place."""
    backend, subscriber, _ = await start(history=0)
    await backend.publish([out("a", "1")])
    await subscriber.subscribe(["a"])
    replay = await subscriber.replay(["a"], None, {"a": 3})
    assert (replay.events, replay.resets, replay.upto) == ([], [], None)
    assert await backend.recent("a", 3) == []


async def test_recent_events_are_read_back(start):
    """The last ones of a channel, oldest first, as they were published; none of a channel that has none."""
    backend, _, _ = await start()
    events = Publisher(backend)
    ids = [
        await events.publish("a", "one"),
        await events.publish("a", "two\r\nlines\n", event="status"),
        await events.publish("a", json={"é": ": reopened"}),
        await events.publish("a", ""),
    ]
    assert await events.recent("a", 3) == [
        (ids[1], "a", "status", "two\nlines\n"),
        (ids[2], "a", "message", '{"é":": reopened"}'),
        (ids[3], "a", "message", ""),
    ]
    assert [event.id for event in await events.recent("a", 10**30)] == ids
    assert await events.recent("b", 1) == []


async def test_a_page_goes_on_from_what_it_was_rendered_with(start):
    """From the id of the last recent event nothing is missed and nothing comes twice."""
    backend, subscriber, _ = await start()
    events = Publisher(backend)
    for n in range(5):
        await events.publish("a", str(n))
    *_, last = await events.recent("a", 2)
    await events.publish("a", "new")
    await subscriber.subscribe(["a"])
    assert said(await subscriber.replay(["a"], Place.parse(last.id))) == ["new"]


@pytest.mark.parametrize("n", [0, -1, True, 1.0, "1", None])
async def test_recent_events_are_a_whole_number(make_backend, n):
    """What is no number of events is refused."""
    with pytest.raises(EventError, match="^n: "):
        await Publisher(make_backend()).recent("a", n)
