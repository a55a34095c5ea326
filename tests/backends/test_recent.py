"""The recent events of a worker's channels: one read for many, bounded memory, no hole in between."""

import asyncio
import random

import pytest

from parts.reads import History, at, event, hear, settled
from sse_edge.backends.redis import recent as module
from sse_edge.backends.redis.channel import UNREAD, Gone
from sse_edge.backends.redis.recent import Lack, Recent, lacking
from sse_edge.errors import BackendError
from sse_edge.event import ZERO, EventId


@pytest.fixture
def history():
    return History()


def lacks(channels, after):
    """Those whose logs cannot say what came after a place."""
    return list(lacking(channels, after, {}, after))


async def complete(recent, channels, after):
    """Streams ask for what is after a place."""
    await recent.complete({channel: Lack(after) for channel in channels})


def numbers(log, after=ZERO):
    return [ms for ms, _, _ in log.since(after)]


async def begun(history, reads=1):
    """Return once so many reads have taken their answers."""
    while len(history.reads) < reads:
        await asyncio.sleep(0)


async def resume(recent, channel, after):
    """What a stream that comes back does."""
    while lacks([channel], after):
        await complete(recent, [channel], after)


async def test_many_ask_and_one_reads(history):
    """However many streams ask for a channel at the same time, it is read once."""
    recent = Recent(history.read)
    for n in (1, 2, 3):
        history.publish("a", n)
    channel = settled("a", at(3))
    assert lacks([channel], at(1)) == [channel]
    history.open.clear()
    tasks = [asyncio.create_task(complete(recent, [channel], at(1))) for _ in range(50)]
    await asyncio.sleep(0)
    history.open.set()
    await asyncio.gather(*tasks)
    assert history.reads == [[("a", 1, 3)]]
    assert lacks([channel], at(1)) == []
    assert numbers(channel.log) == [2, 3]


async def test_only_what_is_missing_is_read(history):
    """A resume reads what came after its place, up to where the log begins, and an older one the rest."""
    recent = Recent(history.read)
    for n in range(1, 8):
        history.publish("a", n)
    channel = settled("a", at(6))
    hear(recent, channel, history.kept["a"].events[-1])
    for after, reads, known in [
        (6, [], [7]),
        (4, [("a", 4, 6)], [5, 6, 7]),
        (5, [], [5, 6, 7]),
        (1, [("a", 1, 4)], [2, 3, 4, 5, 6, 7]),
        (0, [("a", 0, 1)], [1, 2, 3, 4, 5, 6, 7]),
    ]:
        history.reads.clear()
        await resume(recent, channel, EventId(after, 1 if after else 0))
        assert history.reads == [[one] for one in reads]
        assert numbers(channel.log) == known


async def test_the_earliest_place_is_read_for_all(history):
    """Streams that ask in the same turn, for several channels and with different places, cost one read."""
    recent = Recent(history.read)
    channels = [settled(name, at(9)) for name in "abc"]
    tasks = [
        asyncio.create_task(complete(recent, [channels[n % 3], channels[(n + 1) % 3]], at(8 - n)))
        for n in range(6)
    ]
    await asyncio.gather(*tasks)
    assert history.reads == [[("a", 3, 9), ("b", 4, 9), ("c", 3, 9)]]


@pytest.mark.parametrize("seed", range(10))
async def test_many_places_at_once(history, seed):
    """Many streams with places of their own, before a read and while it is under way, cost two reads."""
    rng = random.Random(seed)
    recent = Recent(history.read)
    for n in range(1, 101):
        history.publish("a", n)
    channel = settled("a", at(100))
    history.open.clear()
    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(resume(recent, channel, at(rng.randrange(1, 100)))))
        if rng.random() < 0.2:
            await asyncio.sleep(0)
    history.open.set()
    await asyncio.gather(*tasks)
    assert 1 <= len(history.reads) <= 2
    assert numbers(channel.log) == list(range(channel.log.floor.ms + 1, 101))


