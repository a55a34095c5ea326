"""Publishing: what goes in, what comes out, and what is refused before anything goes anywhere."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import pytest

from parts.publishers import InThread, after_a_last_event, listeners
from sse_edge import Event, MemoryBackend, Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.errors import EventError
from sse_edge.event import MAX_EVENT_BYTES, Place


@pytest.fixture
async def listen():
    """See ``listeners``."""
    async with listeners() as listen:
        yield listen


@pytest.fixture
async def backend(url):
    """A backend object, the same for publisher and listener."""
    backend = RedisBackend(url) if url.startswith("redis") else MemoryBackend()
    yield backend
    await backend.close()


@pytest.fixture(params=[Publisher, InThread], ids=["async", "sync"])
def publisher(request, backend):
    """Both publishers, on both backends."""
    return request.param(backend)


PUBLISHED = [
    (("hello",), {}, ("message", "hello")),
    (("hello",), {"event": "greeting"}, ("greeting", "hello")),
    (("",), {}, ("message", "")),
    (("a\r\nb\rc\nd",), {}, ("message", "a\nb\nc\nd")),
    ((" \u2028é😀 ",), {}, ("message", " \u2028é😀 ")),
    ((), {"json": {"a": [1, None, "é"]}}, ("message", '{"a":[1,null,"é"]}')),
    ((), {"json": None}, ("message", "null")),
    ((), {"json": "text", "event": "j"}, ("j", '"text"')),
    ((Event("e", event="named"),), {}, ("named", "e")),
    ((Event(json=[1]),), {}, ("message", "[1]")),
    (("x" * (MAX_EVENT_BYTES - 10),), {}, ("message", "x" * (MAX_EVENT_BYTES - 10))),
]


@pytest.mark.parametrize(("args", "options", "expected"), PUBLISHED, ids=range(len(PUBLISHED)))
async def test_publish(publisher, backend, listen, args, options, expected):
    """Text, JSON and events arrive as a browser would dispatch them, with the id that publish returned."""
    listener, _ = await listen(backend, "c", "other")
    id = await publisher.publish("c", *args, **options)
    assert await listener.wait(1) == [("c", *expected, id)]


@pytest.mark.parametrize(("args", "options", "expected"), PUBLISHED, ids=range(len(PUBLISHED)))
async def test_finish(publisher, backend, listen, args, options, expected):
    """The same events can be a channel's last; each is read back as it was published."""
    listener, subscriber = await listen(backend, "c")
    id = await publisher.finish("c", *args, **options)
    assert await listener.wait(1) == [("c", *expected, id)]
    assert subscriber.finished(["c"]) == Place.parse(id)
    assert await publisher.recent("c", 1) == [(id, "c", *expected)]
    with pytest.raises(PublishError) as caught:
        await publisher.publish("c", "more")
    assert (caught.value.reason, caught.value.may_have_happened) == ("finished", False)
    await publisher.reopen("c")
    assert await publisher.publish("c", "more")


async def test_finish_is_repeated_with_a_key(publisher):
    """Whoever is not sure whether it happened finishes again."""
    id = await publisher.finish("c", "last", dedupe_key="k")
    assert await publisher.finish("c", "last", dedupe_key="k") == id


@pytest.mark.parametrize(
    ("args", "options", "field"),
    [
        ((), {}, "data"),
        (("x",), {"json": 1}, "data"),
        ((7,), {}, "data"),
        ((Event("x", id="1"),), {}, "id"),
        ((Event("x"),), {"event": "e"}, "data"),
        (("x",), {"event": "open"}, "event"),
        (("x",), {"dedupe_key": ""}, "dedupe_key"),
        (("x" * MAX_EVENT_BYTES,), {}, "data"),
    ],
)
async def test_what_cannot_be_the_last(publisher, args, options, field):
    """It is refused like any other event, and the channel goes on."""
    with pytest.raises(EventError) as caught:
        await publisher.finish("c", *args, **options)
    assert caught.value.field == field
    for call in (publisher.finish("", "x"), publisher.reopen("a\n"), publisher.recent(None, 1)):
        with pytest.raises(EventError, match="^channel: "):
            await call
    await publisher.publish("c", "on")


