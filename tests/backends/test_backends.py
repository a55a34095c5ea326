"""One contract for every backend: numbering, keeping, announcing, subscribing, resuming."""

import asyncio
import random
import threading
import time

import pytest

from parts.ears import AHEAD, Ear, out, said
from sse_edge import RedisBackend
from sse_edge.backends import open_backend
from sse_edge.backends.base import LONGEST_LIFE, Backend
from sse_edge.backends.redis import revocations
from sse_edge.backends.retention import Retention
from sse_edge.errors import ConfigError, EventError
from sse_edge.event import NOWHERE, EventId, Place


async def test_it_is_a_backend(make_backend):
    """Each backend is one by the protocol's types; mypy checks the same."""
    backend: Backend = make_backend()
    for name in (
        "subscriber",
        "leases",
        "presence",
        "windows",
        "publish",
        "recent",
        "depth",
        "cursor",
        "revoke",
        "revoked",
        "wait",
        "close",
        "close_sync",
    ):
        assert callable(getattr(backend, name))


async def test_published_events_are_heard_in_order(start):
    """What is published on a subscribed channel arrives once, in order, with its id on the wire."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    ids = await backend.publish([out("a", "1"), out("b", "2"), out("a", "3")])
    await ear.wait(3)
    assert ear.data == ["1", "2", "3"]
    assert [id for _, id, _ in ear.heard] == [Place.parse(id).id for id in ids]
    assert [frame.split(b"\n")[0] for _, _, frame in ear.heard] == [b"id: " + id.encode() for id in ids]


async def test_ids_rise_over_all_channels(start):
    """Ids of all channels form one rising order."""
    backend, _, _ = await start()
    ids = [Place.parse(id) for n in range(50) for id in await backend.publish([out(f"c{n % 7}", str(n))])]
    assert ids == sorted(set(ids))


async def test_other_channels_are_not_heard(start):
    """A channel that nobody subscribed, or that everybody left, is silent."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    await backend.publish([out("b", "no"), out("a", "yes")])
    await ear.wait(1)
    assert ear.data == ["yes"]


async def test_subscriptions_are_counted(start):
    """A channel is heard until the last of its subscribers has left it."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    await subscriber.subscribe(["a", "b"])
    subscriber.unsubscribe(["a"])
    await backend.publish([out("a", "still")])
    await ear.wait(1)
    subscriber.unsubscribe(["a", "b"])
    await subscriber.subscribe(["a"])
    await backend.publish([out("a", "again")])
    await ear.wait(2)
    assert ear.data == ["still", "again"]


async def test_every_worker_hears(start, make_backend):
    """Two subscribers of one backend both hear an event."""
    backend, first, ear = await start()
    second_ear = Ear()
    second = backend.subscriber(second_ear)
    await second.start()
    await first.subscribe(["a"])
    await second.subscribe(["a"])
    await backend.publish([out("a", "both")])
    await ear.wait(1)
    await second_ear.wait(1)
    await second.close()


@pytest.mark.parametrize(
    ("after", "missed"),
    [(0, ["a2", "b1", "a3"]), (1, ["b1", "a3"]), (2, ["a3"]), (3, [])],
)
async def test_resume_gives_exactly_what_was_missed(start, after, missed):
    """From any event's id, over several channels: everything after it, in order, nothing twice."""
    backend, subscriber, _ = await start()
    ids = await backend.publish([out("a", "a1"), out("a", "a2"), out("b", "b1"), out("a", "a3")])
    await subscriber.subscribe(["a", "b"])
    replay = await subscriber.replay(["a", "b"], Place.parse(ids[after]))
    assert said(replay) == missed
    assert replay.resets == []
    assert replay.upto >= Place.parse(ids[3])


