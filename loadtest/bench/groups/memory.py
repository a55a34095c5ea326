"""What idle streams take of the server's process; what the kernel holds for them is not counted."""

from __future__ import annotations

from collections.abc import Collection

from ..run import Group, Run
from ..table import Measured, Table, Target


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


MEMORY = Measured("memory", "memory", "memory per idle stream")

GROUP = Group(
    {"memory": "what idle streams take"},
    measure,
    (
        MEMORY.ratio("sse_edge", "bare", 0.38),
        MEMORY.ratio("sse_edge", "nchan", 1 / 2.4),
        MEMORY.ratio("sse_edge", "sse-starlette", 1 / 3),
        Target(
            "memory",
            "memory per idle stream with a channel of its own, sse_edge ÷ nchan's with a shared one",
            ("memory", "sse_edge, own channels"),
            ("memory", "nchan"),
            0.65,
        ),
    ),
    (Table("Many streams, one channel", (("memory", "memory per stream", "KiB"),)),),
)
