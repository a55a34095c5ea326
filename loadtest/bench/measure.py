"""The measurements, each a function that adds to the samples.

Contenders that are compared are all there at once and take turns, so that whatever slows the machine for
a while slows all of them; the others are silent while one works.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from .. import admission
from ..client.counting import Arrival
from ..measure import machine
from ..measure.process import rss, settled
from . import publishing
from .arena import Arena
from .contenders import Contender, Edge
from .content import Content, card, tick
from .table import Samples

BURST_EVENTS = 100
SPACING = 0.002
"""Seconds between the events of a burst."""

AFTERWARDS = 0.02
"""Seconds for a server to be done with an event that all streams have."""

OVERLAP = 4
"""Events published in the time that one fan-out takes: there is no pause, and no more than it can take."""

SILENCE = "3600"
"""Seconds between keep-alives where one contender waits while another is measured."""

COLD = ("floor", "sse_edge", "nchan")
"""Whose streams are opened again and again for their first event."""

TENTH = 9
"""Events before the one that counts as any other."""

PACE = 0.005
"""Seconds between events to one stream each: whoever delivers one is done with it before the next."""

CONTENTS: dict[str, Content] = {"cards": card, "ticks": tick}

OPTIONAL = ("nchan", "sse-starlette", "TaskSink")
"""What a run may be without."""

SLOW = {"sse-starlette"}
"""They have one burst, and not one for each round: it takes a minute and no target needs it."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    rounds: int = 8
    events: int = 4
    bursts: int = 3
    channel_streams: int = 10_000
    channel_rounds: int = 5
    singles: int = 300
    loops: int = 3
    loop_seconds: float = 3.0
    admissions: int = 3000
    admission_rounds: int = 5
    cold_streams: int = 5000
    cold_rounds: int = 5
    resumed: int = 2000
    missed: int = 50
    resume_rounds: int = 5
    packed_streams: int = 5000
    packed_events: int = 50
    packed_rounds: int = 3
    publishes: int = 250
    publish_bursts: int = 10
    publish_rounds: int = 5

    @classmethod
    def of(cls, streams: int, *, quick: bool) -> Plan:
        """For so many streams at most: a fifteenth of them, a third, and all."""
        sizes = tuple(sorted({max(1, streams // 15), max(1, streams // 3), streams}))
        if quick:
            return cls(
                sizes[-2:],
                rounds=4,
                events=3,
                bursts=1,
                channel_streams=min(2000, streams),
                channel_rounds=3,
                singles=100,
                loops=1,
                loop_seconds=1.0,
                admissions=1000,
                admission_rounds=2,
                cold_streams=min(2000, streams),
                cold_rounds=3,
                resumed=min(1000, streams),
                resume_rounds=3,
                packed_streams=min(1000, streams),
                packed_rounds=2,
                publish_rounds=3,
            )
        return cls(
            sizes,
            channel_streams=min(10_000, streams),
            cold_streams=min(5000, streams),
            resumed=min(2000, streams),
            packed_streams=min(5000, streams),
        )


class Run:
    """A run of the benchmark: what is measured, the samples so far, and who is told how far it is."""

    def __init__(
        self, plan: Plan, arena: Arena, names: Sequence[str], progress: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.groups: list[str] = []
        """What was asked for."""
        self.samples: Samples = {}
        self.wire_bytes: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        """What else was found, by what it is about."""
        self._arena = arena
        self._names = names
        self._progress = progress

    def measure(self, groups: Sequence[str]) -> None:
        """Everything that the groups name."""
        self.groups = list(groups)
        if "memory" in groups:
            self.memory()
        if {"single", "burst", "loop"} & set(groups):
            self.fan_out(groups)
        if "first" in groups:
            self.first()
        if "channels" in groups:
            self.channels()
        if "resume" in groups:
            self.resume()
        if "bytes" in groups:
            self.packed()
        if "admission" in groups:
            self.admission()
        if "publishing" in groups:
            self.publishing()

    def _add(self, what: str, name: str, size: int, figure: float) -> None:
        self.samples.setdefault(what, {}).setdefault(name, {}).setdefault(size, []).append(figure)

    # One event at a time, bursts, and the loop meanwhile

    def fan_out(self, groups: Sequence[str]) -> None:
        """All contenders, with more and more streams."""
        sizes, names = self.plan.sizes, self._names
        if not {"single", "burst"} & set(groups):
            sizes, names = sizes[-1:], ["sse_edge"]
        with contextlib.ExitStack() as stack:
            contenders = {
                name: stack.enter_context(self._arena.contender(name, KEEP_ALIVE=SILENCE)) for name in names
            }
            for size in sizes:
                for name, contender in contenders.items():
                    self._progress(f"opening {size:,} streams on {name}")
                    contender.grow(size)
                    if isinstance(contender, Edge):
                        kind = contender.check_sink(task=name == "TaskSink")
                        self.notes[f"streams of {name} are written through"] = kind
                    one_at_a_time(contender, 1)  # not counted
                if "single" in groups:
                    self._single(contenders, size)
                if "burst" in groups:
                    self._burst(contenders, size)
            if "loop" in groups:
                edge = contenders["sse_edge"]
                assert isinstance(edge, Edge)
                self._loop(edge, sizes[-1])

    def _single(self, contenders: dict[str, Contender], size: int) -> None:
        for number in range(self.plan.rounds):
            self._progress(f"{size:,} streams, one event at a time, round {number + 1} of {self.plan.rounds}")
            for name, contender in contenders.items():
                cpu, lasts, arrivals = one_at_a_time(contender, self.plan.events)
                delivered = self.plan.events * size
                self._add("single_cpu", name, size, cpu / delivered)
                self._add("single_last", name, size, median(lasts))
                self._add("client_cpu", name, size, sum(one.cpu for one in arrivals) / delivered)
                self.wire_bytes[name] = arrivals[-1].size / size

    def _burst(self, contenders: dict[str, Contender], size: int) -> None:
        pace = [number * SPACING for number in range(BURST_EVENTS)]
        for number in range(self.plan.bursts):
            for name, contender in contenders.items():
                if number and name in SLOW:
                    continue
                what = f"round {number + 1} of {self.plan.bursts}"
                self._progress(f"{size:,} streams, {BURST_EVENTS} events at 2 ms, {name}, {what}")
                contender.reader.expect(BURST_EVENTS, record=True, seconds=300)
                cpu = contender.cpu()
                published = contender.publish(pace)
                arrival = contender.reader.arrival()
                time.sleep(AFTERWARDS)
                cpu = contender.cpu() - cpu
                p50, p99, _ = contender.reader.latencies(published)
                took, delivered = arrival.at - published[0], BURST_EVENTS * size
                self._add("burst_rate", name, size, delivered / took)
                self._add("burst_cpu", name, size, cpu / delivered)
                self._add("burst_p50", name, size, p50)
                self._add("burst_p99", name, size, p99)
                self._add("burst_client_busy", name, size, arrival.cpu / took)

    def _loop(self, edge: Edge, size: int) -> None:
        for number in range(self.plan.loops):
            what = f"round {number + 1} of {self.plan.loops}"
            self._progress(f"{size:,} streams, the event loop meanwhile, {what}")
            _, lasts, _ = one_at_a_time(edge, 3)
            fan_out = median(lasts)
            spacing = fan_out / OVERLAP
            events = max(OVERLAP, round(self.plan.loop_seconds / spacing))
            edge.reader.expect(events)
            edge.ask("probe/start")
            edge.publish([number * spacing for number in range(events)])
            edge.reader.arrival()
            self._add("loop_longest", "sse_edge", size, edge.ask("probe/stop")["longest"])
            self._add("loop_fan_out", "sse_edge", size, fan_out)

    # Memory

    def memory(self) -> None:
        """Each contender by itself, its streams idle; what the kernel holds for them is not counted."""
        for name in ("bare", *(name for name in self._names if name != "floor"), "sse_edge, own channels"):
            with self._arena.contender(name) as contender:
                contender.grow(min(100, self.plan.sizes[0]))
                contender.reader.drop(contender.reader.streams)
                before = held(contender)
                for size in self.plan.sizes:
                    self._progress(f"memory of {size:,} streams on {name}")
                    contender.grow(size)
                    self._add("memory", name, size, (held(contender) - before) / size)

    # The first event

    def first(self) -> None:
        """Streams that were never sent an event, and the same ones when they were sent some."""
        size = self.plan.cold_streams
        with contextlib.ExitStack() as stack:
            contenders = {
                name: stack.enter_context(self._arena.contender(name, KEEP_ALIVE=SILENCE))
                for name in self._of(COLD)
            }
            for contender in contenders.values():
                contender.grow(min(100, size))
                one_at_a_time(contender, 1)  # what a process does for the first time is not the streams'
            for number in range(self.plan.cold_rounds):
                for name, contender in contenders.items():
                    what = f"round {number + 1} of {self.plan.cold_rounds}"
                    self._progress(f"the first event of {size:,} streams, {name}, {what}")
                    contender.renew(size)
                    cpu, _, _ = one_at_a_time(contender, 1)
                    self._add("first_cpu", name, size, cpu / size)
                    one_at_a_time(contender, TENTH - 1)
                    cpu, _, _ = one_at_a_time(contender, 1)
                    self._add("tenth_cpu", name, size, cpu / size)

    def _of(self, names: Sequence[str]) -> list[str]:
        """Those whose contender is not left out."""
        return [name for name in names if name.partition(",")[0] not in self._left_out]

    @property
    def _left_out(self) -> set[str]:
        return set(OPTIONAL) - set(self._names)

    # Channels

    def channels(self) -> None:
        """As many channels as streams: an event to each at once, and to one alone."""
        size = self.plan.channel_streams
        with contextlib.ExitStack() as stack:
            contenders = {
                name: stack.enter_context(self._arena.contender(name, KEEP_ALIVE=SILENCE))
                for name in self._of(("floor", "sse_edge, own channels", "nchan, own channels"))
            }
            for name, contender in contenders.items():
                self._progress(f"opening {size:,} streams for as many channels, {name}")
                contender.grow(size)
                one_at_a_time(contender, 1)
            for number in range(self.plan.channel_rounds):
                self._progress(f"{size:,} channels, round {number + 1} of {self.plan.channel_rounds}")
                for name, contender in contenders.items():
                    cpu, _, _ = one_at_a_time(contender, 2)
                    self._add("channels_cpu", name, size, cpu / size / 2)
                for name, contender in contenders.items():
                    p50, p99 = one_stream_each(contender, self.plan.singles)
                    self._add("alone_p50", name, size, p50)
                    self._add("alone_p99", name, size, p99)

    # Coming back

    def resume(self) -> None:
        """Clients that come back all at once, each with events that it missed."""
        streams, missed = self.plan.resumed, self.plan.missed
        with contextlib.ExitStack() as stack:
            contenders = {name: stack.enter_context(self._arena.contender(name)) for name in self._of(COLD)}
            for number in range(self.plan.resume_rounds + 1):
                for name, contender in contenders.items():
                    what = f"round {number} of {self.plan.resume_rounds}" if number else "not counted"
                    self._progress(f"{streams:,} clients with {missed} missed events each, {name}, {what}")
                    cpu = contender.cpu()
                    took = contender.resume(streams, missed)
                    time.sleep(AFTERWARDS)
                    cpu = contender.cpu() - cpu
                    if number:
                        self._add("resume_last", name, streams, took)
                        self._add("resume_cpu", name, streams, cpu / streams)
                    contender.leave()

    # Bytes

    def packed(self) -> None:
        """What clients that take gzip are sent, beside those that do not."""
        size, events = self.plan.packed_streams, self.plan.packed_events
        with contextlib.ExitStack() as stack:
            contenders = {
                name: stack.enter_context(self._arena.contender(kind, KEEP_ALIVE=SILENCE, COMPRESS="1"))
                for name, kind in (("plain", "sse_edge"), ("gzip", "gzip"))
            }
            for name, contender in contenders.items():
                self._progress(f"opening {size:,} streams, {name}")
                contender.grow(size)
            self.notes["clients that take gzip are sent"] = (
                f"gzip, {contenders['gzip'].reader.packed:,} of {size:,}"
                if contenders["gzip"].reader.packed
                else "plain text"
            )
            for what, content in CONTENTS.items():
                for number in range(self.plan.packed_rounds):
                    for name, contender in contenders.items():
                        round = f"round {number + 1} of {self.plan.packed_rounds}"
                        self._progress(f"{size:,} streams, {events} {what} one at a time, {name}, {round}")
                        contender.content = content
                        cpu, _, arrivals = one_at_a_time(contender, events)
                        sent = sum(arrival.size for arrival in arrivals)
                        self._add(f"{what}_bytes", name, size, sent / size / events)
                        self._add(f"{what}_cpu", name, size, cpu / size / events)

    # Admission

    def admission(self) -> None:
        """What ``loadtest.admission`` measures."""
        self._progress("admission")
        plan = self.plan
        cases = [name for name in admission.CASES if name not in self._left_out]
        with machine.on(self._arena.cores):  # it starts servers and is their client
            costs = admission.measure(plan.admissions, 50, 1000.0, plan.admission_rounds, cases)
        for name, rounds in costs.items():
            whose = name if name in ("bare", admission.NCHAN) else f"sse_edge, {name}"
            for cost in rounds:
                self._add("admission_cpu", whose, plan.admissions, cost / 1e6)

    # Publishing

    def publishing(self) -> None:
        """What ``publishing`` measures."""
        plan = self.plan
        figures = publishing.measure(
            self._arena.cores, plan.publish_rounds, plan.publishes, plan.publish_bursts, self._progress
        )
        for figure in figures:
            self._add(*figure)


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


def one_stream_each(contender: Contender, events: int) -> tuple[float, float]:
    """Events to one stream each, at a pace; seconds until it has it, of half and of 99 in a hundred."""
    contender.reader.expect_each(events)
    published = contender.publish_each([number * PACE for number in range(events)])
    waits = sorted(came - sent for came, sent in zip(contender.reader.moments(), published, strict=True))
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100]


def held(contender: Contender) -> int:
    """Bytes that the server holds, when that does not change any more and garbage is collected."""
    contender.collect()
    return settled(lambda: rss(contender.pid), 40)
