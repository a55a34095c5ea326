"""What idle streams take of the server's process, and for what, and what kept events take in Redis.

For the footprint each case is run twice.  One worker runs under tracemalloc, which knows the line of Python
that asked for each byte; lines are summed by what they are for.  The other is weighed by what the kernel says
that the process holds; what the kernel holds itself is not counted.  What lies between the two is what
allocators round up and keep.

Kept events are held against what ``sse-edge tune`` reckons.  Each row has a Redis of its own, with channels
of which so many events are kept: between as many and 2.2 times as many are published to each, in no order, so
that what was kept first is let go of in the middle of a node.
"""

import random
import re
from collections import Counter
from typing import Any

from redis import Redis

from sse_edge import Event, RedisBackend, Retention
from sse_edge.backends.base import Outgoing
from sse_edge.tune.history import memory

from ...client.counting import Streams
from ...site import deployment
from ..arena import Contender
from ..run import Run

CHANNELS = 3, 5000  # that keep events: at least, and at most
AT_ONCE = 500  # events of a call
KEYED = 150, 100, 200  # bytes, events and channels that a dedupe key is measured with

WARM = 500  # streams before the first look, so that what is there once for all of them is not counted

LINES = {
    "the server's connection (uvloop, libuv)": r"asyncio/runners\.py|/weakref\.py",
    "its two addresses, which uvicorn asks for": r"protocols/utils\.py",
    "the stream": r"delivery/(hub|clock|audience|stream|lifetime)\.py|/event\.py|<string>",
    "its sink": r"delivery/transport\.py",
    "its channel": r"delivery/feed\.py|admission/routes\.py",
    "who is here, and the clock": r"delivery/(roster|few|wheel)\.py",
    "leases": r"(memory|redis)/leases\.py|admission/gate\.py",
    "the channel's subscription and log": r"backends/",
    "its cookie, in a cache of bounded size": r"admission/|/asgi\.py|itsdangerous/|json/",
    "other": "",
}
"""What a line is for, by its file's name; the first that fits counts."""

CASES = {
    "memory, one channel": ("sse_edge", {"BACKEND": "memory://"}),
    "memory, a channel each": ("sse_edge, own channels", {"BACKEND": "memory://"}),
    "Redis, one channel": ("sse_edge", {}),
    "Redis, a channel each": ("sse_edge, own channels", {}),
}


def idle(run: Run) -> None:
    """Each contender by itself, with more and more streams."""
    for name in ("bare", *(name for name in run.names if name != "floor"), "sse_edge, own channels"):
        with run.contender(name) as contender:
            contender.grow(min(100, run.plan.sizes[0]))
            contender.reader.ask(Streams.close)
            before = contender.held()
            for size in run.plan.sizes:
                run.progress(f"memory of {size:,} streams on {name}")
                contender.grow(size)
                run.add(name, size, memory=(contender.held() - before) / size)


def footprint(run: Run) -> None:
    """All cases."""
    streams = run.plan.streams
    for case, (name, settings) in CASES.items():
        run.progress(f"the footprint of {streams:,} streams: {case}")
        with run.contender(name, **settings, PYTHONTRACEMALLOC="1") as edge:
            edge.grow(WARM)
            _asked(edge)  # the first look makes what looking needs
            before = _asked(edge)
            edge.grow(WARM + streams)
            grown = _asked(edge)
        grown.subtract(before)
        with run.contender(name, **settings) as edge:
            edge.grow(WARM)
            held = edge.held()
            edge.grow(WARM + streams)
            held = edge.held() - held
        whole = {part: grown[part] for part in LINES}
        for part, size in {**whole, "asked for": grown.total(), "held by the process": held}.items():
            run.add(part, streams, **{f"footprint: {case}": size / streams})


def _asked(edge: Contender) -> Counter[str]:
    """Bytes that the worker has asked for, by what they are for."""
    found: Counter[str] = Counter()
    for name, size in edge.ask("/bench/allocated").items():
        found[next(part for part, pattern in LINES.items() if re.search(pattern, name))] += size
    return found


def kept(run: Run) -> None:
    """All rows, and what a dedupe key takes."""
    for size in run.plan.kept_sizes:
        for events in run.plan.kept:
            run.progress(f"what {events:,} kept events of {size:,} bytes take in Redis")
            channels = min(CHANNELS[1], max(CHANNELS[0], run.plan.kept_bytes // (size * events)))
            used, _ = run.arena.runner.run(_filled(size, events, channels))
            reckoned = memory(channels, events, size)
            name = f"of {size:,} bytes"
            run.add(name, events, kept_channels=channels, kept_used=used / channels)
            run.add(name, events, kept_reckoned=reckoned / channels, kept_part=used / reckoned)
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
    outgoing = [Outgoing(name, body, f"key-{number}" if keyed else None) for number, name in enumerate(todo)]
    with deployment.redis() as url, Redis.from_url(url) as client:
        redis: Any = client
        backend = RedisBackend(url, retention={"task:*": Retention(events, 3600)})
        await backend.publish([Outgoing("other", body)])
        before = redis.info("memory")["used_memory"]
        for at in range(0, len(todo), AT_ONCE):
            await backend.publish(outgoing[at : at + AT_ONCE])
        used: int = redis.info("memory")["used_memory"] - before
        await backend.close()
    return used, len(todo)
