"""What a scenario can do to a run, and see of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..site.deployment import Site, Theirs

LEVEL = 60.0
"""Seconds after the last event within which every client is to have it."""

FRESH = 1.0
"""Seconds that an event may be under way before who lacks it counts as behind."""


Deployment = Site | Theirs


class Press(Protocol):
    """Who publishes."""

    failed: int
    """Events of which nobody knows whether they are out."""

    def publish(self, channel: str, size: int) -> None:
        """One event, whose data has ``size`` bytes or a few more."""

    def burst(self, channel: str, count: int, spacing: float, size: int) -> None:
        """So many events, that many seconds apart or as soon as the one before is out."""


class Script(Protocol):
    """A run, as its scenario sees it.  Whatever cannot be done raises RuntimeError."""

    users: int
    """Locust's users when all are there; each is an address with ``per_user`` streams."""
    per_user: int
    began: float
    """By the wall clock."""
    found: dict[str, Any]
    """What a scenario has found out, for its thresholds and the report."""
    verdict: dict[str, Any] | None
    """What every client got, held against what was published; None before ``judge``."""
    progress: Callable[[str], None]
    at_full: Callable[[], None]
    """Called once all streams are open and idle: memory is looked at then."""

    @property
    def deployment(self) -> Deployment:
        """What is under load."""

    @property
    def press(self) -> Press:
        """Who publishes."""

    @property
    def processes(self) -> int:
        """How many hold streams."""

    def open(self, users: int | None = None) -> None:
        """Have so many users (all), and wait until each of their streams is live."""

    def ask(self, order: str, **given: Any) -> list[Any]:
        """Each process's answer to an order: a method of ``Swarm``."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A part of the run with a name, of which latency is told apart."""

    def publishing(
        self, rate: float, size: int = 110, channels: list[str] | None = None, hands: int = 1
    ) -> AbstractContextManager[None]:
        """Events during a block: so many a second in all, to the shared channel or to these in turn."""

    def wait(self, seconds: float, what: str) -> None:
        """Let time pass, and say so."""

    def until(self, holds: Callable[[Counter[str]], bool], seconds: float) -> bool:
        """Wait until something holds of the streams' state; whether it does in time."""

    def level(self, seconds: float = LEVEL, fresh: float = FRESH) -> float | None:
        """Seconds until every stream is open and has what is older than ``fresh``; None if not in time."""

    def judge(self, seconds: float = LEVEL) -> None:
        """Wait for the last event, and make the verdict."""

    def delivery(self, name: str) -> Mapping[str, Any]:
        """How many events came in a phase, and how soon (p50, p99, longest), in seconds or None."""

    def p99(self, name: str) -> float | None:
        """The 99th percentile of latency in the phase of this name, in seconds; None where nothing came."""

    def growth(self, first: float) -> float | None:
        """Percent by which the workers' memory grows in an hour, from that second of the run on."""

    def counts(self, what: str) -> Counter[str]:
        """All endings, refusals or errors."""

    def reconnects(self) -> Mapping[str, Any] | None:
        """How many, on average and in the busiest second, from the first to the last."""

    def parts(self) -> Mapping[str, Sequence[int]]:
        """The processes of each part, by their ids; the clients' too."""
