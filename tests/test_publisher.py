"""Publishing: what goes in, what comes out, and what is refused before anything goes anywhere."""

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import pytest

from faulty import Proxy
from servers.processes import free_port
from servers.sse import Decoder
from sse_edge import Event, MemoryBackend, Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.errors import EventError
from sse_edge.event import MAX_EVENT_BYTES, Place


class Listener:
    """A receiver that keeps what it hears, on its own thread only."""

    def __init__(self):
        self._thread = threading.get_ident()
        self.heard = []
        self._changed = asyncio.Event()

    def deliver(self, channel, id, frame, except_user=None):
        assert threading.get_ident() == self._thread
        self.heard.append((channel, id, frame))
        self._changed.set()

    def flush(self):
        pass

    def reset(self, reset):
        raise AssertionError(f"nothing was lost, but {reset}")

    async def wait(self, count):
        """Wait for ``count`` events in all: (channel, name, data, id as in the stream) of each."""
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.events

    @property
    def events(self):
        seen = []
        for channel, _, frame in self.heard:
            (event,) = Decoder().feed(frame)
            seen.append((channel, *event))
        return seen


@pytest.fixture
async def listen():
    """``await listen(backend, *channels)`` is a Listener and its subscriber, on a backend of this process."""
    subscribers = []

    async def start(backend, *channels):
        listener = Listener()
        subscribers.append(backend.subscriber(listener))
        await subscribers[-1].start()
        await subscribers[-1].subscribe(channels)
        return listener, subscribers[-1]

    yield start
    for subscriber in subscribers:
        await subscriber.close()


@pytest.fixture
async def backend(url):
    """A backend object, the same for publisher and listener."""
    backend = RedisBackend(url) if url.startswith("redis") else MemoryBackend()
    yield backend
    await backend.close()


class InThread:
    """A SyncPublisher whose calls run in a thread, with Publisher's face."""

    def __init__(self, backend):
        self._publisher = SyncPublisher(backend)

    def __getattr__(self, name):
        method = getattr(self._publisher, name)

        async def call(*args, **options):
            return await asyncio.to_thread(method, *args, **options)

        return call


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


async def after_a_last_event(publisher, listener):
    """Publish one more event, and return everything heard up to it."""
    id = await publisher.publish("c", "last")
    async with asyncio.timeout(10):
        while not listener.heard or listener.events[-1][3] != id:
            await listener.wait(len(listener.heard) + 1)
    return listener.events


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


# ---- Redis away

PUBLISHERS = pytest.mark.parametrize("kind", [Publisher, InThread], ids=["async", "sync"])


@PUBLISHERS
async def test_redis_unreachable(kind):
    """Without Redis publishing raises PublishError, which knows that nothing happened and says where."""
    port = free_port()
    publisher = kind(RedisBackend(f"redis://:s3cr3t@127.0.0.1:{port}/0", timeout=1))
    with pytest.raises(PublishError, match=str(port)) as caught:
        await publisher.publish("c", "x")
    assert caught.value.may_have_happened is False
    assert caught.value.published == []
    assert "s3cr3t" not in str(caught.value)


@PUBLISHERS
@pytest.mark.live
async def test_redis_does_not_answer(kind, private_redis):
    """When Redis does not answer any more, a publish may have happened, and the error says so."""
    server = private_redis()
    backend = RedisBackend(server.url, timeout=0.3)
    publisher = kind(backend)
    await publisher.publish("c", "x")
    server.pause()
    with pytest.raises(PublishError) as caught:
        await publisher.publish("c", "y")
    assert caught.value.may_have_happened is True
    server.resume()
    await publisher.publish("c", "z")
    await backend.close()


@PUBLISHERS
async def test_redis_restarted(kind, private_redis):
    """After Redis was restarted, publishing works again, without a failure first."""
    server = private_redis()
    backend = RedisBackend(server.url)
    publisher = kind(backend)
    await publisher.publish("c", "x")
    await asyncio.to_thread(server.restart, keep_data=True)  # the loop sees the connection's end
    await publisher.publish("c", "y")
    await backend.close()


