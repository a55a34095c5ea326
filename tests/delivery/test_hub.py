"""One worker's hub: which stream hears what, and how each of them ends."""

import asyncio
import gc
import gzip
import random

import pytest

from parts.delivery import ListSink, ScriptedBackend, at, frame, join, make_hub, place, settle
from sse_edge.backends.base import NO_FIRST, Replay, Reset
from sse_edge.delivery import frames
from sse_edge.delivery.feed import Feed
from sse_edge.delivery.stream import Stream
from sse_edge.errors import BackendError
from sse_edge.outcome import CLIENT_GONE, DRAIN, REVOKED, SLOW


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


@pytest.mark.parametrize("later", [False, True])
async def test_what_a_stream_does_not_have_is_shared(hub, later):
    """Streams that want no first events keep no empty mapping each, which would be there as long as they."""
    stream = await join(hub, live=False)
    if later:
        hub.catch_up_later(stream, None, {})
    else:
        await hub.catch_up(stream, None, {})
    assert stream.first is NO_FIRST
    hub.close_stream(stream)


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
