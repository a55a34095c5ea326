"""Workers that hold leases in Redis, and waiting for what they do."""

import asyncio
import contextlib
import time

from sse_edge.backends.redis.leases import RedisLeases

BEAT = 0.2
"""Seconds between heartbeats where a test waits for some."""

USER = [("user:u", 3)]
PREFIX = "sse:{leases}:"


async def eventually(condition, timeout=5.0):
    """Wait until ``condition`` holds; the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def obtain(leases, caps, timeout=5.0):
    """Ask until the slots are given; the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(timeout):
        while await leases.acquire(caps) is not None:
            await asyncio.sleep(0.005)
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def leasing(opened):
    """``await make(url, heartbeat=…)``: the started RedisLeases of one more worker, on a backend that
    ``opened`` makes."""
    made = []

    async def make(url, *, heartbeat=BEAT, prefix="sse:{leases}"):
        made.append(RedisLeases(opened(url, timeout=5).server, prefix, heartbeat=heartbeat))
        await made[-1].start()
        return made[-1]

    yield make
    for leases in made:
        await leases.close()