@pytest.mark.live
class TestConnectionLost:
    """A connection that ends while Redis may be executing a publish."""

    @pytest.fixture
    async def scene(self, redis_server, redis_url, listen):
        """A proxy, a backend through it and a listener past it."""
        proxy = await Proxy(redis_server.port).start()
        backend, own = RedisBackend(proxy.url, timeout=2), RedisBackend(redis_url)
        listener, subscriber = await listen(own, "c")
        yield proxy, backend, listener
        await subscriber.close()
        await backend.close()
        await own.close()
        await proxy.close()

    async def cut(self, proxy, work, direction):
        """Begin the publish, cut its connection when it is on its way, and let later ones through."""
        proxy.stall(**{direction: True})
        task = asyncio.create_task(work)
        await proxy.stalled.wait()
        proxy.cut()
        proxy.resume()
        return await task

    @PUBLISHERS
    @pytest.mark.parametrize("direction", ["requests", "replies"])
    async def test_with_keys(self, scene, kind, direction):
        """If every event has a key the publish is repeated silently, and each event is out once."""
        proxy, backend, listener = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        one = await self.cut(proxy, publisher.publish("c", "1", dedupe_key="k1"), direction)
        many = publisher.publish_many([("c", "2"), ("c", "3")], dedupe_keys=["k2", "k3"])
        ids = [one, *await self.cut(proxy, many, direction)]
        last = await publisher.publish("c", "4")
        assert [(data, id) for _, _, data, id in await listener.wait(5)][1:] == list(
            zip("1234", [*ids, last], strict=True)
        )

    @PUBLISHERS
    @pytest.mark.parametrize("keys", [None, ["k1", None]])
    async def test_without_a_key(self, scene, kind, keys):
        """If an event has no key nothing is repeated, and the error says that it may have happened."""
        proxy, backend, listener = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        many = publisher.publish_many([("c", "1"), ("c", "2")], dedupe_keys=keys)
        with pytest.raises(PublishError) as caught:
            await self.cut(proxy, many, "requests")
        assert caught.value.may_have_happened is True
        last = await publisher.publish("c", "3")
        assert [(data, id) for _, _, data, id in await listener.wait(2)][1:] == [("3", last)]

    @PUBLISHERS
    async def test_once_only(self, scene, kind):
        """When the second attempt fails too, that is the end, within the timeout; it may have happened."""
        proxy, backend, _ = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        proxy.refusing = True
        with pytest.raises(PublishError) as caught:
            await self.cut(proxy, publisher.publish("c", "1", dedupe_key="k"), "requests")
        assert caught.value.may_have_happened is True
        proxy.refusing = False
        await publisher.publish("c", "2")
        proxy.stall(requests=True)
        began = time.monotonic()
        task = asyncio.create_task(publisher.publish("c", "1", dedupe_key="k"))
        await proxy.stalled.wait()
        proxy.cut()
        with pytest.raises(PublishError) as caught:
            await task
        assert time.monotonic() - began < 2.4
        assert caught.value.may_have_happened is True


# ---- A plain PUBLISH by anybody

PLAIN = [
    ({"data": "text"}, ("message", "text")),
    ({"event": "status", "data": "text"}, ("status", "text")),
    ({"event_type": "status", "data": "text"}, ("status", "text")),
    ({"event": "first", "event_type": "second", "data": "x"}, ("first", "x")),
    ({"event": None, "data": "x"}, ("message", "x")),
    ({"data": {"a": [1, "é"]}}, ("message", '{"a":[1,"é"]}')),
    ({"data": None}, ("message", "null")),
    ({"data": 5, "more": "ignored"}, ("message", "5")),
    ({"data": "a\r\nb\rc"}, ("message", "a\nb\nc")),
    ({"data": ""}, ("message", "")),
]


@pytest.fixture
async def plain(redis_server, redis_url, listen):
    """``publish(payload)`` by redis-cli or a client, a listener on channel ``c``, and its subscriber."""
    backend = RedisBackend(redis_url)
    listener, subscriber = await listen(backend, "c")
    client = redis_server.client(decode_responses=False)

    def publish(payload, *, cli=False):
        if cli:
            assert redis_server.cli("PUBLISH", "sse:c", payload) == "1"
        else:
            assert client.publish("sse:c", payload) == 1

    yield publish, listener, subscriber, Publisher(backend)
    await subscriber.close()
    await backend.close()


