"""Leases: one contract for memory, Redis and Cluster; then what Redis and its faults add."""

import asyncio
import contextlib
import secrets

import pytest

from parts.leasing import BEAT, PREFIX, USER, eventually, leasing, obtain
from sse_edge.backends.memory.leases import LocalLeases
from sse_edge.backends.redis import leases as redis_leases
from sse_edge.backends.redis.leases import BATCH, RedisLeases


@pytest.fixture
async def worker(opened):
    """See ``leasing``."""
    async with leasing(opened) as make:
        yield make


@pytest.fixture(params=["memory", *(pytest.param(n, marks=pytest.mark.live) for n in ("redis", "cluster"))])
async def pair(request, worker):
    """Two workers of one store, one of each kind."""
    if request.param == "memory":
        leases = LocalLeases()
        await leases.start()
        return leases, leases
    if request.param == "redis":
        url, prefix = request.getfixturevalue("redis_url"), "sse:{leases}"
    else:
        url, prefix = request.getfixturevalue("cluster").url, f"{secrets.token_hex(4)}:{{leases}}"
    return await worker(url, prefix=prefix), await worker(url, prefix=prefix)


# The contract


async def test_a_cap_is_reached(pair):
    """As many slots as the cap says are given, whichever worker is asked, and then the subject is named."""
    a, b = pair
    assert [await leases.acquire(USER) for leases in (a, b, a)] == [None] * 3
    assert [await leases.acquire(USER) for leases in (a, b)] == ["user:u"] * 2
    assert await b.acquire([("user:v", 3)]) is None
    assert not a.degraded


async def test_all_or_none(pair):
    """When one subject is full, no slot of the others is taken."""
    a, b = pair
    assert await a.acquire([("user:u", 1)]) is None
    for leases in pair:
        assert await leases.acquire([("ip:1", 1), ("user:u", 1)]) == "user:u"
    assert a.count("ip:1") == b.count("ip:1") == 0
    assert await b.acquire([("ip:1", 1), ("user:v", 1)]) is None
    assert await a.acquire([("user:w", 1), ("ip:1", 1)]) == "ip:1"


async def test_the_first_that_is_full_is_named(pair):
    """Of several full subjects the first in the order of asking is the answer."""
    a, b = pair
    caps = [("user:u", 1), ("ip:1", 1)]
    assert await a.acquire(caps) is None
    assert await b.acquire(caps) == "user:u"
    assert await b.acquire(caps[::-1]) == "ip:1"


async def test_a_cap_of_the_caller(pair):
    """The cap is an argument: another one holds for the same slots."""
    a, b = pair
    assert await a.acquire([("user:u", 1)]) is None
    assert await b.acquire([("user:u", 1)]) == "user:u"
    assert await b.acquire([("user:u", 2)]) is None


async def test_release(pair):
    """A slot that was given back is there for any worker."""
    a, b = pair
    for _ in range(3):
        await a.acquire(USER)
    assert await b.acquire(USER) == "user:u"
    a.release(["user:u"])
    await obtain(b, USER)
    assert await a.acquire(USER) == "user:u"


async def test_no_caps(pair):
    """Who asks for nothing gets it."""
    assert await pair[0].acquire([]) is None


async def test_unknown_subjects(pair):
    """What nobody holds counts 0, and releasing it is no credit."""
    a, b = pair
    for leases in pair:
        leases.release(["user:u", "user:u", "user:nobody"])
        assert leases.count("user:u") == 0
    assert [await a.acquire(USER) for _ in range(4)] == [None, None, None, "user:u"]
    assert await b.acquire(USER) == "user:u"


@pytest.mark.parametrize(
    "subject", ["user:{x}", "user:a b\n\0", "user:ü€😀", "user:\ud800", "user:" + "x" * 5000]
)
async def test_names(pair, subject):
    """Any text is a subject's name."""
    a, b = pair
    assert await a.acquire([(subject, 1)]) is None
    assert await b.acquire([(subject, 1)]) == subject
    assert not a.degraded


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled(pair, turns):
    """Whoever is cancelled, at whatever moment of the call, holds nothing afterwards."""
    a, b = pair
    caps = [("user:u", 1), ("ip:1", 1)]
    task = asyncio.create_task(a.acquire(caps))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        assert await task is None
        a.release([subject for subject, _ in caps])
    await obtain(b, caps)
    assert await a.acquire(caps) == "user:u"


