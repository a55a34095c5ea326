"""How a hub writes: what is written together, in which turn of the event loop, and what is shared."""

import asyncio
import re

import pytest

from parts.delivery import BIG, ListSink, at, frame, join, make_hub, place, settle
from sse_edge.backends.base import Reset
from sse_edge.delivery.rounds import FEW, SLICE
from sse_edge.delivery.stream import PIECE
from sse_edge.outcome import CLIENT_GONE, DRAIN, MAX_DURATION, REVOKED


async def test_what_piles_up_is_written_once(hub):
    """Events that arrive in one turn of the loop are one write per stream, and share their bytes."""
    streams = [await join(hub) for _ in range(3)]
    await settle()
    for n in range(1, 6):
        hub.deliver("c", at(n), frame(n))
    await settle()
    for stream in streams:
        assert stream.sink.writes[1:] == [b"".join(frame(n) for n in range(1, 6))]
    assert hub.delivered == 3 * 5  # where it is is no event


async def test_one_event_is_one_object_for_all(hub):
    """A single event's bytes are not copied per stream."""
    streams = [await join(hub) for _ in range(3)]
    await settle()
    event = frame(1)
    hub.deliver("c", at(1), event)
    await settle()
    assert all(stream.sink.writes[-1] is event for stream in streams)


class HeadWaits(ListSink):
    """Holds its first bytes until the head is there; counts how often it is asked what has not left."""

    asked = 0

    @property
    def unsent(self):
        self.asked += 1
        return 0

    def write(self, data, chunk=None):
        self.writes.append(data)
        return len(data) if len(self.writes) == 1 else 0


async def test_a_stream_s_first_event_goes_the_way_of_all_others(hub, monkeypatch):
    """What history could have given is told once for all streams, and no sink is asked what it holds."""
    alone = []
    monkeypatch.setattr(hub._rounds, "write", lambda stream, now: alone.append(stream))
    streams = [await join(hub, sink=HeadWaits()) for _ in range(3)]
    event = place(1).line() + frame(1)
    hub.deliver("c", at(1), event)
    await settle()
    assert not alone
    for stream in streams:
        assert stream.sink.writes[1] is event
        assert not stream.wary
        assert stream.sink.asked == 0


async def test_a_stream_that_listens_alone_is_written_at_once(hub):
    """Its event does not wait for the next turn; what more comes in the same turn is one write."""
    alone, shared = await join(hub, "own"), [await join(hub) for _ in range(2)]
    for n, channel in enumerate(("own", "c"), 1):
        hub.deliver(channel, at(n), frame(n))
    await settle()
    event = frame(3)
    hub.deliver("own", at(3), event)
    assert alone.sink.writes[-1] is event
    for n in (4, 5, 6):
        hub.deliver("own", at(n), frame(n))
    assert alone.sink.writes[-1] is event
    await settle()
    assert alone.sink.writes[-1] == frame(4) + frame(5) + frame(6)
    assert alone.events == 5
    assert all(len(stream.sink.writes) == 2 for stream in shared)


async def test_what_came_together_is_written_in_the_same_turn(hub):
    """Once the backend says that this is all for now, nobody waits for another turn of the loop."""
    streams = [await join(hub) for _ in range(3)]
    await settle()
    hub.deliver("c", at(1), frame(1))
    hub.deliver("c", at(2), frame(2))
    hub.flush()
    assert all(stream.sink.writes[-1] == frame(1) + frame(2) for stream in streams)
    assert hub._rounds.idle
    hub.flush()
    await settle()
    assert all(len(stream.sink.writes) == 2 for stream in streams)


async def test_a_turn_is_no_longer_for_what_is_written_at_once(hub):
    """Of thousands of channels of one stream each no more are written in one turn than of one channel."""
    streams = [await join(hub, f"own{n}") for n in range(3 * SLICE)]
    for n in range(3 * SLICE):
        hub.deliver(f"own{n}", at(1), frame(1))
    await settle()

    def written():
        return sum(stream.sink.data.endswith(frame(2)) for stream in streams)

    for n in range(3 * SLICE):
        hub.deliver(f"own{n}", at(2), frame(2))
    assert written() == SLICE
    assert max(await slices(written)) <= SLICE
    assert written() == 3 * SLICE


async def test_neither_many_nor_single_listeners_wait_for_the_others(hub):
    """While streams of their own channels have more to be written than a turn takes, a shared one goes on."""
    own = [await join(hub, f"own{n}") for n in range(2 * SLICE)]
    shared = [await join(hub) for _ in range(2 * SLICE)]
    await settle()
    hub.deliver("c", at(1), frame(1))
    for turn in range(20):
        for n in range(2 * SLICE):
            hub.deliver(f"own{n}", at(2 + turn), frame(2 + turn))
        await asyncio.sleep(0)
        hub.flush()
    assert all(stream.sink.data.endswith(frame(1)) for stream in shared)
    await settle()
    assert all(stream.sink.data.endswith(frame(21)) for stream in own)