async def test_what_is_being_read_is_not_read_again(history):
    """A stream that needs two channels waits for the read that is under way, and reads the other."""
    recent = Recent(history.read)
    one, two = settled("a", at(1)), settled("b", at(2))
    history.publish("a", 1)
    history.publish("b", 2)
    history.open.clear()
    first = asyncio.create_task(complete(recent, [one], ZERO))
    await begun(history)
    both = asyncio.create_task(complete(recent, [one, two], ZERO))
    await asyncio.sleep(0)
    history.open.set()
    await asyncio.gather(first, both)
    assert history.reads == [[("a", 0, 1)], [("b", 0, 2)]]


async def test_whoever_asks_during_a_read_is_in_the_next(history, monkeypatch):
    """One read at a time, of as many channels as have not too many events together; one that fails fails no
    other."""
    monkeypatch.setattr(module, "EVENTS", 25)

    async def read(asked):
        cut = await history.read(asked)
        if len(history.reads) == 1:
            raise BackendError("down")
        return cut

    recent = Recent(read)
    channels = [settled(f"c{n}", at(9), keep=10) for n in range(6)]
    history.open.clear()
    tasks = [asyncio.create_task(complete(recent, [channels[0]], ZERO))]
    await begun(history)
    tasks += [asyncio.create_task(complete(recent, [channel], ZERO)) for channel in channels[1:]]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(history.reads) == 1
    history.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["down", *["None"] * 5]
    names = [[name for name, _, _ in read] for read in history.reads]
    assert names == [["c0"], ["c1", "c2"], ["c3", "c4"], ["c5"]]


