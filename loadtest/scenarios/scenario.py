"""What a scenario is: a script, and the thresholds that decide whether it went well."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .script import Script

NOTICED = 0.05
"""Seconds of delay that nobody notices: where everything takes a few milliseconds, ratios are chance."""


@dataclass(frozen=True)
class Threshold:
    """What was found, and what it may be at most; None: it was not found."""

    what: str
    value: float | None
    most: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it is no more."""
        return self.value is not None and self.value <= self.most

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        value: float | str = "not found" if self.value is None else round(self.value, 3)
        if self.unit and not isinstance(value, str):
            value = f"{value:,}{self.unit}"
        limit = f"at most {self.most:,}{self.unit}" if self.most else "0"
        return {"what": self.what, "value": value, "limit": limit, "met": self.met}


class Scenario:
    """One; its load shape is how many users it has the conductor ask Locust for, and when."""

    name: ClassVar[str]
    what: ClassVar[str]  # it does, in a sentence
    seconds: ClassVar[float] = 60.0  # of its main part, where no other time is asked for
    rate: ClassVar[float] = 1.0  # events a second, the same
    idle: ClassVar[float] = 20.0  # seconds of silence before events come, the same
    personal: ClassVar[bool] = False  # whether each stream hears its user's own channel too
    endings: ClassVar[frozenset[str]] = frozenset({"max-duration"})  # of streams when all is well
    refusals: ClassVar[frozenset[str]] = frozenset()  # of streams when all is well

    def __init__(self, options: Any) -> None:
        self.length = float(options.seconds or self.seconds)
        self.pace = float(options.rate or self.rate)
        self.silence = float(options.idle or self.idle)
        self.options = options

    def script(self, run: Script) -> None:
        """Do it: hold all, and then send events to all.  Raises RuntimeError when it cannot go on."""
        self.fill(run)
        self.send(run, "events")

    def thresholds(self, run: Script) -> list[Threshold]:
        """What must hold."""
        verdict, whole = run.verdict or {}, run.whole
        refusals = {why: count for why, count in whole.refusals.items() if not why.startswith("abuse: ")}
        none_of = {
            "events lost": verdict.get("lost"),
            "events repeated": verdict.get("repeated"),
            "events out of order": verdict.get("disordered"),
            "events that nobody knows were published": run.press.failed,
            "clients stranded": verdict.get("stranded"),
            "clients not open at the end": verdict.get("away"),
            "unexpected endings": _others(whole.endings, self.endings),
            "unexpected refusals": _others(refusals, self.refusals),
            "connections that failed": whole.errors.total(),
        }
        return [*(Threshold(what, value, 0) for what, value in none_of.items()), *self.limits(run)]

    def limits(self, run: Script) -> list[Threshold]:
        """What must hold of this one besides."""
        return []

    def remarks(self, run: Script) -> list[str]:
        """What else there is to say of the figures, a sentence each."""
        return []

    def own_channels(self, users: Iterable[tuple[int, int]]) -> list[str]:
        """Those of so many users each from a number on."""
        numbers = (number for first, count in users for number in range(first, first + count))
        return [self.options.own_channel.replace("{user}", f"u{number}") for number in numbers]

    def fill(self, run: Script) -> None:
        """Open all, and let them wait for a while: what they hold is looked at then."""
        with run.phase("open"):
            run.open()
        run.stay(self.silence, "idle")
        run.sampler.at_full()

    def send(self, run: Script, phase: str, what: str = "", **how: Any) -> None:
        """Events for the length of the main part, which is a phase."""
        with run.phase(phase), run.publishing(self.pace, **how):
            run.wait(self.length, what or phase)


def _others(counts: Mapping[str, int], fine: Container[str]) -> int:
    return sum(count for why, count in counts.items() if why not in fine)


def compared(run: Script, what: str, before: str, during: str, times: float) -> Threshold:
    """The 99th percentile of latency in a phase: it may be ``times`` another's, or ``NOTICED`` more."""
    first, second = (run.delivery(phase)["p99"] for phase in (before, during))
    if first is None or second is None:
        return Threshold(what, None, 0)
    most = max(times * first, first + NOTICED)
    said = f"{what}; {before}: {first * 1000:.0f} ms"
    return Threshold(said, round(second * 1000), round(most * 1000), " ms")
