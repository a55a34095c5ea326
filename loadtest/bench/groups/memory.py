"""What idle streams take of the server's process, and for what; what the kernel holds is not counted.

For the footprint each case is run twice.  One worker runs under tracemalloc, which knows the line of Python
that asked for each byte; lines are summed by what they are for.  The other is weighed by what the kernel says
that the process holds.  What lies between the two is what allocators round up and keep.
"""

import re
from collections import Counter

from ..arena import Contender
from ..run import Run

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
            contender.reader.drop(contender.reader.streams)
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
