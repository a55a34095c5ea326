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


@dataclass(frozen=True)
class Target:
    """One row: a series divided by another, round by round, and the bound that is to hold, if there is one.

    ``over`` and ``under`` are (what was measured, contender).
    """

    group: str
    what: str
    over: tuple[str, str]
    under: tuple[str, str]
    bound: float | None = None
    at_least: bool = False

    def judge(self, samples: Mapping[str, Series]) -> Row:
        """Its figure, at the largest number of streams that was measured: the middle one of all rounds."""
        over, under = (series(samples, *each) for each in (self.over, self.under))
        both = over.keys() & under.keys()
        if not both:
            return Row(self, None)
        # Round by round: what slows the machine for a while slows both.
        ratios = [one / other for one, other in zip(over[max(both)], under[max(both)], strict=True)]
        return Row(self, median(ratios), min(ratios), max(ratios))

    def met(self, figure: float) -> bool:
        """Whether the bound holds."""
        if self.bound is None:
            return True
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Flat(Target):
    """A row that compares numbers of streams: the largest figure of ``over`` divided by the smallest."""

    under: tuple[str, str] = ("", "")

    def judge(self, samples: Mapping[str, Series]) -> Row:
        """See ``Target``."""
        rounds = list(series(samples, *self.over).values())
        if len(rounds) < 2:
            return Row(self, None)
        ratios = [max(each) / min(each) for each in zip(*rounds, strict=True)]
        middle = [median(each) for each in rounds]
        return Row(self, max(middle) / min(middle), min(ratios), max(ratios))


@dataclass(frozen=True)
class Always(Target):
    """A row that allows for no chance: the largest figure of what was measured is to keep the bound, whoever
    and whichever round it is of."""

    under: tuple[str, str] = ("", "")

    def judge(self, samples: Mapping[str, Series]) -> Row:
        """See ``Target``."""
        found = [
            one for by in samples.get(self.over[0], {}).values() for rounds in by.values() for one in rounds
        ]
        return Row(self, max(found), min(found), max(found)) if found else Row(self, None)


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
        if self.target.bound is None:
            return "-"
        return "met" if self.target.met(self.figure) else "MISSED"


TITLES = {
    "bare": "bare uvicorn",
    "sse_edge, own channels": "sse_edge",
    "nchan, own channels": "nchan",
}
"""A contender for people, where its name says too much."""


@dataclass(frozen=True)
class Measured:
    """What the ratios of a measurement are called, and which group they belong to."""

    group: str
    name: str
    what: str

    def ratio(self, over: str, under: str, bound: float | None = None, *, at_least: bool = False) -> Target:
        """A row of it: one contender beside another."""
        what = f"{self.what}, {TITLES.get(over, over)} ÷ {TITLES.get(under, under)}"
        return Target(self.group, what, (self.name, over), (self.name, under), bound, at_least)


@dataclass(frozen=True)
class Table:
    """Measurements that are shown side by side: each with its heading and its unit."""

    title: str
    columns: tuple[tuple[str, str, str], ...]
    counted: str = "streams"
    """What the numbers in the first column count."""


SCALES = {
    "µs": 1e6,
    "ms": 1e3,
    "thousand events/s": 1e-3,
    "MiB": 1 / (1 << 20),
    "KiB": 1 / 1024,
    "bytes": 1.0,
    "%": 100.0,
    "": 1.0,
}
"""Samples are in seconds, events per second, bytes, and parts of one."""


def series(samples: Mapping[str, Series], what: str, contender: str) -> dict[int, list[float]]:
    """By number of streams; empty if that was not measured."""
    return samples.get(what, {}).get(contender, {})


# As text


def verdicts(rows: Sequence[Row]) -> str:
    """The targets for people."""
    wide = max((len(row.target.what) for row in rows), default=0)
    lines = [f"{'':<{wide}}  {'figure':>7}  {'lowest to highest':>17}  {'target':>10}  verdict"]
    for before, row in zip([None, *rows], rows, strict=False):
        if before is not None and before.target.group != row.target.group:
            lines.append("")
        target = row.target
        bound = "-" if target.bound is None else f"{'≥' if target.at_least else '≤'} {target.bound:.3g}"
        figure = "-" if row.figure is None else f"{row.figure:.3g}"
        spread = "-" if row.figure is None else f"{row.low:.3g} to {row.high:.3g}"
        lines.append(f"{target.what:<{wide}}  {figure:>7}  {spread:>17}  {bound:>10}  {row.verdict}")
    return "\n".join(lines)


def figures(samples: Mapping[str, Series], tables: Sequence[Table]) -> str:
    """Medians of what was measured, by number of streams and contender; tables of the same title are one."""
    columns: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for table in tables:
        measured = [column for column in table.columns if column[0] in samples]
        if measured:
            columns.setdefault((table.title, table.counted), []).extend(measured)
    return "\n\n".join(
        f"{title}\n{_table(counted, shown, samples)}" for (title, counted), shown in columns.items()
    )


def _table(counted: str, columns: Sequence[tuple[str, str, str]], samples: Mapping[str, Series]) -> str:
    found = [samples[what] for what, *_ in columns]
    names = list(dict.fromkeys(name for each in found for name in each))
    sizes = sorted({size for each in found for by in each.values() for size in by})
    table = [[counted, "", *(f"{heading}, {unit}" if unit else heading for _, heading, unit in columns)]]
    for size in sizes:
        for name in names:
            cells = [
                _number(median(by[size]) * SCALES[unit]) if size in by else "-"
                for by, unit in ((series(samples, what, name), unit) for what, _, unit in columns)
            ]
            if set(cells) != {"-"}:
                table.append([f"{size:,}", name, *cells])
    return aligned(table)


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Lines of cells, each as wide as its column: the second to the left, the others to the right."""
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
