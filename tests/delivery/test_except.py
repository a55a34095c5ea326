"""Events for everybody but one user: who hears them, live, from history, late, compressed and in polls."""

import asyncio
import json
import random
import zlib
from functools import partial

import pytest

from apps.edge import AUTH
from parts.delivery import ListSink, ScriptedBackend, at, frame, join, make_hub, place, settle
from parts.ears import Ear, listening, said, until
from servers.sse import Decoder, get
from sse_edge import EventError, MemoryBackend, Publisher, RedisBackend, SyncPublisher
from sse_edge.backends.base import Outgoing, Replay, Reset
from sse_edge.event import REOPENED
from sse_edge.outcome import DRAIN

NAMES = ["u1", "u 1\n: x", "ü/%", "\0%zz"]
"""A user may be called anything."""


# ---- One worker's streams


def data(stream):
    """What was sent to a stream, read as a client reads it: events and the place that it has then."""
    sent = stream.sink.data
    if stream.gzip is not None:
        sent = zlib.decompressobj(31).decompress(stream.gzip.begin + sent)
    decoder = Decoder()
    return [event.data for event in decoder.feed(sent)], decoder.last_event_id


async def test_everybody_else_hears_it_and_shares_its_bytes(hub):
    """None of the user's streams of the channel is written it, and all others the same object."""
    others = [await join(hub, user=user) for user in (None, "u2", "u2")]
    own = [await join(hub, user="u1"), await join(hub, "c", "d", user="u1")]
    await settle()
    event = frame(1)
    hub.deliver("c", at(1), event, "u1")
    await settle()
    assert all(stream.sink.writes[-1] is event for stream in others)
    assert [data(stream)[0] for stream in own] == [[], []]
    hub.deliver("c", at(2), frame(2))
    await settle()
    assert [data(stream)[0] for stream in own] == [["c2"], ["c2"]]
    assert [data(stream)[0] for stream in others] == [["c1", "c2"]] * 3


async def test_what_waits_comes_before_and_after_it(hub):
    """Events of the same turn, before it and after it, reach the user's streams in their order."""
    alone, both = await join(hub, user="u1"), await join(hub, "c", "d", user="u1")
    other = await join(hub, user="u2")
    await settle()
    for n, channel, user in ((1, "c", None), (2, "d", None), (3, "c", "u1"), (4, "c", None), (5, "d", "u1")):
        hub.deliver(channel, at(n), frame(n, channel), user)
    await settle()
    assert [data(stream)[0] for stream in (alone, both, other)] == [
        ["c1", "c4"],
        ["c1", "d2", "c4"],
        ["c1", "c3", "c4"],
    ]


async def test_a_stream_alone_on_its_channel(hub):
    """Whoever it is: the user, or somebody else, who is written it at once."""
    own, other = await join(hub, "own", user="u1"), await join(hub, "other", user="u2")
    hub.deliver("own", at(1), frame(1))
    hub.deliver("other", at(2), frame(2))
    await settle()
    event = frame(3)
    hub.deliver("other", at(3), event, "u1")
    assert other.sink.writes[-1] is event
    hub.deliver("own", at(4), frame(4), "u1")
    await settle()
    hub.deliver("own", at(5), frame(5))
    await settle()
    assert data(own)[0] == ["c1", "c5"]


async def test_one_that_is_owed_history(hub, backend):
    """What is heard before a stream has its history is passed over when it has."""
    own = await join(hub, user="u1", live=False)
    other = await join(hub, user="u2", live=False)
    for n, user in ((1, None), (2, "u1"), (3, None)):
        hub.deliver("c", at(n), frame(n), user)
    for stream in (own, other):
        await hub.catch_up(stream, None)
    await settle()
    assert data(own)[0] == ["c1", "c3"]
    assert data(other)[0] == ["c1", "c2", "c3"]


