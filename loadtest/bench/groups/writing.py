"""What a token costs its producer and Redis: through a writer, and published one by one.

Producers in processes of their own write to many channels at the same time, each token when its time has
come.  One way is measured after the other, each on a fresh Redis, and so is what the tokens' own clock costs:
producers that publish nothing.  CPU is what the kernel counts of producers, and what Redis says of itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple

import uvloop
from redis import Redis

from sse_edge import Publisher, RedisBackend

from ...measure import machine
from ...site import programs
from ..run import Group, Part, Run
from ..table import Figure

WRITTEN, PUBLISHED, NOTHING = "write(channel, iterator)", "one publish per token", "no publishing"

RATE = 200.0
"""Tokens a second of each channel."""

PROCESSES = 2
"""That produce."""


class Share(NamedTuple):
    """What one process has had: tokens, the events that it made of them, its CPU, and how long that took."""

    tokens: int
    events: int
    cpu: float
    seconds: float


def measure(run: Run, parts: Collection[str]) -> None:
    """One way after the other, on all cores."""
    plan = run.plan
    clock = 0.0
    with machine.on(run.arena.server | os.sched_getaffinity(0)):
        for way in (NOTHING, PUBLISHED, WRITTEN):
            run.progress(f"tokens to {plan.written:,} channels: {way}")
            shares, redis, calls = _produced(way, plan.written, plan.written_seconds)
            tokens = sum(share.tokens for share in shares)
            cpu = sum(share.cpu for share in shares) / tokens
            for what, figure in (
                ("token_rate", tokens / max(share.seconds for share in shares)),
                ("token_events", sum(share.events for share in shares) / tokens),
                ("token_calls", calls / tokens),
                ("token_cpu", cpu),
                ("token_redis", redis / tokens),
            ):
                run.add(what, way, plan.written, figure)
            if way == NOTHING:
                clock = cpu
            else:
                run.add("token_own_cpu", way, plan.written, cpu - clock)


def _produced(way: str, channels: int, seconds: float) -> tuple[list[Share], float, int]:
    """All processes' shares; Redis's seconds of CPU, and how many scripts it ran."""
    with programs.redis() as url, Redis.from_url(url) as client:
        redis: Any = client
        with programs.undisturbed():
            pool = multiprocessing.get_context("spawn").Pool(PROCESSES)
        with pool:
            work = [(url, way, channels // PROCESSES, seconds, str(number)) for number in range(PROCESSES)]
            began = redis.info("all")
            shares = pool.starmap(produce, work, chunksize=1)
            ended = redis.info("all")
    spent = sum(ended[name] - began[name] for name in ("used_cpu_user", "used_cpu_sys"))
    return shares, spent, ended.get("cmdstat_evalsha", {"calls": 0})["calls"]


def produce(url: str, way: str, channels: int, seconds: float, name: str) -> Share:
    """One process's share."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_produce(url, way, channels, seconds, name))


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
    share = Share(channels * round(RATE * seconds), made, time.process_time() - cpu, time.monotonic() - began)
    await events.aclose()
    return share


async def _tokens(seconds: float, phase: float) -> AsyncIterator[str]:
    """``RATE`` tokens a second, each not before its time, for so many seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + phase / RATE
    for number in range(round(RATE * seconds)):
        if (pause := begin + number / RATE - loop.time()) > 0:
            await asyncio.sleep(pause)
        yield " word"


OWN = Figure("token_own_cpu", "", "", "a token: CPU of producers, without its clock")
REDIS = Figure("token_redis", "Redis's CPU", "µs", "a token: CPU of Redis")

TARGETS = (OWN.ratio(PUBLISHED, WRITTEN), REDIS.ratio(PUBLISHED, WRITTEN))

GROUP = Group(
    measure,
    {"writing": Part("what a token costs, through a writer and published one by one", TARGETS)},
    "Tokens",
    (
        Figure("token_rate", "rate", "thousand events/s"),
        Figure("token_events", "events per token", ""),
        Figure("token_calls", "calls per token", ""),
        Figure("token_cpu", "producers' CPU", "µs"),
        REDIS,
    ),
    "channels",
    by_default=False,
)
