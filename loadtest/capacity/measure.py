"""The measurements: at each number of streams what is held, what connecting, waiting and delivering take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sse_edge import Publisher

from ..measure.process import open_files, own, pss, settled
from ..measure.usage import READER, ByPart, Cpu, by_part, kernel_memory, slab, socket_memory, sockets
from ..site.deployment import CHANNEL, Site, personal
from .reader import Readers, Report

WARM = 20
"""Streams that are opened and closed first, so that what is loaded late is not counted as theirs."""

WIRE = 150
"""Bytes of an event on its way to the client, roughly: id, data and what is around them."""

AFTERWARDS = 0.2
"""Seconds for all processes to be done with something."""

FILLING = 0.3
"""Seconds after an event in which the kernel's buffers are looked at."""

LATE = 30.0
"""Seconds after the last event within which all streams are to have it."""

OTHERS = 0.05
"""Sockets of other programs, as a part of the streams', beyond which the kernel's memory tells nothing."""

BASE_SECONDS = 15.0
"""At most so long is measured what the processes do without any stream."""


@dataclass(frozen=True)
class Step:
    """What was found with so many streams, ``READER`` and "kernel" among the parts.

    Memory is bytes and files are descriptors per stream; CPU is seconds: per new stream (``connect``), per
    stream and minute (``idle``), per delivered event (``events``), all of it without what the processes use
    when there are no streams.  The kernel's CPU is that part of all others but the reader's that was spent in
    system calls, and its memory is that of their sockets.
    """

    streams: int
    memory: ByPart
    files: ByPart
    others: int
    """Sockets that other programs have opened since the start, or closed (below 0)."""
    buffers: float
    """Bytes of the kernel's socket buffers at their fullest, per stream, clients' included."""
    connect: ByPart
    connects_per_second: float
    idle: ByPart
    keep_alives: float
    """Per stream and minute, while idle."""
    events: ByPart
    personal: ByPart
    """CPU per event of a channel that only one stream hears."""
    published: int
    """To all streams; after them each gets one of its own."""
    expected: int
    received: int
    lost: int
    repeated: int
    ended: int
    p50: float
    p99: float
    longest: float
    """Seconds from publishing to reading, of the events to all."""

    @property
    def alone(self) -> bool:
        """Whether nearly all new sockets are the streams', and so the kernel's new memory."""
        return abs(self.others) <= OTHERS * self.streams * sum(self.files.values())

    @property
    def whole(self) -> bool:
        """Whether every stream stayed open and got every event once."""
        return self.received == self.expected and not (self.lost or self.repeated or self.ended)


