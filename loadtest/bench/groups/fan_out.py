"""Many streams, one channel: one event at a time, bursts, and the event loop meanwhile."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from statistics import median

from ...client.counting import Streams
from ..contenders import Contender, Edge
from ..run import AFTERWARDS, SILENCE, Group, Part, Run, one_at_a_time
from ..table import Figure, Flat, Target

BURST_EVENTS = 100
SPACING = 0.002
"""Seconds between the events of a burst."""

OVERLAP = 4
"""Events published in the time that one fan-out takes: there is no pause, and no more than it can take."""

SLOW = {"sse-starlette", "django-eventstream"}
"""They have one burst, and not one for each round: it takes minutes and no target needs it."""


def measure(run: Run, parts: Collection[str]) -> None:
    """All contenders, with more and more streams."""
    sizes, names = run.plan.sizes, run.names
    if not {"single", "burst"} & set(parts):
        sizes, names = sizes[-1:], ["sse_edge"]
    with run.contenders(names, KEEP_ALIVE=SILENCE) as contenders:
        for size in sizes:
            for name, contender in contenders.items():
                run.progress(f"opening {size:,} streams on {name}")
                contender.grow(size)
                if isinstance(contender, Edge):
                    run.notes[f"streams of {name} are written through"] = contender.check_sink()
                one_at_a_time(contender, 1)  # not counted
            if "single" in parts:
                _single(run, contenders, size)
            if "burst" in parts:
                _burst(run, contenders, size)
        if "loop" in parts:
            _loop(run, contenders["sse_edge"], sizes[-1])


def _single(run: Run, contenders: Mapping[str, Contender], size: int) -> None:
    events = run.plan.events
    what = f"{size:,} streams, one event at a time"
    for name, contender in run.turns(contenders, run.plan.rounds, what):
        cpu, lasts, arrivals = one_at_a_time(contender, events)
        run.add("single_cpu", name, size, cpu / events / size)
        run.add("single_last", name, size, median(lasts))
        run.add("client_cpu", name, size, sum(one.cpu for one in arrivals) / events / size)
        run.wire_bytes[name] = arrivals[-1].size / size


def _burst(run: Run, contenders: Mapping[str, Contender], size: int) -> None:
    pace = [number * SPACING for number in range(BURST_EVENTS)]
    what = f"{size:,} streams, {BURST_EVENTS} events at 2 ms"
    for name, contender in run.turns(contenders, run.plan.bursts, what):
        if name in SLOW and size in run.samples.get("burst_rate", {}).get(name, {}):
            continue
        contender.reader.expect(BURST_EVENTS, record=True, seconds=300)
        cpu = contender.cpu()
        published = contender.publish(pace)
        arrival = contender.reader.arrival()
        time.sleep(AFTERWARDS)
        cpu = contender.cpu() - cpu
        p50, p99, _ = contender.reader.ask(Streams.latencies, published)
        took, delivered = arrival.at - published[0], BURST_EVENTS * size
        run.add("burst_rate", name, size, delivered / took)
        run.add("burst_cpu", name, size, cpu / delivered)
        run.add("burst_p50", name, size, p50)
        run.add("burst_p99", name, size, p99)
        run.add("burst_client_busy", name, size, arrival.cpu / took)


def _loop(run: Run, edge: Contender, size: int) -> None:
    assert isinstance(edge, Edge)
    what = f"{size:,} streams, the event loop meanwhile"
    for name, _ in run.turns({"sse_edge": edge}, run.plan.loops, what):
        _, lasts, _ = one_at_a_time(edge, 3)
        fan_out = median(lasts)
        spacing = fan_out / OVERLAP
        events = max(OVERLAP, round(run.plan.loop_seconds / spacing))
        edge.reader.expect(events)
        edge.ask("probe/start")
        edge.publish([number * spacing for number in range(events)])
        edge.reader.arrival()
        run.add("loop_longest", name, size, edge.ask("probe/stop")["longest"])
        run.add("loop_fan_out", name, size, fan_out)


ONE = "one event at a time, warm"
CPU = Figure("single_cpu", "CPU per event", "µs", f"{ONE}: CPU per delivered event")
LAST = Figure("single_last", "last stream after", "ms", f"{ONE}: time until the last stream has it")
RATE = Figure(
    "burst_rate", "burst", "thousand events/s", "100 events at 2 ms spacing, warm: delivered events/s"
)
FLAT = f"{CPU.what}, largest ÷ smallest over the numbers of streams"
AWAY = "fan-out without pause: longest time the loop is away ÷ one full fan-out"

SINGLE = (
    CPU.ratio("sse_edge", "floor", 1.05),
    CPU.ratio("TaskSink", "floor", 2.5),
    LAST.ratio("sse_edge", "floor", 1.25),
    CPU.ratio("sse_edge", "nchan", 1.0),
    CPU.ratio("sse_edge", "sse-starlette", 1 / 4),
    Flat(FLAT, ("single_cpu", "sse_edge"), bound=1.25),
)
BURST = (
    RATE.ratio("sse_edge", "floor", 35, at_least=True),
    RATE.ratio("sse_edge", "nchan", 12, at_least=True),
)
LOOP = (Target(AWAY, ("loop_longest", "sse_edge"), ("loop_fan_out", "sse_edge"), 1 / 8),)

GROUP = Group(
    measure,
    {
        "single": Part("one event at a time to many streams of one channel", SINGLE),
        "burst": Part("100 events at 2 ms spacing to them", BURST),
        "loop": Part("how long the event loop is away meanwhile", LOOP),
    },
    "Many streams, one channel",
    (
        CPU,
        LAST,
        RATE,
        Figure("burst_cpu", "burst CPU per event", "µs"),
        Figure("burst_p50", "burst p50", "ms"),
        Figure("burst_p99", "burst p99", "ms"),
        Figure("client_cpu", "client's CPU per event", "µs"),
        Figure("burst_client_busy", "client's core, burst", "%"),
    ),
)