async def test_concurrent(pair):
    """Of many at once exactly as many get in as the caps say."""
    caps = [[(f"user:{n % 5}", 6), ("ip:1", 20)] for n in range(200)]
    answers = await asyncio.gather(*(pair[n % 2].acquire(cap) for n, cap in enumerate(caps)))
    given = [cap[0][0] for cap, answer in zip(caps, answers, strict=True) if answer is None]
    assert len(given) == 20
    assert all(given.count(f"user:{n}") <= 6 for n in range(5))


# Over several workers


@pytest.mark.parametrize("subject", ["user:u42", "ip:192.0.2.1", "ip:2001:db8::/64"])
async def test_exact_over_workers(redis_url, worker, subject):
    """2,000 attempts at once through four workers, and exactly six get in; all others hold nothing."""
    workers = [await worker(redis_url) for _ in range(4)]
    asked = [
        leases.acquire([(f"other:{n}", 1), (subject, 6)])
        for n in range(500)
        for leases in workers[n % 4 :] + workers[: n % 4]
    ]
    answers = await asyncio.gather(*asked)
    assert answers.count(None) == 6
    assert sum(leases.count(subject) for leases in workers) == 6
    assert sum(leases.count(f"other:{n}") for leases in workers for n in range(500)) == 6
    assert not any(leases.degraded for leases in workers)


