"""Hits counted over all workers in Redis: the library's own answers, few calls, and what faults do."""

import asyncio
import math
import random
import time
from types import SimpleNamespace

import limits.storage.memory
import pytest
from limits import RateLimitItemPerSecond, strategies
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import MemoryStorage

import sse_edge.admission.limits
from parts.faulty import Proxy
from sse_edge import RedisBackend
from sse_edge.admission.limits import ConnectRate, SharedConnectRate
from sse_edge.backends.redis.call import PACE
from sse_edge.backends.redis.windows import BATCH
from sse_edge.errors import BackendError

KEY = "sse:{leases}:rate:"
MODULE = "sse_edge.backends.redis.windows"


@pytest.fixture
def worker(opened):
    """``worker(url)``: the windows of one more worker."""
    return lambda url: opened(url, timeout=5).windows()


@pytest.fixture
def clock(monkeypatch):
    """The clock of what counts in this process; ``clock.now`` is where it stands still."""
    clock = SimpleNamespace(now=time.time())
    stopped = SimpleNamespace(time=lambda: clock.now, monotonic=time.monotonic)
    monkeypatch.setattr(limits.storage.memory, "time", stopped)
    monkeypatch.setattr(sse_edge.admission.limits, "time", stopped)
    return clock


async def hit(windows, key="k", limit=100, length=60):
    """Whether one hit is allowed."""
    return await windows.acquire_sliding_window_entry(key, limit, length)


async def in_one_window(length=60):
    """Wait for the next window if this one is nearly over, so that a short test stays in one."""
    left = length - time.time() % length
    if left < 10:
        await asyncio.sleep(left + 0.01)


# The same answers as the library's memory


def library_allows(clock, now, rate, previous, current):
    """How many hits the library's own memory lets through at ``now``, with so many hits in the windows."""
    clock.now = now
    storage = MemoryStorage()
    storage.timer.join()
    length = rate.get_expiry()
    keys = storage.sliding_window_keys(rate.key_for("a"), length, now)
    for key, hits in zip(keys, (previous, current), strict=True):
        if hits:
            storage.incr(key, 2 * length, amount=hits)
    limiter = strategies.SlidingWindowCounterRateLimiter(storage)
    return sum(limiter.hit(rate, "a") for _ in range(rate.amount + 1))


@pytest.mark.parametrize("seed", range(40))
async def test_the_librarys_own_answers(worker, redis_server, redis_url, clock, seed):
    """At any place in a window, whatever it and the one before hold, as many pass as in memory."""
    draw = random.Random(seed)
    rate = RateLimitItemPerSecond(draw.randint(1, 60), draw.randint(10_000, 1_000_000))
    previous, current = draw.randint(0, rate.amount), draw.randint(0, rate.amount)
    windows = worker(redis_url)
    began = time.time()
    window = math.floor(began / rate.get_expiry())
    redis_server.client().set(KEY + rate.key_for("a"), f"{window} {current} {previous}")
    limiter = SlidingWindowCounterRateLimiter(windows)
    answers = await asyncio.gather(*(limiter.hit(rate, "a") for _ in range(rate.amount + 1)))
    expected = {library_allows(clock, at, rate, previous, current) for at in (began, time.time())}
    assert sum(answers) in expected
    assert answers == sorted(answers, reverse=True)


@pytest.mark.parametrize("age", [1, 2, 3])
async def test_older_windows(worker, redis_server, redis_url, clock, age):
    """The window before weighs, an older one does not."""
    rate = RateLimitItemPerSecond(1000, 1_000_000)
    began = time.time()
    window = math.floor(began / rate.get_expiry())
    redis_server.client().set(KEY + rate.key_for("a"), f"{window - age} 1000 1000")
    limiter = SlidingWindowCounterRateLimiter(worker(redis_url))
    answers = await asyncio.gather(*(limiter.hit(rate, "a") for _ in range(rate.amount + 1)))
    weighs = 1000 if age == 1 else 0
    assert sum(answers) in {library_allows(clock, at, rate, weighs, 0) for at in (began, time.time())}


