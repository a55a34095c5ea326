"""What comes first to a stream, and how it ends when its channels finish: one worker's hub on a script."""

import asyncio
import gzip

import pytest

from parts.delivery import TAG, ListSink, at, frame, join, make_hub, place, settle
from sse_edge.backends.base import Replay, Reset
from sse_edge.delivery import frames
from sse_edge.delivery.heard import Heard
from sse_edge.delivery.history import opening
from sse_edge.delivery.rounds import FEW
from sse_edge.event import finishing
from sse_edge.outcome import CLIENT_GONE, DRAIN, FINISHED, REVOKED


def last(n, channel="c"):
    """The n-th event's bytes, if it is its channel's last."""
    return finishing(frame(n, channel))


def entry(n, bytes=None):
    return (*at(n), bytes or frame(n))


def finish(hub, channel, n, *, late=False):
    """The channel's last event, as the backend tells of it."""
    backend = hub.subscriber
    backend.over_channels.add(channel)
    backend.over = backend.position = place(n)
    (hub.deliver_late if late else hub.deliver)(channel, at(n), last(n, channel))


def goodbye(n, reason="finished"):
    close = b'event: edge-close\nretry: 3000\ndata: {"reason": "%s"}\n\n' % reason.encode()
    return place(n).line() + close


# ---- First events


async def test_history_is_asked_for_what_comes_first(hub, backend):
    """A stream without a place is given it, and then where it is: those events may be older than all else."""
    backend.position, backend.answers = place(7), Replay([entry(2), entry(5)], [], place(7))
    stream = await join(hub, "c", "d", first={"c": 2})
    assert backend.asked == [(("c", "d"), None, {"c": 2})]
    assert stream.sink.data == frame(2) + frame(5) + frames.position(place(7))
    assert stream.events == 2


async def test_nothing_since_a_stream_began_is_missed_or_comes_twice(hub, backend):
    """However few events come first: what was heard while they were read follows them, all of it."""

    def meanwhile():
        for n in (4, 5, 6):
            hub.deliver("c", at(n), frame(n))

    backend.before_replay = meanwhile
    backend.position, backend.answers = place(3), Replay([entry(5)], [], place(5))
    stream = await join(hub, first={"c": 1})
    hub.deliver("c", at(7), frame(7))
    await settle()
    assert stream.sink.data == frames.position(place(3)) + b"".join(frame(n) for n in (4, 5, 6, 7))
    assert stream.events == 4


def heard(n):
    return Heard(at(n), frame(n))


@pytest.mark.parametrize(
    ("events", "begin", "known", "given"),
    [
        ([], 3, [], []),
        ([1, 2], 3, [], [frame(1), frame(2)]),
        ([1, 2, 3], 3, [2, 3, 4], [frame(1), frame(2), frame(3)]),
        ([2, 4], 3, [4, 5], [frame(2)]),
        ([4, 5], 3, [4, 5, 6], []),
        # Of another partition, which is ahead of the one that says where the stream begins.
        ([2, 4, 6], 3, [6], [frame(2), b"data: c4\n\n"]),
    ],
)
def test_opening(events, begin, known, given):
    """What comes first is what is not heard besides, and says no place past the one where all was heard."""
    replay = Replay([entry(n) for n in events], [], place(9), {"c": at(9)})
    found = opening(replay, place(begin), [heard(n) for n in known])
    assert [bytes for _, _, bytes in found.events] == given
    assert (found.upto, found.reach) == (place(begin), {})


def test_opening_knows_partitions_apart():
    """An event that happens to have the id of one that was heard is another one."""
    replay = Replay([entry(4, place(4).line() + b"data: of another\n\n")], [], place(9))
    found = opening(replay, place(3), [heard(4)])
    assert [bytes for _, _, bytes in found.events] == [b"data: of another\n\n"]


