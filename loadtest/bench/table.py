"""From samples to verdicts: the ratios, their targets, and both as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Series = dict[str, dict[int, list[float]]]
"""By contender and number of streams: one figure for each round."""

Samples = dict[str, Series]
"""By what was measured."""

GROUPS = (
    "single",
    "first",
    "burst",
    "memory",
    "channels",
    "loop",
    "admission",
    "resume",
    "bytes",
    "publishing",
)
"""What can be measured by itself."""


@dataclass(frozen=True)
class Target:
    """One row: a series divided by another, round by round, and the bound that is to hold.

    ``over`` and ``under`` are (what was measured, contender); without ``under`` the row compares the
    numbers of streams among each other: the largest figure divided by the smallest.
    """

    group: str
    what: str
    over: tuple[str, str]
    under: tuple[str, str] | None
    bound: float
    at_least: bool = False

    def met(self, figure: float) -> bool:
        """Whether the bound holds."""
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Row:
    """A target and what was found; no figure when it was not measured."""

    target: Target
    figure: float | None
    low: float = 0.0
    high: float = 0.0

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.figure is None:
            return "not measured"
        return "met" if self.target.met(self.figure) else "MISSED"


ONE = "one event at a time, warm"
ALONE = "one event to one of many channels, warm"
GZIP = "clients that take gzip, warm"

MEASURED = {
    "single_cpu": ("single", f"{ONE}: CPU per delivered event"),
    "single_last": ("single", f"{ONE}: time until the last stream has it"),
    "first_cpu": ("first", "first event after connecting, cold: CPU per stream"),
    "burst_rate": ("burst", "100 events at 2 ms spacing, warm: delivered events/s"),
    "memory": ("memory", "memory per idle stream"),
    "channels_cpu": ("channels", "an event to each of as many channels as streams, warm: CPU per event"),
    "alone_p50": ("channels", f"{ALONE}: half have it after"),
    "alone_p99": ("channels", f"{ALONE}: 99 in 100 have it after"),
    "admission_cpu": ("admission", "CPU per admitted stream"),
    "resume_last": ("resume", "all clients back at once, 50 events missed: time until the last is level"),
    "cards_bytes": ("bytes", f"HTML cards, {GZIP}: bytes on the wire"),
    "cards_cpu": ("bytes", f"HTML cards, {GZIP}: CPU per delivered event"),
    "ticks_bytes": ("bytes", f"JSON ticks, {GZIP}: bytes on the wire"),
    "ticks_cpu": ("bytes", f"JSON ticks, {GZIP}: CPU per delivered event"),
    "publish_one_cpu": ("publishing", "one publish: Redis's CPU"),
    "publish_cpu": ("publishing", "500 at once: Redis's CPU for each"),
    "publish_rate": ("publishing", "500 at once: publishes/s"),
}
"""The group of a measurement, and what it is for people."""

TITLES = {
    "bare": "bare uvicorn",
    "sse_edge, own channels": "sse_edge",
    "nchan, own channels": "nchan",
    "sse_edge, redis": "with Redis, first of its session",
    "sse_edge, memory": "with memory, first of its session",
    "sse_edge, redis, known cookie": "with Redis, cookie seen before",
    "sse_edge, memory, known cookie": "with memory, cookie seen before",
    "XADD, PUBLISH": "XADD and PUBLISH",
}
"""A contender for people, where its name says too much or too little."""


def _ratio(measured: str, over: str, under: str, bound: float, *, at_least: bool = False) -> Target:
    group, what = MEASURED[measured]
    what = f"{what}, {TITLES.get(over, over)} ÷ {TITLES.get(under, under)}"
    return Target(group, what, (measured, over), (measured, under), bound, at_least)


TARGETS = (
    _ratio("single_cpu", "sse_edge", "floor", 1.05),
    _ratio("single_cpu", "TaskSink", "floor", 2.5),
    _ratio("single_last", "sse_edge", "floor", 1.25),
    _ratio("single_cpu", "sse_edge", "nchan", 1.0),
    _ratio("single_cpu", "sse_edge", "sse-starlette", 1 / 4),
    Target(
        "single", f"{ONE}: CPU per delivered event, largest ÷ smallest over the numbers of streams",
        ("single_cpu", "sse_edge"), None, 1.25,
    ),
    _ratio("first_cpu", "sse_edge", "floor", 1.3),
    _ratio("first_cpu", "sse_edge", "nchan", 1.0),
    Target(
        "first", "first event after connecting ÷ the tenth: CPU per stream, sse_edge",
        ("first_cpu", "sse_edge"), ("tenth_cpu", "sse_edge"), 1.2,
    ),
    _ratio("burst_rate", "sse_edge", "floor", 35, at_least=True),
    _ratio("burst_rate", "sse_edge", "nchan", 12, at_least=True),
    _ratio("memory", "sse_edge", "bare", 0.38),
    _ratio("memory", "sse_edge", "nchan", 1 / 2.4),
    _ratio("memory", "sse_edge", "sse-starlette", 1 / 3),
    Target(
        "memory", "memory per idle stream with a channel of its own, sse_edge ÷ nchan's with a shared one",
        ("memory", "sse_edge, own channels"), ("memory", "nchan"), 0.65,
    ),
    _ratio("channels_cpu", "sse_edge, own channels", "floor", 1.6),
    _ratio("alone_p50", "sse_edge, own channels", "nchan, own channels", 1.5),
    _ratio("alone_p99", "sse_edge, own channels", "nchan, own channels", 1.5),
    Target(
        "loop", "fan-out without pause: longest time the loop is away ÷ one full fan-out",
        ("loop_longest", "sse_edge"), ("loop_fan_out", "sse_edge"), 1 / 8,
    ),
    _ratio("admission_cpu", "sse_edge, redis", "bare", 1.6),
    _ratio("admission_cpu", "sse_edge, memory", "bare", 1.3),
    _ratio("admission_cpu", "sse_edge, redis, known cookie", "bare", 1.6),
    _ratio("admission_cpu", "sse_edge, memory, known cookie", "bare", 1.3),
    _ratio("admission_cpu", "sse_edge, redis", "nchan", 2),
    _ratio("admission_cpu", "sse_edge, memory", "nchan", 2),
    _ratio("resume_last", "sse_edge", "nchan", 0.41),
    _ratio("cards_bytes", "plain", "gzip", 10, at_least=True),
    _ratio("cards_cpu", "gzip", "plain", 1.0),
    _ratio("ticks_bytes", "plain", "gzip", 3.5, at_least=True),
    _ratio("ticks_cpu", "gzip", "plain", 1.0),
    _ratio("publish_one_cpu", "sse_edge", "XADD, PUBLISH", 1.5),
    _ratio("publish_cpu", "sse_edge", "XADD, PUBLISH", 0.5),
    _ratio("publish_rate", "sse_edge", "XADD, PUBLISH", 3, at_least=True),
)  # fmt: skip


def judge(samples: Mapping[str, Series], targets: Sequence[Target] = TARGETS) -> list[Row]:
    """Each target with its figure, at the largest number of streams that was measured."""
    return [(_ratio if target.under else _flatness)(target, samples) for target in targets]


def _ratio(target: Target, samples: Mapping[str, Series]) -> Row:
    assert target.under is not None
    over, under = (_series(samples, *each) for each in (target.over, target.under))
    both = over.keys() & under.keys()
    if not both:
        return Row(target, None)
    # Round by round: what slows the machine for a while slows both.
    ratios = [one / other for one, other in zip(over[max(both)], under[max(both)], strict=True)]
    return Row(target, median(ratios), min(ratios), max(ratios))


def _flatness(target: Target, samples: Mapping[str, Series]) -> Row:
    rounds = list(_series(samples, *target.over).values())
    if len(rounds) < 2:
        return Row(target, None)
    ratios = [max(each) / min(each) for each in zip(*rounds, strict=True)]
    middle = [median(each) for each in rounds]
    return Row(target, max(middle) / min(middle), min(ratios), max(ratios))


def _series(samples: Mapping[str, Series], what: str, contender: str) -> dict[int, list[float]]:
    return samples.get(what, {}).get(contender, {})


# As text

TABLES = (
    (
        "Many streams, one channel",
        (
            ("single_cpu", "CPU per event", "µs"),
            ("single_last", "last stream after", "ms"),
            ("burst_rate", "burst", "thousand events/s"),
            ("burst_cpu", "burst CPU per event", "µs"),
            ("burst_p50", "burst p50", "ms"),
            ("burst_p99", "burst p99", "ms"),
            ("memory", "memory per stream", "KiB"),
            ("client_cpu", "client's CPU per event", "µs"),
            ("burst_client_busy", "client's core, burst", "%"),
        ),
    ),
    (
        "The first event after connecting",
        (("first_cpu", "CPU per stream, cold", "µs"), ("tenth_cpu", "the tenth, warm", "µs")),
    ),
    (
        "As many channels as streams",
        (
            ("channels_cpu", "to each: CPU per event", "µs"),
            ("alone_p50", "to one: p50", "ms"),
            ("alone_p99", "to one: p99", "ms"),
        ),
    ),
    ("To let a stream in", (("admission_cpu", "CPU per stream", "µs"),)),
    (
        "All back at once, events missed",
        (("resume_last", "last is level after", "ms"), ("resume_cpu", "CPU per stream", "µs")),
    ),
    (
        "On the wire, without and with gzip",
        (
            ("cards_bytes", "HTML cards, per event", "bytes"),
            ("cards_cpu", "CPU per event", "µs"),
            ("ticks_bytes", "JSON ticks, per event", "bytes"),
            ("ticks_cpu", "CPU per event", "µs"),
        ),
    ),
    (
        "To publish, so many at once",
        (
            ("publish_one_cpu", "Redis's CPU, one at a time", "µs"),
            ("publish_cpu", "Redis's CPU", "µs"),
            ("publish_rate", "rate", "thousand events/s"),
        ),
    ),
)
"""What is shown below the verdicts: tables of measurements, each with its heading and its unit."""

SCALES = {
    "µs": 1e6,
    "ms": 1e3,
    "thousand events/s": 1e-3,
    "KiB": 1 / 1024,
    "bytes": 1.0,
    "%": 100.0,
}
"""Samples are in seconds, events per second, bytes, and parts of one."""


def verdicts(rows: Sequence[Row]) -> str:
    """The targets for people."""
    wide = max(len(row.target.what) for row in rows)
    lines = [f"{'':<{wide}}  {'figure':>7}  {'lowest to highest':>17}  {'target':>10}  verdict"]
    for before, row in zip([None, *rows], rows, strict=False):
        if before is not None and before.target.group != row.target.group:
            lines.append("")
        bound = f"{'≥' if row.target.at_least else '≤'} {row.target.bound:.3g}"
        figure = "-" if row.figure is None else f"{row.figure:.3g}"
        spread = "-" if row.figure is None else f"{row.low:.3g} to {row.high:.3g}"
        lines.append(f"{row.target.what:<{wide}}  {figure:>7}  {spread:>17}  {bound:>10}  {row.verdict}")
    return "\n".join(lines)


def figures(samples: Mapping[str, Series]) -> str:
    """Medians of what was measured, by number of streams and contender, a table for each kind of run."""
    shown = ((title, [one for one in columns if one[0] in samples]) for title, columns in TABLES)
    return "\n\n".join(f"{title}\n{_table(columns, samples)}" for title, columns in shown if columns)


def _table(columns: Sequence[tuple[str, str, str]], samples: Mapping[str, Series]) -> str:
    series = [samples[what] for what, *_ in columns]
    places = sorted({(size, name) for each in series for name, by in each.items() for size in by})
    table = [["streams", "", *(f"{heading}, {unit}" for _, heading, unit in columns)]]
    for size, name in places:
        line = [f"{size:,}", name]
        for what, _, unit in columns:
            values = _series(samples, what, name).get(size)
            line.append("-" if values is None else _number(median(values) * SCALES[unit]))
        table.append(line)
    return _columns(table)


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _columns(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for number, name, *rest in table:
        cells = [f"{number:>{widths[0]}}", f"{name:<{widths[1]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(rest, widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The targets for programs."""
    return [
        {
            "group": row.target.group,
            "what": row.target.what,
            "figure": row.figure,
            "lowest": None if row.figure is None else row.low,
            "highest": None if row.figure is None else row.high,
            "target": row.target.bound,
            "at_least": row.target.at_least,
            "verdict": row.verdict,
        }
        for row in rows
    ]
