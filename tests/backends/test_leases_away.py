"""Leases while Redis is away, or answers with errors; and their end."""

import asyncio
import contextlib
import logging
import time

import pytest

from parts.leasing import BEAT, PREFIX, USER, eventually, leasing, obtain
from sse_edge import RedisBackend
from sse_edge.backends.redis import leases as redis_leases
from sse_edge.backends.redis.leases import RedisLeases
from sse_edge.errors import BackendError


@pytest.fixture
async def worker(opened):
    """See ``leasing``."""
    async with leasing(opened) as make:
        yield make


# Redis is away


def transitions(caplog):
    """Log lines about going it alone, and coming back."""
    return [
        record.getMessage().partition(" (")[0] for record in caplog.records if "leases" in record.getMessage()
    ]


ALONE = "leases are counted in this worker alone while Redis is away"


REFUSED = "leases are counted in this worker alone while Redis refuses it"


BACK = "Redis counts leases again"


async def test_redis_goes_away_and_comes_back(proxy, redis_url, worker, caplog):
    """Away: the cap holds in this worker, and one line says so; back: all is counted, and one says so."""
    a, b = await worker(proxy.url), await worker(redis_url)
    await a.acquire(USER)
    proxy.refusing = True
    proxy.cut()
    answers = await asyncio.gather(*(a.acquire(USER) for _ in range(50)))
    assert answers.count(None) == 2
    assert a.degraded
    assert [await a.acquire([(f"user:{n}", 1)]) for n in range(100)] == [None] * 100
    assert transitions(caplog) == [ALONE]
    await asyncio.sleep(3 * BEAT)  # it goes on trying, and says no more
    assert transitions(caplog) == [ALONE]
    proxy.refusing = False
    await eventually(lambda: not a.degraded, 2 * BEAT)
    assert transitions(caplog) == [ALONE, BACK]
    await eventually(lambda: not a._unwritten)
    assert await b.acquire(USER) == "user:u"
    assert await b.acquire([("user:99", 1)]) == "user:99"
    a.release(["user:99"])
    await obtain(b, [("user:99", 1)])
    assert [record for record in caplog.records if record.exc_info] == []


async def test_released_while_away(proxy, redis_url, worker):
    """What was given back while Redis was away is free when it is back."""
    a, b = await worker(proxy.url), await worker(redis_url)
    for _ in range(3):
        await a.acquire(USER)
    proxy.refusing = True
    proxy.cut()
    await eventually(lambda: a.degraded)
    a.release(["user:u"])
    proxy.refusing = False
    await eventually(lambda: not a.degraded, 2 * BEAT)
    await obtain(b, USER)
    assert await b.acquire(USER) == "user:u"


@pytest.mark.parametrize("caps", [USER, [("user:u", 1)]])
async def test_an_answer_is_lost(proxy, redis_server, redis_url, worker, caps):
    """When the connection is cut after Redis has acted, counts agree again within a heartbeat or two."""
    a, b = await worker(proxy.url), await worker(redis_url)
    proxy.stall(replies=True)
    asked = [asyncio.create_task(a.acquire(caps)) for _ in range(5)]
    await proxy.stalled.wait()
    proxy.cut()
    proxy.resume()
    cap = caps[0][1]
    assert (await asyncio.gather(*asked)).count(None) == cap
    await eventually(lambda: not a.degraded and not a._unwritten, 3 * BEAT)
    assert redis_server.client().hget(f"{PREFIX}user:u", a._worker) == str(cap)
    assert await b.acquire(caps) == "user:u"
    a.release(["user:u"] * cap)
    for _ in range(cap):
        await obtain(b, caps)
    assert await b.acquire(caps) == "user:u"


async def test_redis_does_not_answer(private_redis, worker, monkeypatch, caplog):
    """A Redis that stands still costs the first one to ask a moment, and the next ones nothing."""
    monkeypatch.setattr(redis_leases, "ANSWER", 0.2)
    server = private_redis()
    a, b = await worker(server.url), await worker(server.url)
    await a.acquire(USER)
    server.pause()
    try:
        began = time.monotonic()
        assert (await asyncio.gather(*(a.acquire(USER) for _ in range(20)))).count(None) == 2
        assert time.monotonic() - began < 1
        assert a.degraded
        began = time.monotonic()
        assert [await a.acquire([(f"user:{n}", 1)]) for n in range(1000)] == [None] * 1000
        assert time.monotonic() - began < 0.5
    finally:
        server.resume()
    assert "no answer" in caplog.text
    await eventually(lambda: not (a.degraded or b.degraded or a._unwritten))
    assert await b.acquire(USER) == "user:u"
    assert await b.acquire([("user:999", 1)]) == "user:999"


async def test_redis_is_not_there_at_the_start(private_redis, worker):
    """A worker that begins while Redis is away counts by itself, and its slots are known later."""
    server = private_redis()
    server.stop()
    a = await worker(server.url)
    assert [await a.acquire(USER) for _ in range(4)] == [None] * 3 + ["user:u"]
    server.start()
    await eventually(lambda: not a.degraded, 3)
    b = await worker(server.url)
    await eventually(lambda: not a._unwritten)
    assert await b.acquire(USER) == "user:u"


# Redis answers with errors

ERRORS = [
    pytest.param(
        ["CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory-policy noeviction"],
        ["CONFIG SET maxmemory 0"],
        id="OOM",
    ),
    pytest.param(["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"], id="READONLY"),
    pytest.param(["ACL SETUSER default -eval -evalsha"], ["ACL SETUSER default +@all"], id="NOPERM"),
    pytest.param(["SET sse:{leases}:workers x"], ["DEL sse:{leases}:workers"], id="WRONGTYPE"),
]


