"""How fast counters rise: by what a worker said before, and its own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..backends.reports import Report
from ..figures import FIGURES, complete

Rates = Mapping[str, Any]
"""Of each counter a number a second, or of one with a label a number for each value; without what is not
known yet."""

COUNTERS = [each for each in FIGURES if each.kind == "counter"]


class Pace:
    """Remembers each worker's last two reports that differ."""

    def __init__(self) -> None:
        self._last: dict[str, Report] = {}
        self._rates: dict[str, Rates] = {}

    def take(self, reports: Sequence[Report]) -> dict[str, Rates]:
        """Each worker's rates by its name, none until there are two reports of it.

        Who is gone is forgotten.
        """
        said = {report["worker"]["name"]: report for report in reports}
        for name, last in self._last.items():
            if name in said and said[name]["worker"]["now"] != last["worker"]["now"]:
                self._rates[name] = between(last, said[name])
        self._last = said
        self._rates = {name: rates for name, rates in self._rates.items() if name in said}
        return self._rates


def between(before: Report, after: Report) -> Rates:
    """The rates between two reports of a worker; none where its clock has stepped back."""
    seconds = after["worker"]["now"] - before["worker"]["now"]
    if seconds <= 0:
        return {}
    one, two = complete(before["figures"]), complete(after["figures"])
    rates: dict[str, Any] = {}
    for each in COUNTERS:
        was, now = one[each.name], two[each.name]
        if each.label:
            rises = {key: now[key] - was.get(key, 0) for key in now}
            rates[each.name] = {key: max(0.0, rise / seconds) for key, rise in rises.items()}
        else:
            rates[each.name] = max(0.0, (now - was) / seconds)
    return rates


def total(rates: Rates, name: str) -> float | None:
    """A counter's rate over all values of its label; None if it is not known."""
    rate = rates.get(name)
    return sum(rate.values()) if isinstance(rate, Mapping) else rate
