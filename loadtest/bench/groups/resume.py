"""Clients that come back all at once, each with events that it missed."""

from __future__ import annotations

import time
from collections.abc import Collection

from ..run import AFTERWARDS, Group, Part, Run
from ..table import Figure


def measure(run: Run, parts: Collection[str]) -> None:
    """Each contender in turn; the first round is not counted."""
    streams, missed = run.plan.resumed, run.plan.missed
    seen: set[str] = set()
    with run.contenders(("floor", "sse_edge", "nchan")) as contenders:
        what = f"{streams:,} clients with {missed} missed events each"
        for name, contender in run.turns(contenders, run.plan.resume_rounds + 1, what):
            cpu = contender.cpu()
            took = contender.resume(streams, missed)
            time.sleep(AFTERWARDS)
            cpu = contender.cpu() - cpu
            if name in seen:
                run.add("resume_last", name, streams, took)
                run.add("resume_cpu", name, streams, cpu / streams)
            seen.add(name)
            contender.leave()


BACK = "all clients back at once, 50 events missed: time until the last is level"
LAST = Figure("resume_last", "last is level after", "ms", BACK)

GROUP = Group(
    measure,
    {"resume": Part("clients that come back all at once", (LAST.ratio("sse_edge", "nchan", 0.41),))},
    "All back at once, events missed",
    (LAST, Figure("resume_cpu", "CPU per stream", "µs")),
)
