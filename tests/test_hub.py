"""One worker's hub on a scripted backend: who hears what, in which order, and how streams end."""

import asyncio
import gc
import gzip
import random
import re

import pytest

from delivery import ListSink, ScriptedBackend, at, frame, join, make_hub, place, settle
from sse_edge.backends.base import Replay, Reset
from sse_edge.delivery import frames
from sse_edge.delivery.feed import Feed
from sse_edge.delivery.rounds import FEW, SLICE
from sse_edge.delivery.stream import PIECE, Stream
from sse_edge.errors import BackendError
from sse_edge.outcome import CLIENT_GONE, DRAIN, MAX_DURATION, REVOKED, SLOW


async def test_an_event_reaches_the_streams_of_its_channel_only(hub):
    """Each stream hears its own channels and no other."""
    a, b, both = await join(hub, "a"), await join(hub, "b"), await join(hub, "a", "b")
    hub.deliver("a", at(1), frame(1, "a"))
    hub.deliver("b", at(2), frame(2, "b"))
    await settle()
    position = frames.position(place(0))
    assert a.sink.data == position + frame(1, "a")
    assert b.sink.data == position + frame(2, "b")
    assert both.sink.data == position + frame(1, "a") + frame(2, "b")


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


async def test_history_then_live(hub, backend):
    """History comes first, then what was heard meanwhile and is newer, and nothing twice."""

    def meanwhile():
        for n in (2, 3, 4):
            hub.deliver("c", at(n), frame(n))

    backend.before_replay = meanwhile
    backend.answers = Replay([(*at(n), frame(n)) for n in (1, 2, 3)], [], place(3))
    stream = await join(hub, after=place(0))
    hub.deliver("c", at(5), frame(5))
    await settle()
    assert stream.sink.data == b"".join(frame(n) for n in (1, 2, 3, 4, 5))
    assert stream.events == 5


async def test_a_stream_without_history_learns_its_place(hub, backend):
    """A new stream is told where it begins, so that it can resume before its first event."""
    backend.position = place(7)
    stream = await join(hub)
    await settle()
    assert stream.sink.data == frames.position(place(7))
    assert stream.events == 0


RESET_A = b'event: edge-reset\ndata: {"channel": "a", "reason": "trimmed"}\n\n'
RESET_B = b'event: edge-reset\ndata: {"channel": "b", "reason": "epoch"}\n\n'


@pytest.mark.parametrize(
    ("events", "resets", "data"),
    [
        ([], ["a"], b"id: 1000-9.abcde\n" + RESET_A),
        ([], ["a", "b"], RESET_A + b"id: 1000-9.abcde\n" + RESET_B),
        ([5], ["a"], RESET_A + frame(5) + frames.position(place(9))),
        ([5, 6], [], frame(5) + frame(6)),
        ([], [], frames.position(place(9))),
    ],
)
async def test_only_the_last_thing_moves_the_client_on(hub, backend, events, resets, data):
    """Resets come first, and carry the head's id only where nothing is owed after them.

    A client that is cut off in between comes back with an id that still owes it the rest.
    """
    known = {"a": Reset("a", "trimmed", place(9)), "b": Reset("b", "epoch", place(9))}
    backend.answers = Replay([(*at(n), frame(n)) for n in events], [known[name] for name in resets], place(9))
    stream = await join(hub, "a", "b", after=place(1))
    await settle()
    assert stream.sink.data == data


async def test_a_reset_reaches_live_streams(hub):
    """When a channel lost events for good, its live streams are told, and no id moves them on."""
    stream, other = await join(hub, "a"), await join(hub, "b")
    hub.reset(Reset("a", "trimmed", place(9)))
    await settle()
    assert stream.sink.data.endswith(RESET_A)
    assert b"edge-reset" not in other.sink.data


async def test_a_reset_without_a_place(hub):
    """Where nothing is numbered, a reset is told all the same, and moves nothing."""
    stream = await join(hub, "a")
    hub.reset(Reset("a", "gap", None))
    hub.deliver("a", None, b"data: live\n\n")
    await settle()
    assert stream.sink.data.endswith(
        b'event: edge-reset\ndata: {"channel": "a", "reason": "gap"}\n\ndata: live\n\n'
    )


