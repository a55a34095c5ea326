"""Who publishes in a load test: numbers from 1, the rate that was asked for, and clear errors."""

import asyncio
import json
import os
import select
import signal
import time

import pytest

import publishers
from loadtest.checker import read_payload
from loadtest.run.newsroom import Newsroom
from loadtest.run.press import Press
from sse_edge import Publisher, PublishError, RedisBackend
from sse_edge.errors import EventError

NOWHERE = "redis://127.0.0.1:1/0"
"""Nobody listens there."""


class Listener(publishers.Listener):
    """A receiver of numbered events."""

    @property
    def texts(self):
        """Of each the channel and the data."""
        return [(channel, data) for channel, _, data, _ in super().events]

    @property
    def events(self):
        """Of each the channel and the number; it was meant for that channel."""
        said = [(channel, *read_payload(data)) for channel, data in self.texts]
        assert all(channel == named for channel, named, _, _ in said)
        return [(channel, number) for channel, _, number, _ in said]


@pytest.fixture
async def listen(redis_url):
    """``await listen(channel, …)`` hears what is published from now on."""
    backend = RedisBackend(redis_url)
    subscribers = []

    async def start(*channels):
        listener = Listener()
        subscribers.append(backend.subscriber(listener))
        await subscribers[-1].start()
        await subscribers[-1].subscribe(channels)
        return listener

    yield start
    for subscriber in subscribers:
        await subscriber.close()
    await backend.close()


@pytest.fixture
async def newsroom(redis_url):
    """One that publishes to the shared Redis, from this process."""
    async with Publisher(redis_url) as publisher:
        made = Newsroom(publisher)
        yield made
        await made.stop()


@pytest.fixture
def press():
    """``press(url)`` starts a newsroom's process, which ends with the test."""
    started = []

    def start(url):
        started.append(Press(url))
        return started[-1]

    yield start
    for one in started:
        one.end()


class Silent:
    """Takes whatever is published."""

    async def publish(self, channel, data):
        await asyncio.sleep(0)


# In this process


async def test_every_channel_is_numbered_from_one(newsroom, listen):
    """Numbers say what was published where, and when; data has the size that was asked for."""
    listener = await listen("a", "b")
    began = time.time()
    for channel in "aabab":
        await newsroom.publish(channel, 200)
    assert await listener.wait(5) == [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)]
    assert all(190 <= len(data) <= 200 for _, data in listener.texts)
    times = [read_payload(data)[2] for _, data in listener.texts]
    assert began <= times[0] <= times[-1] <= time.time()
    numbers = json.loads(json.dumps(newsroom.numbers()))
    assert {name: len(each["times"]) for name, each in numbers["numberings"].items()} == {"a": 3, "b": 2}
    assert numbers["clients"] == {}
    assert newsroom.failed == 0


@pytest.mark.parametrize(
    ("fresh", "newest"),
    [
        (0, {"a": (3, 10), "b": (1, 10)}),
        (15, {"a": (2, 20)}),
        (25, {"a": (1, 30)}),
        (100, {}),
    ],
)
def test_the_newest_event_is_none_that_is_fresh(fresh, newest):
    """Its number and time; what may still be under way is not asked for, nor a channel with nothing else."""
    newsroom = Newsroom(Silent())
    now = time.time()
    for channel, age in (("a", 30), ("a", 20), ("a", 10), ("b", 10)):
        newsroom.checker.numbering(channel).next(now - age)
    newsroom.checker.numbering("c")
    assert newsroom.newest(fresh) == {name: (n, now - age) for name, (n, age) in newest.items()}


async def test_a_burst_comes_whole_and_in_order(newsroom, listen):
    """So many events, one after another, and no faster than they were asked for."""
    listener = await listen("a")
    began = time.monotonic()
    await newsroom.burst("a", 10, 0.01, 100)
    assert time.monotonic() - began >= 0.1
    await newsroom.burst("a", 30, 0.0, 100)
    assert await listener.wait(40) == [("a", number) for number in range(1, 41)]


