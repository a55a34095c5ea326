"""What publishing costs Redis, and how much of it one process does, beside what it takes without us.

That is an ``XADD`` and a ``PUBLISH`` of the same event by redis-py in one round trip: no id over all
channels, no key, and nothing that says what was before.  Redis has a core of its own, and nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from sse_edge import Publisher

from ..measure import machine
from ..measure.process import cpu_seconds
from ..site import programs

AT_ONCE = 500
"""Events that are published concurrently."""

PAUSE = 0.004
"""Seconds between events that are published one at a time.  Redis is asleep in between, and the core's caches
have lost what it needs: the usual case."""

DATA = "x" * 100

Publish = Callable[[str], Awaitable[object]]

Figure = tuple[str, str, int, float]
"""What was measured, of whom, of how many events at once, and how much."""


def measure(
    cores: set[int], rounds: int, singles: int, bursts: int, progress: Callable[[str], None]
) -> Iterator[Figure]:
    """Each contender in turn, in every round; Redis on a core that is not this process's, if there is one."""
    with contextlib.ExitStack() as stack:
        with machine.on(cores - os.sched_getaffinity(0) or cores):
            url = stack.enter_context(programs.redis())
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        redis = Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=32, timeout=None))
        events = Publisher(url)
        pid = int(runner.run(redis.info("server"))["process_id"])
        contenders: dict[str, tuple[str, Publish]] = {
            "sse_edge": ("one", lambda channel: events.publish(channel, DATA)),
            "XADD, PUBLISH": ("plain", lambda channel: _plain(redis, channel)),
        }
        for number in range(rounds):
            progress(f"publishing, round {number + 1} of {rounds}")
            for name, (channel, publish) in contenders.items():
                runner.run(_at_once(publish, channel, 1))  # not counted
                cpu, _ = runner.run(_measured(pid, _one_at_a_time(publish, channel, singles)))
                yield "publish_one_cpu", name, 1, cpu / singles
                cpu, took = runner.run(_measured(pid, _at_once(publish, channel, bursts)))
                yield "publish_cpu", name, AT_ONCE, cpu / AT_ONCE / bursts
                yield "publish_rate", name, AT_ONCE, AT_ONCE * bursts / took
        runner.run(events.aclose())
        runner.run(redis.aclose())


async def _plain(redis: Redis, channel: str) -> None:
    async with redis.pipeline(transaction=False) as both:
        both.xadd(f"plain:{channel}", {"b": DATA}, maxlen=100)
        both.publish(f"plain:{channel}", DATA)
        await both.execute()


async def _measured(pid: int, work: Awaitable[object]) -> tuple[float, float]:
    """Seconds of a process's CPU, and of time."""
    cpu, began = cpu_seconds(pid), time.perf_counter()
    await work
    return cpu_seconds(pid) - cpu, time.perf_counter() - began


async def _one_at_a_time(publish: Publish, channel: str, count: int) -> None:
    for _ in range(count):
        await publish(channel)
        await asyncio.sleep(PAUSE)


async def _at_once(publish: Publish, channel: str, bursts: int) -> None:
    for _ in range(bursts):
        await asyncio.gather(*(publish(channel) for _ in range(AT_ONCE)))