async def test_what_comes_from_another_data_set_is_heard(hub):
    """After a reset into another data set lower ids are new, and its places are told."""
    stream = await join(hub, "a")
    hub.deliver("a", at(8), frame(8, "a"))
    hub.reset(Reset("a", "epoch", place(1, "other")))
    heard = place(2, "other").line() + b"data: new\n\n"
    hub.deliver("a", at(2), heard)
    hub.subscriber.position = place(3, "other")
    hub.end(stream, DRAIN)
    reset = b'event: edge-reset\ndata: {"channel": "a", "reason": "epoch"}\n\n'
    goodbye = b'id: 1000-3.other\nevent: edge-close\nretry: 3000\ndata: {"reason": "drain"}\n\n'
    assert stream.sink.data.endswith(frame(8, "a") + reset + heard + goodbye)


async def test_a_stream_without_a_place_begins_where_hearing_began(hub, backend):
    """It is owed everything since it began to hear its channels, and that is heard: history is not asked."""
    backend.position = place(3)
    stream = await join(hub, live=False)
    hub.deliver("c", at(4), frame(4))
    hub.deliver("c", at(5), frame(5))
    backend.position = place(7)  # time passes before it is let live

    def asked():
        raise AssertionError("history was asked")

    backend.before_replay = asked
    await hub.catch_up(stream, None)
    await settle()
    assert stream.sink.data == frames.position(place(3)) + frame(4) + frame(5)


async def test_where_hearing_began_is_not_known(hub, backend):
    """Without a place from where it hears, what history says counts."""
    backend.position, backend.answers = None, Replay([], [], place(5))
    stream = await join(hub)
    assert stream.sink.data == frames.position(place(5))


@pytest.mark.parametrize(("head", "told"), [(3, False), (9, True)])
async def test_a_reset_during_a_replay(hub, backend, head, told):
    """A reset that happens while a stream reads history counts if it is newer than what was read."""
    backend.before_replay = lambda: hub.reset(Reset("a", "trimmed", place(head)))
    backend.answers = Replay([], [], place(5))
    stream = await join(hub, "a", after=place(1))
    await settle()
    assert (RESET_A in stream.sink.data) is told


async def test_endings_are_told_and_counted(hub):
    """The last event is edge-close with the reason, a place and a retry; the first ending counts."""
    stream = await join(hub)
    hub._clock._wheel.remove(stream)
    hub.subscriber.position = place(4)
    hub.deliver("c", at(4), frame(4))
    hub.end(stream, REVOKED)
    hub.end(stream, DRAIN)
    assert stream.sink.finished
    assert stream.sink.data.endswith(
        frame(4) + b'id: 1000-4.abcde\nevent: edge-close\nretry: 3000\ndata: {"reason": "revoked"}\n\n'
    )
    hub.close_stream(stream, CLIENT_GONE)
    assert hub.endings == {"revoked": 1}


async def test_no_place_before_history_was_given(hub):
    """A stream that ends before its replay is not told a place, which would skip what it is owed."""
    stream = await join(hub, live=False)
    hub.subscriber.position = place(4)
    hub.end(stream, DRAIN)
    assert b"id:" not in stream.sink.data
    assert b"drain" in stream.sink.data


async def test_events_found_while_saying_goodbye_come_first(backend):
    """An event that the backend hands over while it is asked for the position is not skipped."""
    hub = await make_hub(backend)
    stream = await join(hub)

    class Late(type(backend)):
        @property
        def position(self):
            hub.deliver("c", at(8), frame(8))
            return place(8)

        @position.setter
        def position(self, value):
            pass

    late = Late()
    hub.subscriber = late
    hub.end(stream, DRAIN)
    assert stream.sink.data.index(frame(8)) < stream.sink.data.index(b"id: 1000-8.abcde\nevent: edge-close")
    await hub.close()


async def test_a_stuck_client_ends_as_slow(hub):
    """Beyond max_unsent bytes the stream is dropped with all it holds; its neighbour hears on."""
    stuck, well = await join(hub, sink=ListSink(stuck=True)), await join(hub)
    big = b"data: " + b"x" * 700 + b"\n\n"
    for n in range(1, 4):
        hub.deliver("c", at(n), big)
        await settle()
    assert stuck.ending is SLOW
    assert stuck.sink.aborted
    assert stuck.sink.data == b""
    assert well.ending is None
    assert well.sink.data.count(big) == 3