async def test_a_stream_that_listens_alone_and_with_others_keeps_the_order(hub):
    """What it has not been given of a shared channel goes before a later event of its own."""
    both, other = await join(hub, "own", "c"), await join(hub)
    for n, channel in enumerate(("own", "c"), 1):
        hub.deliver(channel, at(n), frame(n))
    await settle()
    for n, channel in ((3, "c"), (4, "own"), (5, "c"), (6, "own")):
        hub.deliver(channel, at(n), frame(n))
    hub.flush()
    await settle()
    assert both.sink.data.endswith(b"".join(frame(n) for n in range(1, 7)))
    assert other.sink.data.endswith(frame(3) + frame(5))


async def test_a_fan_out_gives_others_their_turn(hub):
    """Writing to many streams is cut into slices, between which other callbacks run."""
    streams = [await join(hub) for _ in range(3 * SLICE)]
    await settle()
    hub.deliver("c", at(1), frame(1))
    written = []

    def look():
        written.append(sum(len(stream.sink.writes) > 1 for stream in streams))
        if written[-1] < len(streams):
            asyncio.get_running_loop().call_soon(look)

    asyncio.get_running_loop().call_soon(look)
    await settle()
    assert [count for count in dict.fromkeys(written) if count] == [SLICE, 2 * SLICE, 3 * SLICE]


async def slices(count):
    """How many streams each turn of the loop added to ``count()``, until it adds none for some turns."""
    steps, before, idle = [], count(), 0
    while idle < 10:
        await asyncio.sleep(0)
        after = count()
        steps.append(after - before)
        idle = 0 if after > before else idle + 1
        before = after
    return [step for step in steps if step]


FIRST = {
    "event": lambda hub: hub.deliver("c", at(1), frame(1)),
    "late": lambda hub: hub.deliver_late("c", at(1), frame(1)),
    "reset": lambda hub: hub.reset(Reset("c", "trimmed", place(1))),
}


@pytest.mark.parametrize("what", FIRST.values(), ids=FIRST)
async def test_the_first_that_all_hear_is_cut_into_slices(hub, what):
    """The first event for streams that came from history, a late one and a reset give others their turn."""
    streams = [await join(hub) for _ in range(3 * SLICE)]
    await settle()
    what(hub)
    assert not any(stream.pending for stream in streams)  # nothing was done for each of them yet
    assert await slices(lambda: sum(len(stream.sink.writes) > 1 for stream in streams)) == [SLICE] * 3


async def test_many_endings_are_cut_into_slices(hub):
    """Ending many streams ends a few in every turn, each once, with its reason; until then they hear on."""
    streams = [await join(hub) for _ in range(3 * FEW)]
    other = await join(hub)
    hub.deliver("c", at(1), frame(1))
    assert hub.end_soon(streams, REVOKED) == len(streams)
    assert hub.end_soon(streams, DRAIN) == 0
    assert not any(stream.ending for stream in streams)
    hub.close_stream(streams[0], CLIENT_GONE)
    assert await slices(lambda: sum(stream.sink.finished for stream in streams)) == [FEW - 1, FEW, FEW]
    assert {stream.ending for stream in streams} == {REVOKED, CLIENT_GONE}
    assert all(frame(1) in stream.sink.data for stream in streams[1:])
    assert other.ending is None
    assert hub.end_soon(streams, DRAIN) == 0


async def test_closing_loses_no_ending(backend):
    """What is to end when the hub closes ends with its own reason, and everything else with it."""
    hub = await make_hub(backend)
    streams = [await join(hub) for _ in range(6 * FEW)]
    hub.end_soon(streams[:FEW], REVOKED)
    turns = []

    def look():
        turns.append(sum(stream.sink.finished for stream in streams))
        if not all(stream.sink.finished for stream in streams):
            asyncio.get_running_loop().call_soon(look)

    asyncio.get_running_loop().call_soon(look)
    await hub.close()
    assert [stream.ending for stream in streams] == [REVOKED] * FEW + [DRAIN] * 5 * FEW
    assert all(stream.sink.finished for stream in streams)
    assert len(set(turns)) >= 2


@pytest.mark.parametrize("how", ["drain", "hurry"])
async def test_a_drain_at_once_is_cut_into_slices(hub, how):
    """Also when nothing is waited for, others get a turn while all streams end."""
    streams = [await join(hub) for _ in range(3 * FEW)]
    if how == "hurry":
        hub.drain.hurry()
    draining = asyncio.create_task(hub.drain(0 if how == "drain" else 30))
    steps = await slices(lambda: sum(stream.sink.finished for stream in streams))
    assert sum(steps) == len(streams)
    assert max(steps) <= FEW
    for stream in streams:
        hub.close_stream(stream, CLIENT_GONE)
    await asyncio.wait_for(draining, 5)


