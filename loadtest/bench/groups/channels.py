"""As many channels as streams: an event to each at once, and to one alone."""

from __future__ import annotations

from collections.abc import Collection

from ..contenders import Contender
from ..run import SILENCE, Group, Part, Run, one_at_a_time
from ..table import Figure

PACE = 0.005
"""Seconds between events to one stream each: whoever delivers one is done with it before the next."""


def measure(run: Run, parts: Collection[str]) -> None:
    """Each round first the one, then the other."""
    size = run.plan.channel_streams
    names = ("floor", "sse_edge, own channels", "nchan, own channels")
    with run.contenders(names, KEEP_ALIVE=SILENCE) as contenders:
        for name, contender in contenders.items():
            run.progress(f"opening {size:,} streams for as many channels, {name}")
            contender.grow(size)
            one_at_a_time(contender, 1)
        for number in range(run.plan.channel_rounds):
            run.progress(f"{size:,} channels, round {number + 1} of {run.plan.channel_rounds}")
            for name, contender in contenders.items():
                cpu, _, _ = one_at_a_time(contender, 2)
                run.add("channels_cpu", name, size, cpu / size / 2)
            for name, contender in contenders.items():
                p50, p99 = one_stream_each(contender, run.plan.singles)
                run.add("alone_p50", name, size, p50)
                run.add("alone_p99", name, size, p99)


def one_stream_each(contender: Contender, events: int) -> tuple[float, float]:
    """Events to one stream each, at a pace; seconds until it has it, of half and of 99 in a hundred."""
    contender.reader.expect_each(events)
    published = contender.publish_each([number * PACE for number in range(events)])
    waits = sorted(came - sent for came, sent in zip(contender.reader.moments(), published, strict=True))
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100]


ALL = "an event to each of as many channels as streams, warm: CPU per event"
ALONE = "one event to one of many channels, warm"

EACH = Figure("channels_cpu", "to each: CPU per event", "µs", ALL)
P50 = Figure("alone_p50", "to one: p50", "ms", f"{ALONE}: half have it after")
P99 = Figure("alone_p99", "to one: p99", "ms", f"{ALONE}: 99 in 100 have it after")

TARGETS = (
    EACH.ratio("sse_edge, own channels", "floor", 1.6),
    P50.ratio("sse_edge, own channels", "nchan, own channels", 1.5),
    P99.ratio("sse_edge, own channels", "nchan, own channels", 1.5),
)

GROUP = Group(
    measure,
    {"channels": Part("as many channels as streams", TARGETS)},
    "As many channels as streams",
    (EACH, P50, P99),
)
