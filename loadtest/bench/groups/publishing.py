"""What publishing costs Redis, and how much of it one process does, beside what it takes without us.

That is an ``XADD`` and a ``PUBLISH`` of the same event by redis-py in one round trip: no id over all
channels, no key, and nothing that says what was before.  Redis has a core of its own, and nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from sse_edge import Publisher

from ...measure import machine
from ...measure.process import cpu_seconds
from ...site import programs
from ..run import Group, Part, Run
from ..table import Figure

AT_ONCE = 500
"""Events that are published concurrently."""

PAUSE = 0.004
"""Seconds between events that are published one at a time.  Redis is asleep in between, and the core's caches
have lost what it needs: the usual case."""

DATA = "x" * 100

Work = Coroutine[Any, Any, object]


def measure(run: Run, parts: Collection[str]) -> None:
    """Each in turn, in every round; Redis on the servers' core."""
    with contextlib.ExitStack() as stack:
        with machine.on(run.arena.server):
            url = stack.enter_context(programs.redis())
        stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop)).run(_compare(run, url))


async def _compare(run: Run, url: str) -> None:
    plan = run.plan
    redis = Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=32, timeout=None))
    events = Publisher(url)
    pid = int((await redis.info("server"))["process_id"])
    contenders: dict[str, Callable[[], Work]] = {
        "sse_edge": lambda: events.publish("one", DATA),
        "XADD and PUBLISH": lambda: _plain(redis, "plain"),
    }
    for number in range(plan.publish_rounds):
        run.progress(f"publishing, round {number + 1} of {plan.publish_rounds}")
        for name, publish in contenders.items():
            await _at_once(publish, 1)  # not counted
            cpu, _ = await _measured(pid, _one_at_a_time(publish, plan.publishes))
            run.add("publish_one_cpu", name, 1, cpu / plan.publishes)
            cpu, took = await _measured(pid, _at_once(publish, plan.publish_bursts))
            run.add("publish_cpu", name, AT_ONCE, cpu / AT_ONCE / plan.publish_bursts)
            run.add("publish_rate", name, AT_ONCE, AT_ONCE * plan.publish_bursts / took)
    await events.aclose()
    await redis.aclose()


async def _plain(redis: Redis, channel: str) -> None:
    async with redis.pipeline(transaction=False) as both:
        both.xadd(f"plain:{channel}", {"b": DATA}, maxlen=100)
        both.publish(f"plain:{channel}", DATA)
        await both.execute()


async def _measured(pid: int, work: Work) -> tuple[float, float]:
    """Seconds of a process's CPU, and of time."""
    cpu, began = cpu_seconds(pid), time.perf_counter()
    await work
    return cpu_seconds(pid) - cpu, time.perf_counter() - began


async def _one_at_a_time(publish: Callable[[], Work], count: int) -> None:
    for _ in range(count):
        await publish()
        await asyncio.sleep(PAUSE)


async def _at_once(publish: Callable[[], Work], bursts: int) -> None:
    for _ in range(bursts):
        await asyncio.gather(*(publish() for _ in range(AT_ONCE)))


ONE = Figure("publish_one_cpu", "Redis's CPU, one at a time", "µs", "one publish: Redis's CPU")
MANY = Figure("publish_cpu", "Redis's CPU", "µs", f"{AT_ONCE} at once: Redis's CPU for each")
RATE = Figure("publish_rate", "rate", "thousand events/s", f"{AT_ONCE} at once: publishes/s")

TARGETS = (
    ONE.ratio("sse_edge", "XADD and PUBLISH", 1.5),
    MANY.ratio("sse_edge", "XADD and PUBLISH", 0.5),
    RATE.ratio("sse_edge", "XADD and PUBLISH", 3, at_least=True),
)

GROUP = Group(
    measure,
    {"publishing": Part("what publishing costs Redis", TARGETS)},
    "To publish, so many at once",
    (ONE, MANY, RATE),
    "at once",
)