@pytest.mark.parametrize("hands", [1, 3])
async def test_publishing_goes_on_at_its_rate(newsroom, listen, hands):
    """Each channel in its turn, as often as asked for, until it is stopped."""
    channels = ["a", "b", "c", "d", "e", "f"]
    listener = await listen(*channels)
    began = time.time()
    newsroom.start(channels, 300, 100, hands)
    await listener.wait(60)
    await newsroom.stop()
    seconds = time.time() - began
    numbered = {name: each["times"] for name, each in newsroom.numbers()["numberings"].items()}
    count = sum(map(len, numbered.values()))
    # Each publisher begins at once, and what was missed is made up for; there is no more.
    assert 60 <= count <= 300 * seconds + hands
    assert max(map(len, numbered.values())) - min(map(len, numbered.values())) <= 10
    for name in channels:
        got = [number for channel, number in await listener.wait(60) if channel == name]
        assert got == list(range(1, len(got) + 1))
    assert newsroom.failed == 0


async def test_what_is_stopped_does_not_go_on():
    """After ``stop`` nothing is numbered, and another ``start`` goes on with the next number."""
    newsroom = Newsroom(Silent())
    newsroom.start(["a"], 1000, 0)
    async with asyncio.timeout(10):
        while not newsroom.newest(0).get("a"):
            await asyncio.sleep(0)
    await newsroom.stop()
    assert len(asyncio.all_tasks()) == 1
    last = newsroom.checker.numbering("a").last
    newsroom.start(["a"], 1000, 0)
    async with asyncio.timeout(10):
        while newsroom.checker.numbering("a").last < last + 2:
            await asyncio.sleep(0)
    await newsroom.stop()


async def test_what_nobody_confirms_is_counted():
    """An event that may be out and may be not is no event that somebody can lose."""
    async with Publisher(NOWHERE) as publisher:
        newsroom = Newsroom(publisher)
        await newsroom.burst("a", 2, 0.0, 100)
        assert newsroom.failed == 2
        assert newsroom.numbers()["numberings"]["a"]["unconfirmed"] == [1, 2]
        with pytest.raises(PublishError):
            await newsroom.say("a", "x")


async def test_what_is_cancelled_is_given_up():
    """An event whose publishing was cancelled may be out and may be not; those before it are."""

    class Hanging:
        async def publish(self, channel, data):
            if read_payload(data)[1] == 3:
                reached.set()
                await asyncio.Event().wait()

    reached = asyncio.Event()
    newsroom = Newsroom(Hanging())
    burst = asyncio.create_task(newsroom.burst("a", 9, 0.0, 0))
    async with asyncio.timeout(10):
        await reached.wait()
    burst.cancel()
    with pytest.raises(asyncio.CancelledError):
        await burst
    assert newsroom.failed == 1
    assert newsroom.checker.numbering("a").last == 3
    assert newsroom.numbers()["numberings"]["a"]["unconfirmed"] == [3]


async def test_what_publishing_raises_is_told_when_it_stops(newsroom):
    """What can never be published ends the publishing, and is not kept quiet."""
    newsroom.start(["a\n"], 100, 0)
    (task,) = newsroom._tasks
    await asyncio.wait([task], timeout=10)
    with pytest.raises(EventError, match="channel"):
        await newsroom.stop()


# In its own process


async def test_the_press_publishes_what_it_is_told(press, redis_url, listen):
    """Orders are done one after another, and each has its answer."""
    listener = await listen("a", "b")
    one = press(redis_url)
    ask = one.ask

    def work():
        assert ask("newest", fresh=0.0) == {}
        ask("burst", channel="a", count=5, spacing=0.0, size=100)
        with one.publishing(["a", "b"], 500, 100):
            deadline = time.monotonic() + 10
            while sum(n for n, _ in ask("newest", fresh=0.0).values()) < 25:
                assert time.monotonic() < deadline
        return ask("newest", fresh=0.0), ask("numbers")["numberings"]

    newest, numbers = await asyncio.to_thread(work)
    assert newest == {name: [len(each["times"]), each["times"][-1]] for name, each in numbers.items()}
    heard = await listener.wait(25)
    for name in "ab":
        got = [number for channel, number in heard if channel == name]
        assert got == list(range(1, len(got) + 1))
    assert one.failed == 0