async def test_another_data_set_while_history_is_read(hub, backend):
    """What it has counts then, and where it is."""
    backend.position = place(7)
    backend.answers = Replay([(*at(2), place(2, "other").line() + b"data: new\n\n")], [], place(3, "other"))
    stream = await join(hub, first={"c": 1})
    hub.deliver("c", at(4), place(4, "other").line() + b"data: next\n\n")
    await settle()
    assert stream.sink.data == b"".join(
        place(n, "other").line() + b"data: %s\n\n" % text for n, text in ((2, b"new"), (4, b"next"))
    )


async def test_what_comes_first_once_the_backend_is_there(hub, backend):
    """A stream that was taken blindly is told that something may be missing, and begins with it."""
    backend.position, backend.answers = place(3), Replay([entry(1)], [], place(3))
    stream = hub.new_stream(("c",), ListSink(), None, None, None)
    hub.adopt(stream)
    hub.catch_up_later(stream, None, {"c": 1})
    await settle()
    gap = b'event: edge-reset\ndata: {"channel": "c", "reason": "gap"}\n\n'
    assert stream.sink.data == gap + frame(1) + frames.position(place(3))


# ---- Streams that finish


@pytest.mark.parametrize("late", [False, True], ids=["heard", "late"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "shared"])
async def test_a_stream_ends_with_its_channel(hub, others, late):
    """It is given the last event, is told that this was it and where it is, and ends."""
    streams = [await join(hub) for _ in range(1 + others)]
    hub.deliver("c", at(1), frame(1))
    finish(hub, "c", 2, late=late)
    await settle()
    for stream in streams:
        assert stream.sink.data == frames.position(place(0)) + frame(1) + last(2) + goodbye(2)
        assert stream.sink.finished
        hub.close_stream(stream)
    assert hub.endings == {"finished": 1 + others}


async def test_a_stream_goes_on_while_any_of_its_channels_does(hub):
    """Whatever order they finish in: it is given each last event, and ends with the last of them."""
    both, one, other = await join(hub, "a", "b"), await join(hub, "a"), await join(hub, "b")
    finish(hub, "a", 1)
    await settle()
    assert [stream.ending for stream in (both, one, other)] == [None, FINISHED, None]
    hub.deliver("b", at(2), frame(2, "b"))
    finish(hub, "b", 3)
    await settle()
    begin = frames.position(place(0))
    assert both.sink.data == begin + last(1, "a") + frame(2, "b") + last(3, "b") + goodbye(3)
    assert other.sink.data == begin + frame(2, "b") + last(3, "b") + goodbye(3)


async def test_a_compressed_stream_ends_with_its_channel(hub):
    """Its gzip is whole."""
    streams = []
    for _ in range(10):
        stream = hub.new_stream(("c",), ListSink(), None, None, None, compress=True)
        await hub.subscribe(stream)
        stream.sink.writes.append(stream.gzip.begin)
        await hub.catch_up(stream, None)
        streams.append(stream)
    for n in range(1, 5):
        hub.deliver("c", at(n), frame(n))
        await settle()
    finish(hub, "c", 5)
    await settle()
    for stream in streams:
        assert gzip.decompress(stream.sink.data).endswith(frame(4) + last(5) + goodbye(5))


async def test_many_streams_of_a_finished_channel_end_a_few_in_every_turn(hub):
    """Each is given the last event once, before it is told; whoever hears something else as well goes on."""
    streams = [await join(hub) for _ in range(6 * FEW)]
    more = [await join(hub, "c", f"own{n}") for n in range(3 * FEW)]
    await settle()
    finish(hub, "c", 1)
    turns = []
    while not turns or turns[-1] < len(streams):
        await asyncio.sleep(0)
        turns.append(sum(stream.sink.finished for stream in streams))
        assert len(turns) < 100
    assert max(now - before for before, now in zip([0, *turns], turns, strict=False)) <= FEW
    await settle()
    assert all(stream.sink.data == frames.position(place(0)) + last(1) + goodbye(1) for stream in streams)
    assert all(stream.sink.data.endswith(last(1)) and not stream.ending for stream in more)


