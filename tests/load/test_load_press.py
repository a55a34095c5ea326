"""Who publishes in a load test: numbers from 1, the rate that was asked for, and clear errors."""

import asyncio
import contextlib
import time

import gevent
import pytest

from loadtest.checker import read_payload
from loadtest.scenarios.press import Press
from parts import publishers
from sse_edge import RedisBackend
from sse_edge.errors import ConfigError, EventError


class Listener(publishers.Listener):
    """One that reads what a load test says in its data."""

    async def wait(self, count):
        """Wait for ``count`` events in all; (channel, number) of each."""
        heard = await super().wait(count)
        said = [(channel, *read_payload(data)) for channel, _, data, _ in heard]
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
def press():
    """``press(url)`` makes one that publishes there, until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda url: stack.enter_context(contextlib.closing(Press(url)))


def silent(monkeypatch):
    """A press whose events go nowhere."""
    one = Press("memory://")
    monkeypatch.setattr(one._publisher, "publish", lambda channel, data: gevent.sleep(0))
    return one


async def test_every_channel_is_numbered_from_one(press, redis_url, listen):
    """Numbers say what was published where, and when; data has the size that was asked for."""
    listener = await listen("a", "b")
    began = time.time()
    one = press(redis_url)
    for channel in "aabab":
        await asyncio.to_thread(one.publish, channel, 200)
    assert await listener.wait(5) == [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)]
    assert all(190 <= len(data) <= 200 for _, _, data, _ in listener.events)
    times = [read_payload(data)[2] for _, _, data, _ in listener.events]
    assert began <= times[0] <= times[-1] <= time.time()
    assert {name: list(each.times) for name, each in one.numberings.items()} == {
        "a": [times[0], times[1], times[3]],
        "b": [times[2], times[4]],
    }
    assert one.failed == 0


@pytest.mark.parametrize(
    ("fresh", "newest"),
    [
        (0, {"a": (3, 10), "b": (1, 10)}),
        (15, {"a": (2, 20)}),
        (25, {"a": (1, 30)}),
        (100, {}),
    ],
)
def test_the_newest_event_is_none_that_is_fresh(press, fresh, newest):
    """Its number and time; what may still be under way is not asked for, nor a channel with nothing else."""
    one, now = press("memory://"), time.time()
    for channel, age in (("a", 30), ("a", 20), ("a", 10), ("b", 10)):
        one.numberings[channel].next(now - age)
    assert one.numberings["c"].last == 0
    assert one.newest(fresh) == {name: (n, now - age) for name, (n, age) in newest.items()}


async def test_a_burst_comes_whole_and_in_order(press, redis_url, listen):
    """So many events, one after another, and no faster than they were asked for."""
    listener, one = await listen("a"), press(redis_url)
    began = time.monotonic()
    await asyncio.to_thread(one.burst, "a", 10, 0.01, 100)
    assert time.monotonic() - began >= 0.1
    await asyncio.to_thread(one.burst, "a", 30, 0.0, 100)
    assert await listener.wait(40) == [("a", number) for number in range(1, 41)]


@pytest.mark.parametrize("hands", [1, 3])
async def test_publishing_goes_on_at_its_rate(press, redis_url, listen, hands):
    """Each channel in its turn, as often as asked for, until the block ends."""
    channels = ["a", "b", "c", "d", "e", "f"]
    listener, one = await listen(*channels), press(redis_url)

    def work():
        began = time.time()
        with one.publishing(channels, 300, 100, hands):
            while sum(each.last for each in one.numberings.values()) < 60:
                gevent.sleep(0.01)
        return time.time() - began

    seconds = await asyncio.to_thread(work)
    counts = [one.numberings[name].last for name in channels]
    # Each publisher begins at once, and what was missed is made up for; there is no more.
    assert 60 <= sum(counts) <= 300 * seconds + hands
    assert max(counts) - min(counts) <= 10
    heard = await listener.wait(sum(counts))
    for name, count in zip(channels, counts, strict=True):
        assert [n for channel, n in heard if channel == name] == list(range(1, count + 1))
    assert one.failed == 0


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_stopped_does_not_go_on(monkeypatch, fails):
    """After the block nothing is numbered, whatever ended it, and another goes on with the next number."""
    one = silent(monkeypatch)
    for least in (2, 4):
        with contextlib.suppress(KeyError), one.publishing(["a"], 1000, 0):
            while one.numberings["a"].last < least:
                gevent.sleep(0.001)
            if fails:
                raise KeyError
        last = one.numberings["a"].last
        gevent.sleep(0.02)
        assert one.numberings["a"].last == last >= least


def test_what_nobody_confirms_is_counted(press):
    """An event that may be out and may be not is no event that somebody can lose, nor one to wait for."""
    one = press("redis://127.0.0.1:1/0")  # nobody listens there
    one.burst("a", 2, 0.0, 100)
    assert one.failed == 2
    assert one.numberings["a"].unconfirmed == {1, 2}
    assert one.newest(0.0) == {}


def test_what_is_stopped_while_it_is_published_is_given_up(monkeypatch):
    """It may be out and may be not; those before it are."""
    one = silent(monkeypatch)

    def publish(channel, data):
        if read_payload(data)[1] == 3:
            gevent.sleep(10)

    monkeypatch.setattr(one._publisher, "publish", publish)
    burst = gevent.spawn(one.burst, "a", 9, 0.0, 0)
    with gevent.Timeout(10):
        while one.numberings["a"].last < 3:
            gevent.sleep(0.001)
    burst.kill()
    assert (one.failed, one.numberings["a"].last, one.numberings["a"].unconfirmed) == (1, 3, {3})


def test_what_can_never_be_published_is_said(press):
    """A channel or a URL that makes no sense is an error at once, and is not kept quiet."""
    one = press("memory://")
    with pytest.raises(EventError, match="channel"):
        one.publish("a\n", 0)
    with pytest.raises(EventError, match="channel"), one.publishing(["a", "a\n"], 100, 0):
        pass
    with pytest.raises(ConfigError):
        Press("http://127.0.0.1/")
