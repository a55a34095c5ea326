"""One contract for every backend: one writer for each channel, which lives as long as it says so."""

import asyncio
import secrets

import pytest

from sse_edge import MemoryBackend, RedisBackend, Retention
from sse_edge.backends.base import Outgoing
from sse_edge.backends.redis import writers as module
from sse_edge.backends.writers import DOUBT, HOLDS, IS_FINISHED, LIFE, LOST, STOPS, WRITES, Writing
from sse_edge.errors import BackendError, EventError
from sse_edge.event import REOPENED, Event, Place, finishing

LAST = finishing(Event("gone", event="abandoned").encode())


def writing(channel="a"):
    return Writing(channel, secrets.token_hex(8), LAST)


def last(channel="a"):
    return Outgoing(channel, finishing(Event("end", event="complete").encode()))


class Clock:
    """The backend's clock, which goes on when it is told to."""

    def __init__(self, client=None):
        self.now = 1_700_000_000.0
        self.client = client

    def __call__(self):
        return self.now

    def advance(self, seconds):
        """As if ``seconds`` had passed."""
        self.now += seconds
        if self.client is not None:
            for key in self.client.keys("sse*:writers"):
                for channel, until in self.client.zrange(key, 0, -1, withscores=True):
                    self.client.zadd(key, {channel: until - 1000 * seconds})


@pytest.fixture
def clock(request):
    return Clock()


@pytest.fixture(params=["memory", "redis", "partitions"])
async def backend(request, clock):
    """A fresh backend of each kind, by ``clock`` as far as writers are concerned."""
    if request.param == "memory":
        yield MemoryBackend(clock=clock)
        return
    url = request.getfixturevalue("redis_url")
    clock.client = request.getfixturevalue("redis_server").client()
    backend = RedisBackend(url, partitions=3 if request.param == "partitions" else 1)
    yield backend
    await backend.close()


async def test_one_at_a_time(backend):
    """While one writes to a channel another is refused, until it ends; other channels are free."""
    writers, one, two = backend.writers(), writing(), writing()
    assert (await writers.begin(one)).refused == ""
    assert (await writers.begin(one)).refused == ""
    assert (await writers.begin(two)).refused == WRITES
    assert (await writers.begin(two, reopen=True)).refused == WRITES
    assert (await writers.begin(writing("b"))).refused == ""
    assert await writers.standing("a") == WRITES
    await writers.end(two)
    assert (await writers.begin(two)).refused == WRITES
    await writers.end(one)
    assert await writers.standing("a") == ""
    assert (await writers.begin(two)).refused == ""


async def test_of_many_one(backend):
    """Of many that begin at the same time, one does."""
    answers = await asyncio.gather(*(backend.writers().begin(writing()) for _ in range(20)))
    assert sorted(answer.refused for answer in answers) == ["", *[WRITES] * 19]


async def test_a_finished_channel(backend):
    """Nobody begins on a finished channel unless it may be reopened."""
    writers, one = backend.writers(), writing()
    await backend.publish([last()])
    assert await writers.standing("a") == IS_FINISHED
    assert (await writers.begin(one)).refused == IS_FINISHED
    assert await writers.renew([one]) == [LOST]
    assert (await writers.begin(one, reopen=True)).refused == ""
    await backend.publish([Outgoing("a", REOPENED)])
    await writers.end(one)
    assert await writers.standing("a") == ""


async def test_after_what_is_there(backend):
    """Whoever begins is told an id between what is published and what will be."""
    before = await backend.publish([Outgoing("a", Event("x").encode())])
    after = (await backend.writers().begin(writing())).after
    later = await backend.publish([Outgoing("a", Event("x").encode())])
    assert Place.parse(before[0]).id <= after < Place.parse(later[0]).id


async def test_renewed(backend, clock):
    """A writer that is renewed lives, whatever its age."""
    writers, one, two = backend.writers(), writing("a"), writing("b")
    await writers.begin(one)
    await writers.begin(two)
    for _ in range(10):
        clock.advance(LIFE - 0.5)
        assert await writers.renew([one, two]) == [HOLDS, HOLDS]
        assert await writers.expired() == []