async def test_one_that_comes_late(hub):
    """An event that went missing is not told to the user when it is found."""
    own, other = await join(hub, user="u1"), await join(hub, user="u2")
    hub.deliver_late("c", at(1), b"data: late\n\n", "u1")
    await settle()
    assert (data(own)[0], data(other)[0]) == ([], ["late"])


async def test_its_place_is_past_what_it_did_not_hear(hub, backend):
    """The user's stream ends with the worker's place, and goes on from there."""
    stream = await join(hub, user="u1")
    hub.deliver("c", at(1), frame(1))
    hub.deliver("c", at(2), frame(2), "u1")
    backend.position = place(2)
    hub.end(stream, DRAIN)
    events, last = data(stream)
    assert (events[0], last) == ("c1", str(place(2)))
    resumed = await join(hub, user="u1", live=False)
    backend.answers = Replay([], [], place(2))
    await hub.catch_up(resumed, place(2))
    hub.deliver("c", at(3), frame(3))
    await settle()
    assert data(resumed)[0] == ["c3"]


async def test_a_client_that_does_not_read(hub, monkeypatch):
    """What waits for it stays, in order, without the event that is not for it."""
    for module in ("rounds", "stream"):
        monkeypatch.setattr(f"sse_edge.delivery.{module}.PIECE", 30)
    stream = await join(hub, user="u1", sink=ListSink(stuck=True))
    for n in range(1, 9):
        hub.deliver("c", at(n), frame(n), "u1" if n % 3 == 0 else None)
        await asyncio.sleep(0)
    await settle()
    while stream.stalled:
        stream.sink.then()
        await settle()
    assert data(stream)[0] == ["c1", "c2", "c4", "c5", "c7", "c8"]


async def test_a_stream_that_has_ended_is_left_alone(hub):
    """Nothing is queued for it any more."""
    stream, other = await join(hub, user="u1"), await join(hub, user="u2")
    await settle()
    hub.end(stream, DRAIN)
    sent = stream.sink.data
    hub.deliver("c", at(1), frame(1), "u1")
    await settle()
    assert (stream.sink.data, stream.pending) == (sent, None)
    assert data(other)[0] == ["c1"]


@pytest.mark.parametrize(
    ("first", "user", "expected"),
    [
        ({"c": 1}, "u1", ["2"]),
        ({"c": 1}, "u2", ["3"]),
        ({"c": 2}, "u1", ["1", "2"]),
        ({}, "u1", []),
    ],
)
async def test_what_comes_first_after_a_reset(hub, first, user, expected):
    """The last events that this user may hear."""
    stream = await join(hub, user=user, first=first)
    kept = [(5, n, b"data: %d\n\n" % n) for n in (1, 2)] + [(5, 3, b"data: 3\n\n", "u1")]
    hub.reset(Reset("c", "trimmed", place(9), kept))
    await settle()
    assert data(stream)[0][1:] == expected


async def test_what_goes_on_after_a_reset_has_no_end(hub):
    """Where the channel was reopened, its last event is one like others."""
    streams = [await join(hub, first=first) for first in ({}, {"c": 1}, {"c": 5})]
    hub.reset(Reset("c", "epoch", place(9), [(5, 1, b"data: 1\n: finished\n\n"), (5, 2, REOPENED)]))
    await settle()
    assert [data(stream)[0][1:] for stream in streams] == [[], ["1"], ["1"]]
    assert all(stream.ending is None for stream in streams)