async def test_a_stream_that_is_owed_history_is_given_it_first(hub, backend):
    """The last event is heard while history is read: it comes after that, and then the end."""
    backend.before_replay = lambda: finish(hub, "c", 4)
    backend.answers = Replay([entry(2), entry(3)], [], place(3))
    stream = await join(hub, after=place(1))
    assert stream.sink.data == frame(2) + frame(3) + last(4) + goodbye(4)
    assert stream.sink.finished


async def test_whoever_comes_to_a_finished_channel_is_given_its_end(hub, backend):
    """History is asked for it, though nothing is to come first; another channel's stream goes on."""
    backend.over_channels, backend.over = {"a"}, place(4)
    backend.position, backend.answers = place(6), Replay([entry(4, last(4, "a"))], [], place(6))
    both = await join(hub, "a", "b")
    one = await join(hub, "a")
    assert [asked for asked, _, _ in backend.asked] == [("a", "b"), ("a",)]
    said = last(4, "a") + frames.position(place(6))
    assert (both.sink.data, both.ending) == (said, None)
    close = b'event: edge-close\nretry: 3000\ndata: {"reason": "finished"}\n\n'
    assert (one.sink.data, one.ending) == (said + close, FINISHED)


async def test_a_channel_that_goes_on_at_once_ends_nobody(hub, backend):
    """It is reopened before the turn of its streams has come."""
    streams = [await join(hub) for _ in range(2 * FEW)]
    await settle()
    finish(hub, "c", 1)
    backend.over_channels.clear()
    hub.deliver("c", at(2), frame(2))
    await settle()
    assert all(stream.sink.data.endswith(last(1) + frame(2)) for stream in streams)
    assert not any(stream.ending for stream in streams)


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
async def test_any_other_ending_counts_before_a_channel_s(hub, before):
    """A stream that is ended while its turn to finish has not come ends so, whether it finishes or not."""
    stream = await join(hub, "c", "d")
    await settle()
    if before:
        assert hub.end_soon([stream], REVOKED) == 1
    finish(hub, "c", 1)
    if not before:
        assert hub.end_soon([stream], REVOKED) == 1
    assert hub.end_soon([stream], DRAIN) == 0
    await settle()
    assert stream.ending is REVOKED


async def test_a_stream_whose_last_open_channel_is_lost_finishes(hub):
    """What it may still read has finished."""
    stream = await join(hub, "a", "b", "c")
    finish(hub, "a", 1)
    await settle()
    hub.drop_channel(stream, "b")
    await settle()
    assert stream.ending is None
    hub.drop_channel(stream, "c")
    await settle()
    assert stream.sink.data.endswith(
        b'event: edge-dropped\ndata: {"channel": "c", "reason": "forbidden"}\n\n' + goodbye(1)
    )


async def test_a_lost_channel_does_not_end_a_stream_that_is_owed_history(hub, backend):
    """It is given that first."""
    backend.position = place(3)
    backend.over_channels, backend.over = {"a"}, place(2)
    backend.answers = Replay([entry(2, last(2, "a"))], [], place(3))
    stream = await join(hub, "a", "b", live=False)
    hub.drop_channel(stream, "b")
    await settle()
    assert stream.ending is None
    await hub.catch_up(stream, place(1))
    assert stream.ending is FINISHED
    assert last(2, "a") in stream.sink.data


@pytest.mark.parametrize(
    ("after", "over"),
    [
        (None, False),
        (place(3), False),
        (place(4), True),
        (place(5), True),
        (place(5, "other"), False),
        (place(4, TAG[:-1]), False),
    ],
)
async def test_a_client_that_has_had_it_all_is_not_let_in(hub, backend, after, over):
    """At the end's place or after it, in the same data set; nothing is left of the stream then."""
    backend.over_channels, backend.over = {"a", "b"}, place(4)
    stream = hub.new_stream(("a", "b"), ListSink(), None, "u", "s")
    assert await hub.subscribe(stream, after) is not over
    assert (hub.opened, len(hub.streams)) == ((0, 0) if over else (1, 1))
    if over:
        assert (backend.counted, hub._feeds, len(hub.users), len(hub.sessions)) == ([], {}, 0, 0)
        assert not any(hub._clock._wheel._buckets.values())
        assert hub.endings == {}