async def test_the_same_over_time(worker, redis_url):
    """Over several short windows as many hits pass as in memory."""
    rate = RateLimitItemPerSecond(20)
    memory, shared = ConnectRate("20/second"), SlidingWindowCounterRateLimiter(worker(redis_url))
    allowed = [0, 0]
    until = time.monotonic() + 3
    while time.monotonic() < until:
        allowed[0] += memory.hit("a") is None
        allowed[1] += await shared.hit(rate, "a")
        await asyncio.sleep(0.005)
    assert allowed[0] >= 40
    assert abs(allowed[0] - allowed[1]) <= 5, allowed  # a hit or two at each window's end


# Answers to those who are refused


@pytest.mark.parametrize(("current", "previous"), [(60, 0), (60, 60), (30, 60), (0, 3600), (59, 60)])
async def test_the_wait_of_a_refusal(worker, redis_server, redis_url, clock, current, previous):
    """The wait is the one that a count in memory names, and costs no second call."""
    local = ConnectRate("60/day")
    key, length = local.rate.key_for("a"), local.rate.get_expiry()
    began = time.time()
    window = math.floor(began / length)
    redis_server.client().set(KEY + key, f"{window} {current} {previous}")
    windows = worker(redis_url)
    shared = SharedConnectRate(ConnectRate("60/day"), windows)
    # What the window before still holds may leave room, depending on the time of the day.
    for _ in range(61):
        before, calls = time.time(), windows.calls
        wait = await shared.hit("a")
        if wait is not None:
            break
        current += 1
    assert wait is not None
    assert windows.calls == calls + 1
    waits = []
    for clock.now in (before, time.time()):
        local._windows._known["a"] = (window, current, previous)
        waits.append(local.hit("a"))
    assert waits[1] - 0.01 <= wait <= waits[0] + 0.01
    assert not shared.degraded


async def test_after_the_wait_it_passes(worker, redis_url):
    """Whoever waits for so long as the refusal says is let in."""
    shared = SharedConnectRate(ConnectRate("2/second"), worker(redis_url))
    refused = 0
    while refused < 3:
        wait = await shared.hit("a")
        if wait is not None:
            refused += 1
            assert 0 <= wait <= 1
            await asyncio.sleep(wait + 0.005)
            assert await shared.hit("a") is None


async def test_how_full_it_is(worker, redis_url):
    """The library can ask for a key's windows at any time, which counts nothing."""
    await in_one_window()
    windows = worker(redis_url)
    for _ in range(3):
        assert await windows.get_sliding_window("k", 60) == (0, 0.0, 0, pytest.approx(90, abs=30.1))
    assert await hit(windows)
    assert not await hit(windows, "other", limit=0)
    previous, previous_left, current, current_left = await windows.get_sliding_window("k", 60)
    assert (previous, previous_left, current) == (0, 0, 1)
    assert 60 <= current_left <= 120


async def test_other_strategies_are_refused(worker, redis_url):
    """What no sliding window needs is said not to be there."""
    windows = worker(redis_url)
    with pytest.raises(NotImplementedError, match="only sliding windows"):
        await windows.incr("k", 60)
    with pytest.raises(NotImplementedError, match="only sliding windows"):
        await windows.clear_sliding_window("k", 60)


# Travelling together


async def test_many_at_once(worker, redis_url):
    """Hundreds of hits on two workers are a few calls, and exactly as many pass as the limit says."""
    await in_one_window()
    workers = [worker(redis_url) for _ in range(2)]
    answers = await asyncio.gather(*(hit(workers[n % 2]) for n in range(4 * BATCH)))
    assert sum(answers) == 100
    assert [windows.calls for windows in workers] == [2, 2]


async def test_hits_during_a_call_travel_together(worker, proxy):
    """What arrives while a call is under way goes with the next one, each key with its own answer."""
    windows = worker(proxy.url)
    assert await hit(windows)
    proxy.stall(replies=True)
    first = asyncio.create_task(hit(windows))
    await asyncio.wait_for(proxy.stalled.wait(), 5)
    others = [asyncio.create_task(hit(windows, f"k{n % 50}", limit=1)) for n in range(100)]
    await asyncio.sleep(0.01)
    proxy.resume()
    assert await first
    assert await asyncio.gather(*others) == [True] * 50 + [False] * 50
    assert windows.calls == 3


