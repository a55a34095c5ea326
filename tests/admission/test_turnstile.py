"""An attempt to connect is counted and given its slots in one step: what it answers, costs and survives."""

import asyncio
import contextlib
import json
import secrets

import pytest
from limits.aio.storage import MemoryStorage

from parts.leasing import eventually
from sse_edge import Anonymous, Identity, Limits, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.admission import limits as limits_module
from sse_edge.admission.limits import ConnectRate, SharedConnectRate
from sse_edge.backends.base import AloneError, Turnstile
from sse_edge.backends.memory.leases import LocalLeases
from sse_edge.backends.redis import leases as redis_leases
from sse_edge.backends.redis.scripts import LEASES, WINDOWS
from sse_edge.errors import BackendError

BEAT = 0.2
"""Seconds between heartbeats."""

DAY = 86_400
AUTH = SignedCookie("a secret of the tests", secure=False)
COUNTED_ALONE = "connects are counted in this worker alone while Redis is away"
LEASED_ALONE = "leases are counted in this worker alone while Redis is away"


class Worker:
    """One worker's limits over all workers."""

    def __init__(self, url, **settings):
        self.backend = RedisBackend(url, timeout=5, **settings)
        self.windows, self.leases = self.backend.windows(), self.backend.leases()
        self.leases._heartbeat = BEAT

    async def enter(self, caps, *, key="a", limit=100):
        """Whether it is ``in``, ``too-fast``, or else the subject that is full."""
        answer = await self.leases.enter(self.windows.attempt(key, limit, DAY), caps)
        return "in" if answer is None else "too-fast" if isinstance(answer, tuple) else answer

    async def counted(self, key="a"):
        """How many attempts were counted."""
        return (await self.windows.get_sliding_window(key, DAY))[2]

    def rate(self, text="30/day"):
        """What the gate asks."""
        return SharedConnectRate(ConnectRate(text), self.windows, self.leases)

    async def settled(self):
        """Wait until whatever a fresh worker has to write is written."""
        await self.leases.acquire([("user:first", 1)])
        await eventually(lambda: self.leases.calls >= 2 and not self.leases._unwritten)
        await self.leases.acquire([("user:second", 1)])  # and its answer is there: no call is under way


@pytest.fixture
async def worker():
    """``await worker(url, …)``: one more worker."""
    made = []

    async def make(url, **settings):
        made.append(Worker(url, **settings))
        await made[-1].leases.start()
        return made[-1]

    yield make
    for each in made:
        await each.leases.close()
        await each.backend.close()


@pytest.fixture(params=["redis", "partitions", pytest.param("cluster", marks=pytest.mark.live)])
async def pair(request, worker):
    """Two workers of one store, one of each kind."""
    settings = {"prefix": f"{secrets.token_hex(4)}:", "partitions": 1 if request.param == "redis" else 3}
    url = (
        request.getfixturevalue("cluster").url
        if request.param == "cluster"
        else request.getfixturevalue("redis_url")
    )
    return await worker(url, **settings), await worker(url, **settings)


# What it answers

OUTCOMES = [
    # counted before, held by the other worker, by this one, caps → answer, counted and held afterwards
    pytest.param(0, 0, 0, [("user:u", 2), ("ip:1", 9)], "in", 1, 1, id="nothing in the way"),
    pytest.param(2, 1, 0, [("user:u", 2), ("ip:1", 9)], "in", 3, 1, id="the last of both"),
    pytest.param(3, 0, 0, [("user:u", 2), ("ip:1", 9)], "too-fast", 3, 0, id="too fast takes no slot"),
    pytest.param(3, 2, 0, [("user:u", 2), ("ip:1", 9)], "too-fast", 3, 0, id="the rate before the caps"),
    pytest.param(3, 0, 2, [("user:u", 2), ("ip:1", 9)], "too-fast", 3, 2, id="also before the own count"),
    pytest.param(0, 2, 0, [("user:u", 2), ("ip:1", 9)], "user:u", 1, 0, id="a full user was counted"),
    pytest.param(0, 0, 2, [("user:u", 2), ("ip:1", 9)], "user:u", 1, 2, id="also full by this worker alone"),
    pytest.param(0, 2, 0, [("ip:1", 9), ("user:u", 2)], "user:u", 1, 0, id="all slots or none"),
    pytest.param(2, 0, 0, [], "in", 3, 0, id="no caps"),
    pytest.param(3, 0, 0, [], "too-fast", 3, 0, id="no caps, too fast"),
]