async def test_whoever_has_had_one_end_of_two_is_let_in(hub, backend):
    """The other channel goes on, or has an end that it has not had."""
    backend.over_channels, backend.over = {"a"}, place(4)
    assert await hub.subscribe(hub.new_stream(("a", "b"), ListSink(), None, None, None), place(9))


async def test_a_stream_that_ended_while_it_subscribed_ends_as_that(hub, backend):
    """It is not taken for one that never began: it has been said goodbye to."""
    backend.over_channels, backend.over = {"c"}, place(4)
    stream = hub.new_stream(("c",), ListSink(), None, "u", None)
    subscribe = backend.subscribe

    async def revoked_meanwhile(channels):
        place = await subscribe(channels)
        hub.end(stream, REVOKED)
        return place

    backend.subscribe = revoked_meanwhile
    assert await hub.subscribe(stream, place(9))
    hub.close_stream(stream, CLIENT_GONE)
    assert hub.endings == {"revoked": 1}


async def test_what_is_lost_for_good_ends_nobody(hub):
    """A reset is no end; the channel's last event comes after it."""
    stream = await join(hub)
    hub.reset(Reset("c", "trimmed", place(5)))
    await settle()
    assert stream.ending is None
    finish(hub, "c", 6)
    await settle()
    assert stream.sink.data.endswith(b'"trimmed"}\n\n' + last(6) + goodbye(6))


BIG = b"data: " + b"x" * 100_000 + b"\n\n"


class SlowReader(ListSink):
    """Takes the next piece when the test says so; of the last one much is on its way."""

    def __init__(self):
        super().__init__()
        self.lag = 300_000

    def when_ready(self, then):
        self.then = then


async def owed_much(backend, **settings):
    """A hub, and a stream on a finished channel with more history than fits into one piece."""
    hub = await make_hub(backend, max_unsent=10**9, **settings)
    backend.over_channels, backend.over = {"c"}, place(5)
    events = [entry(n, place(n).line() + BIG) for n in range(1, 5)]
    backend.position, backend.answers = place(5), Replay([*events, entry(5, last(5))], [], place(5))
    stream = await join(hub, sink=SlowReader(), after=place(0))
    assert stream.ending is FINISHED
    return hub, stream


async def test_a_long_history_is_read_to_its_end(backend, monkeypatch):
    """A finished stream's client has the time that it needs, as long as it goes on reading."""
    monkeypatch.setattr("sse_edge.delivery.clock.GOODBYE", 0.1)
    hub, stream = await owed_much(backend)
    for _ in range(2):
        await asyncio.sleep(0.4)
        assert not stream.sink.aborted
        stream.sink.then()
        await settle()
    assert stream.sink.finished
    assert stream.sink.data.count(BIG) == 4
    assert stream.sink.data.endswith(last(5) + goodbye(5)[len(place(5).line()) :])
    hub.close_stream(stream)
    await hub.close()


@pytest.mark.parametrize("times", [{"max_unsent_age": 0.3}, {"max_duration": 1.0}])
async def test_who_does_not_read_to_the_end_is_let_go_of(backend, monkeypatch, times):
    """After the time that a byte may wait, or when the stream's own time is over."""
    monkeypatch.setattr("sse_edge.delivery.clock.GOODBYE", 0.1)
    hub, stream = await owed_much(backend, **times)
    async with asyncio.timeout(5):
        while not stream.sink.aborted:
            await asyncio.sleep(0.01)
    hub.close_stream(stream)
    assert hub.endings == {"finished": 1}
    await hub.close()