@pytest.mark.live
async def test_plain_publish(plain):
    """JSON that any Redis client publishes arrives as a live-only event."""
    publish, listener, subscriber, _ = plain
    for payload, _ in PLAIN:
        publish(json.dumps(payload), cli=True)
    heard = await listener.wait(len(PLAIN))
    assert heard == [("c", *expected, "") for _, expected in PLAIN]
    assert {id for _, id, _ in listener.heard} == {None}
    assert subscriber.dropped["malformed"] == 0


BIG = MAX_EVENT_BYTES
MALFORMED = {
    "bad JSON": b'{"data": ',
    "not JSON": b"hello",
    "empty": b"",
    "JSON list": b'["data"]',
    "JSON text": b'"data"',
    "no data": b'{"event": "x"}',
    "empty object": b"{}",
    "CR in name": b'{"event": "a\\rb", "data": "x"}',
    "LF in name": b'{"event": "a\\nid: 1", "data": "x"}',
    "NUL in name": b'{"event_type": "a\\u0000", "data": "x"}',
    "reserved name": b'{"event": "error", "data": "x"}',
    "number as name": b'{"event": 5, "data": "x"}',
    "object as name": b'{"event": {}, "data": "x"}',
    "surrogate": b'{"data": "\\ud800"}',
    "surrogate in JSON": b'{"data": {"a": "\\ud800"}}',
    "infinite": b'{"data": 1e999}',
    "NaN": b'{"data": NaN}',
    "not UTF-8": b'{"data": "\xff"}',
    "deep": b'{"data": ' + b"[" * 100_000,
    "too large": b'{"data": "' + b"x" * BIG + b'"}',
    "far too large": b'{"data": "' + b"x" * 3 * BIG + b'"}',
    "many digits": b'{"data": ' + b"9" * 5000 + b"}",
    "id without body": b"1-1 -",
    "no blank line": b"1-1 -\ndata: x\n",
    "no id": b"\ndata: x\n\n",
    "words for ids": b"now then\ndata: x\n\n",
    "id out of range": b"99999999999999999999-1 -\ndata: x\n\n",
    "negative id": b"-1--1 -\ndata: x\n\n",
    "bad previous id": b"1-1 x\ndata: x\n\n",
    "id with a line": b"1\r-1 -\ndata: x\n\n",
    "spaced id": b" 1 - 1  -\ndata: x\n\n",
    "underscored id": b"1_0-1 -\ndata: x\n\n",
    "not our bytes": bytes(range(256)),
}


@pytest.mark.live
@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed(plain, caplog, name):
    """What is no event is counted and logged in one line, and nobody gets it; the next event arrives."""
    publish, listener, subscriber, publisher = plain
    caplog.set_level(logging.DEBUG, "sse_edge")
    publish(MALFORMED[name])
    assert [event[2] for event in await after_a_last_event(publisher, listener)] == ["last"]
    assert subscriber.dropped["malformed"] == 1
    records = [record for record in caplog.records if record.name == "sse_edge"]
    assert [record.levelno for record in records] == [logging.WARNING]
    assert records[0].exc_info is None
    line = records[0].getMessage()
    assert "channel=c" in line
    assert "\n" not in line
    assert "\r" not in line
    assert len(line) < 500


@pytest.mark.live
async def test_a_flood_of_malformed_messages(plain):
    """Malformed messages by the thousand are each counted, and the connection survives them."""
    publish, listener, subscriber, publisher = plain
    for _ in range(2000):
        publish(b"garbage")
    await after_a_last_event(publisher, listener)
    assert subscriber.dropped["malformed"] == 2000
    assert subscriber.generation == 1


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), "READONLY|read only"),
    ],
)
async def test_redis_refuses_to_write(private_redis, order, answer):
    """Without memory, or on a replica, the event is certainly not out, and the error says why."""
    server = private_redis()
    server.cli(*order)
    async with Publisher(server.url) as publisher:
        with pytest.raises(PublishError, match=answer) as caught:
            await publisher.publish("news", "x")
    assert caught.value.may_have_happened is False
