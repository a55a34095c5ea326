"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass

from .catalogue import FAULTS
from .fault import Fault, Level

LONGEST = 1000
"""Characters of what was seen that are told: part of it is the other end's to choose."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the subject, how it is, and what was seen, with the figure."""

    check: str
    level: Level
    seen: str
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if len(self.seen) > LONGEST:
            object.__setattr__(self, "seen", f"{self.seen[:LONGEST]}…")

    @property
    def code(self) -> str:
        """The fault's code, or "" when there is none."""
        return self.fault.code if self.fault else ""


def ok(check: str, seen: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(check, Level.OK, seen)


def unknown(check: str, how: str) -> Finding:
    """It was not checked; ``how`` it can be."""
    return Finding(check, Level.UNKNOWN, how)


def found(check: str, code: str, seen: str) -> Finding:
    """A fault of the catalogue."""
    fault = FAULTS[code]
    return Finding(check, fault.level, seen, fault)


def worst(findings: list[Finding]) -> Level:
    """The level that decides; what was not checked counts for nothing."""
    return max((each.level for each in findings if each.level is not Level.UNKNOWN), default=Level.OK)