@pytest.mark.parametrize(("before", "others", "own", "caps", "answer", "counted", "held"), OUTCOMES)
async def test_outcomes(pair, before, others, own, caps, answer, counted, held):
    """The attempt is counted first: who comes too fast takes nothing, and who finds no slot was counted."""
    here, there = pair
    for _ in range(before):
        assert await there.windows.acquire_sliding_window_entry("a", 3, DAY)
    for each, times in ((there, others), (here, own)):
        for _ in range(times):
            assert await each.leases.acquire([("user:u", 99)]) is None
    assert await here.enter(caps, limit=3) == answer
    assert await here.counted() == counted
    assert here.leases.count("user:u") == held
    assert here.leases.count("ip:1") == (answer == "in" and bool(caps))
    # Nor does any other worker see more of it.
    assert await there.leases.acquire([("user:u", others + held + 1)]) is None
    assert not here.leases.degraded


async def test_many_at_once(pair):
    """Of many at once on two workers as many are counted, and as many get in, as limit and caps say."""
    caps = [[(f"user:{n % 5}", 7), ("ip:1", 1000)] for n in range(300)]
    answers = await asyncio.gather(*(pair[n % 2].enter(one) for n, one in enumerate(caps)))
    assert answers.count("too-fast") == 200
    assert answers.count("in") == 35
    assert await pair[0].counted() == 100
    assert sum(each.leases.count("ip:1") for each in pair) == 35


async def test_one_call(pair):
    """What comes in one turn, to be counted or not, is one call for all of it."""
    here, _ = pair
    await here.settled()
    before = here.leases.calls
    entering = [here.enter([(f"user:{n}", 1), ("ip:1", 999)], key=f"k{n % 7}") for n in range(100)]
    asking = [here.leases.acquire([(f"user:{n}", 1)]) for n in range(100, 150)]
    assert await asyncio.gather(*entering, *asking) == ["in"] * 100 + [None] * 50
    assert here.leases.calls - before <= 2  # a heartbeat may come between
    assert here.windows.calls == 0


async def test_the_wait(worker, redis_url):
    """Who comes too fast is told the same wait as by the rate's own call."""
    rate = (await worker(redis_url)).rate("2/day")
    assert [await rate.enter("192.0.2.1", []) for _ in range(2)] == [None] * 2
    assert await rate.enter("192.0.2.1", []) == pytest.approx(await rate.hit("192.0.2.1"), abs=1)


async def test_both_ways_count_the_same(worker, redis_url):
    """One step or two, on any worker: attempts of an address are counted together, apart from others'."""
    a, b = (await worker(redis_url)).rate("4/day"), (await worker(redis_url)).rate("4/day")
    assert [await a.enter("192.0.2.1", []), await b.hit("192.0.2.1")] == [None] * 2
    assert [await b.enter("192.0.2.1", []), await a.hit("192.0.2.1")] == [None] * 2
    assert await a.hit("192.0.2.1") > 0
    assert await b.enter("192.0.2.1", []) > 0
    assert await b.enter("192.0.2.2", []) is None


def test_memory_is_none():
    """What counts in memory has no calls to save, and goes on as it was."""
    rate = SharedConnectRate(ConnectRate("1/day"), None, LocalLeases())
    assert not isinstance(LocalLeases(), Turnstile)
    assert not rate.has_turnstile


async def test_windows_of_another_kind(worker, redis_url):
    """Leases count for the windows of their own backend alone, and without a rate for nobody."""
    here = await worker(redis_url)
    assert here.rate().has_turnstile
    assert not SharedConnectRate(ConnectRate("1/day"), MemoryStorage(), here.leases).has_turnstile
    assert not SharedConnectRate(ConnectRate("1/day"), None, here.leases).has_turnstile
    assert not here.rate(None).has_turnstile
    assert not SharedConnectRate(ConnectRate("1/day"), here.windows, LocalLeases()).has_turnstile


# Faults


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled(pair, turns):
    """Whoever is cancelled, at whatever moment of the call, holds nothing afterwards."""
    here, there = pair
    caps = [("user:u", 1), ("ip:1", 1)]
    task = asyncio.create_task(here.enter(caps))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        assert await task == "in"
        here.leases.release([subject for subject, _ in caps])
    async with asyncio.timeout(5):
        while await there.enter(caps) != "in":
            await asyncio.sleep(0.005)
    assert await here.enter(caps) == "user:u"