async def test_calls_are_paced(worker, redis_url):
    """Hits that arrive one after another, faster than Redis answers or not, share calls by the clock."""
    windows = worker(redis_url)
    began = time.monotonic()
    waiting = []
    for n in range(300):
        waiting.append(asyncio.create_task(hit(windows, f"k{n}")))
        await asyncio.sleep(0.0001)
    assert all(await asyncio.gather(*waiting))
    assert windows.calls <= 2 + (time.monotonic() - began) / (PACE * 0.7)  # timers may be early by a ms


async def test_keys(worker, redis_server, redis_url):
    """Every key has the same hash tag, so that they can travel together, and expires by itself."""
    windows = worker(redis_url)
    await asyncio.gather(*(hit(windows, f"k{n}") for n in range(10)))
    client = redis_server.client()
    keys = list(client.scan_iter())
    assert sorted(keys) == [f"{KEY}k{n}" for n in range(10)]
    assert all(55_000 < client.pttl(key) <= 120_000 for key in keys)


# Faults


async def test_redis_is_killed_in_the_middle(worker, private_redis, caplog):
    """Those who wait when Redis dies are counted here, and so is who comes later; one warning says so."""
    server = private_redis()
    proxy = await Proxy(server.port).start()
    shared = SharedConnectRate(ConnectRate("30/hour"), worker(proxy.url))
    assert await shared.hit("b") is None
    proxy.stall(replies=True)
    waiting = [asyncio.create_task(shared.hit("a")) for _ in range(50)]
    await asyncio.wait_for(proxy.stalled.wait(), 5)
    waiting += [asyncio.create_task(shared.hit("a")) for _ in range(50)]
    await asyncio.sleep(0)
    proxy.refusing = True
    server.kill()
    proxy.cut()
    waits = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert waits.count(None) == 30
    assert await shared.hit("a") is not None
    assert shared.degraded
    assert len([record for record in caplog.records if record.name == "sse_edge"]) == 1
    await proxy.close()


async def test_no_answer(worker, proxy, monkeypatch):
    """Who waits longer than ANSWER is told so, with everybody behind."""
    monkeypatch.setattr(f"{MODULE}.ANSWER", 0.1)
    windows = worker(proxy.url)
    assert await hit(windows)
    proxy.stall(requests=True)
    waiting = [hit(windows) for _ in range(3 * BATCH)]
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert {type(answer) for answer in answers} == {TimeoutError}
    assert windows.calls == 2
    proxy.resume()
    assert await hit(windows, "other")


async def test_a_waiter_is_cancelled(worker, proxy):
    """One that leaves while it waits takes nobody's answer along."""
    windows = worker(proxy.url)
    assert await hit(windows)
    proxy.stall(replies=True)
    under_way = [asyncio.create_task(hit(windows)) for _ in range(3)]
    await asyncio.wait_for(proxy.stalled.wait(), 5)
    behind = [asyncio.create_task(hit(windows)) for _ in range(3)]
    await asyncio.sleep(0)
    under_way[0].cancel()
    behind[0].cancel()
    proxy.resume()
    answers = await asyncio.wait_for(asyncio.gather(*under_way, *behind, return_exceptions=True), 5)
    kinds = [type(answer) for answer in answers]
    assert kinds == [asyncio.CancelledError, bool, bool] * 2
    assert await hit(windows)


async def test_asking_is_cancelled(worker, proxy):
    """When the task that asks is cancelled, nobody is left waiting, and the next hit is counted."""
    windows = worker(proxy.url)
    assert await hit(windows)
    proxy.stall(replies=True)
    known = asyncio.all_tasks()
    waiting = [asyncio.ensure_future(windows.get_sliding_window("k", 60)) for _ in range(3)]
    await asyncio.wait_for(proxy.stalled.wait(), 5)
    (asking,) = asyncio.all_tasks() - known - set(waiting)
    asking.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert {type(answer) for answer in answers} == {BackendError}
    proxy.resume()
    assert await hit(windows)


def test_new_event_loops(redis_url):
    """Each event loop has connections of its own, and all count the same."""
    backend = RedisBackend(redis_url)
    windows = backend.windows()

    async def some():
        answers = [await hit(windows, limit=5, length=1_000_000) for _ in range(3)]
        await backend.close()
        return answers

    assert [asyncio.run(some()) for _ in range(2)] == [[True] * 3, [True, True, False]]