@pytest.mark.parametrize("channel", ["c", "order:1", "é{x}*[", "with space", "x" * 256])
async def test_channels(publisher, backend, listen, channel):
    """Any name of up to 256 characters works as a channel, literally."""
    listener, _ = await listen(backend, channel)
    await publisher.publish(channel, "x")
    assert [event[0] for event in await listener.wait(1)] == [channel]


class Room(str, Enum):  # noqa: UP042 - StrEnum writes its text into an f-string, and this its name
    """Channels as applications write them down."""

    NEWS = "room:news"


async def test_a_channel_of_another_class_is_its_text(publisher, backend, listen):
    """A member of an enumeration of texts names the channel that it is equal to."""
    listener, _ = await listen(backend, "room:news")
    id = await publisher.publish(Room.NEWS, "a", event=Room.NEWS)
    assert await listener.wait(1) == [("room:news", "room:news", "a", id)]


async def test_retry_of_an_event(publisher, backend, listen):
    """The retry of an Event is sent with it."""
    listener, _ = await listen(backend, "c")
    await publisher.publish("c", Event("x", retry=1234))
    await listener.wait(1)
    assert b"retry: 1234\n" in listener.heard[0][2]


async def test_publish_many(publisher, backend, listen):
    """Several events arrive in the order given, over all channels, with rising ids."""
    listener, _ = await listen(backend, "a", "b")
    pairs = [("a" if n % 3 else "b", Event(str(n), event="n") if n % 2 else str(n)) for n in range(1200)]
    ids = await publisher.publish_many(pairs)
    heard = await listener.wait(1200)
    assert [(channel, data, id) for channel, _, data, id in heard] == [
        (channel, str(n), id) for n, ((channel, _), id) in enumerate(zip(pairs, ids, strict=True))
    ]
    places = [Place.parse(id) for id in ids]
    assert places == sorted(set(places))
    assert len({place.tag for place in places}) == 1


async def test_publish_many_with_keys(publisher, backend, listen):
    """Each event of several can have a key: what is known by one is not published again, the rest is."""
    listener, _ = await listen(backend, "a", "b")
    pairs = [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]
    first = await publisher.publish_many(pairs, dedupe_keys=["k1", None, "k3", "k1"])
    assert first[3] == first[0]
    again = await publisher.publish_many((pair for pair in pairs), dedupe_keys=("k1", None, "k3", "k4"))
    assert [again[0], again[2]] == [first[0], first[2]]
    heard = await listener.wait(5)
    assert [(data, id) for _, _, data, id in heard] == [
        ("1", first[0]), ("2", first[1]), ("3", first[2]), ("2", again[1]), ("4", again[3]),
    ]  # fmt: skip


async def test_publish_nothing(publisher):
    """Publishing no events is fine, and says so with no ids."""
    assert await publisher.publish_many([]) == []


async def test_publish_many_is_one_round_trip(private_redis):
    """Many events cost Redis one command."""
    server = private_redis()
    async with Publisher(server.url) as publisher:
        await publisher.publish("c", "loads the script")
        before = server.client().info("commandstats")["cmdstat_evalsha"]["calls"]
        await publisher.publish_many([(f"c{n}", "x") for n in range(100)])
        stats = server.client().info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == before + 1


async def test_cursor(publisher, backend):
    """A cursor lies after everything published before it, and before everything after it."""
    places = [
        await publisher.publish("c", "1"),
        await publisher.cursor(),
        await publisher.publish("d", "2"),
        await publisher.cursor(),
    ]
    ids, tags = zip(*map(Place.parse, places), strict=True)
    assert list(ids) == sorted(ids)
    assert ids[0] != ids[2]
    assert ids[1] < ids[2]
    assert len(set(tags)) == 1


@pytest.mark.parametrize("session", [None, ""])
async def test_a_session_without_a_name_is_not_revoked(publisher, session):
    """Nothing could be refused, and that is said, with what to do at sign-in."""
    with pytest.raises(EventError, match=r"token_urlsafe\(16\).* disconnect\(user=…\)") as raised:
        await publisher.revoke(session)
    assert raised.value.field == "session"


async def test_dedupe_key(publisher, backend, listen):
    """A repeated key publishes nothing and returns the first id, on any channel; another key publishes."""
    listener, _ = await listen(backend, "c")
    first = await publisher.publish("c", "once", dedupe_key="k")
    assert await publisher.publish("c", "twice", dedupe_key="k") == first
    second = await publisher.publish("c", "other", dedupe_key="k2")
    assert [event[2:] for event in await listener.wait(2)] == [("once", first), ("other", second)]
    await publisher.publish("c", "last")
    assert len(await listener.wait(3)) == 3


