"""What is left when all clients have gone: it should be nothing."""

import asyncio
import time

import redis

from servers.sse import StreamEndedError

from .layouts import ask
from .verdict import Violation

PATIENCE = 40.0
"""Seconds until everything must be gone: a dead worker's slots are free after ten, at most."""

ALIVE = 10_000
"""Milliseconds for which a worker's heartbeat counts."""


async def see(stage):
    """Wait until leases and subscriptions are seen while there are clients: or their end proves little."""
    async with asyncio.timeout(PATIENCE):
        while {kind for kind, who in await _look(stage, 0) if who == "redis"} != {"lease", "subscription"}:
            await asyncio.sleep(0.5)


async def find(stage, idle_tasks):
    """A Violation for each kind of thing that does not go away."""
    left = {}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        left = await _look(stage, idle_tasks)
        if not left:
            return []
        await asyncio.sleep(0.5)
    at = stage.now()
    return [Violation(f"left {kind}", at, who, "", what) for (kind, who), what in sorted(left.items())]


async def _look(stage, idle_tasks):
    left = {}
    for worker in stage.workers:
        try:
            found = await worker.introspect()
        except (OSError, StreamEndedError, TimeoutError) as error:
            left["answer", worker.name] = f"it does not answer: {error!r}"
            continue
        figures = found["figures"]
        if found["streams"] or figures["streams"]:
            held = "; ".join(found["holders"])
            left["stream", worker.name] = (
                f"{found['streams']} objects, {figures['streams']} in its figures; {held}"
            )
        if len(found["tasks"]) > idle_tasks:
            left["task", worker.name] = f"{len(found['tasks'])}, and {idle_tasks} when idle: {found['tasks']}"
    try:
        names, leases = await asyncio.to_thread(lambda: (stage.layout.subscriptions(), _leases(stage.layout)))
    except (redis.RedisError, OSError) as error:
        return {**left, ("answer", "redis"): repr(error)}
    heard = [
        name for name in names if name.endswith(stage.plan.channels) or ":job-" in name or ":text-" in name
    ]
    if heard:
        left["subscription", "redis"] = f"{len(heard)}: {heard[:5]}"
    if leases:
        left["lease", "redis"] = f"{len(leases)}: {leases[:5]}"
    return left


def _leases(layout):
    """(key, worker, count) of the slots that workers with a heartbeat hold."""
    held = []
    for server in layout.servers():
        now = time.time() * 1000
        keys = [key for key in ask(server, "KEYS", "*") if "leases" in key]
        alive = set()
        for key in keys:
            if ask(server, "TYPE", key) == "zset":
                beats = ask(server, "ZRANGE", key, 0, -1, "WITHSCORES")
                alive.update(name for name, beat in _pairs(beats) if abs(now - float(beat)) < ALIVE)
        for key in keys:
            if ask(server, "TYPE", key) == "hash":
                fields = ask(server, "HGETALL", key)
                pairs = fields.items() if isinstance(fields, dict) else _pairs(fields)
                held += [(key, worker, count) for worker, count in pairs if worker in alive]
    return held


def _pairs(flat):
    if flat and isinstance(flat[0], (tuple, list)):
        return [tuple(each) for each in flat]
    return list(zip(flat[::2], flat[1::2], strict=True))
