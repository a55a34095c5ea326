"""What a stream is given of history before it goes live, in which pieces, and which places it is told."""

import asyncio
import re

import pytest

from parts.delivery import BIG, ListSink, at, frame, join, make_hub, place, settle
from sse_edge.backends.base import Replay, Reset
from sse_edge.delivery import frames
from sse_edge.delivery.stream import PIECE
from sse_edge.outcome import CLIENT_GONE, DRAIN, SLOW


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
