"""What clients that take gzip are sent, beside those that do not."""

from __future__ import annotations

from collections.abc import Collection

from ...client.counting import Streams
from ..content import Content, card, tick
from ..run import SILENCE, Group, Part, Run, one_at_a_time
from ..table import Figure

CONTENTS: dict[str, Content] = {"cards": card, "ticks": tick}

NAMES = {"sse_edge": "plain", "gzip": "gzip"}


def measure(run: Run, parts: Collection[str]) -> None:
    """Two kinds of content, one event at a time."""
    size, events = run.plan.packed_streams, run.plan.packed_events
    with run.contenders(tuple(NAMES), KEEP_ALIVE=SILENCE, COMPRESS="1") as contenders:
        for name, contender in contenders.items():
            run.progress(f"opening {size:,} streams, {NAMES[name]}")
            contender.grow(size)
        packed = contenders["gzip"].reader.ask(Streams.packed)
        run.notes["clients that take gzip are sent"] = (
            f"gzip, {packed:,} of {size:,}" if packed else "plain text"
        )
        for what, content in CONTENTS.items():
            saying = f"{size:,} streams, {events} {what} one at a time"
            for name, contender in run.turns(contenders, run.plan.packed_rounds, saying):
                contender.content = content
                cpu, _, arrivals = one_at_a_time(contender, events)
                sent = sum(arrival.size for arrival in arrivals)
                run.add(f"{what}_bytes", NAMES[name], size, sent / size / events)
                run.add(f"{what}_cpu", NAMES[name], size, cpu / size / events)


GZIP = "clients that take gzip, warm"
CARDS = f"HTML cards, {GZIP}"
TICKS = f"JSON ticks, {GZIP}"

CARD_BYTES = Figure("cards_bytes", "HTML cards, per event", "bytes", f"{CARDS}: bytes on the wire")
CARD_CPU = Figure("cards_cpu", "CPU per event", "µs", f"{CARDS}: CPU per delivered event")
TICK_BYTES = Figure("ticks_bytes", "JSON ticks, per event", "bytes", f"{TICKS}: bytes on the wire")
TICK_CPU = Figure("ticks_cpu", "CPU per event", "µs", f"{TICKS}: CPU per delivered event")

TARGETS = (
    CARD_BYTES.ratio("plain", "gzip", 10, at_least=True),
    CARD_CPU.ratio("gzip", "plain", 1.0),
    TICK_BYTES.ratio("plain", "gzip", 3.5, at_least=True),
    TICK_CPU.ratio("gzip", "plain", 1.0),
)

GROUP = Group(
    measure,
    {"bytes": Part("what is sent to clients that take gzip", TARGETS)},
    "On the wire, without and with gzip",
    (CARD_BYTES, CARD_CPU, TICK_BYTES, TICK_CPU),
)