@pytest.mark.parametrize("seed", range(25))
async def test_at_random(monkeypatch, seed):
    """However events, turns, arrivals, resumes and endings mix, compressed or not."""
    monkeypatch.setattr("sse_edge.delivery.rounds.SLICE", 3)
    monkeypatch.setattr("sse_edge.delivery.feed.MANY", 2)
    chance, backend = random.Random(seed), ScriptedBackend()
    hub = await make_hub(backend, max_unsent=10**9)
    published, expected, early = [], {}, {}

    def missed(stream, after):
        return [
            (1000, n, frame(n, channel))
            for n, channel, user in published
            if n > after and channel in stream.channels and (user is None or user != stream.user)
        ]

    async def let_live(stream):
        after, resumes = early.pop(stream)
        backend.answers = Replay(missed(stream, after), [], backend.position)
        await hub.catch_up(stream, place(after) if resumes else None)

    for n in range(1, 200):
        match chance.randrange(12):
            case 0 | 1 if len(expected) < 12:
                names = chance.sample("abc", chance.randint(1, 2))
                user, compress = chance.choice([None, "u", "v"]), chance.randrange(3) > 0
                stream = await join(hub, *names, user=user, compress=compress, live=False)
                resumes = bool(published) and chance.randrange(2) > 0
                after = published[-1][0] if published else 0
                if resumes:
                    after = chance.choice(published)[0]
                expected[stream], early[stream] = after, (after, resumes)
            case 2 | 3 if early:
                await let_live(chance.choice(list(early)))
            case 4 if expected:
                stream = chance.choice(list(expected))
                if stream not in early:
                    hub.end(stream, DRAIN)
                    check(stream, missed(stream, expected.pop(stream)))
                    hub.close_stream(stream)
            case 5 | 6:
                await asyncio.sleep(0)
            case 7:
                hub.flush()
            case _:
                channel, user = chance.choice("abc"), chance.choice([None, None, "u", "v"])
                published.append((n, channel, user))
                backend.position = place(n)
                hub.deliver(channel, at(n), frame(n, channel), user)
    for stream in list(early):
        await let_live(stream)
    await until(lambda: hub._rounds.idle)
    for stream, after in expected.items():
        check(stream, missed(stream, after))
    await hub.close()


def check(stream, entries):
    """It was sent these events, and no others of the application's."""
    sent = stream.sink.data
    if stream.gzip is not None:
        sent = zlib.decompressobj(31).decompress(stream.gzip.begin + sent)
    events = [event for event in Decoder().feed(sent) if event.event == "message"]
    assert [event.data for event in events] == [
        frame.partition(b"data: ")[2].strip().decode() for _, _, frame in entries
    ]


# ---- Backends


@pytest.fixture(params=["memory", "redis", "partitions"])
def make(request, impatient):
    """``make(**settings)``: a fresh backend of each kind."""
    if request.param == "memory":
        return MemoryBackend
    partitions = 3 if request.param == "partitions" else 1
    return partial(RedisBackend, request.getfixturevalue("redis_url"), partitions=partitions)


@pytest.fixture
async def start(make):
    """``await start(**settings)``: a backend, and an ear that is subscribed to what it is told."""
    async with listening(make, Whose) as begin:
        yield begin


class Whose(Ear):
    """An ear that knows as well who is not to hear it."""

    def __init__(self):
        super().__init__()
        self.excepted = []

    def deliver(self, channel, id, frame, except_user=None):
        self.excepted.append(except_user)
        super().deliver(channel, id, frame)


def out(channel, text, user=None):
    return Outgoing(channel, b"data: %s\n\n" % text.encode(), None, user)


@pytest.mark.parametrize("settings", [{}, {"history": 0}], ids=["history", "live-only"])
async def test_workers_hear_whom_it_is_not_for(start, settings):
    """Any name, and never in the event's bytes."""
    backend, subscriber, ear = await start(**settings)
    await subscriber.subscribe(["a"])
    await backend.publish([out("a", "all"), *(out("a", "some", user) for user in NAMES)])
    await ear.wait(5)
    assert ear.excepted == [None, *NAMES]
    assert ear.data == ["all", *["some"] * 4]
    for _, _, sent in ear.heard:
        assert sent.count(b"\n") == 2 + sent.startswith(b"id: ")


