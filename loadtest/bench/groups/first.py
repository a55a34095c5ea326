"""Streams that were never sent an event, and the same ones when they were sent some."""

from __future__ import annotations

from collections.abc import Collection

from ..run import SILENCE, Group, Part, Run, one_at_a_time
from ..table import Figure, Target

TENTH = 9
"""Events before the one that counts as any other."""


def measure(run: Run, parts: Collection[str]) -> None:
    """The first event, and the tenth; streams are opened again and again."""
    size = run.plan.cold_streams
    with run.contenders(("floor", "sse_edge", "nchan"), KEEP_ALIVE=SILENCE) as contenders:
        for contender in contenders.values():
            contender.grow(min(100, size))
            one_at_a_time(contender, 1)  # what a process does for the first time is not the streams'
        what = f"the first event of {size:,} streams"
        for name, contender in run.turns(contenders, run.plan.cold_rounds, what):
            contender.renew(size)
            cpu, _, _ = one_at_a_time(contender, 1)
            run.add("first_cpu", name, size, cpu / size)
            one_at_a_time(contender, TENTH - 1)
            cpu, _, _ = one_at_a_time(contender, 1)
            run.add("tenth_cpu", name, size, cpu / size)


FIRST = Figure(
    "first_cpu", "CPU per stream, cold", "µs", "first event after connecting, cold: CPU per stream"
)
TENTH_TOO = "first event after connecting ÷ the tenth: CPU per stream, sse_edge"

TARGETS = (
    FIRST.ratio("sse_edge", "floor", 1.3),
    FIRST.ratio("sse_edge", "nchan", 1.0),
    Target(TENTH_TOO, ("first_cpu", "sse_edge"), ("tenth_cpu", "sse_edge"), 1.2),
)

GROUP = Group(
    measure,
    {"first": Part("the first event after connecting", TARGETS)},
    "The first event after connecting",
    (FIRST, Figure("tenth_cpu", "the tenth, warm", "µs")),
)