@pytest.mark.parametrize("what", ["deadline", "keep-alive", "recheck"])
async def test_many_that_are_due_are_cut_into_slices(backend, what):
    """When many streams are due in one moment, a few have their turn, and then others."""
    hub = await make_hub(backend, keep_alive=None, max_duration=None)
    asked = []
    hub._clock.on_recheck = asked.append
    streams = [await join(hub) for _ in range(3 * FEW)]
    await settle()
    for stream in streams:
        if what == "deadline":
            stream.deadline, stream.last_ending = hub.now, MAX_DURATION
        elif what == "keep-alive":
            stream.silence = hub.now - stream.last_write + 1e-6
        hub.recheck_at(stream, 0 if what == "recheck" else 1e9)

    def count():
        match what:
            case "deadline":
                return sum(stream.sink.finished for stream in streams)
            case "keep-alive":
                return sum(b"keep-alive" in stream.sink.data for stream in streams)
        return len(asked)

    most = 0
    async with asyncio.timeout(5):
        while (before := count()) < len(streams):
            await asyncio.sleep(0)
            most = max(most, count() - before)
    assert 0 < most <= FEW
    await hub.close()


async def test_what_is_heard_during_many_replays_costs_nothing_per_stream(hub):
    """Streams that are owed history share what is heard meanwhile."""
    streams = [await join(hub, live=False) for _ in range(100)]
    for n in range(1, 50):
        hub.deliver("c", at(n), frame(n))
    await settle()
    assert not any(stream.pending for stream in streams)
    for stream in streams:
        await hub.catch_up(stream, place(0))
    assert all(frame(49) in stream.sink.data for stream in streams)
    assert hub._feeds["c"].after(0) == []


async def test_a_large_burst_goes_out_in_pieces(backend):
    """Events of one turn that are more than a piece reach live streams as a replay does."""
    hub = await make_hub(backend, max_unsent=10**9)
    stuck, *well = [await join(hub, sink=ListSink(stuck=not n)) for n in range(3)]
    stuck.sink.writes.clear()  # it has read all until now
    hub.deliver("c", at(1), frame(1))
    await settle()
    stuck.sink.writes.clear()
    stuck.behind = 0
    for n in range(2, 12):
        hub.deliver("c", at(n), place(n).line() + BIG)
    await settle()
    assert len(stuck.sink.data) < PIECE
    for stream in well:
        assert re.findall(rb"id: 1000-(\d+)\.abcde\n", stream.sink.data) == [b"%d" % n for n in range(12)]
        assert max(map(len, stream.sink.writes)) <= PIECE
    await hub.close()


async def test_what_is_new_makes_nobody_slow(hub):
    """However large a burst is, it counts only once it waits."""
    stream = await join(hub)
    stream.sink.lag = 1
    hub.deliver("c", at(1), frame(1))
    await settle()
    hub.deliver("c", at(2), BIG)  # much more than max_unsent
    await settle()
    assert stream.ending is None
    assert stream.sink.data.endswith(BIG)


async def test_a_burst_is_shared_by_all_streams(hub):
    """Streams that wait for the same events are written one and the same bytes object."""
    streams = [await join(hub) for _ in range(10)]
    for n in range(1, 4):
        hub.deliver("c", at(n), frame(n))
    await settle()  # from here on all are live
    for n in range(4, 7):
        hub.deliver("c", at(n), frame(n))
    await settle()
    last = [stream.sink.writes[-1] for stream in streams]
    assert last[0] == frame(4) + frame(5) + frame(6)
    assert all(one is last[0] for one in last)


async def test_no_id_goes_before_an_event_that_is_older(backend):
    """A keep-alive that is due with events still waiting for their turn comes after them."""
    hub = await make_hub(backend, keep_alive=0.1)
    stream = await join(hub)
    hub.deliver("c", at(1), frame(1))
    await settle()
    hub._rounds._flush_soon = lambda: None  # the loop is busy elsewhere
    hub.deliver("c", at(2), frame(2))
    backend.position = place(3)
    async with asyncio.timeout(5):
        while b"id: 1000-3.abcde" not in stream.sink.data:
            await asyncio.sleep(0.01)
    assert stream.sink.data.index(frame(2)) < stream.sink.data.index(b"id: 1000-3")
    del hub._rounds._flush_soon
    await hub.close()


async def test_when_all_have_an_event_somebody_is_told(hub):
    """Not before the last stream of a broadcast has it, whatever other channels have meanwhile."""
    many = [await join(hub, "many") for _ in range(2 * SLICE + 1)]
    few = [await join(hub, "few") for _ in range(2)]
    await settle()
    told = []

    def tell(name, streams, data):
        def then():
            assert all(data in stream.sink.data for stream in streams)
            told.append(name)

        return then

    hub.deliver("few", at(1), frame(1))
    hub.deliver("many", at(2), frame(2))
    hub._rounds.end_after(hub._feeds["many"], tell("first", many, frame(2)))
    hub.deliver("few", at(3), frame(3))
    hub._rounds.end_after(hub._feeds["few"], tell("few", few, frame(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == ["few"]
    hub.deliver("many", at(4), frame(4))  # in the midst of the first one's round
    hub._rounds.end_after(hub._feeds["many"], tell("second", many, frame(4)))
    await settle()
    assert told == ["few", "first", "second"]
    hub._rounds.end_after(hub._feeds["many"], tell("at once", many, frame(4)))
    assert told[-1] == "at once"
