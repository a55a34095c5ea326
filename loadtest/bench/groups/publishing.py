"""What publishing costs Redis and the publisher: events, and the tokens of many writers.

Events are compared with an ``XADD`` and a ``PUBLISH`` of the same by redis-py in one round trip: no id over
all channels, no key, and nothing that says what was before.  Redis has a core of its own, and nobody listens.

Tokens go through a writer, or are published one by one.  Producers in processes of their own write to many
channels at the same time, each token when its time has come.  One way is measured after the other, each on a
fresh Redis, and so is what the tokens' own clock costs: producers that publish nothing.  CPU is what the
kernel counts of producers, and what Redis says of itself.
"""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import uvloop
from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from sse_edge import Publisher, RedisBackend

from ...measure import machine
from ...measure.process import cpu_seconds
from ...site import deployment, programs
from ..run import Run
from ..targets import PUBLISHED, WRITTEN

AT_ONCE = 500  # events that are published concurrently
# Redis is asleep in between, and the core's caches have lost what it needs: the usual case.
PAUSE = 0.004  # seconds between events that are published one at a time
DATA = "x" * 100
NOTHING = "no publishing"
RATE = 200.0  # tokens a second of each channel
PROCESSES = 2  # that produce

Share = tuple[int, int, float, float]


def publishing(run: Run) -> None:
    """Each in turn, in every round; Redis on the servers' core."""
    with contextlib.ExitStack() as stack:
        with machine.on(run.arena.server):
            url = stack.enter_context(deployment.redis())
        uvloop.run(_compare(run, url))


async def _compare(run: Run, url: str) -> None:
    plan = run.plan
    redis = AsyncRedis.from_pool(BlockingConnectionPool.from_url(url, max_connections=32, timeout=None))
    events = Publisher(url)
    pid = int((await redis.info("server"))["process_id"])

    async def plain() -> None:
        async with redis.pipeline(transaction=False) as both:
            both.xadd("plain:plain", {"b": DATA}, maxlen=100)
            both.publish("plain:plain", DATA)
            await both.execute()

    contenders: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "sse_edge": lambda: events.publish("one", DATA),
        "XADD and PUBLISH": plain,
    }
    for name, publish in run.turns(contenders, plan.some_rounds, "publishing"):
        await asyncio.gather(*(publish() for _ in range(AT_ONCE)))  # not counted
        cpu = cpu_seconds(pid)
        for _ in range(plan.publishes):
            await publish()
            await asyncio.sleep(PAUSE)
        run.add(name, 1, publish_one_cpu=(cpu_seconds(pid) - cpu) / plan.publishes)
        cpu, began, many = cpu_seconds(pid), time.perf_counter(), AT_ONCE * plan.publish_bursts
        for _ in range(plan.publish_bursts):
            await asyncio.gather(*(publish() for _ in range(AT_ONCE)))
        cpu, took = cpu_seconds(pid) - cpu, time.perf_counter() - began
        run.add(name, AT_ONCE, publish_cpu=cpu / many, publish_rate=many / took)
    await events.aclose()
    await redis.aclose()


def writing(run: Run) -> None:
    """One way after the other, on all cores."""
    channels, clock = run.plan.written, 0.0
    with machine.on(run.arena.server | os.sched_getaffinity(0)):
        for way in (NOTHING, PUBLISHED, WRITTEN):
            run.progress(f"tokens to {channels:,} channels: {way}")
            with deployment.redis() as url, Redis.from_url(url) as redis:
                # Not multiprocessing's own, which puts others in the place of those that a signal ends.
                pool = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))
                each = (url, way, channels // PROCESSES, run.plan.written_seconds)
                before: Any = redis.info("all")
                try:
                    with programs.undisturbed():
                        asked = [pool.submit(produce, *each, str(number)) for number in range(PROCESSES)]
                    *columns, seconds = zip(*(one.result() for one in asked), strict=True)
                finally:
                    for process in multiprocessing.active_children():
                        process.kill()
                    pool.shutdown()
                after: Any = redis.info("all")
            tokens, events, cpu = (sum(column) for column in columns)
            own = cpu / tokens
            spent = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
            calls = after.get("cmdstat_evalsha", {"calls": 0})["calls"]
            run.add(way, channels, token_rate=tokens / max(seconds), token_cpu=own)
            run.add(way, channels, token_events=events / tokens)
            run.add(way, channels, token_calls=calls / tokens, token_redis=spent / tokens)
            if way == NOTHING:
                clock = own
            else:
                run.add(way, channels, token_own_cpu=own - clock)


def produce(url: str, way: str, channels: int, seconds: float, name: str) -> Share:
    """What one process has had: tokens, the events that it made of them, its CPU, and how long that took."""
    return uvloop.run(_produce(url, way, channels, seconds, name))


async def _produce(url: str, way: str, channels: int, seconds: float, name: str) -> Share:
    events, made = Publisher(RedisBackend(url)), 0

    async def one(number: int) -> None:
        nonlocal made
        channel, source = f"{name}:{number}", _tokens(seconds, number / channels)
        if way == WRITTEN:
            written = await events.write(channel, source)
            made += written.events  # not in one: others add to it while this one waits
            return
        async for token in source:
            if way == PUBLISHED:
                await events.publish(channel, token, event="token")
                made += 1

    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*map(one, range(channels)))
    used, took = time.process_time() - cpu, time.monotonic() - began
    await events.aclose()
    return channels * round(RATE * seconds), made, used, took


async def _tokens(seconds: float, phase: float) -> AsyncIterator[str]:
    """``RATE`` tokens a second, each not before its time, for so many seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + phase / RATE
    for number in range(round(RATE * seconds)):
        if (pause := begin + number / RATE - loop.time()) > 0:
            await asyncio.sleep(pause)
        yield " word"
