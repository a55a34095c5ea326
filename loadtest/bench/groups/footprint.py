"""What an idle stream takes of a worker's memory, and for what.

Each case is run twice.  One worker runs under tracemalloc, which knows the line of Python that asked for each
byte; lines are summed by what they are for.  The other is weighed by what the kernel says that the process
holds.  What lies between the two is what allocators round up and keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..contenders import Edge
from ..run import Group, Part, Run
from ..table import Figure

WARM = 500
"""Streams before the first look, so that what is there once for all of them is not counted."""

PARTS = {
    "the server's connection (uvloop, libuv)": ("asyncio/runners.py", "/weakref.py"),
    "its two addresses, which uvicorn asks for": ("protocols/utils.py",),
    "the stream": (
        "delivery/hub.py",
        "delivery/clock.py",
        "delivery/audience.py",
        "delivery/stream.py",
        "delivery/lifetime.py",
        "/event.py",
        "<string>",
    ),
    "its sink": ("delivery/transport.py",),
    "its channel": ("delivery/feed.py", "admission/routes.py"),
    "who is here, and the clock": ("delivery/roster.py", "delivery/few.py", "delivery/wheel.py"),
    "leases": ("memory/leases.py", "redis/leases.py", "admission/gate.py"),
    "the channel's subscription and log": ("backends/",),
    "its cookie, in a cache of bounded size": ("admission/", "/asgi.py", "itsdangerous/", "json/"),
    "other": ("",),
}
"""What a line is for, by a part of its file's name; the first that fits counts."""

CASES = {
    "memory, one channel": ("sse_edge", {"BACKEND": "memory://"}),
    "memory, a channel each": ("sse_edge, own channels", {"BACKEND": "memory://"}),
    "Redis, one channel": ("sse_edge", {}),
    "Redis, a channel each": ("sse_edge, own channels", {}),
}

TRACED = {"PYTHONTRACEMALLOC": "1"}


def measure(run: Run, parts: Collection[str]) -> None:
    """All cases."""
    streams = run.plan.weighed
    for case, (name, settings) in CASES.items():
        run.progress(f"the footprint of {streams:,} streams: {case}")
        with run.arena.contender(name, **settings, **TRACED) as edge:
            assert isinstance(edge, Edge)
            edge.grow(WARM)
            _by_part(edge)  # the first look makes what looking needs
            before = _by_part(edge)
            edge.grow(WARM + streams)
            grown = _by_part(edge)
        grown.subtract(before)
        with run.arena.contender(name, **settings) as edge:
            edge.grow(WARM)
            held = edge.held()
            edge.grow(WARM + streams)
            held = edge.held() - held
        whole = {part: grown[part] for part in PARTS}
        whole |= {"asked for": grown.total(), "held by the process": held}
        for part, size in whole.items():
            run.add(f"footprint: {case}", part, streams, size / streams)


def _by_part(edge: Edge) -> Counter[str]:
    """Bytes that the worker has asked for, by what they are for."""
    found: Counter[str] = Counter()
    for name, size in edge.ask("allocated").items():
        found[next(part for part, names in PARTS.items() if any(each in name for each in names))] += size
    return found


GROUP = Group(
    measure,
    {"footprint": Part("what an idle stream's memory is for")},
    "What an idle stream's memory is for, in bytes",
    tuple(Figure(f"footprint: {case}", case, "") for case in CASES),
    by_default=False,
)