async def test_resume_on_a_channel_subscribed_before(start):
    """The same when this worker heard the events live."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a", "b"])
    ids = await backend.publish([out("a", "a1"), out("b", "b1"), out("a", "a2")])
    await ear.wait(3)
    assert said(await subscriber.replay(["a", "b"], Place.parse(ids[0]))) == ["b1", "a2"]
    assert said(await subscriber.replay(["b"], Place.parse(ids[0]))) == ["b1"]


async def test_a_page_that_rendered_first_has_no_hole(start):
    """From a cursor taken before the events, all of them are owed; from one after them, none."""
    backend, subscriber, _ = await start()
    before = await backend.cursor()
    await backend.publish([out("a", "1"), out("b", "2")])
    after = await backend.cursor()
    await subscriber.subscribe(["a", "b"])
    assert said(await subscriber.replay(["a", "b"], before)) == ["1", "2"]
    assert said(await subscriber.replay(["a", "b"], after)) == []


async def test_without_a_cursor_nothing_is_owed(start):
    """A new stream begins after everything published so far."""
    backend, subscriber, _ = await start()
    (old,) = await backend.publish([out("a", "old")])
    await subscriber.subscribe(["a"])
    replay = await subscriber.replay(["a"], None)
    assert (said(replay), replay.resets) == ([], [])
    assert replay.upto >= Place.parse(old)


async def test_trimmed_history_is_said(start):
    """When more was published than is kept, the channel is reset, and only that channel."""
    backend, subscriber, _ = await start(history=3)
    (first,) = await backend.publish([out("a", "a1")])
    await backend.publish([out("a", f"a{n}") for n in range(2, 7)])
    await backend.publish([out("b", "b1")])
    await subscriber.subscribe(["a", "b"])
    replay = await subscriber.replay(["a", "b"], Place.parse(first))
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", "trimmed")]
    assert said(replay) == ["b1"]


async def test_exactly_the_kept_events_are_enough(start):
    """A client that missed as many events as are kept gets them all, without a reset."""
    backend, subscriber, _ = await start(history=3)
    (first,) = await backend.publish([out("a", "a1")])
    await backend.publish([out("a", f"a{n}") for n in range(2, 5)])
    await subscriber.subscribe(["a"])
    replay = await subscriber.replay(["a"], Place.parse(first))
    assert (said(replay), replay.resets) == (["a2", "a3", "a4"], [])


async def test_expired_history_is_said(start):
    """When a channel's events have expired, a client from before them is reset."""
    backend, subscriber, _ = await start(history_ttl=0.3)
    before = await backend.cursor()
    await backend.publish([out("a", "gone")])
    await asyncio.sleep(0.5)
    await subscriber.subscribe(["a"])
    replay = await subscriber.replay(["a"], before)
    assert [reset.reason for reset in replay.resets] == ["expired"]
    assert said(replay) == []


async def test_a_quiet_channel_needs_no_reset(start):
    """A channel on which nothing was published is complete for as long as history would have kept it."""
    backend, subscriber, _ = await start()
    before = await backend.cursor()
    await backend.publish([out("other", "x")])
    await subscriber.subscribe(["quiet"])
    replay = await subscriber.replay(["quiet"], before)
    assert (said(replay), replay.resets) == ([], [])


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (lambda tag: Place(EventId(1, 1), tag), "epoch"),
        (lambda tag: Place(AHEAD, tag), "unknown-id"),
        (lambda tag: Place(EventId(1, 1), "other"), "epoch"),
        (lambda tag: Place(AHEAD, "other"), "epoch"),
        (lambda tag: NOWHERE, "unknown-id"),
    ],
)
async def test_ids_from_elsewhere_are_said(start, place, reason):
    """An id from before this data began, of other data, or that was never given out, resets every channel."""
    backend, subscriber, _ = await start()
    await subscriber.subscribe(["a", "b"])
    replay = await subscriber.replay(["a", "b"], place((await backend.cursor()).tag))
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", reason), ("b", reason)]
    assert replay.upto == replay.resets[0].head


async def test_what_is_at_hand_is_given_at_once(start):
    """A stream that comes back to what its worker has heard waits for nothing."""
    backend, subscriber, ear = await start()
    place = await subscriber.subscribe(["a", "b"])
    await backend.publish([out("ab"[n % 2], n) for n in range(6)])
    await ear.wait(6)
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    assert said(await subscriber.replay(["a", "b"], place)) == ["0", "1", "2", "3", "4", "5"]
    assert said(await subscriber.replay(["b"], place)) == ["1", "3", "5"]
    assert not turns


