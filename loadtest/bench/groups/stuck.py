"""What clients that never read cost the others.

The same events go out three times in each round: ``before``, while all streams read; ``stuck``, while some of
them do not read any more and are ended as slow; and ``after``, when those are gone.  What is measured is what
the others see: how long an event takes to them, and the worker's CPU for each event that a client reads.
"""

import time
from statistics import median

from ...client.counting import MARK, Reader, Streams, reading
from ..contenders import Edge
from ..run import Run, burst

SIZE = 8000  # bytes of an event's data
ROOM = 2.0  # times what a fan-out takes: events are at least so far apart
# The worker's bounds, in bytes and seconds; it looks at what waits twice in that time.
SETTINGS = {"MAX_UNSENT": "131072", "MAX_UNSENT_AGE": "4"}
RECEIVE_BUFFER = 16_384  # of those that will be stuck, so that what they do not read waits in the worker
ENDED = 30.0  # seconds for the stuck streams to be ended after the last event


def stuck(run: Run) -> None:
    """Rounds on one worker."""
    plan = run.plan
    with (
        run.contender("sse_edge", **SETTINGS) as edge,
        reading(next(run.arena.networks), RECEIVE_BUFFER) as some,
    ):
        assert isinstance(edge, Edge)
        edge.content = lambda number, overhead: "x" * (SIZE - len(MARK)) + MARK.decode()
        edge.grow(plan.streams - plan.stuck)
        edge.check_sink()
        what = f"{plan.stuck:,} of {plan.streams:,} streams stuck"
        turns = run.turns({"sse_edge": edge}, plan.few_rounds, what)
        said = [_round(run, edge, some, number) for number, _ in enumerate(turns)]
    run.notes[f"of {plan.stuck:,} that stop reading ended as slow"] = ", ".join(said)


def _round(run: Run, edge: Edge, some: Reader, number: int) -> str:
    """All three phases; afterwards the stuck ones are gone.  How many were ended, and during the second."""
    plan = run.plan
    asked = edge.requests(edge.reader.streams + number * plan.stuck, plan.stuck)
    some.ask(Streams.open, edge.port, asked, edge.ready, edge.rate)
    took = median(burst(edge, [0.0], some).took for _ in range(5))
    pace = [max(plan.stuck_spacing, ROOM * took) * number for number in range(plan.stuck_events)]

    def phase(name: str, *others: Reader) -> None:
        found = burst(edge, pace, *others)
        read = len(pace) * sum(reader.streams for reader in (edge.reader, *others))
        run.add(name, plan.streams, stuck_p50=found.p50, stuck_p99=found.p99, stuck_cpu=found.cpu / read)

    run.add("before", plan.streams, stuck_memory=edge.held())
    ended = _slow(edge)
    phase("before", some)
    phase("stuck")
    run.add("stuck", plan.streams, stuck_memory=edge.memory())
    meanwhile = _slow(edge) - ended
    deadline = time.monotonic() + ENDED
    while (count := _slow(edge) - ended) < plan.stuck and time.monotonic() < deadline:
        time.sleep(0.2)
    run.add("sse_edge", plan.streams, stuck_wrong=abs(count - plan.stuck))
    some.ask(Streams.close)
    phase("after")
    run.add("after", plan.streams, stuck_memory=edge.held())
    return f"{count:,} ({meanwhile:,} before the last event)"


def _slow(edge: Edge) -> int:
    """How many streams were ended as slow so far."""
    return int(edge.ask("/bench/figures")["endings"].get("slow", 0))