@pytest.mark.parametrize("heard", [False, True], ids=["read", "heard"])
@pytest.mark.parametrize("user", NAMES)
async def test_history_is_given_without_it(start, user, heard):
    """To the user: what was missed, what comes first and the newest events; to all others it is an event."""
    backend, subscriber, ear = await start()
    if heard:
        await subscriber.subscribe(["a"])
    await backend.publish([out("a", "1")])
    (before,) = await backend.recent("a", 1)
    await backend.publish([out("a", "2", user), out("a", "3"), out("a", "4", user), out("a", "5", user)])
    _, fourth, last = await backend.recent("a", 3)
    if heard:
        await ear.wait(5)
    else:
        await subscriber.subscribe(["a"])
    await until(lambda: subscriber.position.id >= last[0].id)

    async def given(whom, after=None, **first):
        replay = await subscriber.replay(["a"], after and after[0], first, whom)
        assert replay.resets == []
        assert all(len(entry) == 3 and b": except" not in entry[2] for entry in replay.events)
        return said(replay)

    for whom in ("somebody else", None):
        assert await given(whom, before) == ["2", "3", "4", "5"]
        assert await given(whom, a=1) == ["5"]
        assert await given(whom, a=3) == ["3", "4", "5"]
    assert await given(user, before) == ["3"]
    assert await given(user, fourth) == []
    assert await given(user, a=1) == ["3"]
    assert await given(user, a=2) == ["1", "3"]
    assert await given(user, a=50) == ["1", "3"]
    assert [frame.partition(b"\n")[2] for _, frame in await backend.recent("a", 2)] == [
        b"data: 4\n\n",
        b"data: 5\n\n",
    ]


async def test_first_events_that_lie_far_back(start):
    """However many are not for the user, it is given the last one that is."""
    backend, subscriber, _ = await start(history=40)
    await backend.publish([out("a", "state"), *(out("a", str(n), "u1") for n in range(39))])
    await subscriber.subscribe(["a"])
    for user, expected in (("u2", ["38"]), ("u1", ["state"]), ("u2", ["38"])):
        assert said(await subscriber.replay(["a"], None, {"a": 1}, user)) == expected
    await backend.publish([out("a", "39", "u1")])
    # Forgotten by then; but that it was pushed out, a worker with Redis learns when it has heard what did it.
    assert said(await subscriber.replay(["a"], None, {"a": 1}, "u1")) in ([], ["state"])


@pytest.mark.parametrize("fault", ["cut", "lost"])
async def test_what_was_missed_is_told_to_all_others(proxy, redis_url, fault):
    """After a connection was lost, or announcements were: what is read from history says it as well."""
    publisher, listener, ear = RedisBackend(redis_url), RedisBackend(proxy.url), Whose()
    subscriber = listener.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a"])
    if fault == "cut":
        proxy.refusing = True
        proxy.cut()
        await until(lambda: not subscriber.connected)
    else:
        proxy.drop("a", count=2)
    await publisher.publish([out("a", "1"), out("a", "2", "u1")])
    proxy.refusing = False
    await publisher.publish([out("a", "3")])
    await ear.wait(3)
    assert (ear.data, ear.excepted) == (["1", "2", "3"], [None, "u1", None])
    await subscriber.close()
    for backend in (publisher, listener):
        await backend.close()


async def test_a_reset_brings_enough_for_everybody(redis_url, redis_server):
    """After data were lost the last events are read that make as many for each user as come first."""
    backend, ear = RedisBackend(redis_url), Whose()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a"])
    await subscriber.replay(["a"], None, {"a": 2})
    redis_server.client().flushdb()
    await backend.publish([out("a", "1"), out("a", "2"), *(out("a", str(n), "u1") for n in range(3, 9))])
    await ear.until(lambda: ear.resets)
    first = ear.resets[-1].first
    assert [entry[3:] for entry in first] == [(), (), *[("u1",)] * 6]
    assert all(entry[2].startswith(b"data: ") for entry in first)
    await subscriber.close()
    await backend.close()


