"""What it costs to let a stream in, beside a bare uvicorn app that answers one streaming chunk, and nchan.

All get the same load at the same pace: clients that connect, read the first chunk that tells their place, and
leave, so many at a time; and then clients that come back all at once.
"""

from __future__ import annotations

import contextlib
import time
from typing import NamedTuple

from ...site.apps import requests
from ..run import AFTERWARDS, Run

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


def come(run: Run) -> None:
    """Each case in turn, in every round."""
    streams = run.plan.admissions
    paths = [f"/events/rooms/{number % ROOMS}" for number in range(streams)]
    with contextlib.ExitStack() as stack:
        contenders, known = {}, {}
        for name, case in CASES.items():
            if not run.has(case.contender):
                continue
            run.progress(f"admission, {name}: warming up")
            contender = stack.enter_context(run.arena.contender(case.contender, **case.settings))
            contenders[name] = contender
            known[name] = requests(paths, contender.users)
            contender.visit(known[name] if case.known else known[name][:WARM], AT_ONCE, RATE)
        users = streams
        for name, contender in run.turns(contenders, run.plan.admission_rounds, "admission"):
            asked = known[name] if CASES[name].known else requests(paths, contender.users + users)
            users += streams
            cpu = contender.cpu()
            contender.visit(asked, AT_ONCE, RATE)
            run.add(name, streams, admission_cpu=(contender.cpu() - cpu) / streams)


def come_back(run: Run) -> None:
    """All at once, each with events that it missed, one contender after the other; the first round is not
    counted."""
    streams, missed = run.plan.resumed, run.plan.missed
    seen: set[str] = set()
    with run.contenders(["floor", "sse_edge", "nchan"]) as contenders:
        what = f"{streams:,} clients with {missed} missed events each"
        for name, contender in run.turns(contenders, run.plan.resume_rounds + 1, what):
            cpu = contender.cpu()
            took = contender.resume(streams, missed)
            time.sleep(AFTERWARDS)
            cpu = contender.cpu() - cpu
            if name in seen:
                run.add(name, streams, resume_last=took, resume_cpu=cpu / streams)
            seen.add(name)
            contender.leave()
