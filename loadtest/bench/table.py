"""From samples to verdicts: the ratios, their targets, and both as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ..report.table import aligned, number

Series = dict[str, dict[int, list[float]]]
"""By contender and number of streams: one figure for each round."""

Samples = dict[str, Series]
"""By what was measured."""

Found = tuple[float, float, float] | None
"""The figure of a row, the lowest and the highest; None when it was not measured."""

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

TITLES = {
    "bare": "bare uvicorn",
    "sse_edge, own channels": "sse_edge",
    "nchan, own channels": "nchan",
}
"""A contender for people, where its name says too much."""


@dataclass(frozen=True)
class Target:
    """One row: a series divided by another, round by round, and the bound that is to hold, if there is one.

    ``over`` and ``under`` are (what was measured, contender).
    """

    what: str
    over: tuple[str, str]
    under: tuple[str, str]
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
        """With what was found."""
        return Row(self, self.find(samples))


@dataclass(frozen=True)
class Flat(Target):
    """A row that compares numbers of streams: the largest figure of ``over`` divided by the smallest."""

    under: tuple[str, str] = ("", "")

    def find(self, samples: Mapping[str, Series]) -> Found:
        """By medians; of single rounds, what differs least and most."""
        rounds = list(series(samples, *self.over).values())
        if len(rounds) < 2:
            return None
        ratios = [max(each) / min(each) for each in zip(*rounds, strict=True)]
        middle = [median(each) for each in rounds]
        return max(middle) / min(middle), min(ratios), max(ratios)


@dataclass(frozen=True)
class Always(Target):
    """A row that allows for no chance: the largest figure of what was measured is to keep the bound, whoever
    and whichever round it is of."""

    under: tuple[str, str] = ("", "")

    def find(self, samples: Mapping[str, Series]) -> Found:
        """The largest."""
        measured = samples.get(self.over[0], {})
        found = [one for sizes in measured.values() for rounds in sizes.values() for one in rounds]
        return (max(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Row:
    """A target and what was found."""

    target: Target
    found: Found

    @property
    def verdict(self) -> str:
        """In one word or two."""
        bound = self.target.bound
        if self.found is None:
            return "not measured"
        if bound is None:
            return "-"
        figure = self.found[0]
        return "met" if (figure >= bound if self.target.at_least else figure <= bound) else "MISSED"


@dataclass(frozen=True)
class Figure:
    """Something that is measured: the heading of its column, its unit, and what its rows are called."""

    name: str
    heading: str
    unit: str
    what: str = ""

    def ratio(self, over: str, under: str, bound: float | None = None, *, at_least: bool = False) -> Target:
        """A row of it: one contender beside another."""
        what = f"{self.what}, {TITLES.get(over, over)} ÷ {TITLES.get(under, under)}"
        return Target(what, (self.name, over), (self.name, under), bound, at_least)


def series(samples: Mapping[str, Series], what: str, contender: str) -> dict[int, list[float]]:
    """By number of streams; empty if that was not measured."""
    return samples.get(what, {}).get(contender, {})


# As text


def verdicts(parts: Sequence[Sequence[Row]]) -> str:
    """The targets for people, with a blank line between parts."""
    wide = max((len(row.target.what) for rows in parts for row in rows), default=0)
    lines = [f"{'':<{wide}}  {'figure':>7}  {'lowest to highest':>17}  {'target':>10}  verdict"]
    for place, rows in enumerate(parts):
        lines += [""] if place else []
        for row in rows:
            what, bound = row.target.what, "-"
            if row.target.bound is not None:
                bound = f"{'≥' if row.target.at_least else '≤'} {row.target.bound:.3g}"
            figure, low, high = (f"{one:.3g}" for one in row.found) if row.found else ("-", "", "")
            spread = f"{low} to {high}" if row.found else "-"
            lines.append(f"{what:<{wide}}  {figure:>7}  {spread:>17}  {bound:>10}  {row.verdict}")
    return "\n".join(lines)


def medians(samples: Mapping[str, Series], figures: Sequence[Figure], counted: str = "streams") -> str:
    """A table of those that were measured, by number of streams, or what else is counted, and contender."""
    shown = [figure for figure in figures if figure.name in samples]
    heads = [f"{one.heading}, {one.unit}" if one.unit else one.heading for one in shown]
    table = [[counted, "", *heads]]
    found = [samples[figure.name] for figure in shown]
    names = list(dict.fromkeys(name for each in found for name in each))
    for size in sorted({size for each in found for sizes in each.values() for size in sizes}):
        for name in names:
            rounds = [series(samples, figure.name, name).get(size) for figure in shown]
            if any(rounds):
                cells = [
                    number(median(one) * SCALES[figure.unit]) if one else "-"
                    for one, figure in zip(rounds, shown, strict=True)
                ]
                table.append([f"{size:,}", name, *cells])
    return columns(table)


def columns(table: Sequence[Sequence[str]]) -> str:
    """Lines of cells, each as wide as its column: the second to the left, the others to the right."""
    wide = max(len(name) for _, name, *_ in table)
    return "\n".join(aligned([[size, f"{name:<{wide}}", *rest] for size, name, *rest in table]))
