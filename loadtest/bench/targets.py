"""What is measured and what is to hold of it, from samples to verdicts, and both as text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any, NamedTuple

from ..report.table import aligned, number

Series = dict[str, dict[int, list[float]]]  # by contender and number of streams: a figure for each round
Samples = dict[str, Series]  # by what was measured
Found = tuple[float, float, float] | None  # the figure of a row, the lowest and the highest, if measured
Row = dict[str, Any]  # a target with what was found, as JSON has it

# By unit, what samples are multiplied by: they are in seconds, events per second, bytes, and parts of one.
SCALES = {"µs": 1e6, "ms": 1e3, "MiB": 2**-20, "KiB": 2**-10, "thousand events/s": 1e-3, "%": 100}


class Figure(NamedTuple):
    """Something that is measured: the heading of its column, its unit, and what its rows are called."""

    heading: str
    unit: str = ""
    what: str = ""


@dataclass(frozen=True)
class Target:
    """A row of a part: a series divided by another, round by round, and the bound that is to hold, if any.

    ``over`` and ``under`` are (what was measured, contender).
    """

    part: str
    what: str
    over: tuple[str, str]
    under: tuple[str, str] = ("", "")
    bound: float | None = None
    at_least: bool = False

    def find(self, samples: Mapping[str, Series]) -> Found:
        """At the largest number of streams that was measured: the middle one of all rounds."""
        over, under = (series(samples, *each) for each in (self.over, self.under))
        both = over.keys() & under.keys()
        if not both:
            return None
        # Round by round: what slows the machine for a while slows both.
        ratios = [one / other for one, other in zip(over[max(both)], under[max(both)], strict=True)]
        return median(ratios), min(ratios), max(ratios)

    def judge(self, samples: Mapping[str, Series]) -> Row:
        """With what was found, and in one word or two what comes of it."""
        figure, lowest, highest = self.find(samples) or (None, None, None)
        if figure is None:
            verdict = "not measured"
        elif self.bound is None:
            verdict = "-"
        else:
            kept = figure >= self.bound if self.at_least else figure <= self.bound
            verdict = "met" if kept else "MISSED"
        row = {"group": self.part, "what": self.what, "figure": figure, "lowest": lowest, "highest": highest}
        return {**row, "target": self.bound, "at_least": self.at_least, "verdict": verdict}


class Flat(Target):
    """A row that compares numbers of streams: the largest figure of ``over`` divided by the smallest."""

    def find(self, samples: Mapping[str, Series]) -> Found:
        """By medians; of single rounds, what differs least and most."""
        rounds = list(series(samples, *self.over).values())
        if len(rounds) < 2:
            return None
        ratios = [max(each) / min(each) for each in zip(*rounds, strict=True)]
        middle = [median(each) for each in rounds]
        return max(middle) / min(middle), min(ratios), max(ratios)


class Always(Target):
    """A row that allows for no chance: the largest figure of what was measured is to keep the bound, whoever
    and whichever round it is of."""

    def find(self, samples: Mapping[str, Series]) -> Found:
        """The largest."""
        found = [one for what, *_, rounds in each(samples) if what == self.over[0] for one in rounds]
        return (max(found), min(found), max(found)) if found else None


def series(samples: Mapping[str, Series], what: str, contender: str) -> dict[int, list[float]]:
    """By number of streams; empty if that was not measured."""
    return samples.get(what, {}).get(contender, {})


def each(samples: Mapping[str, Series]) -> Iterator[tuple[str, str, int, list[float]]]:
    """What was measured, of whom, with how many streams, and what all rounds gave."""
    for what, contenders in samples.items():
        for name, sizes in contenders.items():
            for size, rounds in sizes.items():
                yield what, name, size, rounds


# All figures and rows

ONE = "one event at a time, warm"
FIRST = "first event after connecting"
BURST = "100 events at 2 ms spacing, warm"
EACH = "an event to each of as many channels as streams, warm"
ALONE = "one event to one of many channels, warm"
BACK = "all clients back at once, 50 events missed"
CARDS, TICKS = (f"{what}, clients that take gzip, warm" for what in ("HTML cards", "JSON ticks"))
WRITTEN, PUBLISHED = "write(channel, iterator)", "one publish per token"
STUCK = "a tenth of all clients stop reading"

TABLES: dict[str, dict[str, Figure]] = {
    "Many streams, one channel": {
        "single_cpu": Figure("CPU per event", "µs", f"{ONE}: CPU per delivered event"),
        "single_last": Figure("last stream after", "ms", f"{ONE}: time until the last stream has it"),
        "burst_rate": Figure("burst", "thousand events/s", f"{BURST}: delivered events/s"),
        "burst_cpu": Figure("burst CPU per event", "µs"),
        "burst_p50": Figure("burst p50", "ms"),
        "burst_p99": Figure("burst p99", "ms"),
        "client_cpu": Figure("client's CPU per event", "µs"),
        "burst_client_busy": Figure("client's core, burst", "%"),
        "memory": Figure("memory per stream", "KiB", "memory per idle stream"),
    },
    "The first event after connecting": {
        "first_cpu": Figure("CPU per stream, cold", "µs", f"{FIRST}, cold: CPU per stream"),
        "tenth_cpu": Figure("the tenth, warm", "µs"),
    },
    "As many channels as streams": {
        "channels_cpu": Figure("to each: CPU per event", "µs", f"{EACH}: CPU per event"),
        "alone_p50": Figure("to one: p50", "ms", f"{ALONE}: half have it after"),
        "alone_p99": Figure("to one: p99", "ms", f"{ALONE}: 99 in 100 have it after"),
    },
    "To let a stream in": {"admission_cpu": Figure("CPU per stream", "µs", "CPU per admitted stream")},
    "All back at once, events missed": {
        "resume_last": Figure("last is level after", "ms", f"{BACK}: time until the last is level"),
        "resume_cpu": Figure("CPU per stream", "µs"),
    },
    "On the wire, without and with gzip": {
        "cards_bytes": Figure("HTML cards, per event", "bytes", f"{CARDS}: bytes on the wire"),
        "cards_cpu": Figure("CPU per event", "µs", f"{CARDS}: CPU per delivered event"),
        "ticks_bytes": Figure("JSON ticks, per event", "bytes", f"{TICKS}: bytes on the wire"),
        "ticks_cpu": Figure("CPU per event", "µs", f"{TICKS}: CPU per delivered event"),
    },
    "To publish, so many at once": {
        "publish_one_cpu": Figure("Redis's CPU, one at a time", "µs", "one publish: Redis's CPU"),
        "publish_cpu": Figure("Redis's CPU", "µs", "500 at once: Redis's CPU for each"),
        "publish_rate": Figure("rate", "thousand events/s", "500 at once: publishes/s"),
    },
    "A tenth of all clients stop reading": {
        "stuck_p50": Figure("p50", "ms", f"{STUCK}, the others: half have an event after"),
        "stuck_p99": Figure("p99", "ms", f"{STUCK}, the others: 99 in 100 have it after"),
        "stuck_cpu": Figure("CPU per event read", "µs", f"{STUCK}, the others: CPU per event read"),
        "stuck_memory": Figure("worker's memory", "MiB", f"{STUCK}: worker's memory"),
    },
    "What an idle stream's memory is for, in bytes": {
        f"footprint: {backend}, {channels}": Figure(f"{backend}, {channels}")
        for backend in ("memory", "Redis")
        for channels in ("one channel", "a channel each")
    },
    "Kept events in Redis, for each channel": {
        "kept_channels": Figure("channels"),
        "kept_used": Figure("taken", "bytes"),
        "kept_reckoned": Figure("reckoned", "bytes"),
        "kept_part": Figure("taken of it"),
    },
    "Tokens": {
        "token_rate": Figure("rate", "thousand events/s"),
        "token_events": Figure("events per token"),
        "token_calls": Figure("calls per token"),
        "token_cpu": Figure("producers' CPU", "µs"),
        "token_redis": Figure("Redis's CPU", "µs", "a token: CPU of Redis"),
    },
}
"""What is shown, by the title of its table."""

COUNTED = {
    "To publish, so many at once": "at once",
    "Kept events in Redis, for each channel": "kept",
    "Tokens": "channels",
}
"""What tables have lines for, where that is not numbers of streams."""

FIGURES = {name: figure for table in TABLES.values() for name, figure in table.items()}

PLAIN = {"bare": "bare uvicorn", "sse_edge, own channels": "sse_edge", "nchan, own channels": "nchan"}
"""A contender for people, where its name says too much."""


def ratio(
    part: str, name: str, over: str, under: str, bound: float | None = None, *, at_least: bool = False
) -> Target:
    """A row of a figure: one contender beside another."""
    what = f"{FIGURES[name].what}, {PLAIN.get(over, over)} ÷ {PLAIN.get(under, under)}"
    return Target(part, what, (name, over), (name, under), bound, at_least)


FLAT = f"{FIGURES['single_cpu'].what}, largest ÷ smallest over the numbers of streams"
AWAY = "fan-out without pause: longest time the loop is away ÷ one full fan-out"
OWN = "memory per idle stream with a channel of its own, sse_edge ÷ nchan's with a shared one"
TENTH = f"{FIRST} ÷ the tenth: CPU per stream, sse_edge"
WRONG = "streams that stopped reading and were not ended as slow, or were and had not"
RECKONED = "kept events, memory in Redis ÷ what is reckoned"
PRODUCERS = f"a token: CPU of producers, without its clock, {PUBLISHED} ÷ {WRITTEN}"

TARGETS = (
    ratio("single", "single_cpu", "sse_edge", "floor", 1.05),
    ratio("single", "single_cpu", "TaskSink", "floor", 2.5),
    ratio("single", "single_last", "sse_edge", "floor", 1.25),
    ratio("single", "single_cpu", "sse_edge", "nchan", 1.0),
    ratio("single", "single_cpu", "sse_edge", "sse-starlette", 1 / 4),
    Flat("single", FLAT, ("single_cpu", "sse_edge"), bound=1.25),
    ratio("burst", "burst_rate", "sse_edge", "floor", 35, at_least=True),
    ratio("burst", "burst_rate", "sse_edge", "nchan", 12, at_least=True),
    Target("loop", AWAY, ("loop_longest", "sse_edge"), ("loop_fan_out", "sse_edge"), 1 / 8),
    ratio("memory", "memory", "sse_edge", "bare", 0.38),
    ratio("memory", "memory", "sse_edge", "nchan", 1 / 2.4),
    ratio("memory", "memory", "sse_edge", "sse-starlette", 1 / 3),
    Target("memory", OWN, ("memory", "sse_edge, own channels"), ("memory", "nchan"), 0.65),
    ratio("first", "first_cpu", "sse_edge", "floor", 1.3),
    ratio("first", "first_cpu", "sse_edge", "nchan", 1.0),
    Target("first", TENTH, ("first_cpu", "sse_edge"), ("tenth_cpu", "sse_edge"), 1.2),
    ratio("channels", "channels_cpu", "sse_edge, own channels", "floor", 1.6),
    ratio("channels", "alone_p50", "sse_edge, own channels", "nchan, own channels", 1.5),
    ratio("channels", "alone_p99", "sse_edge, own channels", "nchan, own channels", 1.5),
    ratio("admission", "admission_cpu", "sse_edge with Redis", "bare", 1.6),
    ratio("admission", "admission_cpu", "sse_edge with memory", "bare", 1.3),
    ratio("admission", "admission_cpu", "sse_edge with Redis, cookie seen before", "bare", 1.6),
    ratio("admission", "admission_cpu", "sse_edge with memory, cookie seen before", "bare", 1.3),
    ratio("admission", "admission_cpu", "sse_edge with Redis", "nchan", 2),
    ratio("admission", "admission_cpu", "sse_edge with memory", "nchan", 2),
    ratio("resume", "resume_last", "sse_edge", "nchan", 0.41),
    ratio("bytes", "cards_bytes", "plain", "gzip", 10, at_least=True),
    ratio("bytes", "cards_cpu", "gzip", "plain", 1.0),
    ratio("bytes", "ticks_bytes", "plain", "gzip", 3.5, at_least=True),
    ratio("bytes", "ticks_cpu", "gzip", "plain", 1.0),
    ratio("publishing", "publish_one_cpu", "sse_edge", "XADD and PUBLISH", 1.5),
    ratio("publishing", "publish_cpu", "sse_edge", "XADD and PUBLISH", 0.5),
    ratio("publishing", "publish_rate", "sse_edge", "XADD and PUBLISH", 3, at_least=True),
    *(
        ratio("stuck", f"stuck_{what}", phase, "before")
        for what in ("p50", "p99", "cpu", "memory")
        for phase in ("stuck", "after")
    ),
    Always("stuck", WRONG, ("stuck_wrong", "sse_edge"), bound=0),
    # A hundredth is for what is no history.
    Always("kept", RECKONED, ("kept_part", ""), bound=1.01),
    Target("writing", PRODUCERS, ("token_own_cpu", PUBLISHED), ("token_own_cpu", WRITTEN)),
    ratio("writing", "token_redis", PUBLISHED, WRITTEN),
)
"""What is to hold, and what is only told beside."""


# As text


def verdicts(rows: Sequence[Row]) -> str:
    """The targets for people, with a blank line between parts."""
    cells = [["", "figure", "lowest to highest", "target", "verdict"]]
    for row, before in zip(rows, [*rows[:1], *rows], strict=False):
        if before["group"] != row["group"]:
            cells.append([""] * 5)
        measured = row["figure"] is not None
        figure = f"{row['figure']:.3g}" if measured else "-"
        swing = f"{row['lowest']:.3g} to {row['highest']:.3g}" if measured else "-"
        bound = "-" if row["target"] is None else f"{'≥' if row['at_least'] else '≤'} {row['target']:.3g}"
        cells.append([row["what"], figure, swing, bound, row["verdict"]])
    return "\n".join(aligned(cells, 0, 4))


def medians(samples: Mapping[str, Series], figures: Mapping[str, Figure], counted: str = "streams") -> str:
    """A table of those that were measured, by number of streams, or what else is counted, and contender."""
    found = {name: figure for name, figure in figures.items() if name in samples}
    table = [[counted, "", *(f"{one.heading}, {one.unit}".removesuffix(", ") for one in found.values())]]
    names = dict.fromkeys(name for what in found for name in samples[what])
    sizes = sorted({size for what, _, size, _ in each(samples) if what in found})
    for size, name in product(sizes, names):
        cells = []
        for what, figure in found.items():
            rounds = series(samples, what, name).get(size)
            cells.append(number(median(rounds) * SCALES.get(figure.unit, 1)) if rounds else "-")
        if set(cells) != {"-"}:
            table.append([f"{size:,}", name, *cells])
    return "\n".join(aligned(table, 1))