BAD = [
    ("data", ("c",), {}),
    ("data", ("c", 5), {}),
    ("data", ("c", b"bytes"), {}),
    ("data", ("c", None), {}),
    ("data", ("c", "\ud800"), {}),
    ("data", ("c", "x" * MAX_EVENT_BYTES), {}),
    ("data", ("c", "text"), {"json": 1}),
    ("data", ("c", Event("x")), {"event": "e"}),
    ("data", ("c", Event("x")), {"json": 1}),
    ("id", ("c", Event("x", id="7")), {}),
    ("json", ("c",), {"json": {1, 2j}}),
    ("json", ("c",), {"json": float("nan")}),
    ("event", ("c", "x"), {"event": "a\rb"}),
    ("event", ("c", "x"), {"event": "a\nb"}),
    ("event", ("c", "x"), {"event": "a\0b"}),
    ("event", ("c", "x"), {"event": "error"}),
    ("event", ("c", "x"), {"event": "open"}),
    ("event", ("c", "x"), {"event": 5}),
    ("event", ("c", "x"), {"event": "\udfff"}),
    ("channel", ("", "x"), {}),
    ("channel", (None, "x"), {}),
    ("channel", (b"c", "x"), {}),
    ("channel", ("a\nb", "x"), {}),
    ("channel", ("a\x01", "x"), {}),
    ("channel", ("\ud800", "x"), {}),
    ("channel", ("x" * 257, "x"), {}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": ""}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": 5}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": "k" * 257}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": "\ud800"}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": "a\nb"}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": "a\0"}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": "\x7f"}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": b"k"}),
    ("dedupe_key", ("c", "x"), {"dedupe_key": ["k"]}),
]


async def test_bad_input(publisher, backend, listen):
    """Every bad argument raises EventError with the field's name, and nothing is published."""
    listener, _ = await listen(backend, "c")
    for field, args, options in BAD:
        with pytest.raises(EventError) as caught:
            await publisher.publish(*args, **options)
        assert caught.value.field == field, (args, options)
    assert [event[2] for event in await after_a_last_event(publisher, listener)] == ["last"]


async def test_bad_input_among_good(publisher, backend, listen):
    """Of several events none is published when one of them is bad."""
    listener, _ = await listen(backend, "c")
    for bad in [("c", 5), ("", "x"), ("c", Event("x", id="7"))]:
        with pytest.raises(EventError):
            await publisher.publish_many([("c", "good"), bad, ("c", "good too")])
    assert [event[2] for event in await after_a_last_event(publisher, listener)] == ["last"]


NTH = [
    ([("c", "x"), ("c", 5)], {}, "data", "events[1].data: must be text; pass json=… for anything else (got "),
    ([("c", "x"), ("", "x")], {}, "channel", "events[1].channel: must be a non-empty string (got '')"),
    ([("c", "x"), ("c", Event("x", id="7"))], {}, "id", "events[1].id: is given by the backend"),
    ([("c", "x"), "cx!"], {}, "events", "events[1]: must be a (channel, data) pair"),
    ([("c", "x")] * 3, {"dedupe_keys": ["a", None, ""]}, "dedupe_keys", "dedupe_keys[2]: must be text of 1"),
    ([("c", "x")] * 2, {"except_users": [None, 5]}, "except_users", "except_users[1]: must be text of 1"),
]


async def test_which_of_several_is_bad(publisher):
    """It is said in the message and as a number, from 0; not where one event was given."""
    for events, options, field, message in NTH:
        with pytest.raises(EventError) as caught:
            await publisher.publish_many(events, **options)
        error = caught.value
        assert (error.field, error.index) == (field, len(events) - 1)
        assert str(error).startswith(message)
    with pytest.raises(EventError) as caught:
        await publisher.publish("", "x")
    assert caught.value.index is None