async def test_what_waits_too_long_ends_the_stream_as_slow(backend):
    """A few bytes that a client never takes end its stream after max_unsent_age, without another event."""
    hub = await make_hub(backend, max_unsent_age=0.4)
    stuck, well = await join(hub, sink=ListSink(stuck=True)), await join(hub)
    hub.deliver("c", at(1), frame(1))
    async with asyncio.timeout(5):
        while stuck.ending is None:
            await asyncio.sleep(0.02)
    assert stuck.ending is SLOW
    assert stuck.sink.aborted
    await asyncio.sleep(0.5)
    assert well.ending is None
    await hub.close()


async def test_a_client_that_goes_on_reading_is_not_slow(backend):
    """However long there is always something unsent, it matters only how long each byte waits."""
    hub = await make_hub(backend, max_unsent_age=0.4)
    sink = ListSink()
    stream = await join(hub, sink=sink)
    loop = asyncio.get_running_loop()
    end, n = loop.time() + 1.5, 0
    while loop.time() < end:
        n += 1
        hub.deliver("c", at(n), frame(n))
        sink.lag = len(frame(n))  # all but the newest event has left
        await asyncio.sleep(0.02)
    assert stream.ending is None
    await hub.close()


async def test_one_large_replay_makes_nobody_slow(hub, backend):
    """History larger than max_unsent is written to a client that reads."""
    backend.answers = Replay([(*at(n), frame(n) * 100) for n in range(1, 9)], [], place(9))
    stream = await join(hub, sink=ListSink(stuck=True), after=place(0))
    await settle()
    assert stream.ending is None
    assert len(stream.sink.data) > hub.bounds.max_unsent
    hub.deliver("c", at(10), frame(10))
    await settle()
    hub.deliver("c", at(11), frame(11))
    await settle()
    assert stream.ending is None  # the replay does not count while it is being read
    assert stream.sink.data.endswith(frame(11))
    for n in range(12, 20):
        hub.deliver("c", at(n), frame(n) * 20)
        await settle()
    assert stream.ending is SLOW


BIG = b"data: " + b"x" * 100_000 + b"\n\n"
"""An event; a piece has room for two."""


async def resumed(hub, backend, events, sink=None):
    """A stream that is owed so many big events."""
    backend.answers = Replay(
        [(*at(n), place(n).line() + BIG) for n in range(1, events + 1)], [], place(events)
    )
    return await join(hub, sink=sink or ListSink(stuck=True), after=place(0))