@pytest.mark.live
@pytest.mark.parametrize(
    ("order", "given", "said"),
    [
        ("shout", {}, "publishing: AttributeError: .*'shout'"),
        ("burst", {"channel": "a"}, "publishing: TypeError: .*'count', 'spacing', and 'size'"),
        ("say", {"channel": "a\n", "data": "x"}, "publishing: EventError: channel"),
        ("say", {"channel": "a", "data": "x"}, "publishing: PublishError: Redis: .*127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_said(press, order, given, said):
    """A wrong order, or a Redis that is not there, is an error, and the next answer is the next order's."""
    one = press(NOWHERE)
    with pytest.raises(RuntimeError, match=said):
        one.ask(order, **given)
    assert one.ask("newest", fresh=0.0) == {}
    one.ask("burst", channel="a", count=3, spacing=0.0, size=0)
    assert one.failed == 3


@pytest.mark.live
def test_an_answer_that_nobody_took_is_passed_over(press, redis_url):
    """Who was interrupted while asking has left an answer, which is not the next order's."""
    one = press(redis_url)
    began = time.time()
    one.ask("burst", channel="a", count=1, spacing=0.0, size=0)
    one._number += 1
    one._process.stdin.write(json.dumps([one._number, "numbers", {}]) + "\n")
    one._process.stdin.flush()
    assert select.select([one._process.stdout], [], [], 10)[0]
    n, at = one.ask("newest", fresh=0.0)["a"]
    assert (n, began <= at <= time.time()) == (1, True)


@pytest.mark.live
def test_orders_that_come_at_once_are_done_one_after_another(press):
    """Two lines in one piece, and one in two, are an answer each, in their order."""
    one = press(NOWHERE)
    first, second, third = (json.dumps([number, "newest", {"fresh": 0.0}]) + "\n" for number in (1, 2, 3))
    said = b""
    for piece, count in ((first + second + third[:9], 2), (third[9:], 3)):
        one._process.stdin.write(piece)
        one._process.stdin.flush()
        while said.count(b"\n") < count:
            assert select.select([one._process.stdout], [], [], 10)[0]
            said += os.read(one._process.stdout.fileno(), 65_536)
    answers = [json.loads(line) for line in said.splitlines()]
    assert answers == [{"number": number, "answer": {}, "failed": 0} for number in (1, 2, 3)]


@pytest.mark.live
def test_a_long_order_is_read_whole(press, redis_url):
    """Thousands of channels are no line that is too long."""
    one = press(redis_url)
    one.ask("start", channels=[f"user:u{number}" for number in range(20_000)], rate=0.001, size=0)
    one.ask("stop")
    assert one.ask("newest", fresh=0.0).keys() == {"user:u0"}


@pytest.mark.live
def test_the_end_is_the_end(press):
    """No process is left."""
    one = press(NOWHERE)
    pid = one.pid
    assert one.ask("newest", fresh=0.0) == {}
    one.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.live
def test_what_nobody_knows_of_is_not_the_newest(press):
    """An event that may not be out is no reason to wait for it."""
    one = press(NOWHERE)
    one.ask("burst", channel="a", count=2, spacing=0.0, size=0)
    assert one.failed == 2
    assert one.ask("newest", fresh=0.0) == {}


@pytest.mark.live
@pytest.mark.parametrize("url", [NOWHERE, "http://127.0.0.1/"])
def test_a_process_that_is_gone_is_an_error(press, url):
    """Whether it was killed or never began: who asks is not left waiting."""
    one = press(url)
    if url == NOWHERE:
        one.ask("newest", fresh=0.0)
        os.kill(one.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the process that publishes has ended"):
            one.ask("newest", fresh=0.0)
