"""A run of the benchmark, and what the groups of measurements that it is made of have in common.

Contenders that are compared are all there at once and take turns, so that whatever slows the machine for
a while slows all of them; the others are silent while one works.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ..client.counting import Arrival, Streams
from ..client.reader import Reader
from .arena import Arena, Contender
from .contenders import KINDS, OPTIONAL
from .plan import Plan
from .table import Samples

AFTERWARDS = 0.02  # seconds for a server to be done with an event that all streams have
SILENCE = "3600"  # seconds between keep-alives where one contender waits while another is measured


Each = TypeVar("Each")


@dataclass
class Run:
    """What is measured, the samples so far, and who is told how far it is.

    ``names`` are those who are compared in delivering, ``parts`` what was asked for, and ``notes`` what else
    was found, by what it is about.
    """

    plan: Plan
    arena: Arena
    names: Sequence[str]
    parts: Set[str]
    progress: Callable[[str], None]
    samples: Samples = field(default_factory=dict)
    wire_bytes: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, size: int, **figures: float) -> None:
        """One round's figures, by what was measured."""
        for what, figure in figures.items():
            self.samples.setdefault(what, {}).setdefault(name, {}).setdefault(size, []).append(figure)

    def has(self, name: str) -> bool:
        """Whether a contender takes part: unless it may be left out, and is."""
        whose = name.partition(",")[0]
        return whose not in OPTIONAL or whose in self.names

    def contender(self, name: str, **settings: str) -> AbstractContextManager[Contender]:
        """One of them, until the end of the block; see ``Arena.contender``."""
        return self.arena.contender(KINDS[name], **settings)

    @contextlib.contextmanager
    def contenders(self, names: Sequence[str], **settings: str) -> Iterator[dict[str, Contender]]:
        """Those of them that take part, all at once, until the end of the block."""
        with contextlib.ExitStack() as stack:
            yield {
                name: stack.enter_context(self.contender(name, **settings))
                for name in names
                if self.has(name)
            }

    def grow(self, contenders: Mapping[str, Contender], streams: int) -> None:
        """Open streams on each until it has so many."""
        for name, contender in contenders.items():
            self.progress(f"opening {streams:,} streams on {name}")
            contender.grow(streams)

    def turns(self, contenders: Mapping[str, Each], rounds: int, what: str) -> Iterator[tuple[str, Each]]:
        """Each contender in every round."""
        for number in range(rounds):
            for name, contender in contenders.items():
                self.progress(f"{what}, {name}, round {number + 1} of {rounds}")
                yield name, contender


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


class Burst(NamedTuple):
    """Seconds: of the server's CPU, until half and 99 in a hundred of the events were there, until all were
    there for everybody, and of the reader's CPU."""

    cpu: float
    p50: float
    p99: float
    took: float
    reading: float


def burst(contender: Contender, pace: Sequence[float], *others: Reader) -> Burst:
    """Events at this pace, which ``others`` hear as well; what is told is of the contender's own reader."""
    readers = [contender.reader, *others]
    for reader in readers:
        reader.expect(len(pace), record=True, seconds=300)
    cpu = contender.cpu()
    published = contender.publish(pace)
    arrivals = [reader.arrival() for reader in readers]
    time.sleep(AFTERWARDS)
    cpu = contender.cpu() - cpu
    p50, p99, _ = contender.reader.ask(Streams.latencies, published)
    took = max(arrival.at for arrival in arrivals) - published[0]
    return Burst(cpu, p50, p99, took, arrivals[0].cpu)