async def test_a_large_replay_goes_out_in_pieces(hub, backend):
    """The first piece leaves at once, each of the others when the client has read; then comes what is new."""
    stream = await resumed(hub, backend, 7)
    assert [len(piece) // 100_000 for piece in stream.sink.writes] == [2]
    hub.deliver("c", at(8), frame(8))
    hub.reset(Reset("c", "trimmed", place(9)))
    await settle()
    assert len(stream.sink.writes) == 1
    for count in range(2, 5):
        stream.sink.then()
        await settle()
        assert len(stream.sink.writes) == count
    assert [len(piece) // 100_000 for piece in stream.sink.writes] == [2, 2, 2, 1]
    assert re.findall(rb"id: 1000-(\d)|(edge-reset)", stream.sink.data) == [
        *((b"%d" % n, b"") for n in range(1, 9)),
        (b"", b"edge-reset"),
    ]
    assert stream.events == 9
    assert (stream.pending, stream.queued, stream.stalled) == (None, 0, False)


async def test_a_client_that_reads_gets_a_replay_by_itself(hub, backend):
    """Without being told, pieces follow each other where nothing holds them up."""
    stream = await resumed(hub, backend, 9, sink=ListSink())
    await settle()
    assert len(stream.sink.writes) == 5
    assert stream.sink.data.count(BIG) == 9


async def test_goodbye_comes_after_all_that_is_owed(hub, backend):
    """A stream that ends while it is owed a replay is given the rest, then the goodbye with its place."""
    stream = await resumed(hub, backend, 5)
    hub.subscriber.position = place(9)
    hub.end(stream, DRAIN)
    await settle()
    assert not stream.sink.finished
    hub.deliver("c", at(10), frame(10))
    for _ in range(2):
        stream.sink.then()
        await settle()
    assert stream.sink.finished
    assert stream.sink.data.count(BIG) == 5
    assert frame(10) not in stream.sink.data
    assert stream.sink.data.endswith(
        b'id: 1000-9.abcde\nevent: edge-close\nretry: 3000\ndata: {"reason": "drain"}\n\n'
    )
    hub.close_stream(stream, CLIENT_GONE)
    assert hub.endings == {"drain": 1}


async def test_goodbye_is_not_waited_for_long(hub, backend, monkeypatch):
    """Who does not take what it is owed is let go of, with all of it."""
    monkeypatch.setattr("sse_edge.delivery.clock.GOODBYE", 0.1)
    stream = await resumed(hub, backend, 5)
    hub.end(stream, DRAIN)
    async with asyncio.timeout(5):
        while not stream.sink.aborted:
            await asyncio.sleep(0.01)
    hub.close_stream(stream, CLIENT_GONE)
    assert (stream.pending, stream.queued, stream.goodbye) == (None, 0, None)
    stream.sink.then()
    await settle()
    assert stream.sink.data == b""


async def test_no_place_while_a_replay_is_owed(backend):
    """A client that reads its replay slowly is told no place past what it has not read yet."""
    hub = await make_hub(backend, keep_alive=0.1, max_unsent=10**9)
    stream = await resumed(hub, backend, 5)
    backend.position = place(9)
    await asyncio.sleep(0.4)
    assert b"keep-alive" not in stream.sink.data
    for _ in range(2):
        stream.sink.then()
        await settle()
    async with asyncio.timeout(5):
        while b": keep-alive\nid: 1000-9.abcde\n" not in stream.sink.data:
            await asyncio.sleep(0.01)
    assert stream.sink.data.rindex(BIG) < stream.sink.data.index(b"id: 1000-9")
    await hub.close()


async def test_what_a_slow_client_waits_for_is_shared(backend):
    """What a sink has no room for waits as the very bytes that others were given."""
    hub = await make_hub(backend, max_unsent=10**9)
    streams = [await join(hub, sink=ListSink(stuck=True)) for _ in range(3)]
    hub.deliver("c", at(1), frame(1))
    await settle()
    events = [place(n).line() + BIG for n in range(2, 12)]
    for n, event in enumerate(events, start=2):
        hub.deliver("c", at(n), event)
        await settle()
    for stream in streams:
        assert len(stream.sink.data) < 2 * PIECE
        waiting = events[-len(stream.pending) :]
        assert all(mine is event for mine, event in zip(stream.pending, waiting, strict=True))
        assert stream.queued == sum(map(len, waiting))
    await hub.close()


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


async def test_a_refused_subscription_leaves_nothing(hub, backend):
    """When the backend cannot subscribe, the stream is no listener and not counted."""
    backend.fail = BackendError("down")
    with pytest.raises(BackendError):
        await join(hub)
    assert (len(hub.streams), hub.opened, hub._feeds, backend.counted) == (0, 0, {}, [])


async def test_lost_history_ends_the_stream(hub, backend):
    """When history cannot be read the stream says so and ends, so that the client comes back."""
    stream = await join(hub, live=False)
    backend.fail = BackendError("down")
    await hub.catch_up(stream, place(1))
    assert b'{"reason": "backend-lost"}' in stream.sink.data


async def test_closing_releases_everything(hub, backend):
    """A closed stream hears nothing more and its channels are given back, once."""
    stream = await join(hub, "a", "b")
    hub.close_stream(stream, CLIENT_GONE)
    hub.close_stream(stream, CLIENT_GONE)
    hub.deliver("a", at(1), frame(1))
    await settle()
    assert (len(hub.streams), hub._feeds, backend.counted) == (0, {}, [])
    assert frame(1) not in stream.sink.data
    assert hub.endings == {"client-gone": 1}


async def test_keep_alive_only_when_quiet(backend):
    """A quiet stream gets comments with its place; one that is written to gets none."""
    hub = await make_hub(backend, keep_alive=0.4)
    quiet, busy = await join(hub, "q"), await join(hub, "b")
    backend.position = place(9)
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.5
    n = 10
    while loop.time() < end:
        n += 1
        hub.deliver("b", at(n), frame(n))
        await asyncio.sleep(0.1)
    assert quiet.sink.data.count(b": keep-alive\nid: 1000-9.abcde\nevent: edge-position\n\n") >= 2
    assert b"keep-alive" not in busy.sink.data
    await hub.close()


async def test_keep_alive_has_no_place_without_a_position(backend):
    """While the position is unknown, or not newer than the stream's own, a keep-alive is a bare comment."""
    hub = await make_hub(backend, keep_alive=0.1)
    backend.answers = Replay([], [], place(20))
    backend.position = place(9)
    behind, unknown = await join(hub, after=place(1)), await join(hub, live=False)
    await asyncio.sleep(0.3)
    assert b": keep-alive\n" in behind.sink.data
    assert b": keep-alive\n" in unknown.sink.data
    assert b"1000-9" not in behind.sink.data + unknown.sink.data
    await hub.close()


async def test_every_stream_ends_in_time(backend):
    """At its deadline a stream ends, as max-duration or as session-expired when its session is shorter."""
    hub = await make_hub(backend, max_duration=0.5, chance=lambda: 0.0)
    long, short = await join(hub), await join(hub, remaining=0.2)
    loop = asyncio.get_running_loop()
    while long.ending is None:
        await asyncio.sleep(0.01)
    lived = hub.now - long.opened
    assert loop.time() >= long.deadline
    assert lived >= 0.4
    assert b'"max-duration"' in long.sink.data
    assert b'"session-expired"' in short.sink.data
    await hub.close()


async def test_closing_the_hub_drains(backend):
    """A hub that closes says drain to every stream."""
    hub = await make_hub(backend)
    streams = [await join(hub) for _ in range(3)]
    await hub.close()
    assert all(b'"drain"' in stream.sink.data and stream.sink.finished for stream in streams)


async def test_every_stream_gets_its_events_once_and_in_order(monkeypatch):
    """Whatever channels a stream has, and however events, resets, turns, arrivals and leavers mix."""
    monkeypatch.setattr("sse_edge.delivery.rounds.SLICE", 3)
    chance = random.Random(5)
    for _ in range(30):
        backend = ScriptedBackend()
        hub = await make_hub(backend, max_unsent=10**9)
        expected = {}
        for n in range(1, 120):
            match chance.randrange(10):
                case 0 if len(expected) < 20:
                    backend.answers = Replay([], [], place(n))
                    names = chance.sample("abcd", chance.randint(1, 3))
                    if chance.randrange(2):
                        names.append(f"own{n}")
                    stream = await join(hub, *names, user=chance.choice([None, "u", "v"]))
                    stream.sink.writes.clear()
                    expected[stream] = []
                case 1 if expected:
                    stream = chance.choice(list(expected))
                    if len(stream.channels) > 1:
                        hub.drop_channel(stream, chance.choice(stream.channels))
                case 2 if expected:
                    stream = chance.choice(list(expected))
                    hub.end(stream, DRAIN)
                    check(stream, expected.pop(stream))
                    hub.close_stream(stream, CLIENT_GONE)
                case 3:
                    await asyncio.sleep(0)
                case 4:
                    hub.flush()
                case told:
                    owns = [name for stream in expected for name in stream.channels if name not in "abcd"]
                    channel = chance.choice("abcd" if not owns or chance.randrange(2) else owns)
                    piece, user = frame(n, channel), None
                    if told == 9:
                        reset = Reset(channel, f"r{n}", place(n))
                        piece = frames.reset(reset)
                        hub.reset(reset)
                    else:
                        user = chance.choice([None, "u", "v"])
                        deliver = hub.deliver_late if told == 8 else hub.deliver
                        deliver(channel, at(n), piece, user)
                    for stream, events in expected.items():
                        if channel in stream.channels and (user is None or user != stream.user):
                            events.append(piece)
        await settle()
        for stream, events in expected.items():
            check(stream, events)
        assert hub._rounds.idle
        await hub.close()


async def test_order_holds_for_clients_that_read_now_and_then(monkeypatch):
    """However pieces, events, resets and turns mix, each client gets everything once and in order."""
    for module in ("rounds", "stream"):
        monkeypatch.setattr(f"sse_edge.delivery.{module}.PIECE", 60)
    chance = random.Random(7)
    for _ in range(20):
        hub = await make_hub(ScriptedBackend(), max_unsent=10**9)
        streams = [
            await join(hub, *names, sink=ListSink(stuck=True), user=user)
            for names, user in (("a", "u"), ("b", "v"), ("ab", "u"), ("ba", None))
        ]
        expected = {stream: [] for stream in streams}
        for n in range(1, 150):
            match chance.randrange(10):
                case 0 | 1 | 2:
                    for stream in streams:
                        if stream.stalled and chance.randrange(2):
                            stream.sink.then()
                case 3 | 4:
                    await asyncio.sleep(0)
                case told:
                    channel = chance.choice("ab")
                    piece, user = frame(n, channel), None
                    if told == 9:
                        reset = Reset(channel, f"r{n}", place(n))
                        piece = frames.reset(reset)
                        hub.reset(reset)
                    else:
                        user = chance.choice([None, "u", "v"])
                        hub.deliver(channel, at(n), piece, user)
                    for stream, events in expected.items():
                        if channel in stream.channels and (user is None or user != stream.user):
                            events.append(piece)
        for stream in streams[:2]:
            hub.end(stream, DRAIN)
        await settle()
        while stalled := [stream for stream in streams if stream.stalled]:
            for stream in stalled:
                stream.sink.then()
            await settle()
        for stream, events in expected.items():
            check(stream, events)
        assert [stream.sink.finished for stream in streams] == [True, True, False, False]
        await hub.close()


def check(stream, expected):
    """The stream was written these events and resets, beside what else the edge says."""
    blocks = [block + b"\n\n" for block in stream.sink.data.split(b"\n\n") if b"\ndata: " in b"\n" + block]
    assert [block for block in blocks if b"event: edge-" not in block or b"edge-reset" in block] == expected


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


class StartedSink(ListSink):
    """What is written before it is started follows the first bytes, as in every sink."""

    async def start(self, first, owner):
        self.writes.insert(0, first)


class SlowBackend(ScriptedBackend):
    """One that confirms a subscription when it is told to."""

    def __init__(self):
        super().__init__()
        self.confirmed = asyncio.Event()

    async def subscribe(self, channels):
        position = await super().subscribe(channels)
        await self.confirmed.wait()
        return position


@pytest.mark.parametrize("early", ["nothing", "dropped", "ended", "dropped and ended"])
async def test_compressed_before_the_response_begins(early):
    """What a compressed stream is given while its subscription is waited for follows its greeting, and the
    check sum is of that order."""
    backend, sink = SlowBackend(), StartedSink()
    hub = await make_hub(backend)
    stream = hub.new_stream(("a", "b"), sink, None, "u", None, compress=True)
    subscribing = asyncio.create_task(hub.subscribe(stream))
    await settle()
    if "dropped" in early:
        hub.drop_channel(stream, "b")
        await settle()
    if "ended" in early:
        hub.end(stream, DRAIN)
    backend.confirmed.set()
    await subscribing
    await stream.begin_response(hub.greeting())
    await hub.catch_up(stream, None)
    if "ended" not in early:
        hub.end(stream, DRAIN)
    await settle()
    said = gzip.decompress(sink.data)
    assert sink.finished
    assert said.startswith(b": stream open\nretry: ")
    assert (b"edge-dropped" in said) == ("dropped" in early)
    assert said.count(b"edge-close") == 1
    hub.close_stream(stream)
    await hub.close()


def there():
    """Every stream and feed.  Not isinstance: among all objects may be what Flask has in its request's place,
    which says what that one is, or raises."""
    return [each for each in gc.get_objects() if issubclass(type(each), Feed | Stream)]


async def test_what_a_stream_leaves_needs_no_garbage_collector(hub):
    """Streams and the feeds of their own channels are gone when they end, with the collector off."""
    gc.collect()
    before = set(map(id, kept := there()))  # other tests' tracebacks
    gc.disable()
    try:
        for n in range(50):
            stream = await join(hub, f"user:{n}", *(["news"] if n % 2 else []))
            hub.deliver(f"user:{n}", at(n + 1), frame(n + 1))
            await settle()
            hub.close_stream(stream, CLIENT_GONE)
        del stream
        await settle()
        assert [each for each in there() if id(each) not in before] == []
        del kept
    finally:
        gc.enable()


# ---- Being told when something is written


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