async def test_whoever_comes_back_gets_what_it_missed(start):
    """From each place that anybody can have, on any of the channels, whoever asked before."""
    backend, subscriber, ear = await start()
    chance = random.Random(7)
    channels = ["a", "b", "c"]
    places = [await subscriber.subscribe(channels)]
    published = []
    for n in range(30):
        channel = chance.choice(channels)
        published.append((channel, str(n), *await backend.publish([out(channel, n)])))
        places += [
            Place.parse(published[-1][2]),
            *([await backend.cursor()] if chance.random() < 0.2 else []),
        ]
    await ear.wait(30)
    for _ in range(200):
        after = chance.choice(places)
        names = chance.sample(channels, chance.randint(1, 3))
        replay = await subscriber.replay(names, after)
        assert replay.resets == []
        assert said(replay) == [
            text for channel, text, place in published if channel in names and Place.parse(place) > after
        ]


async def test_each_data_set_has_a_tag_of_its_own(make_backend, redis_server):
    """What was begun anew names itself differently, and a place in what was there before is reset."""
    backend = make_backend()
    first = await backend.cursor()
    redis_server.flush()
    again = backend if isinstance(backend, RedisBackend) else make_backend()
    second = await again.cursor()
    assert first.tag != second.tag
    assert len(second.tag) == 5
    assert second.tag.isalpha()
    await backend.close()


async def test_a_dedupe_key_holds_for_its_channel(start):
    """The same key on another channel is another event."""
    backend, _, _ = await start()
    one, other = await backend.publish([out("a", "x", "k"), out("b", "x", "k")])
    assert one != other
    assert await backend.publish([out("b", "x", "k"), out("a", "x", "k")]) == [other, one]


async def test_a_channel_can_be_kept_longer_than_others(start):
    """``retention`` says how many events of which channels are kept, and for how long."""
    backend, subscriber, _ = await start(
        history=2, history_ttl=0.3, retention={"long:*": Retention(4, 60), "*": Retention(2, 0.3)}
    )
    before = await backend.cursor()
    await backend.publish([out(channel, str(n)) for n in range(4) for channel in ("long:a", "b")])
    await subscriber.subscribe(["long:a", "b"])
    replay = await subscriber.replay(["long:a", "b"], before)
    assert said(replay) == ["0", "1", "2", "3"]
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("b", "trimmed")]
    await asyncio.sleep(0.5)
    replay = await subscriber.replay(["long:a"], before)
    assert said(replay) == ["0", "1", "2", "3"]


async def test_without_history_nothing_is_numbered(start):
    """history=0 is plain pub/sub: events are heard without ids, and a resume is a reset."""
    backend, subscriber, ear = await start(history=0)
    await subscriber.subscribe(["a"])
    assert await backend.publish([out("a", "1"), out("a", "2")]) == ["", ""]
    await ear.wait(2)
    assert ear.heard == [("a", None, b"data: 1\n\n"), ("a", None, b"data: 2\n\n")]
    assert subscriber.position is None
    replay = await subscriber.replay(["a"], None)
    assert (replay.events, replay.resets, replay.upto) == ([], [], None)
    replay = await subscriber.replay(["a"], Place(EventId(5, 1), "abcde"))
    assert [reset.reason for reset in replay.resets] == ["unknown-id"]


async def test_the_position_follows(start):
    """Everything up to the position was delivered: it is never behind what was heard."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    ids = await backend.publish([out("a", str(n)) for n in range(10)])
    await ear.wait(10)
    assert subscriber.position >= Place.parse(ids[-1])


async def test_a_repeated_dedupe_key_publishes_once(start):
    """The second publish with a key says the first one's id and reaches nobody."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    first = await backend.publish([out("a", "once", "k")])
    again = await backend.publish([out("a", "once", "k"), out("a", "end")])
    assert again[0] == first[0] != again[1]
    assert backend.wait(backend.publish([out("a", "once", "k")])) == first
    await backend.publish([out("a", "last")])
    await ear.wait(3)
    assert ear.data == ["once", "end", "last"]


async def test_publishing_from_threads_keeps_each_thread_s_order(start):
    """Eight threads publish; every event is heard once and each thread's events in their order."""
    backend, subscriber, ear = await start(history=1000)
    await subscriber.subscribe(["a"])

    def work(thread):
        for n in range(50):
            backend.wait(backend.publish([out("a", f"{thread}-{n}")]))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    await ear.wait(400)
    for thread in threads:
        thread.join()
    assert len(ear.data) == len(set(ear.data)) == 400
    ids = [id for _, id, _ in ear.heard]
    assert ids == sorted(ids)
    for thread in range(8):
        mine = [int(text.split("-")[1]) for text in ear.data if text.startswith(f"{thread}-")]
        assert mine == list(range(50))


