"""A run of the benchmark, and what the groups of measurements that it is made of have in common.

Contenders that are compared are all there at once and take turns, so that whatever slows the machine for
a while slows all of them; the others are silent while one works.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..client.counting import Arrival
from .arena import OPTIONAL, Arena
from .contenders import Contender
from .plan import Plan
from .table import Figure, Samples, Target

AFTERWARDS = 0.02
"""Seconds for a server to be done with an event that all streams have."""

SILENCE = "3600"
"""Seconds between keep-alives where one contender waits while another is measured."""


class Run:
    """What is measured, the samples so far, and who is told how far it is."""

    def __init__(
        self, plan: Plan, arena: Arena, names: Sequence[str], progress: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.arena = arena
        self.names = names
        """Who is compared in delivering."""
        self.samples: Samples = {}
        self.wire_bytes: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        """What else was found, by what it is about."""
        self.progress = progress

    def add(self, what: str, name: str, size: int, figure: float) -> None:
        """One round's figure."""
        self.samples.setdefault(what, {}).setdefault(name, {}).setdefault(size, []).append(figure)

    def has(self, name: str) -> bool:
        """Whether a contender takes part: unless it may be left out, and is."""
        whose = name.partition(",")[0]
        return whose not in OPTIONAL or whose in self.names

    @contextlib.contextmanager
    def contenders(self, names: Sequence[str], **settings: str) -> Iterator[dict[str, Contender]]:
        """Those of them that take part, all at once, until the end of the block."""
        with contextlib.ExitStack() as stack:
            found = {
                name: stack.enter_context(self.arena.contender(name, **settings))
                for name in names
                if self.has(name)
            }
            yield found

    def turns(
        self, contenders: Mapping[str, Contender], rounds: int, what: str
    ) -> Iterator[tuple[str, Contender]]:
        """Each contender in every round."""
        for number in range(rounds):
            for name, contender in contenders.items():
                self.progress(f"{what}, {name}, round {number + 1} of {rounds}")
                yield name, contender


class Part(NamedTuple):
    """What can be asked for by itself: what it is, and its rows."""

    about: str
    targets: Sequence[Target] = ()


@dataclass(frozen=True)
class Group:
    """What is measured together, by ``measure``, which is given the names of the parts that are asked for.

    ``title`` is that of the table of its ``figures``, over the number of whatever is ``counted``.
    """

    measure: Callable[[Run, Collection[str]], None]
    parts: Mapping[str, Part]
    title: str
    figures: Sequence[Figure]
    counted: str = "streams"
    by_default: bool = True


def one_at_a_time(contender: Contender, events: int) -> tuple[float, list[float], list[Arrival]]:
    """The next event only when all have this one.

    The server's CPU seconds for all; for each the seconds until the last stream had it, and its arrival.
    """
    lasts, arrivals = [], []
    cpu = contender.cpu()
    for _ in range(events):
        contender.reader.expect(1)
        (published,) = contender.publish([0.0])
        arrivals.append(contender.reader.arrival())
        lasts.append(arrivals[-1].at - published)
    time.sleep(AFTERWARDS)
    return contender.cpu() - cpu, lasts, arrivals
