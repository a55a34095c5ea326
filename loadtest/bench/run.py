"""A run: how much is measured and of whom, and what groups of measurements have in common.

Contenders that are compared are all there at once and take turns, so that whatever slows the machine for
a while slows all of them; the others are silent while one works.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self, TypeVar

from ..client.counting import Arrival, Reader, Streams
from ..measure import machine
from .arena import Arena, Contender
from .contenders import KINDS, OPTIONAL, absent
from .targets import Samples

AFTERWARDS = 0.02  # seconds for a server to be done with an event that all streams have
MEMORY = 60_000  # bytes that a stream takes on all sides, the kernel's included
SILENCE = "3600"  # seconds between keep-alives where one contender waits while another is measured

Each = TypeVar("Each")


@dataclass(frozen=True)
class Plan:
    """The numbers of each group: of streams, of events, and of rounds."""

    sizes: tuple[int, ...]  # of what is compared over numbers of streams
    streams: int = 5000  # of all else
    channels: int = 10_000
    rounds: int = 8  # of one event at a time
    some_rounds: int = 5
    few_rounds: int = 3  # of what takes long
    events: int = 4
    singles: int = 300  # events to one stream each
    loop_seconds: float = 3.0
    admissions: int = 3000
    resumed: int = 2000
    missed: int = 50
    packed_events: int = 50
    publishes: int = 250
    publish_bursts: int = 10
    stuck: int = 500  # streams that stop reading
    stuck_events: int = 40
    stuck_spacing: float = 0.2  # seconds between events, or more
    kept_sizes: tuple[int, ...] = (50, 150, 500, 1000, 2000, 4000, 10_000, 60_000)
    kept: tuple[int, ...] = (1, 10, 100, 1000)
    kept_bytes: int = 12_000_000  # of events in a row, about
    written: int = 500  # channels that tokens are written to
    written_seconds: float = 5.0

    @classmethod
    def of(cls, streams: int, *, quick: bool) -> Self:
        """For so many streams at most: a fifteenth of them, a third, and all."""
        sizes = tuple(sorted({max(1, streams // 15), max(1, streams // 3), streams}))
        plan = replace(cls(sizes[-2:]), **QUICK) if quick else cls(sizes)
        held = {name: min(getattr(plan, name), streams) for name in ("streams", "channels", "resumed")}
        return replace(plan, **held, stuck=min(plan.stuck, max(1, streams // 10)))


QUICK: dict[str, Any] = {
    "streams": 1000, "channels": 2000, "rounds": 4, "some_rounds": 3, "few_rounds": 1, "events": 3,
    "singles": 100, "loop_seconds": 1.0, "admissions": 1000, "resumed": 1000, "stuck": 100,
    "kept_sizes": (50, 500, 4000), "kept": (1, 10, 100), "kept_bytes": 3_000_000,
    "written": 200, "written_seconds": 2.0,
}  # fmt: skip
"""A first impression."""


@dataclass
class Run:
    """What is measured, the samples so far, and who is told how far it is.

    ``names`` are those who are compared in delivering, ``parts`` what was asked for, and ``notes`` what else
    was found, by what it is about.  ``arena`` is there while it is measured.
    """

    arena: Arena = field(init=False)
    plan: Plan
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

    def contender(self, name: str, **settings: str) -> contextlib.AbstractContextManager[Contender]:
        """One of them, until the end of the block; see ``Arena.contender``."""
        return self.arena.contender(KINDS[name], **settings)

    @contextlib.contextmanager
    def contenders(self, names: Sequence[str], **settings: str) -> Iterator[dict[str, Contender]]:
        """Those of them that take part, all at once, until the end of the block."""
        with contextlib.ExitStack() as stack:
            there = filter(self.has, names)
            yield {name: stack.enter_context(self.contender(name, **settings)) for name in there}

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


def check(streams: int, names: Sequence[str], *, plot: bool) -> None:
    """RuntimeError when so many streams on each could not be measured, or drawn, on this machine."""
    lacks = machine.lacking("redis-server", *({"cc"} if "floor" in names else ()))
    lacks += [f"{what}, or give --without {name}" for name, what in absent(names).items()]
    if plot and machine.package("matplotlib") == machine.ABSENT:
        lacks.append("matplotlib for the plot (pip install -e '.[bench]'), or give --no-plot")
    if lacks:
        raise RuntimeError("missing: " + "; ".join(lacks))
    machine.raise_descriptors(streams)
    needed, available = streams * len(names) * MEMORY, machine.available_memory()
    if available < needed:
        raise RuntimeError(
            f"--streams {streams} takes about {needed >> 20} MiB of memory, and {available >> 20} MiB "
            "are available: give fewer streams, or leave contenders out with --without"
        )


def one_at_a_time(contender: Contender, events: int) -> tuple[float, list[float], list[Arrival]]:
    """The next event only when all have this one.

    The server's CPU seconds for all; for each the seconds until the last stream had it, and its arrival.
    """
    lasts, arrivals = [], []
    cpu = contender.cpu()
    for _ in range(events):
        contender.reader.expect(1)
        (published,) = contender.publish([0.0])
        arrivals.append(contender.reader.answer())
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
    arrivals = [reader.answer() for reader in readers]
    time.sleep(AFTERWARDS)
    cpu = contender.cpu() - cpu
    p50, p99 = contender.reader.ask(Streams.latencies, published)
    took = max(arrival.at for arrival in arrivals) - published[0]
    return Burst(cpu, p50, p99, took, arrivals[0].cpu)