async def test_one_turn_travels_together(redis_url, worker):
    """What 500 ask for in one turn of the loop costs three calls, and giving it back as many."""
    leases = await worker(redis_url, heartbeat=60)
    await leases.acquire([("user:first", 1)])
    await obtain(leases, [("user:again", 1)])  # whatever a fresh worker has to write is written
    before = leases.calls
    users = [f"user:{n}" for n in range(500)]
    assert (
        await asyncio.gather(*(leases.acquire([(user, 1), ("ip:1", 500)]) for user in users)) == [None] * 500
    )
    assert leases.calls - before <= -(-500 // BATCH) + 1
    before = leases.calls
    for user in users:
        leases.release([user, "ip:1"])
    await eventually(lambda: not leases._unwritten)
    assert leases.calls - before <= 4


async def test_full_by_this_worker_alone(redis_url, worker):
    """A worker that holds a user's last slot itself says no without asking Redis."""
    leases = await worker(redis_url, heartbeat=60)
    for _ in range(3):
        await leases.acquire(USER)
    before = leases.calls
    assert [await leases.acquire(USER) for _ in range(100)] == ["user:u"] * 100
    assert leases.calls == before


async def test_nothing_is_left(redis_server, redis_url, worker):
    """Subjects that nobody holds have no key."""
    a, b = await worker(redis_url), await worker(redis_url)
    await asyncio.gather(
        *(leases.acquire([(f"user:{n}", 9), ("ip:1", 999)]) for n in range(100) for leases in (a, b))
    )
    for n in range(100):
        a.release([f"user:{n}", "ip:1"])
    await b.close()
    await eventually(lambda: redis_server.client().keys() == [f"{PREFIX}workers"])


async def test_closing_gives_everything_back(redis_url, worker):
    """The slots of a worker that closes are free at once."""
    a, b = await worker(redis_url, heartbeat=60), await worker(redis_url, heartbeat=60)
    for n in range(1000):  # several calls
        assert await a.acquire([(f"user:{n}", 1)]) is None
    await a.close()
    answers = await asyncio.gather(*(b.acquire([(f"user:{n}", 1)]) for n in range(1000)))
    assert answers == [None] * 1000


async def test_a_killed_workers_slots(redis_url, worker):
    """The slots of a worker that stops beating are free within two heartbeats, and a live one's stay."""
    dead, alive, other = [await worker(redis_url) for _ in range(3)]
    for _ in range(3):
        await dead.acquire(USER)
        await alive.acquire([("user:alive", 3)])
    dead._task.cancel()
    assert await other.acquire(USER) == "user:u"
    assert await obtain(other, USER) <= 2 * BEAT + 0.1
    assert [await other.acquire(USER) for _ in range(3)] == [None, None, "user:u"]
    await asyncio.sleep(2 * BEAT)
    assert await other.acquire([("user:alive", 3)]) == "user:alive"


async def test_a_worker_that_stood_still(redis_server, redis_url, worker, monkeypatch):
    """A worker whose loop was blocked for longer than its heartbeat lives has its slots again afterwards."""
    a, b = await worker(redis_url), await worker(redis_url)
    await a.acquire([("user:u", 1)])
    client = redis_server.client()
    run, goes_on = a._server.run, asyncio.Event()

    async def stands_still(*arguments):
        await goes_on.wait()
        return await run(*arguments)

    monkeypatch.setattr(a._server, "run", stands_still)
    async with asyncio.timeout(5):
        while True:  # one more heartbeat may be under way
            client.zrem(f"{PREFIX}workers", a._worker)  # what time does
            if await b.acquire([("user:u", 1)]) is None:
                break
    b.release(["user:u"])
    goes_on.set()
    await eventually(lambda: client.hgetall(f"{PREFIX}user:u") == {a._worker: "1"}, 2 * BEAT)
    assert await b.acquire([("user:u", 1)]) == "user:u"


async def test_redis_loses_its_data(redis_server, redis_url, worker):
    """After FLUSHALL every worker has written its slots again within a heartbeat."""
    a, b = await worker(redis_url), await worker(redis_url)
    users = [f"user:{n}" for n in range(1000)]
    await asyncio.gather(*(a.acquire([(user, 2)]) for user in users))
    await asyncio.gather(*(b.acquire([(user, 2)]) for user in users))
    redis_server.flush()
    client = redis_server.client()
    took = await eventually(
        lambda: all(client.hlen(f"{PREFIX}{user}") == 2 for user in (users[0], users[500], users[-1]))
    )
    assert took <= BEAT + 0.3
    await eventually(lambda: not a._unwritten and not b._unwritten)
    assert set(await asyncio.gather(*(b.acquire([(user, 2)]) for user in users))) == set(users)
    assert not a.degraded


@pytest.mark.parametrize("hours", [1, -1])
async def test_redis_clock_jumps(redis_server, redis_url, worker, hours):
    """When Redis's clock jumps, all caps hold again within a heartbeat."""
    a, b = await worker(redis_url), await worker(redis_url)
    for _ in range(3):
        await a.acquire(USER)
    client = redis_server.client()
    for name in (a._worker, b._worker):  # heartbeats of an hour ago, or of the future
        client.zincrby(f"{PREFIX}workers", -hours * 3_600_000, name)
    assert await b.acquire([("user:other", 1)]) is None  # forgets whose heartbeat is wrong
    await b.acquire([("user:u", 1)])
    took = await eventually(lambda: client.hget(f"{PREFIX}user:u", a._worker) == "3")
    assert took <= BEAT + 0.2
    assert await b.acquire([("user:u", 4)]) == "user:u"


async def test_keys_live_for_many_heartbeats(redis_server, redis_url, worker):
    """A subject's key expires, though not before it was written again."""
    leases = await worker(redis_url, heartbeat=5)
    await leases.acquire(USER)
    assert 590_000 < redis_server.client().pttl(f"{PREFIX}user:u") <= 600_000


async def test_keys_are_written_again(redis_server, redis_url, worker, monkeypatch):
    """Every subject is written again in its turn, so that its key never expires."""
    monkeypatch.setattr(redis_leases, "REFRESH", 2)
    leases = await worker(redis_url, heartbeat=0.05)
    users = [f"user:{n}" for n in range(50)]
    await asyncio.gather(*(leases.acquire([(user, 1)]) for user in users))
    client = redis_server.client()
    for user in users:
        client.pexpire(PREFIX + user, 2000)
    await eventually(lambda: all(client.pttl(PREFIX + user) > 2000 for user in users), 1.5)


def test_a_turn_comes_in_time():
    """A subject is written again within REFRESH heartbeats, also behind thousands that have left."""
    leases = RedisLeases(None, "sse:{leases}")
    leases._held.update({f"user:{n}": 1 for n in range(5000)})
    leases._choose_for_refresh()
    assert len(leases._unwritten) <= 5000 / 60 + 1
    leases._unwritten.clear()
    leases._held.clear()
    leases._held["user:4999"] = 1
    for _ in range(redis_leases.REFRESH):
        leases._choose_for_refresh()
    assert leases._unwritten == {"user:4999"}


def test_turns_are_spread():
    """No heartbeat writes much more than its share, and each subject comes as often as any other."""
    leases = RedisLeases(None, "sse:{leases}")
    leases._held.update({f"user:{n}": 1 for n in range(6000)})
    written = []
    for _ in range(2 * redis_leases.REFRESH):
        leases._choose_for_refresh()
        written.append(set(leases._unwritten))
        leases._unwritten.clear()
    assert max(map(len, written)) <= 6000 / 60 + 1
    assert len(set.union(*written[: redis_leases.REFRESH])) == 6000
