"""What streams take of a machine: memory and descriptors, and CPU to connect, to wait and to deliver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gevent

from ..measure.process import open_files, own, pss, settled
from ..measure.sampler import CLIENTS
from ..measure.usage import READER, ByPart, Cpu, by_part, kernel_memory, slab, socket_memory, sockets
from .scenario import Scenario, Threshold
from .script import Script

WARM = 2
"""Users whose streams are opened and closed first, so that what is loaded late is not counted as theirs."""

SIZE = 110
"""Bytes of an event's data; with id and what is around them 150 go to the client."""

AFTERWARDS = 0.2
"""Seconds for all processes to be done with something."""

FILLING = 0.3
"""Seconds after an event in which the kernel's buffers are looked at."""

GONE = 30.0
"""Seconds for the workers to let go of clients that have left."""

OTHERS = 0.05
"""Sockets of other programs, as a part of the streams', beyond which the kernel's memory tells nothing."""

BASE_SECONDS = 15.0
"""At most so long is measured what the processes do without any stream."""


def thirds(streams: int) -> list[int]:
    """A tenth, three tenths, and all."""
    return [max(1, streams // 10), max(1, 3 * streams // 10), streams]


class Capacity(Scenario):
    """What a stream takes.

    Of each step ``run.found`` keeps, with ``READER`` and "kernel" among the parts: bytes of memory and
    descriptors per stream; CPU in seconds per new stream (``connect``), per stream and minute (``idle``), per
    delivered event (``events``, ``personal``), all of it without what the processes use when there are no
    streams.  The kernel's CPU is that part of all others' but the clients' that was spent in system calls,
    and its memory is that of their sockets.
    """

    name = "capacity"
    what = "goes to N streams in steps: at each, what the app, the proxy, Redis and the kernel take for them"
    seconds = 20.0
    idle = 60.0
    personal = True

    def script(self, run: Script) -> None:
        """Warm up, and then each step."""
        if "worker" not in run.parts():
            raise RuntimeError("capacity looks at processes that are started here: give no --target")
        base = self._warm(run)
        wanted = self.options.steps or thirds(self.options.streams)
        steps = sorted({min(run.users, -(-streams // run.per_user)) for streams in wanted} | {run.users})
        run.found["steps"] = [self._step(run, users, base) for users in steps]
        run.judge()
        for step in run.found["steps"]:
            name = f"{step['streams']:,}"
            told, own = run.delivery(f"{name} to all"), run.delivery(f"{name} to each")
            step |= {part: told[part] for part in ("p50", "p99", "longest")}
            step["received"] = told["events"] + own["events"]
            step["keep_alives"] = run.delivery(f"{name} idle")["kept"] / step["streams"] / step.pop("minutes")

    def thresholds(self, run: Script) -> list[Threshold]:
        """Every stream got every event."""
        steps = run.found.get("steps", ())
        missing = sum(abs(step["expected"] - step.get("received", 0)) for step in steps)
        return [
            *super().thresholds(run),
            Threshold("events by which what came differs from what was due", missing if steps else None, 0),
        ]

    def figures(self, run: Script) -> dict[str, Any]:
        """The steps, and what there was without streams."""
        return {name: run.found[name] for name in ("without_streams", "steps") if name in run.found}

    def remarks(self, run: Script) -> list[str]:
        """Which figures other programs have disturbed."""
        return [
            f"{step['streams']:,} streams: the kernel's memory is not to be trusted, since other programs "
            f"have {'opened' if step['others'] > 0 else 'closed'} {abs(step['others']):,} sockets meanwhile"
            for step in run.found.get("steps", ())
            if abs(step["others"]) > OTHERS * step["streams"] * sum(step["files"].values())
        ]

    def _warm(self, run: Script) -> ByPart:
        """CPU seconds per second that is used without streams."""
        users = min(run.users, WARM)
        run.open(users)
        run.press.publish(self.options.channel, SIZE)
        run.level(fresh=0.0)
        files, deadline = run.deployment.files() or 0, time.monotonic() + GONE
        run.open(0)
        while (run.deployment.files() or 0) > files - users * run.per_user:
            if time.monotonic() > deadline:
                raise RuntimeError("the workers keep streams whose clients are gone")
            gevent.sleep(0.05)
        gevent.sleep(AFTERWARDS)
        parts = _parts(run)
        self._memory, self._files = _held(run), by_part(parts, open_files)
        self._slab, self._sockets = slab(), sockets()
        self._gone = [count for _, count in run.ask("range")]
        seconds = min(self.silence, BASE_SECONDS)
        before = Cpu.of(parts)
        run.wait(seconds, "no streams")
        now = Cpu.of(parts)
        base = _each(now.since(before), now.at - before.at)
        run.found["without_streams"] = {"memory": by_part(parts, pss), "cpu_per_second": base}
        return base

    def _step(self, run: Script, users: int, base: ByPart) -> dict[str, Any]:
        """Open, wait, an event a second to all, one to each."""
        parts, streams = _parts(run), users * run.per_user
        name = f"{streams:,}"
        opened = sum(count for _, count in run.ask("range")) - sum(self._gone)
        with run.phase(f"{name} open"):
            run.ask("pace")
            before = Cpu.of(parts)
            run.open(users)
            gevent.sleep(AFTERWARDS)
            connect = _each(Cpu.of(parts).since(before, base), streams - opened)
            times = [pace for pace in run.ask("pace") if pace[1] is not None]

        with run.phase(f"{name} idle"):
            before = Cpu.of(parts)
            run.wait(self.silence, f"{name} streams are idle")
            now = Cpu.of(parts)
        minutes = (now.at - before.at) / 60
        memory = {part: (size - self._memory[part]) / streams for part, size in _held(run).items()}
        files = {
            part: (count - self._files[part]) / streams for part, count in by_part(parts, open_files).items()
        }
        others = sockets() - self._sockets - round(sum(files.values()) * streams)
        memory["kernel"] = kernel_memory((slab() - self._slab) / streams, files)
        run.at_full()

        events = max(1, round(self.length * self.pace))
        with run.phase(f"{name} to all"):
            before_all = Cpu.of(parts)
            buffers = self._publish(run, events)
            gevent.sleep(AFTERWARDS)
            delivered = Cpu.of(parts).since(before_all, base)

        own = [
            self.options.own_channel.replace("{user}", f"u{number}")
            for (first, count), gone in zip(run.ask("range"), self._gone, strict=True)
            for number in range(first + gone, first + count)
        ]
        with run.phase(f"{name} to each"):
            run.progress(f"{name} streams: an event to each alone")
            before_own = Cpu.of(parts)
            for channel in own:
                run.press.publish(channel, SIZE)
            run.level(fresh=0.0)
            gevent.sleep(AFTERWARDS)
            alone = Cpu.of(parts).since(before_own, base)
        return {
            "streams": streams,
            "memory": memory,
            "files": files,
            "others": others,
            "buffers": buffers / streams,
            "connect": connect,
            "connects_per_second": (streams - opened)
            / (max(last for _, last in times) - min(first for first, _ in times)),
            "idle": _each(now.since(before, base), streams * minutes),
            "minutes": minutes,
            "events": _each(delivered, streams * events),
            "personal": _each(alone, streams),
            "published": events,
            "expected": streams * (events + 1),
        }

    def _publish(self, run: Script, events: int) -> float:
        """Events to all, until they have come; by how much the kernel's buffers grew at their fullest."""
        began, before = time.monotonic(), socket_memory()
        fullest = before
        for number in range(events):
            due = began + number / self.pace
            run.progress(f"an event to all: {number + 1} of {events}")
            gevent.sleep(max(0.0, due - time.monotonic()))
            run.press.publish(self.options.channel, SIZE)
            while time.monotonic() < due + FILLING:
                fullest = max(fullest, socket_memory())
                gevent.sleep(0.02)
        run.level(fresh=0.0)
        return fullest - before


def _parts(run: Script) -> dict[str, list[int]]:
    """The clients by the name under which nothing of theirs is the deployment's."""
    return {READER if name == CLIENTS else name: list(pids) for name, pids in run.parts().items()}


def _held(run: Script) -> ByPart:
    return settled(lambda: by_part(_parts(run), own))


def _each(figures: Mapping[str, float], count: float) -> ByPart:
    """Of one of so many."""
    return {name: figure / count for name, figure in figures.items()}