async def test_told_to_stop(backend, clock):
    """Who writes is told to stop with its next renewal and every later one; there is nobody else to tell."""
    writers, one, two = backend.writers(), writing("a"), writing("b")
    assert await writers.stop("a") is False
    await writers.begin(one)
    await writers.begin(two)
    assert await writers.stop("a") is True
    assert await writers.renew([two, one]) == [HOLDS, STOPS]
    clock.advance(LIFE + 0.5)
    assert await writers.expired() == []
    assert await writers.renew([two, one]) == [HOLDS, STOPS]
    await writers.end(one)
    assert await writers.stop("a") is False
    await writers.begin(one)
    assert await writers.renew([one]) == [HOLDS]


async def test_taken_over(backend, clock):
    """One that died is doubted, then taken over by one who looks, and again if that one dies as well."""
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    clock.advance(LIFE + 0.5)
    assert await writers.expired() == []
    clock.advance(DOUBT / 2)
    assert await writers.expired() == []
    clock.advance(DOUBT / 2 + 0.1)
    (taken,) = await writers.expired()
    assert taken.channel == "a"
    assert taken.last == LAST
    assert await writers.expired() == []
    assert await writers.renew([one]) == [LOST]
    clock.advance(DOUBT + 0.1)
    (again,) = await writers.expired()
    assert again.last == LAST
    await writers.end(taken)
    assert await writers.standing("a") == WRITES
    await writers.end(again)
    assert await writers.standing("a") == ""


@pytest.mark.parametrize("since", ["ended", "reopened", "written by another"])
async def test_who_was_taken_for_dead(backend, clock, since):
    """It does not come back, whatever has become of its channel since."""
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    clock.advance(LIFE + 0.5)
    assert await writers.expired() == []
    clock.advance(DOUBT + 0.1)
    (taken,) = await writers.expired()
    await backend.publish([Outgoing("a", taken.last)])
    await writers.end(taken)
    if since != "ended":
        await backend.publish([Outgoing("a", REOPENED)])
    if since == "written by another":
        two = writing()
        assert (await writers.begin(two)).refused == ""
        await backend.publish([last()])
        await writers.end(two)
        await backend.publish([Outgoing("a", REOPENED)])
    assert await writers.renew([one]) == [LOST]
    assert await writers.renew([one]) == [LOST]
    if since != "ended":
        assert (await writers.begin(writing())).refused == ""  # others may


async def test_a_doubt_that_was_wrong(backend, clock):
    """Whoever says that it lives while it is doubted goes on."""
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    for _ in range(3):
        clock.advance(LIFE + 0.5)
        assert await writers.expired() == []
        assert await writers.renew([one]) == [HOLDS]
        clock.advance(DOUBT + 0.1)
        assert await writers.expired() == []


async def test_an_old_doubt(backend, clock):
    """A doubt that nobody came back to in time is no reason: the backend may have been away since."""
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    for _ in range(3):
        clock.advance(LIFE + 60)
        assert await writers.expired() == []
    assert await writers.renew([one]) == [HOLDS]


async def test_a_clock_that_was_set_back(backend, clock):
    """One that died shortly before the clock was set back is found all the same."""
    writers = backend.writers()
    await writers.begin(writing())
    clock.advance(-3600)
    assert await writers.expired() == []
    clock.advance(DOUBT + 0.1)
    assert len(await writers.expired()) == 1


async def test_many_died(backend, clock, monkeypatch):
    """However many they are, some are ended with every look, a second apart, until none is left."""
    monkeypatch.setattr(module, "SOME", 5)
    writers, died = backend.writers(), [writing(f"c{n}") for n in range(60)]
    for one in died:
        await writers.begin(one)
    clock.advance(LIFE)
    taken = []
    for _ in range(16):
        clock.advance(1)
        looked = await writers.expired()
        for one in looked:
            await writers.end(one)
        taken += looked
    assert sorted(one.channel for one in taken) == sorted(one.channel for one in died)


