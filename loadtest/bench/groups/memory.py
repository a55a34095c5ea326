"""What idle streams take of the server's process; what the kernel holds for them is not counted."""

from __future__ import annotations

from collections.abc import Collection

from ..run import Group, Part, Run
from ..table import Figure, Target


def measure(run: Run, parts: Collection[str]) -> None:
    """Each contender by itself."""
    for name in ("bare", *(name for name in run.names if name != "floor"), "sse_edge, own channels"):
        with run.arena.contender(name) as contender:
            contender.grow(min(100, run.plan.sizes[0]))
            contender.reader.drop(contender.reader.streams)
            before = contender.held()
            for size in run.plan.sizes:
                run.progress(f"memory of {size:,} streams on {name}")
                contender.grow(size)
                run.add("memory", name, size, (contender.held() - before) / size)


MEMORY = Figure("memory", "memory per stream", "KiB", "memory per idle stream")
OWN = "memory per idle stream with a channel of its own, sse_edge ÷ nchan's with a shared one"

TARGETS = (
    MEMORY.ratio("sse_edge", "bare", 0.38),
    MEMORY.ratio("sse_edge", "nchan", 1 / 2.4),
    MEMORY.ratio("sse_edge", "sse-starlette", 1 / 3),
    Target(OWN, ("memory", "sse_edge, own channels"), ("memory", "nchan"), 0.65),
)

GROUP = Group(
    measure, {"memory": Part("what idle streams take", TARGETS)}, "Many streams, one channel", (MEMORY,)
)
