"""What Redis tells: how it is set up, and what the workers say of themselves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ..backends.redis import RedisBackend
from ..backends.redis.inspection import inspect
from ..backends.redis.leases import HEARTBEAT
from ..errors import BackendError
from .finding import Finding, unknown
from .judgement import redis, workers
from .judgement.clock import Ahead

AGAIN = 0.5
"""Seconds between looks whether a worker reports, where none does yet."""

FIRST = HEARTBEAT + AGAIN
"""Seconds until each does: with its first heartbeat."""

DENIED = ("redis-denied", "redis-denied-limits")
UNREADABLE = unknown(workers.CHECK, "this user of Redis may not read, or write, what they say")


@dataclass(frozen=True, slots=True)
class Backstage:
    """``durable``: as RedisBackend's.  ``clocks`` is told how far whose are ahead.  ``patience``: seconds to
    wait for a worker.
    """

    backend: RedisBackend
    durable: bool
    clocks: dict[str, Ahead]
    patience: float = FIRST

    async def findings(self) -> list[Finding]:
        """Everything of it."""
        try:
            settings = await self._settings()
        except BackendError as error:
            return [redis.unanswered("redis", str(error))]
        denied = any(each.code in DENIED for each in settings)
        try:
            told = await self._workers()
        except BackendError as error:
            told = [UNREADABLE if denied else redis.unanswered("workers", str(error))]
        # Who may not read what they say may not write it either, where workers are the same user.
        return [*settings, *(UNREADABLE if denied and each.code == "no-worker" else each for each in told)]

    async def _settings(self) -> list[Finding]:
        asked = time.time()
        states = await inspect(self.backend)
        answered = time.time()
        for state in states:
            if "server_time_usec" in state.info:
                now = int(state.info["server_time_usec"]) / 1e6
                self.clocks["Redis"] = now - answered, now - asked
        return [finding for state in states for finding in redis.server(state, durable=self.durable)]

    async def _workers(self) -> list[Finding]:
        deadline = time.monotonic() + self.patience
        reports = await self.backend.reports()
        while not reports.told and not reports.silent and time.monotonic() < deadline:
            await asyncio.sleep(AGAIN)
            reports = await self.backend.reports()
        redis_ahead = reports.now - time.time()
        for report in reports.told:
            ahead = report["worker"]["now"] - report["heard"] + redis_ahead
            # It was composed a little before it was written.
            self.clocks[workers.name(report)] = ahead, ahead + workers.COMPOSED
        return workers.all_of(reports.told, reports.silent)