class Capacity:
    """A run: the deployment, its clients, and the steps so far."""

    def __init__(
        self,
        site: Site,
        readers: Readers,
        progress: Callable[[str], None],
        *,
        idle: float,
        events: int,
    ) -> None:
        self.steps: list[Step] = []
        self.without: ByPart = {}
        self.base: ByPart = {}
        self._site = site
        self._readers = readers
        self._progress = progress
        self._idle = idle
        self._events = events
        self._number = 0

    def run(self, steps: Sequence[int]) -> None:
        """Everything, with more and more streams."""
        with asyncio.Runner() as runner:
            publisher = Publisher(self._site.redis)
            try:
                self._warm(runner, publisher)
                for streams in steps:
                    self._step(streams, runner, publisher)
            finally:
                runner.run(publisher.aclose())

    @property
    def _parts(self) -> dict[str, list[int]]:
        return {**self._site.parts, READER: self._readers.pids}

    def _held(self) -> ByPart:
        return settled(lambda: by_part(self._parts, own))

    def _warm(self, runner: asyncio.Runner, publisher: Publisher) -> None:
        self._progress("warming up")
        # Every process of a proxy gets some, wherever the kernel sends them.
        count = WARM * max(1, len(self._site.parts.get("proxy", [])))
        self._readers.open(self._site.ports, self._site.requests(0, count))
        self._deliver(runner, publisher, 1)
        workers = self._site.parts["worker"]
        files = sum(map(open_files, workers))
        self._readers.close()
        deadline = time.monotonic() + LATE
        while sum(map(open_files, workers)) > files - count:
            if time.monotonic() > deadline:
                raise RuntimeError("the workers keep streams whose clients are gone")
            time.sleep(0.05)
        time.sleep(AFTERWARDS)
        self._memory = self._held()
        self._files = by_part(self._parts, open_files)
        self._slab, self._sockets = slab(), sockets()
        self.without = by_part(self._parts, pss)
        seconds = min(self._idle, BASE_SECONDS)
        self._progress(f"no streams: idle for {seconds:g} s")
        before = Cpu.of(self._parts)
        time.sleep(seconds)
        now = Cpu.of(self._parts)
        self.base = each(now.since(before), now.at - before.at)

    def _step(self, streams: int, runner: asyncio.Runner, publisher: Publisher) -> None:
        new = streams - self._readers.streams
        self._progress(f"{streams:,} streams: opening {new:,}")
        requests = self._site.requests(self._readers.streams, new)
        before, began = Cpu.of(self._parts), time.monotonic()
        self._readers.open(self._site.ports, requests)
        took = time.monotonic() - began
        time.sleep(AFTERWARDS)
        connect = each(Cpu.of(self._parts).since(before, self.base), new)

        self._progress(f"{streams:,} streams: idle for {self._idle:g} s")
        self._readers.ask("begin", self._number)
        before, began = Cpu.of(self._parts), time.monotonic()
        time.sleep(self._idle)
        minutes = (time.monotonic() - began) / 60
        idle = each(Cpu.of(self._parts).since(before, self.base), streams * minutes)
        waited = self._report()
        if waited.ended:
            raise RuntimeError(f"{waited.ended} of {streams} idle streams were ended")
        memory = {name: (size - self._memory[name]) / streams for name, size in self._held().items()}
        files = {
            name: (count - self._files[name]) / streams
            for name, count in by_part(self._parts, open_files).items()
        }
        others = sockets() - self._sockets - round(sum(files.values()) * streams)
        memory["kernel"] = kernel_memory((slab() - self._slab) / streams, files)

        self._progress(f"{streams:,} streams: an event a second for {self._events} s")
        before = Cpu.of(self._parts)
        report, buffers = self._deliver(runner, publisher, self._events)
        time.sleep(AFTERWARDS)
        expected = streams * self._events
        delivered = each(Cpu.of(self._parts).since(before, self.base), expected)
        waits = sorted(report.latencies)

        self._progress(f"{streams:,} streams: an event to each alone")
        before = Cpu.of(self._parts)
        own = self._deliver_personal(runner, publisher, streams)
        time.sleep(AFTERWARDS)
        alone = each(Cpu.of(self._parts).since(before, self.base), streams)
        report.add(own)
        self.steps.append(
            Step(
                streams=streams,
                memory=memory,
                files=files,
                others=others,
                buffers=buffers / streams,
                connect=connect,
                connects_per_second=new / took,
                idle=idle,
                keep_alives=waited.keep_alives / streams / minutes,
                events=delivered,
                personal=alone,
                published=self._events,
                expected=expected + streams,
                received=report.received,
                lost=report.lost,
                repeated=report.repeated,
                ended=report.ended,
                p50=percentile(waits, 0.5),
                p99=percentile(waits, 0.99),
                longest=percentile(waits, 1.0),
            )
        )

    def _deliver(self, runner: asyncio.Runner, publisher: Publisher, events: int) -> tuple[Report, float]:
        """An event a second to all; what they got, and the kernel's buffers at their fullest."""
        self._readers.ask("begin", self._number)
        before = fullest = socket_memory()

        async def publish() -> None:
            nonlocal fullest
            began = time.monotonic()
            for number in range(events):
                await asyncio.sleep(max(0.0, began + number - time.monotonic()))
                self._number += 1
                moment = time.monotonic()
                await publisher.publish(CHANNEL, text(self._number, moment))
                until = moment + FILLING
                while time.monotonic() < until:
                    fullest = max(fullest, socket_memory())
                    await asyncio.sleep(0.02)

        runner.run(publish())
        return self._arrived(), fullest - before

    def _deliver_personal(self, runner: asyncio.Runner, publisher: Publisher, streams: int) -> Report:
        """One event to each stream's own channel, the next when Redis has confirmed this one."""
        self._readers.ask("begin", self._number)
        self._number += 1

        async def publish() -> None:
            for number in range(streams):
                await publisher.publish(personal(number), text(self._number, time.monotonic()))

        runner.run(publish())
        return self._arrived()

    def _arrived(self) -> Report:
        """What they got, once all have everything or it is too late."""
        deadline = time.monotonic() + LATE
        while sum(self._readers.ask("behind", self._number)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._report()

    def _report(self) -> Report:
        report = Report()
        for one in self._readers.ask("report", self._number):
            report.add(one)
        return report

    def as_json(self) -> list[dict[str, object]]:
        """The steps for programs."""
        return [{**asdict(step), "whole": step.whole} for step in self.steps]


def text(number: int, moment: float) -> str:
    """An event's data: its number, when it is published, and as much as makes ``WIRE``."""
    return f"{number} {moment:.6f} ".ljust(WIRE - 40, ".")


def each(figures: Mapping[str, float], count: float) -> ByPart:
    """Of one of so many."""
    return {name: figure / count for name, figure in figures.items()}


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of all does not exceed; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