BAD_MANY = [
    ("dedupe_keys", [("c", "x")], []),
    ("dedupe_keys", [("c", "x")], ["a", "b"]),
    ("dedupe_keys", [], ["a"]),
    ("dedupe_keys", [("c", "x")], "k"),
    ("dedupe_keys", [("c", "x")], b"k"),
    ("dedupe_keys", [("c", "x")], {"k"}),
    ("dedupe_keys", [("c", "x")], {0: "k"}),
    ("dedupe_keys", [("c", "x")], iter(["k"])),
    ("dedupe_keys", [("c", "x")], 5),
    ("dedupe_keys", [("c", "x"), ("c", "y")], ["k", ""]),
    ("dedupe_keys", [("c", "x"), ("c", "y")], ["k", 5]),
    ("dedupe_keys", [("c", "x"), ("c", "y")], ["k", "a\x01"]),
    ("dedupe_keys", [("c", "x"), ("c", "y")], ["k", "k" * 257]),
    ("dedupe_keys", [("c", "x"), ("c", "y")], [None, "\ud800"]),
    ("events", "cx", None),
    ("events", ["cx"], None),
    ("events", [("c", "x"), ("c", "x", "k")], None),
    ("events", [("c", "x"), None], None),
    ("events", {"c": "x"}, None),
    ("events", None, None),
    ("events", 5, None),
]


async def test_bad_lists(publisher, backend, listen):
    """Events and keys that are no lists of such, or do not fit together, are refused as a whole."""
    listener, _ = await listen(backend, "c")
    for field, events, keys in BAD_MANY:
        with pytest.raises(EventError) as caught:
            await publisher.publish_many(events, dedupe_keys=keys)
        assert caught.value.field == field, (events, keys)
    assert [event[2] for event in await after_a_last_event(publisher, listener)] == ["last"]


async def test_lists_of_different_lengths(publisher):
    """It is said how many keys there are for how many events."""
    with pytest.raises(EventError, match="^dedupe_keys: are 2 for 1 events"):
        await publisher.publish_many([("c", "x")], dedupe_keys=["a", "b"])


# ---- From threads, and from several event loops

THREADS, EACH = 8, 200


async def test_from_threads(url, backend, listen):
    """Eight threads that share a publisher lose nothing, and each one's events keep their order."""
    listener, _ = await listen(backend, "c")
    publisher = SyncPublisher(backend)
    ready = threading.Barrier(THREADS)

    def work(thread):
        ready.wait(10)
        return [publisher.publish("c", f"{thread} {n}") for n in range(EACH)]

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as threads:
        ids = await asyncio.gather(*(loop.run_in_executor(threads, work, n) for n in range(THREADS)))
    heard = await listener.wait(THREADS * EACH)
    for thread in range(THREADS):
        mine = [(data, id) for _, _, data, id in heard if data.startswith(f"{thread} ")]
        assert mine == [(f"{thread} {n}", id) for n, id in zip(range(EACH), ids[thread], strict=True)]
    places = [id for _, id, _ in listener.heard]
    assert places == sorted(set(places))


async def test_one_order_with_the_loop_itself(listen):
    """What the event loop publishes while threads do is heard in the order of the ids as well."""
    backend = MemoryBackend()
    listener, _ = await listen(backend, "c")
    sync, own = SyncPublisher(backend), Publisher(backend)
    work = [asyncio.to_thread(lambda: [sync.publish("c", "t") for _ in range(EACH)]) for _ in range(2)]
    threads = asyncio.gather(*work)
    mine = 0
    while not threads.done():
        await own.publish("c", "l")
        mine += 1
        await asyncio.sleep(0)
    await listener.wait(2 * EACH + mine)
    places = [id for _, id, _ in listener.heard]
    assert places == sorted(set(places))


def test_on_several_event_loops(url):
    """One publisher works on one event loop after the other, and closes what it opened on each."""
    publisher = Publisher(url)

    async def publish():
        async with publisher:
            return [await publisher.publish("c", "x"), await publisher.publish("c", "y")]

    ids = [id for _ in range(3) for id in asyncio.run(publish())]
    assert len(set(ids)) == 6


def test_in_a_with_block(url):
    """``with`` and ``async with`` close what was opened; the publisher may be used again."""
    with SyncPublisher(url) as publisher:
        publisher.publish("c", "x")
    publisher.publish("c", "y")
    publisher.close()

    async def publish():
        async with Publisher(url) as events:
            await events.publish("c", "x")

    asyncio.run(publish())