async def test_who_asks_for_more_during_a_read(history):
    """A stream whose place is older than what is being read waits for that, and then asks for the rest."""
    recent = Recent(history.read)
    for n in range(1, 6):
        history.publish("a", n)
    channel = settled("a", at(5))
    history.open.clear()
    late = asyncio.create_task(resume(recent, channel, at(3)))
    await begun(history)
    assert history.reads == [[("a", 3, 5)]]
    early = asyncio.create_task(resume(recent, channel, at(1)))
    await asyncio.sleep(0)
    history.open.set()
    await asyncio.gather(late, early)
    assert history.reads == [[("a", 3, 5)], [("a", 1, 3)]]
    assert numbers(channel.log) == [2, 3, 4, 5]


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_stream_that_leaves_takes_nobody_along(history, gone):
    """Whoever of those that wait is cancelled, the read goes on for the others."""
    recent = Recent(history.read)
    history.publish("a", 1)
    channel = settled("a", at(1))
    history.open.clear()
    tasks = [asyncio.create_task(complete(recent, [channel], ZERO)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[gone].cancel()
    await asyncio.sleep(0)
    history.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [
        n == gone for n in range(3)
    ]
    assert history.reads == [[("a", 0, 1)]]
    assert numbers(channel.log) == [1]


async def test_everybody_left_before_the_answer(history):
    """The answer of a read that nobody waits for any more is kept for the next, and fails nobody."""
    recent = Recent(history.read)
    history.publish("a", 1)
    channel = settled("a", at(1))
    history.open.clear()
    task = asyncio.create_task(complete(recent, [channel], ZERO))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    history.open.set()
    await asyncio.wait([channel.reading])
    assert lacks([channel], ZERO) == []


async def test_a_failed_read_fails_all_who_wait_and_is_tried_again(history):
    """Everybody gets the BackendError; the next one reads anew."""
    recent = Recent(history.read)
    history.publish("a", 1)
    channel = settled("a", at(1))
    history.fail = BackendError("down")
    history.open.clear()
    tasks = [asyncio.create_task(complete(recent, [channel], ZERO)) for _ in range(3)]
    await asyncio.sleep(0)
    history.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["down"] * 3
    history.fail = None
    await complete(recent, [channel], ZERO)
    assert numbers(channel.log) == [1]


async def test_a_failed_read_that_nobody_waits_for(history):
    """It complains to nobody (an exception never retrieved would fail this test) and blocks nothing."""
    recent = Recent(history.read)
    channel = settled("a")
    history.fail = BackendError("down")
    history.open.clear()
    task = asyncio.create_task(complete(recent, [channel], ZERO))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    history.open.set()
    await asyncio.wait([channel.reading])
    assert channel.reading is None


async def test_what_is_heard_meanwhile_is_neither_lost_nor_doubled(history):
    """Events that are announced while the read is under way are in the log once, in order."""
    recent = Recent(history.read)
    for n in (1, 2):
        history.publish("a", n)
    channel = settled("a", at(2))
    for n in (3, 4):  # heard, and in the answer too
        hear(recent, channel, history.publish("a", n))
    history.open.clear()
    task = asyncio.create_task(complete(recent, [channel], ZERO))
    await begun(history)
    for n in (5, 6):  # heard, and not in the answer
        hear(recent, channel, history.publish("a", n))
    history.open.set()
    await task
    assert numbers(channel.log) == [1, 2, 3, 4, 5, 6]
    assert channel.log.size == recent._size == 60


async def test_what_was_let_go_of_while_it_was_read_is_no_hole(history):
    """A channel's events, heard after the read and evicted before its answer, are not passed over."""
    recent = Recent(history.read)
    history.publish("a", 1)
    channel = settled("a", at(1))
    history.open.clear()
    task = asyncio.create_task(complete(recent, [channel], ZERO))
    await begun(history)
    hear(recent, channel, history.publish("a", 2))
    recent.forget(channel)  # as _grown does when another channel needs the room
    history.open.set()
    await task
    if lacks([channel], ZERO):
        await complete(recent, [channel], ZERO)
    assert numbers(channel.log) == [1, 2]


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_the_floor_and_the_reason_are_those_of_history(history, after):
    """Below what history proves, the log says why it cannot say, and nobody asks again."""
    recent = Recent(history.read)
    for n in range(1, 6):
        history.publish("a", n)
    history.kept["a"].trim(2, 1000)
    channel = settled("a", at(5))
    await complete(recent, [channel], at(after))
    assert (channel.log.floor, channel.log.reason) == (at(3), "trimmed")
    assert channel.gone == Gone(at(3), "trimmed")
    assert numbers(channel.log) == [4, 5]
    assert lacks([channel], at(1)) == []  # Redis has been asked, and cannot help
    assert not channel.log.covers(at(1))


async def test_what_is_gone_stays_known_when_the_log_is_let_go_of(history):
    """A channel whose events had to make room is read again, but not for what Redis has no more."""
    recent = Recent(history.read)
    for n in range(1, 6):
        history.publish("a", n)
    history.kept["a"].trim(2, 1000)
    channel = settled("a", at(5))
    await complete(recent, [channel], at(1))
    recent.forget(channel)
    assert lacks([channel], at(2)) == []
    assert lacks([channel], at(3)) == [channel]
    await complete(recent, [channel], at(3))
    assert history.reads == [[("a", 1, 5)], [("a", 3, 5)]]
    assert numbers(channel.log) == [4, 5]


async def test_trimmed_below_what_was_heard(history):
    """Where history begins later than what was heard, what was heard stays, and the reason is given."""
    recent = Recent(history.read)
    channel = settled("a", at(1))
    for n in range(2, 6):
        hear(recent, channel, history.publish("a", n))
    history.kept["a"].trim(2, 1000)
    await complete(recent, [channel], ZERO)
    assert numbers(channel.log) == [2, 3, 4, 5]
    assert (channel.log.floor, channel.log.reason) == (at(1), "trimmed")


async def test_a_channel_keeps_its_newest(history):
    """More than ``keep`` events of one channel are not kept; Redis may still have the others."""
    recent = Recent(history.read)
    channel = settled("a", keep=3)
    for n in range(1, 6):
        hear(recent, channel, event(n))
    assert numbers(channel.log) == [3, 4, 5]
    assert (channel.log.floor, channel.log.reason) == (at(2), UNREAD)
    assert lacks([channel], at(1)) == [channel]
    assert lacks([channel], at(2)) == []
    assert recent._size == 30


async def test_a_channel_keeps_the_newest_of_what_is_read(history):
    """A read that brings more than the channel keeps leaves what may still be in Redis to be read apart."""
    recent = Recent(history.read)
    for n in range(1, 9):
        history.publish("a", n)
    channel = settled("a", at(8), keep=3)
    await complete(recent, [channel], at(1))
    assert numbers(channel.log) == [6, 7, 8]
    assert (channel.log.floor, channel.log.reason) == (at(5), UNREAD)
    assert lacks([channel], at(1)) == [channel]
    assert channel.log.size == recent._size == 30


async def test_the_channels_share_their_bytes(history):
    """Beyond ``size`` bytes the channels that heard nothing for longest are let go of, whole."""
    recent = Recent(history.read, 60)
    channels = [settled(name) for name in "abc"]
    for n in range(1, 7):
        hear(recent, channels[n % 3], event(n))
    hear(recent, channels[0], event(7))
    assert [numbers(channel.log) for channel in channels] == [[3, 6, 7], [], [2, 5]]
    assert lacks(channels, ZERO) == [channels[1]]
    assert lacks(channels, at(4)) == []
    assert recent._size == 50


async def test_what_is_read_counts_as_well(history):
    """A read that brings more than there is room for leaves no more than the bound."""
    recent = Recent(history.read, 100)
    for name in "ab":
        for n in range(1, 9):
            history.publish(name, n)
    channels = [settled(name, at(8)) for name in "ab"]
    await complete(recent, channels, ZERO)
    assert sum(channel.log.size for channel in channels) == recent._size <= 100
    for channel in channels:
        assert channel in lacks(channels, ZERO) or numbers(channel.log) == list(range(1, 9))


async def test_an_event_larger_than_all_room(history):
    """It is delivered to whoever is there, and not kept."""
    recent = Recent(history.read, 50)
    channel = settled("a")
    hear(recent, channel, event(1, size=51))
    assert (recent._size, numbers(channel.log)) == (0, [])
    assert lacks([channel], ZERO) == [channel]
    hear(recent, channel, event(2))
    assert numbers(channel.log) == [2]


async def test_a_channel_that_settles_again_frees_its_bytes(history):
    """Events heard before a channel is settled are forgotten then, and their bytes with them."""
    recent = Recent(history.read, 100)
    for n in range(1, 40):
        channel = settled(f"c{n}")
        hear(recent, channel, event(n))
        recent.forget(channel)
        channel.restart(at(n))
    assert recent._size == 0
    assert len(recent._order) == 0


async def resume_at_random(recent, history, published, channel, after):
    """A stream that comes back: what it is told is all there was, or it is truly gone."""
    for _ in range(4):  # the logs are too small for all who ask
        if not lacks([channel], after):
            break
        await complete(recent, [channel], after)
    if channel.log.covers(after):
        assert numbers(channel.log, after) == [m for m in published[channel] if m > after.ms]
        return "given"
    if lacks([channel], after):
        return "apart"
    assert history.kept[channel.name].floor > after
    return "reset"


@pytest.mark.parametrize("seed", range(30))
async def test_at_random(history, seed):
    """Whatever is heard, read, evicted and asked: what the logs cover is what was published."""
    rng = random.Random(seed)
    recent = Recent(history.read, 200)
    channels = [settled(name, keep=8) for name in "abcd"]
    published = {channel: [] for channel in channels}
    tasks = []
    for n in range(1, 300):
        channel = rng.choice(channels)
        hear(recent, channel, history.publish(channel.name, n, rng.randrange(5, 40)))
        history.kept[channel.name].trim(8, 10_000)
        published[channel].append(n)
        if rng.random() < 0.3:
            history.open.clear() if rng.random() < 0.5 else history.open.set()
        after = EventId(rng.randrange(max(0, n - 30), n), 1)
        if rng.random() < 0.2:
            tasks.append(asyncio.create_task(complete(recent, rng.sample(channels, 2), after)))
        if rng.random() < 0.3:
            stream = resume_at_random(recent, history, published, rng.choice(channels), after)
            tasks.append(asyncio.create_task(stream))
        if tasks and rng.random() < 0.1:
            rng.choice(tasks).cancel()
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        assert recent._size == sum(each.log.size for each in channels) <= 200
        for each in channels:
            after = EventId(rng.randrange(n), 1)
            if each.log.covers(after):
                assert numbers(each.log, after) == [m for m in published[each] if m > after.ms]
    history.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [each for each in outcomes if isinstance(each, Exception)]
    assert errors == []
    assert recent._asked == {}
    assert {"given", "reset"} <= set(map(str, outcomes))