@pytest.mark.parametrize("fails", [False, True], ids=["granted", "failed"])
async def test_cancelled_in_the_turn_of_the_answer(worker, proxy, fails):
    """Who leaves in the turn in which it is let in, or the call fails, is cancelled and holds nothing."""
    here = await worker(proxy.url)
    await here.settled()
    proxy.stall(replies=True)
    task = asyncio.create_task(here.enter([("user:u", 1)]))
    await proxy.stalled.wait()
    (request,) = here.leases._asked
    if fails:
        here.leases._degrade(BackendError("cut"))
    else:
        here.leases._answer(request, None)
        assert here.leases.count("user:u") == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.resume()
    await eventually(lambda: not here.leases.degraded and not here.leases._unwritten)
    assert here.leases.count("user:u") == 0


async def test_an_answer_is_lost(worker, proxy, redis_server, redis_url):
    """When the connection is cut after Redis has acted, nobody is in, and no slot stays taken."""
    here, there = await worker(proxy.url), await worker(redis_url)
    await here.settled()
    proxy.stall(replies=True)
    entering = [asyncio.create_task(here.enter([("user:u", 2)])) for _ in range(5)]
    await proxy.stalled.wait()
    proxy.cut()
    proxy.resume()
    answers = await asyncio.gather(*entering, return_exceptions=True)
    assert {type(answer) for answer in answers} == {AloneError}
    assert here.leases.count("user:u") == 0
    await eventually(lambda: not here.leases.degraded and not here.leases._unwritten)
    assert [await there.enter([("user:u", 2)]) for _ in range(3)] == ["in", "in", "user:u"]


async def test_redis_goes_away_and_comes_back(worker, proxy, monkeypatch, caplog):
    """Away: both count in this worker, each with its line in the log; back: one step, and a line each."""
    monkeypatch.setattr(limits_module, "AWAY", 0.1)
    here = await worker(proxy.url)
    rate = here.rate("8/day")
    caps = [("user:u", 2)]
    assert await rate.enter("192.0.2.1", caps) is None
    proxy.refusing = True
    proxy.cut()
    answers = await asyncio.gather(*(rate.enter("192.0.2.1", caps) for _ in range(10)))
    # The eight of a day anew, in this worker; of the two slots one is taken.
    assert answers.count(None) == 1
    assert answers.count("user:u") == 7
    assert len([answer for answer in answers if isinstance(answer, float)]) == 2
    assert rate.degraded
    assert here.leases.degraded
    assert not rate.has_turnstile
    proxy.refusing = False
    await eventually(lambda: rate.has_turnstile)
    assert await rate.enter("192.0.2.1", caps) == "user:u"
    assert (rate.degraded, here.leases.degraded) == (False, False)
    said = [record.getMessage().partition(" (")[0] for record in caplog.records]
    assert sorted(said) == sorted(
        [COUNTED_ALONE, LEASED_ALONE, "Redis counts connects again", "Redis counts leases again"]
    )


async def test_redis_does_not_answer(worker, proxy, monkeypatch):
    """A Redis that stands still costs those who wait a moment for each, and is no error for them."""
    monkeypatch.setattr(redis_leases, "ANSWER", 0.1)
    monkeypatch.setattr("sse_edge.backends.redis.windows.ANSWER", 0.1)
    here = await worker(proxy.url)
    await here.settled()
    rate = here.rate()
    proxy.stall(requests=True, replies=True)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(rate.enter("192.0.2.1", [("user:u", 3)]) for _ in range(500)))
    assert answers.count(None) == 3
    assert answers.count("user:u") == 27


async def test_closing(worker, proxy):
    """Whoever waits while the worker closes is told so, and gets in nowhere."""
    here = await worker(proxy.url)
    await here.settled()
    rate = here.rate()
    proxy.stall(replies=True)
    waiting = [asyncio.create_task(rate.enter("192.0.2.1", [("user:u", 3)])) for _ in range(3)]
    await proxy.stalled.wait()
    closing = asyncio.create_task(here.leases.close())
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["this worker counts no more leases"] * 3
    proxy.resume()
    await closing
    assert not rate.degraded


# What a request costs


