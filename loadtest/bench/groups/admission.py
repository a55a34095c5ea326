"""What it costs to let a stream in, beside a bare uvicorn app that answers one streaming chunk, and nchan.

All get the same load at the same pace: clients that connect, read the first chunk that tells their place, and
leave, so many at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import NamedTuple

from ...site.apps import requests
from ..run import Group, Part, Run
from ..table import Figure

ROOMS = 100
"""Channels that the clients share."""

AT_ONCE = 50

RATE = 1000.0
"""Streams per second."""

WARM = 500
"""Visitors that are not counted."""


class Case(NamedTuple):
    """A contender, its settings, and whether its users come with a cookie that it has seen before."""

    contender: str
    settings: dict[str, str]
    known: bool = False


MEMORY = {"BACKEND": "memory://"}

CASES = {
    "bare": Case("bare", {}),
    "sse_edge with memory, no limits": Case("sse_edge", {**MEMORY, "CAPS": "0"}),
    "sse_edge with memory": Case("sse_edge", MEMORY),
    "sse_edge with Redis": Case("sse_edge", {}),
    "sse_edge with memory, cookie seen before": Case("sse_edge", MEMORY, known=True),
    "sse_edge with Redis, cookie seen before": Case("sse_edge", {}, known=True),
    "nchan": Case("nchan", {}),
}


def measure(run: Run, parts: Collection[str]) -> None:
    """Each case in turn, in every round."""
    streams = run.plan.admissions
    paths = [f"/events/rooms/{number % ROOMS}" for number in range(streams)]
    cases = {name: case for name, case in CASES.items() if run.has(case.contender)}
    with contextlib.ExitStack() as stack:
        contenders, known = {}, {}
        for name, case in cases.items():
            run.progress(f"admission, {name}: warming up")
            contender = stack.enter_context(run.arena.contender(case.contender, **case.settings))
            contenders[name] = contender
            known[name] = requests(paths, contender.users)
            contender.visit(known[name] if case.known else known[name][:WARM], AT_ONCE, RATE)
        users = streams
        for name, contender in run.turns(contenders, run.plan.admission_rounds, "admission"):
            asked = known[name] if cases[name].known else requests(paths, contender.users + users)
            users += streams
            cpu = contender.cpu()
            contender.visit(asked, AT_ONCE, RATE)
            run.add("admission_cpu", name, streams, (contender.cpu() - cpu) / streams)


COST = Figure("admission_cpu", "CPU per stream", "µs", "CPU per admitted stream")

TARGETS = (
    COST.ratio("sse_edge with Redis", "bare", 1.6),
    COST.ratio("sse_edge with memory", "bare", 1.3),
    COST.ratio("sse_edge with Redis, cookie seen before", "bare", 1.6),
    COST.ratio("sse_edge with memory, cookie seen before", "bare", 1.3),
    COST.ratio("sse_edge with Redis", "nchan", 2),
    COST.ratio("sse_edge with memory", "nchan", 2),
)

GROUP = Group(measure, {"admission": Part("to let a stream in", TARGETS)}, "To let a stream in", (COST,))
