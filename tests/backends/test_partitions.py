"""Several orders of events: one place in all of them for each client, and a tag that names each of them."""

import asyncio
from functools import partial

import pytest

from parts.ears import out, said, until
from sse_edge import Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.backends.redis.partitions import GROUPS, LETTERS, UNKNOWN, joined
from sse_edge.event import EventId, Place

PARTS = 3


@pytest.fixture
def make_backend(redis_url):
    return lambda url=redis_url, **settings: RedisBackend(url, partitions=PARTS, **settings)


def apart(backend):
    """A channel of each partition."""
    names = {}
    for n in range(100):
        names.setdefault(backend.partition(f"c{n}"), f"c{n}")
    return [names[partition] for partition in backend.partitions]


def ids(frames):
    """The ids that frames carry, None for those without one."""
    lines = [frame.partition(b"\n")[0].decode() for frame in frames]
    return [Place.parse(line[4:]) if line.startswith("id: ") else None for line in lines]


async def test_what_many_missed_is_told_once(start):
    """Streams that come back from anywhere before the same events share these, and wait for nothing."""
    backend, subscriber, ear = await start()
    channels = apart(backend)
    begin = await subscriber.subscribe(channels)
    await until(lambda: subscriber.position and subscriber.position.id > begin.id)
    places = [begin, subscriber.position]
    for n in range(30):
        await backend.publish([out(channels[n % PARTS], n)])
    await ear.wait(30)
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    replays = [await subscriber.replay(channels, place) for place in places * 50]
    assert not turns
    assert sorted(map(int, said(replays[0]))) == list(range(30))
    assert {id(replay.events) for replay in replays} == {id(replays[0].events)}


async def same_id(backend, redis_server, channels):
    """Publish an event on each channel, all with one id; a place before them."""
    client = redis_server.client()
    await backend.publish([out(channel, "old") for channel in channels])
    await asyncio.sleep(0.005)
    before = await backend.cursor()
    ahead = before.id.ms + 2000
    for number in range(PARTS):
        client.hset(f"sse:{{{number}}}:clock", "last", f"{ahead}-0")
    places = await backend.publish([out(channel, channel) for channel in channels])
    assert len({Place.parse(place).id for place in places}) == 1
    return before


async def test_events_that_share_an_id(start, redis_server):
    """In a replay only the last of them carries it: a client that is cut off between them gets the rest."""
    backend, subscriber, _ = await start()
    channels = apart(backend)
    before = await same_id(backend, redis_server, channels)
    await subscriber.subscribe(channels)
    await until(lambda: subscriber.position and subscriber.position.id.ms > before.id.ms + 1000)
    replay = await subscriber.replay(channels, before)
    assert sorted(said(replay)) == sorted(channels)
    told = ids([frame for _, _, frame in replay.events])
    assert told[:-1] == [None] * (PARTS - 1)
    assert told[-1] is not None


@pytest.mark.parametrize("cut", range(PARTS))
async def test_live_events_that_share_an_id(start, redis_server, cut):
    """Cut off after any of them, a client resumes and misses none."""
    backend, subscriber, ear = await start()
    channels = apart(backend)
    await subscriber.subscribe(channels)
    await same_id(backend, redis_server, channels)
    await ear.wait(2 * PARTS)
    heard, rest = ear.heard[PARTS : PARTS + cut + 1], ear.heard[PARTS + cut + 1 :]
    told = [place for place in ids([frame for _, _, frame in heard]) if place is not None]
    seen = {channel for channel, _, _ in heard}
    if told:
        seen |= set(said(await subscriber.replay(channels, told[-1])))
    else:  # its place is where it began
        seen |= {channel for channel, _, _ in rest}
    assert seen - {"old"} == set(channels)  # what is repeated does no harm


async def test_ids_never_come_twice_and_never_go_back(start):
    """Whatever partition an event is of: live, and after what a stream was told of history."""
    backend, subscriber, ear = await start()
    channels = [f"c{n}" for n in range(7)]
    begin = await subscriber.subscribe(channels)
    for n in range(200):
        await backend.publish([out(channels[n % 7], n), out(channels[n * 3 % 7], n)])
    await ear.wait(400)
    replay = await subscriber.replay(channels, begin)
    told = [place for place in ids([frame for _, _, frame in replay.events]) if place]
    assert told == sorted(set(told))
    live = [place for place in ids([frame for _, _, frame in ear.heard]) if place]
    assert live == sorted(set(live))
    assert len(live) > 1
    assert replay.upto.id >= told[-1].id


async def test_clients_that_are_ahead_hold_nobody_back(start):
    """However many come with a place that this worker has not reached, others go on being told theirs."""
    backend, subscriber, ear = await start()
    channels = apart(backend)
    begin = await subscriber.subscribe(channels)
    for n in range(1, 30):
        ahead = await backend.cursor()
        replay = await subscriber.replay(channels, ahead)
        assert replay.upto.id >= ahead.id
        assert subscriber.position is not None
        await backend.publish([out(channel, n) for channel in channels])
        await ear.wait(PARTS * n)
    assert len([place for place in ids([frame for _, _, frame in ear.heard]) if place]) > 1
    assert (await subscriber.replay(channels, begin)).resets == []


async def test_a_fresh_stream_gets_nothing_old(start):
    """A stream on channels of several partitions begins in each where that one is."""
    backend, subscriber, ear = await start()
    channels = apart(backend)
    await subscriber.subscribe(channels)
    for n in range(1, 20):
        await backend.publish([out(channel, n) for channel in channels])
        await ear.wait(PARTS * n)
        begin = await subscriber.subscribe(channels)
        replay = await subscriber.replay(channels, begin)
        assert (said(replay), replay.resets) == ([], [])