@pytest.fixture
async def edge(redis_url):
    """``edge(…)`` makes an SSEMiddleware on Redis, stopped at the end."""
    made = []

    def make(**settings):
        made.append(SSEMiddleware(backend=redis_url, **{"auth": AUTH, "channels": OPEN, **settings}))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


class OwnAuth:
    """An authenticator of the application's own."""

    anonymous = False

    def identify(self, request, now):
        """Everybody is one."""
        return Identity("u42")


OPEN = {"/events/me": ["user:{user}"]}
GUARDED = {"/events/{name}": "{name}"}
COOKIE = AUTH.issue("u42", ["signed"])


def yes(identity, channel):
    """An authorize that lets everybody in."""
    return True


COSTS = [
    # settings; what is asked; the answer, calls for the rate alone, calls for slots
    pytest.param({}, {}, 200, ["slots"], id="ordinary"),
    pytest.param(
        {"auth": Anonymous(["news"]), "channels": {"/events/me": "news"}}, {}, 200, ["slots"], id="anonymous"
    ),
    pytest.param({"limits": Limits(per_user=None, per_ip=None)}, {}, 200, ["slots"], id="no caps"),
    pytest.param({"limits": Limits(connects_per_ip=None)}, {}, 200, ["slots"], id="no rate"),
    pytest.param({}, {"method": "HEAD"}, 200, ["rate"], id="HEAD"),
    pytest.param({}, {"cookie": "junk"}, 401, ["rate"], id="no valid cookie"),
    pytest.param({}, {"cursor": "x" * 300}, 200, ["slots"], id="a foreign cursor"),
    pytest.param({"channels": GUARDED}, {}, 403, ["rate"], id="forbidden"),
    pytest.param({"channels": GUARDED, "authorize": yes}, {}, 200, ["rate", "slots"], id="authorize"),
    pytest.param({"auth": OwnAuth()}, {}, 200, ["rate", "slots"], id="an authenticator of the app's own"),
    pytest.param({"channels": lambda request: ["signed"]}, {}, 200, ["rate", "slots"], id="a function"),
    pytest.param({}, {"method": "POST"}, 405, [], id="refused before the rate"),
]


@pytest.mark.parametrize(("settings", "asked", "status", "calls"), COSTS)
async def test_what_a_request_costs(edge, asgi, monkeypatch, settings, asked, status, calls):
    """What needs no question to the application is one call; nothing is asked that a refusal spares."""
    middleware = edge(**settings)
    made = []
    run = middleware._backend.server.run

    async def noted(script, keys, arguments, home):
        if script is WINDOWS:
            made.append("rate")
        elif script is LEASES and json.loads(arguments[3]):  # no heartbeat
            made.append("slots")
        return await run(script, keys, arguments, home)

    monkeypatch.setattr(middleware._backend.server, "run", noted)
    cookie, cursor = asked.get("cookie", COOKIE), asked.get("cursor", "")
    headers = {"host": "localhost", "cookie": f"session={cookie}", "last-event-id": cursor}
    client = asgi(middleware, "/events/me", method=asked.get("method", "GET"), headers=headers)
    assert (await client.start())[0] == status
    assert made == calls


FAULTS = [
    pytest.param({"cookie": "junk"}, "unauthenticated", id="no valid cookie"),
    pytest.param({"path": "/events/other"}, "forbidden", id="forbidden"),
    pytest.param({}, "user-limit", id="a cap"),
]


@pytest.mark.parametrize(("asked", "code"), FAULTS)
async def test_who_comes_too_fast_is_told_that(edge, asgi, asked, code):
    """Every attempt counts, whatever else is wrong with it; and the rate's refusal is said before others."""
    limits = Limits(per_user=1, per_ip=None, connects_per_ip="3/day")
    middleware = edge(limits=limits, channels={**OPEN, **GUARDED})

    async def ask(cookie=COOKIE, cursor="", path="/events/me"):
        headers = {"cookie": f"session={cookie}", "last-event-id": cursor}
        client = asgi(middleware, path, headers=headers)
        status, _ = await client.start()
        return status if status == 200 else json.loads(await client.whole())["error"]

    assert [await ask()] + [await ask(**asked) for _ in range(4)] == [200] + [code] * 2 + ["connect-rate"] * 2
    assert await ask() == "connect-rate"
    assert middleware._leases.count("user:u42") == 1
