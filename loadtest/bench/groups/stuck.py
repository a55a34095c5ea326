"""What clients that never read cost the others.

The same events go out three times in each round: ``before``, while all streams read; ``stuck``, while some of
them do not read any more and are ended as slow; and ``after``, when those are gone.  What is measured is what
the others see: how long an event takes to them, and the worker's CPU for each event that a client reads.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from statistics import median

from ...client.counting import MARK, Streams
from ...client.reader import Reader, reading
from ...measure.process import rss
from ...site.apps import requests
from ..contenders import RATE, Edge
from ..run import AFTERWARDS, Group, Part, Run
from ..table import Always, Figure

SIZE = 8000
"""Bytes of an event's data."""

ROOM = 2.0
"""Times what a fan-out takes: events are at least so far apart."""

SETTINGS = {"MAX_UNSENT": "131072", "MAX_UNSENT_AGE": "4"}
"""The worker's bounds, in bytes and seconds; it looks at what waits twice in that time."""

RECEIVE_BUFFER = 16_384
"""SO_RCVBUF of those that will be stuck, so that what they do not read waits on the worker's side."""

ENDED = 30.0
"""Seconds for the stuck streams to be ended after the last event."""


def measure(run: Run, parts: Collection[str]) -> None:
    """Rounds on one worker."""
    plan, arena = run.plan, run.arena
    with arena.contender("sse_edge", **SETTINGS) as edge, reading(arena.network()) as some:
        assert isinstance(edge, Edge)
        edge.content = lambda number, overhead: "x" * (SIZE - len(MARK)) + MARK.decode()
        edge.grow(plan.audience - plan.stuck)
        edge.check_sink()
        endings = [
            _round(run, edge, some, number, f"{plan.stuck:,} of {plan.audience:,} streams stuck, round ")
            for number in range(plan.stuck_rounds)
        ]
    run.notes[f"of {plan.stuck:,} that stop reading ended as slow"] = ", ".join(
        f"{ended:,} ({meanwhile:,} before the last event)" for ended, meanwhile in endings
    )


def _round(run: Run, edge: Edge, some: Reader, number: int, what: str) -> tuple[int, int]:
    """All three phases; afterwards the stuck ones are gone.  How many were ended, and during the second."""
    plan = run.plan
    run.progress(f"{what}{number + 1} of {plan.stuck_rounds}")
    first = edge.reader.streams + number * plan.stuck
    heads = requests(edge.paths(first, plan.stuck), edge.users + first)
    some.open(edge.port, heads, edge.ready, RATE, receive_buffer=RECEIVE_BUFFER)
    pace = _pace(run, edge, some)
    run.add("stuck_memory", "before", plan.audience, edge.held())
    ended = _slow(edge)
    _phase(run, edge, "before", [edge.reader, some], pace)
    _phase(run, edge, "stuck", [edge.reader], pace)
    run.add("stuck_memory", "stuck", plan.audience, rss(edge.pid))
    meanwhile = _slow(edge) - ended
    deadline = time.monotonic() + ENDED
    while (count := _slow(edge) - ended) < plan.stuck and time.monotonic() < deadline:
        time.sleep(0.2)
    run.add("stuck_wrong", "sse_edge", plan.audience, abs(count - plan.stuck))
    some.drop(some.streams)
    _phase(run, edge, "after", [edge.reader], pace)
    run.add("stuck_memory", "after", plan.audience, edge.held())
    return count, meanwhile


def _pace(run: Run, edge: Edge, some: Reader) -> list[float]:
    """When events are published: with room for a fan-out, which is measured."""
    took = []
    for _ in range(5):
        for reader in (edge.reader, some):
            reader.expect(1)
        (published,) = edge.publish([0.0])
        took.append(max(edge.reader.arrival().at, some.arrival().at) - published)
    spacing = max(run.plan.stuck_spacing, ROOM * median(took))
    return [number * spacing for number in range(run.plan.stuck_events)]


def _phase(run: Run, edge: Edge, phase: str, readers: Sequence[Reader], pace: Sequence[float]) -> None:
    """Events as those see them who read, of whom the first are told of."""
    for reader in readers:
        reader.expect(len(pace), record=True, seconds=300)
    cpu = edge.cpu()
    published = edge.publish(pace)
    for reader in readers:
        reader.arrival()
    time.sleep(AFTERWARDS)
    cpu = edge.cpu() - cpu
    p50, p99, _ = readers[0].ask(Streams.latencies, published)
    read = len(pace) * sum(reader.streams for reader in readers)
    for what, figure in (("stuck_p50", p50), ("stuck_p99", p99), ("stuck_cpu", cpu / read)):
        run.add(what, phase, run.plan.audience, figure)


def _slow(edge: Edge) -> int:
    """How many streams were ended as slow so far."""
    ended: int = edge.ask("figures")["endings"].get("slow", 0)
    return ended


OTHERS = "a tenth of all clients stop reading, the others"
FIGURES = (
    Figure("stuck_p50", "p50", "ms", f"{OTHERS}: half have an event after"),
    Figure("stuck_p99", "p99", "ms", f"{OTHERS}: 99 in 100 have it after"),
    Figure("stuck_cpu", "CPU per event read", "µs", f"{OTHERS}: CPU per event read"),
    Figure("stuck_memory", "worker's memory", "MiB", "a tenth of all clients stop reading: worker's memory"),
)
WRONG = "streams that stopped reading and were not ended as slow, or were and had not"

TARGETS = (
    *(each.ratio(phase, "before") for each in FIGURES for phase in ("stuck", "after")),
    Always(WRONG, ("stuck_wrong", "sse_edge"), bound=0),
)

GROUP = Group(
    measure,
    {"stuck": Part("what clients that never read cost the others", TARGETS)},
    "A tenth of all clients stop reading",
    FIGURES,
    by_default=False,
)