async def test_a_cancelled_subscribe_leaves_nothing(start, monkeypatch):
    """Neither what was done when it was cancelled, nor what was not."""
    backend, subscriber, _ = await start()
    channels = apart(backend)
    await subscriber.subscribe(channels[:1])
    ears = list(subscriber._ears.values())
    asked = asyncio.Event()
    slow = ears[1].subscribe

    async def wait(names):
        asked.set()
        await asyncio.Event().wait()
        await slow(names)

    monkeypatch.setattr(ears[1], "subscribe", wait)
    task = asyncio.create_task(subscriber.subscribe(channels))
    await asked.wait()
    await until(lambda: all(ear._members.channels for ear in (ears[0], ears[2])))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    counts = {
        name: channel.count
        for ear in ears
        for name, channel in ear._members.channels.items()
        if channel.count
    }
    assert counts == {channels[0]: 1}


async def test_a_partition_that_begins_later_than_a_place(start, redis_server):
    """A place is the slowest partition's, and may lie before another one's data began.  What was there in
    between nobody knows, on a channel that was not listened to either: that is a reset."""
    backend, subscriber, _ = await start()
    channels = apart(backend)
    client = redis_server.client()
    await subscriber.subscribe(channels)
    place = await backend.cursor()
    client.delete("sse:{1}:clock")
    await until(lambda: subscriber.connected and subscriber.position.tag != place.tag)
    begun = subscriber.position
    early = Place(EventId(begun.id.ms - 60_000, 0), begun.tag)
    replay = await subscriber.replay([channels[1]], early)
    assert [reset.reason for reset in replay.resets] == ["epoch"]
    replay = await subscriber.replay([channels[1]], place)
    assert [reset.reason for reset in replay.resets] == ["epoch"]


async def test_one_partition_begins_anew(start, redis_server):
    """Its channels are reset, also for a client that comes back; those of the others are not."""
    backend, subscriber, ear = await start()
    channels = apart(backend)
    await subscriber.subscribe(channels)
    await backend.publish([out(channel, "before") for channel in channels])
    await ear.wait(PARTS)
    await until(lambda: subscriber.position is not None)
    before = await backend.cursor()
    client = redis_server.client()
    client.delete(*client.keys("sse:{1}:*"))
    await backend.publish([out(channel, "after") for channel in channels])
    await ear.until(lambda: ear.resets)
    await until(lambda: subscriber.connected)
    assert [(reset.channel, reset.reason) for reset in ear.resets] == [(channels[1], "epoch")]
    replay = await subscriber.replay(channels, before)
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [(channels[1], "epoch")]
    assert [text for text in said(replay) if text != "before"] == ["after", "after"]  # or repeated
    after = await backend.cursor()
    assert replay.upto.tag == after.tag != before.tag


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 16, 256])
def test_each_partition_has_its_part_of_the_tag(count):
    """Another data set in one of them changes that part and no other; one that is not known says so."""
    tags = [f"{number:05d}".translate(str.maketrans("0123456789", "abcdefghij")) for number in range(count)]
    tag = joined(tags)
    assert len(tag) == min(GROUPS, count) * LETTERS
    for number in range(count):
        for other in ("zzzzz", ""):
            changed = joined([*tags[:number], other, *tags[number + 1 :]])
            parts = {at // LETTERS for at in range(len(tag)) if tag[at] != changed[at]}
            assert parts == {number % GROUPS}
            assert other or changed[number % GROUPS * LETTERS :][:LETTERS] == UNKNOWN


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 4), (7, 8), (8, 9), (9, 10), (12, 16)])
def test_another_number_of_partitions_is_another_tag(before, after):
    """A channel may be in another partition then: no part of the old tag is one of the new."""
    tags = [f"{number:05d}".translate(str.maketrans("0123456789", "abcdefghij")) for number in range(after)]
    old, new = joined(tags[:before]), joined(tags)
    same = [at for at in range(0, len(old), LETTERS) if old[at : at + LETTERS] == new[at : at + LETTERS]]
    assert len(old) != len(new) or not same


def test_the_longest_place_can_be_read():
    """Of however many partitions."""
    place = f"{10**14}-{10**14}.{joined(['abcde'] * 256)}"
    assert str(Place.parse(place)) == place


@pytest.mark.parametrize("kind", [Publisher, SyncPublisher])
@pytest.mark.parametrize(
    ("order", "published", "may_have_happened"),
    [
        ([0, 1, 2, 0], 1, True),
        ([1, 0], 0, True),
        ([0, 0, 2, 1, 1], 3, False),
        ([1, 1], 0, False),
    ],
)
async def test_what_is_published_when_one_partition_refuses(
    start, redis_server, kind, order, published, may_have_happened
):
    """The first events are named, as many as are out one after the other, and it is said whether any other
    may be out."""
    backend, _, _ = await start()
    channels = apart(backend)
    redis_server.client().set(backend.partitions[1].names.stream(channels[1]), "somebody else's")
    publish = Publisher(backend).publish_many
    if kind is SyncPublisher:
        publish = partial(asyncio.to_thread, SyncPublisher(backend).publish_many)
    with pytest.raises(PublishError, match="WRONGTYPE") as raised:
        await publish([(channels[n], str(n)) for n in order])
    assert len(raised.value.published) == published
    assert raised.value.may_have_happened is may_have_happened