@pytest.mark.parametrize(("broken", "mended"), ERRORS)
async def test_redis_answers_with_errors(private_redis, worker, caplog, broken, mended):
    """Whatever Redis answers instead, caps hold in the worker, one line says it, and it comes back."""
    server = private_redis()
    a, b = await worker(server.url), await worker(server.url)
    await a.acquire(USER)
    if "SET sse" in broken[0]:
        server.flush()
    for line in broken:
        server.cli(*line.split())
    await eventually(lambda: a.degraded and b.degraded)
    assert [await a.acquire(USER) for _ in range(4)] == [None, None, "user:u", "user:u"]
    await asyncio.sleep(2 * BEAT)
    assert transitions(caplog).count(REFUSED) == 2  # one for each worker
    for line in mended:
        server.cli(*line.split())
    await eventually(lambda: not (a.degraded or b.degraded or a._unwritten))
    assert await b.acquire(USER) == "user:u"
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("command", ["SCRIPT FLUSH", "FUNCTION FLUSH", "FLUSHALL"])
async def test_scripts_are_lost(redis_server, redis_url, worker, caplog, command):
    """A Redis that has forgotten the script is given it again; nobody notices."""
    leases = await worker(redis_url)
    await leases.acquire(USER)
    redis_server.cli(*command.split())
    assert [await leases.acquire(USER) for _ in range(3)] == [None, None, "user:u"]
    assert not leases.degraded
    assert transitions(caplog) == []


async def test_redis_is_loading(private_redis, worker, caplog):
    """While Redis reads its data from disk it is away like any other."""
    server = private_redis(config=["key-load-delay 500", "loading-process-events-interval-bytes 1024"])
    client = server.client()
    a = await worker(server.url)
    await a.acquire(USER)
    client.mset({f"filler:{n}": "x" * 100 for n in range(3000)})
    restarting = asyncio.create_task(asyncio.to_thread(server.restart, keep_data=True))
    await eventually(lambda: a.degraded, 10)
    assert [await a.acquire(USER) for _ in range(3)] == [None, None, "user:u"]
    await restarting
    await eventually(lambda: not a.degraded and not a._unwritten, 10)
    assert client.hget(f"{PREFIX}user:u", a._worker) == "3"
    assert transitions(caplog) == [ALONE, BACK]
    assert [record for record in caplog.records if record.exc_info] == []


async def test_loading_is_an_error_like_others(worker, redis_url, caplog):
    """An answer that redis-py knows under a name of its own is one more reason to count alone."""

    async def answer(reader, writer):
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                writer.write(b"-LOADING Redis is loading the dataset in memory\r\n" * 3)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    leases = await worker(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    assert [await leases.acquire(USER) for _ in range(4)] == [None] * 3 + ["user:u"]
    assert leases.degraded
    assert transitions(caplog) == [ALONE]
    await leases.close()
    server.close()


async def test_an_error_nobody_thought_of(redis_url, worker, monkeypatch, caplog):
    """Whatever else a call raises is logged, nobody hangs, and the next heartbeat tries again."""
    leases = await worker(redis_url)
    run = leases._server.run

    async def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(leases._server, "run", fail)
    async with asyncio.timeout(2):
        assert [await leases.acquire(USER) for _ in range(4)] == [None] * 3 + ["user:u"]
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.setattr(leases._server, "run", run)
    await eventually(lambda: not leases.degraded, 2 * BEAT)


# The end


async def test_closed_while_some_wait(proxy, worker):
    """Whoever waits for slots of a worker that closes learns it, and is not cancelled."""
    leases = await worker(proxy.url, heartbeat=60)
    await leases.acquire(USER)
    proxy.stall(replies=True)
    asked = [asyncio.create_task(leases.acquire([("user:v", 9)]))]
    await proxy.stalled.wait()
    asked.append(asyncio.create_task(leases.acquire([("user:w", 9)])))  # for the next call
    await asyncio.sleep(0)
    closing = asyncio.create_task(leases.close())
    for task in asked:
        with pytest.raises(BackendError):
            await asyncio.wait_for(task, 3)
    proxy.resume()
    await closing


async def test_closing_without_redis(proxy, worker, caplog):
    """A worker closes soon, and quietly, also while Redis is away."""
    leases = await worker(proxy.url)
    await leases.acquire(USER)
    proxy.refusing = True
    proxy.cut()
    async with asyncio.timeout(2):
        await leases.close()
    assert leases.count("user:u") == 0
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


def test_on_another_event_loop(redis_server, redis_url):
    """A test client may use a new loop for each request: the new one begins with nothing held."""
    backend = RedisBackend(redis_url)
    leases = backend.leases()

    async def take():
        await leases.start()
        answers = [await leases.acquire(USER) for _ in range(4)]
        leases._task.cancel()  # the loop is gone, and with it the task
        await backend.close()
        return answers

    for _ in range(2):
        assert asyncio.run(take()) == [None] * 3 + ["user:u"]
    assert redis_server.client().hgetall(f"{PREFIX}user:u") == {leases._worker: "3"}


async def test_before_the_start():
    """Before it is started, and after it was closed, a worker counts by itself."""
    leases = RedisLeases(RedisBackend("redis://127.0.0.1:1/0").server, "sse:{leases}")
    for _ in range(2):
        assert [await leases.acquire(USER) for _ in range(4)] == [None] * 3 + ["user:u"]
        leases.release(["user:u"] * 3)
        await leases.close()
