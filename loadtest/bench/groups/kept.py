"""What kept events take in Redis, beside what ``sse-edge tune`` reckons.

Each row has a Redis of its own, with channels of which so many events are kept: between as many and 2.2 times
as many are published to each, in no order, so that what was kept first is let go of in the middle of a node.
"""

import random
from typing import Any

from redis import Redis

from sse_edge import Event, RedisBackend, Retention
from sse_edge.backends.base import Outgoing
from sse_edge.tune.history import memory

from ...site import programs
from ..run import Run

CHANNELS = 3, 5000  # at least, and at most
AT_ONCE = 500  # events of a call
KEYED = 150, 100, 200  # bytes, events and channels that a dedupe key is measured with


def kept(run: Run) -> None:
    """All rows, and what a dedupe key takes."""
    for size in run.plan.kept_sizes:
        for events in run.plan.kept:
            run.progress(f"what {events:,} kept events of {size:,} bytes take in Redis")
            channels = min(CHANNELS[1], max(CHANNELS[0], run.plan.kept_bytes // (size * events)))
            used, _ = run.arena.runner.run(_filled(size, events, channels))
            reckoned = memory(channels, events, size)
            run.add(
                f"of {size:,} bytes",
                events,
                kept_channels=channels,
                kept_used=used / channels,
                kept_reckoned=reckoned / channels,
                kept_part=used / reckoned,
            )
    plain, published = run.arena.runner.run(_filled(*KEYED))
    keyed, _ = run.arena.runner.run(_filled(*KEYED, keyed=True))
    run.notes["a dedupe key takes"] = f"{(keyed - plain) / published:.0f} bytes"


async def _filled(size: int, events: int, channels: int, *, keyed: bool = False) -> tuple[int, int]:
    """Bytes that channels take, each with ``events`` of ``size`` bytes, and how many were published."""
    chance = random.Random(size)
    names = [f"task:{number:08d}-0000-4000" for number in range(channels)]
    todo = [name for name in names for _ in range(round(events * (1 + 1.2 * chance.random())))]
    if events > 1:
        chance.shuffle(todo)
    body = Event("x" * (size - len(Event("").encode()))).encode()
    with programs.redis() as url, Redis.from_url(url) as client:
        redis: Any = client
        backend = RedisBackend(url, retention={"task:*": Retention(events, 3600)})
        await backend.publish([Outgoing("other", body)])
        before = redis.info("memory")["used_memory"]
        for at in range(0, len(todo), AT_ONCE):
            await backend.publish(
                [
                    Outgoing(name, body, f"key-{number}" if keyed else None)
                    for number, name in enumerate(todo[at : at + AT_ONCE], at)
                ]
            )
        used: int = redis.info("memory")["used_memory"] - before
        await backend.close()
    return used, len(todo)
