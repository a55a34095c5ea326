"""From samples to verdicts: the ratios, whether they keep their bounds, and both as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from ..report.table import aligned, number

Series = dict[str, dict[int, list[float]]]  # by contender and number of streams: a figure for each round
Samples = dict[str, Series]  # by what was measured
Found = tuple[float, float, float] | None  # the figure of a row, the lowest and the highest, if measured
Row = dict[str, Any]  # a target with what was found, as JSON has it

# Samples are in seconds, events per second, bytes, and parts of one.
SCALES = {
    "µs": 1e6,
    "ms": 1e3,
    "MiB": 2**-20,
    "KiB": 2**-10,
    "bytes": 1,
    "thousand events/s": 1e-3,
    "%": 100,
    "": 1,
}


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
        found = self.find(samples)
        figure, lowest, highest = found or (None, None, None)
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
        measured = samples.get(self.over[0], {})
        found = [one for sizes in measured.values() for rounds in sizes.values() for one in rounds]
        return (max(found), min(found), max(found)) if found else None


def series(samples: Mapping[str, Series], what: str, contender: str) -> dict[int, list[float]]:
    """By number of streams; empty if that was not measured."""
    return samples.get(what, {}).get(contender, {})


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
    return columns(cells, 0, 4)


def medians(samples: Mapping[str, Series], figures: Mapping[str, Figure], counted: str = "streams") -> str:
    """A table of those that were measured, by number of streams, or what else is counted, and contender."""
    found = {figure: samples[name] for name, figure in figures.items() if name in samples}
    table = [[counted, "", *(f"{one.heading}, {one.unit}".removesuffix(", ") for one in found)]]
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    for size in sorted({size for each in found.values() for sizes in each.values() for size in sizes}):
        for name in names:
            rounds = [(SCALES[one.unit], each.get(name, {}).get(size)) for one, each in found.items()]
            cells = [number(median(some) * scale) if some else "-" for scale, some in rounds]
            if set(cells) != {"-"}:
                table.append([f"{size:,}", name, *cells])
    return columns(table, 1)


def columns(table: Sequence[Sequence[str]], *left: int) -> str:
    """Lines of cells, each as wide as its column; the named ones to the left, others to the right."""
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = [
        [f"{cell:<{wide[place]}}" if place in left else cell for place, cell in enumerate(row)]
        for row in table
    ]
    return "\n".join(line.rstrip() for line in aligned(padded))