# ---- Publishers, and the whole way


@pytest.fixture
async def events():
    async with Publisher(MemoryBackend()) as publisher:
        yield publisher


@pytest.mark.parametrize("user", ["", "x" * 1025, 42, b"u1", ["u1"], "\ud800"])
async def test_who_is_no_user(events, user):
    """Text of 1 to 1,024 characters that UTF-8 can carry; else it is an error that names the field."""
    for publish in (
        lambda: events.publish("a", "x", except_user=user),
        lambda: events.publish_many([("a", "x")], except_users=[user]),
    ):
        with pytest.raises(EventError) as raised:
            await publish()
        assert raised.value.field in ("except_user", "except_users")


@pytest.mark.parametrize("users", [["u1"], ["u1", None, None], "u1", {"u1": None}])
async def test_one_user_or_none_for_each(events, users):
    """Neither more nor fewer than events; and nothing is published otherwise."""
    with pytest.raises(EventError) as raised:
        await events.publish_many([("a", "x"), ("a", "y")], except_users=users)
    assert raised.value.field == "except_users"
    assert await events.recent("a", 5) == []


async def test_both_publishers_pass_it_on():
    """publish and publish_many, with keys beside them; what is stored does not say it."""
    backend, ear = MemoryBackend(), Whose()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a"])
    events, sync = Publisher(backend), SyncPublisher(backend)
    await events.publish("a", "1", except_user="u1")
    sync.publish("a", json=2, except_user="u2")
    await events.publish_many([("a", "3"), ("a", "4")], except_users=["u3", None])
    sync.publish_many([("a", "5")], dedupe_keys=["k"], except_users=["u5"])
    assert ear.excepted == ["u1", "u2", "u3", None, "u5"]
    assert [event.data for event in await events.recent("a", 9)] == ["1", "2", "3", "4", "5"]
    assert "u1" not in repr(await events.recent("a", 9))
    await subscriber.close()


def me(user):
    return {"session": AUTH.issue(user)}


@pytest.mark.live
@pytest.mark.parametrize(
    "env", [{"COMPRESS": "1"}, {"SSE_EDGE_SINK": "task"}], ids=["own sink, gzip", "any server, plain"]
)
async def test_a_sender_does_not_hear_itself(serve_app, connect, redis_url, env):
    """On none of its tabs and on no worker, when it comes back, and when it polls; everybody else does."""
    workers = [serve_app("apps.edge:edge", env={"BACKEND": redis_url, **env}) for _ in range(2)]
    gzip = {"Accept-Encoding": "gzip"}
    urls = [f"{worker.url}/events/me" for worker in workers]
    tabs = [await connect(url, cookies=me("u1"), headers=gzip) for url in urls]
    others = [await connect(url, cookies=me("u2"), headers=gzip) for url in urls]
    for client in (*tabs, *others):
        await until(lambda client=client: client.last_event_id)
    before = tabs[0].last_event_id
    async with Publisher(redis_url) as events:
        await events.publish("news", "joined")
        await events.publish("news", "hi", except_user="u1")
        await events.publish("news", "bye")
    for client in tabs:
        assert [(await client.next()).data for _ in range(2)] == ["joined", "bye"]
    for client in others:
        assert [(await client.next()).data for _ in range(3)] == ["joined", "hi", "bye"]
    for user, expected in (("u1", ["joined", "bye"]), ("u2", ["joined", "hi", "bye"])):
        back = await connect(urls[1], cookies=me(user), headers=gzip, last_event_id=before)
        assert [(await back.next()).data for _ in expected] == expected
        assert b"except" not in back.raw
        asked = {"Accept": "application/json", "Last-Event-ID": before}
        poll = await get(urls[0], headers={**asked, "Cookie": f"session={me(user)['session']}"})
        assert [event["data"] for event in json.loads(poll.body)["events"]] == expected
