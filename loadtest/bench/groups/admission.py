"""What it costs to let a stream in, beside a bare uvicorn app that answers one streaming chunk, and nchan.

All get the same load at the same pace: clients that connect, read the first chunk that tells their place, and
leave, so many at a time; and then clients that come back all at once.
"""

import contextlib
import time
from collections.abc import Sequence

from ...client.counting import Streams
from ..apps import requests
from ..arena import Contender
from ..run import AFTERWARDS, Run

ROOMS = 100  # channels that the clients share
AT_ONCE = 50
RATE = 1000.0  # streams per second
WARM = 500  # visitors that are not counted

MEMORY = {"BACKEND": "memory://"}
SEEN = ", cookie seen before"

CASES: dict[str, tuple[str, dict[str, str]]] = {
    "bare": ("bare", {}),
    "sse_edge with memory, no limits": ("sse_edge", {**MEMORY, "CAPS": "0"}),
    "sse_edge with memory": ("sse_edge", MEMORY),
    "sse_edge with Redis": ("sse_edge", {}),
    f"sse_edge with memory{SEEN}": ("sse_edge", MEMORY),
    f"sse_edge with Redis{SEEN}": ("sse_edge", {}),
    "nchan": ("nchan", {}),
}
"""Contenders and their settings; with ``SEEN`` all users come with a cookie that the contender has seen."""


def come(run: Run) -> None:
    """Each case in turn, in every round."""
    streams = run.plan.admissions
    paths = [f"/events/rooms/{number % ROOMS}" for number in range(streams)]

    def visit(contender: Contender, asked: Sequence[bytes]) -> None:
        contender.reader.ask(Streams.visit, contender.port, asked, contender.ready, AT_ONCE, RATE)

    with contextlib.ExitStack() as stack:
        contenders, known = {}, {}
        for name, (who, settings) in CASES.items():
            if run.has(who):
                run.progress(f"admission, {name}: warming up")
                contender = contenders[name] = stack.enter_context(run.contender(who, **settings))
                known[name] = requests(paths, contender.users)
                visit(contender, known[name] if SEEN in name else known[name][:WARM])
        turns = run.turns(contenders, run.plan.some_rounds, "admission")
        for number, (name, contender) in enumerate(turns, 1):
            asked = known[name] if SEEN in name else requests(paths, contender.users + number * streams)
            cpu = contender.cpu()
            visit(contender, asked)
            run.add(name, streams, admission_cpu=(contender.cpu() - cpu) / streams)


def come_back(run: Run) -> None:
    """All at once, each with events that it missed, one contender after the other; the first round is not
    counted."""
    streams, missed = run.plan.resumed, run.plan.missed
    with run.contenders(["floor", "sse_edge", "nchan"]) as contenders:
        what = f"{streams:,} clients with {missed} missed events each"
        turns = run.turns(contenders, run.plan.some_rounds + 1, what)
        for number, (name, contender) in enumerate(turns):
            cpu = contender.cpu()
            took = contender.resume(streams, missed)
            time.sleep(AFTERWARDS)
            cpu = contender.cpu() - cpu
            if number >= len(contenders):
                run.add(name, streams, resume_last=took, resume_cpu=cpu / streams)
            contender.leave()