async def test_one_worker_ends_it(backend, clock):
    """Of many workers that look at the same time, one is told."""
    writers = backend.writers()
    for name in "abc":
        await writers.begin(writing(name))
    clock.advance(LIFE + 0.5)
    await writers.expired()
    clock.advance(DOUBT + 0.1)
    answers = await asyncio.gather(*(writers.expired() for _ in range(20)))
    assert sorted(each.channel for answer in answers for each in answer) == ["a", "b", "c"]


async def test_lost_with_the_data(redis_url, redis_server):
    """What Redis loses of a writer is there again with its next renewal, unless another has its channel."""
    backend = RedisBackend(redis_url)
    writers, one, two = backend.writers(), writing("a"), writing("b")
    await writers.begin(one)
    await writers.begin(two)
    redis_server.flush()
    other = writing("b")
    assert (await writers.begin(other)).refused == ""
    assert await writers.renew([one, two, other]) == [HOLDS, LOST, HOLDS]
    assert (await writers.begin(writing("a"))).refused == WRITES
    await backend.close()


@pytest.mark.parametrize("key", ["writers", "writing"])
async def test_half_of_it_lost(redis_url, redis_server, key):
    """The same where Redis has evicted one of the keys."""
    backend = RedisBackend(redis_url)
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    redis_server.client().delete(f"sse:{key}")
    assert await writers.renew([one]) == [HOLDS]
    assert await writers.standing("a") == WRITES
    await writers.end(one)
    assert redis_server.client().keys("sse:writ*") == []
    await backend.close()


async def test_nothing_stays(redis_url, redis_server):
    """What is known of writers leaves Redis with them, and by itself where nobody looks."""
    backend = RedisBackend(redis_url)
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    client = redis_server.client()
    assert all(0 < client.ttl(key) <= 86_400 for key in ("sse:writers", "sse:writing"))
    await writers.end(one)
    assert client.keys("sse:writ*") == []
    await backend.close()


async def test_finished_by_what_is_kept(redis_url):
    """A publisher that was not told what is kept knows until when a channel is finished, all the same."""
    told = RedisBackend(redis_url, retention={"short:*": Retention(10, 0.2), "a": Retention(10, 900)})
    await told.publish([last("a"), last("short:1")])
    untold = RedisBackend(redis_url)
    assert await untold.writers().standing("a") == IS_FINISHED
    async with asyncio.timeout(5):
        while await untold.writers().standing("short:1") == IS_FINISHED:
            await asyncio.sleep(0.05)
    assert (await untold.writers().begin(writing("short:1"))).refused == ""
    await told.close()
    await untold.close()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_without_history(kind, request):
    """Where nothing is kept nobody can write to an end."""
    made = MemoryBackend(history=0) if kind == "memory" else None
    backend = made or RedisBackend(request.getfixturevalue("redis_url"), history=0)
    with pytest.raises(EventError, match="history"):
        await backend.writers().begin(writing())
    await backend.close()


async def test_away(private_redis):
    """While Redis is away nothing is known of those that write to it, and everything else says so."""
    server = private_redis()
    backend = RedisBackend(server.url, timeout=1.0)
    writers, one = backend.writers(), writing()
    await writers.begin(one)
    server.kill()
    assert await writers.renew([one]) == [None]
    for work in (writers.expired(), writers.stop("a"), writers.end(one), writers.begin(one)):
        with pytest.raises(BackendError):
            await work
    await backend.close()


async def test_on_a_cluster(cluster):
    """On a Cluster each partition's writers are where its channels are."""
    backend = RedisBackend(cluster.url, partitions=5)
    writers = backend.writers()
    every = [writing(f"c{number}") for number in range(20)]
    for one in every:
        assert (await writers.begin(one)).refused == ""
    assert await writers.renew(every) == [HOLDS] * 20
    assert await writers.stop("c7") is True
    assert (await writers.renew(every)).count(STOPS) == 1
    assert await writers.expired() == []
    for one in every:
        await writers.end(one)
    assert await writers.standing("c7") == ""
    await backend.close()