async def test_a_dedupe_key_needs_history(start):
    """Without history there is nothing to remember a key by, and this is said before anything is sent."""
    backend, subscriber, ear = await start(history=0)
    await subscriber.subscribe(["a"])
    with pytest.raises(EventError, match="^dedupe_key: "):
        await backend.publish([out("a", "x", "k")])
    await backend.publish([out("a", "y")])
    await ear.wait(1)
    assert ear.data == ["y"]


# ---- Settings


async def test_the_depth_of_history_is_known(make_backend):
    """As far as the backend was told it."""
    backend = make_backend(history=7, retention={"order:*": Retention(1, 60)})
    assert (backend.depth("order:*"), backend.depth("news"), backend.depth("*")) == (1, 7, 7)


@pytest.mark.parametrize(
    "settings",
    [{"history": -1}, {"history": True}, {"history": 1.5}, {"history_ttl": 0}, {"history_ttl": "5"}],
)
async def test_refused_settings(make_backend, settings):
    """A setting that makes no sense is refused by name, with its value."""
    ((field, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"^{field}: ") as caught:
        make_backend(**settings)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("url", ["", "http://x", "127.0.0.1:6379", "redis+sentinal://x", 5, None])
def test_refused_urls(url):
    """A URL of no backend is refused."""
    with pytest.raises(ConfigError, match="^backend: "):
        open_backend(url)


@pytest.mark.parametrize("url", ["ftp://user:hunter2@host/0", "redis://user:hunter2@host:port/0"])
def test_passwords_are_not_repeated(url):
    """A refused URL's password is not in the message."""
    with pytest.raises(ConfigError) as caught:
        open_backend(url)
    assert "hunter2" not in str(caught.value)


def test_memory_urls_name_backends():
    """The same memory URL is the same backend in the whole process."""
    assert open_backend("memory://")[0] is open_backend("memory://")[0]
    assert open_backend("memory://one")[0] is not open_backend("memory://")[0]


@pytest.mark.parametrize("ends", [[4e9], [4e9, 4.1e9], [4e9 + n for n in range(20)]])
async def test_every_revoked_session_is_read(make_backend, monkeypatch, ends):
    """However many there are, and however many of them end at the same time: a page is no end."""
    monkeypatch.setattr(revocations, "PAGE", 3)
    backend = make_backend()
    revoked = {f"s{n}": float(ends[n % len(ends)]) for n in range(20)}
    for session, until in revoked.items():
        await backend.revoke(session, until)
    assert await backend.revoked() == revoked
    await backend.close()


@pytest.mark.parametrize(
    ("said", "life"),
    [([], LONGEST_LIFE), ([3600.0], 3600.0), ([3600.0, 9e6, 60.0], 9e6)],
    ids=["by nobody", "by one", "by several"],
)
async def test_a_revocation_lasts_as_long_as_a_session_can_live(make_backend, said, life):
    """Whoever revokes need not know how long that is: the workers have said it, or it is the longest."""
    backend = make_backend()
    for seconds in said:
        assert await backend.revoked(seconds) == {}
    until = await backend.revoke("s")
    assert life - 5 <= until - time.time() <= life + 5
    assert await backend.revoked() == {"s": until}
    await backend.close()


async def test_a_revocation_lasts_longer_where_sessions_live_longer_later(make_backend):
    """A worker whose sessions live longer begins afterwards: to it the session is revoked for that long."""
    backend = make_backend()
    await backend.revoked(3600.0)
    until = await backend.revoke("s")
    known = await backend.revoked(7200.0)
    assert 3595 <= known["s"] - until <= 3605
    await backend.close()


async def test_of_two_revocations_the_longer_counts(make_backend):
    """One for a time and one for as long as the session can live."""
    backend = make_backend()
    await backend.revoked(3600.0)
    until = await backend.revoke("s")
    assert await backend.revoke("s", until - 600) == until - 600
    assert (await backend.revoked())["s"] == until
    assert await backend.revoke("s", until + 600) == until + 600
    assert (await backend.revoked())["s"] == until + 600
    await backend.close()
