"""What streams take of a machine: memory and descriptors, and CPU to connect, to wait and to deliver."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import gevent

from ..measure.machine import kernel_memory, slab, socket_memory, sockets
from ..measure.process import ByPart, by_part, open_files, own, pss, settled, used_cpu
from .scenario import Scenario, Threshold
from .script import SIZE, Script

FILLING = 0.3  # seconds after an event in which the kernel's buffers are looked at
OTHERS = 0.05  # sockets of others, as a part of the streams', beyond which the kernel's memory tells nothing


def thirds(streams: int) -> list[int]:
    """A tenth, three tenths, and all."""
    return [max(1, streams // 10), max(1, 3 * streams // 10), streams]


class Capacity(Scenario):
    """What a stream takes.

    Of each step ``run.found`` keeps, with "kernel" among the parts: bytes of memory and descriptors per
    stream; CPU in seconds per new stream (``connect``), per stream and minute (``idle``), per delivered event
    (``events``, ``personal``), all of it without what the processes use when there are no streams.  The
    kernel's CPU is that part of all others' but the clients' that was spent in system calls, and its memory
    is that of their sockets.
    """

    name = "capacity"
    what = "goes to N streams in steps: at each, what the app, the proxy, Redis and the kernel take for them"
    seconds = 20.0
    idle = 60.0
    personal = True

    def script(self, run: Script) -> None:
        """Warm up, and then each step."""
        if not run.deployment.workers:
            raise RuntimeError("capacity looks at processes that are started here: give no --target")
        self._base: ByPart = {}
        self._warm(run)
        wanted = self.options.steps or thirds(self.options.streams)
        steps = sorted({min(run.users, -(-streams // run.per_user)) for streams in wanted} | {run.users})
        run.found["steps"] = [self._step(run, users) for users in steps]
        run.judge()
        for step in run.found["steps"]:
            name = f"{step['streams']:,}"
            told, alone = run.delivery(f"{name} to all"), run.delivery(f"{name} to each")
            step |= {part: told[part] for part in ("p50", "p99", "longest")}
            step["received"] = told["events"] + alone["events"]
            step["keep_alives"] = run.delivery(f"{name} idle")["kept"] / step["streams"] / step.pop("minutes")

    def limits(self, run: Script) -> list[Threshold]:
        """Each step's events have come."""
        steps = run.found.get("steps")
        wrong = sum(abs(step["expected"] - step.get("received", 0)) for step in steps) if steps else None
        return [Threshold("events by which what came differs from what was due", wrong, 0)]

    def remarks(self, run: Script) -> list[str]:
        """Which figures other programs have disturbed."""
        return [
            f"{step['streams']:,} streams: the kernel's memory is not to be trusted, since other programs "
            f"have {'opened' if step['others'] > 0 else 'closed'} {abs(step['others']):,} sockets meanwhile"
            for step in run.found.get("steps", ())
            if abs(step["others"]) > OTHERS * step["streams"] * sum(step["files"].values())
        ]

    def _warm(self, run: Script) -> None:
        """What is used without streams; some come and go before, so that what loads late is not theirs."""
        users = min(run.users, 2)
        run.open(users)
        run.press.publish(self.options.channel, SIZE)
        run.level(fresh=0.0)
        files = run.deployment.files()
        run.open(0)
        with gevent.Timeout(30, RuntimeError("the workers keep streams whose clients are gone")):
            while run.deployment.files() > files - users * run.per_user:
                gevent.sleep(0.05)
        gevent.sleep(0.2)
        parts = run.deployment.parts
        self._memory, self._files = _held(run), by_part(parts, open_files)
        self._slab, self._sockets = slab(), sockets()
        self._gone = [count for _, count in run.ask("range")]
        began = time.monotonic()
        with self._using(run) as used:
            run.wait(min(self.silence, 15.0), "no streams")
        self._base = _each(used, time.monotonic() - began)
        run.found["without_streams"] = {"memory": by_part(parts, pss), "cpu_per_second": self._base}

    def _step(self, run: Script, users: int) -> dict[str, Any]:
        """Open, wait, an event a second to all, one to each."""
        streams = users * run.per_user
        name = f"{streams:,}"
        opened = sum(count for _, count in run.ask("range")) - sum(self._gone)
        with run.phase(f"{name} open"):
            run.ask("pace")
            with self._using(run) as connecting:
                run.open(users)
            times = [pace for pace in run.ask("pace") if pace[1] is not None]
        seconds = max(last for _, last in times) - min(first for first, _ in times)

        began = time.monotonic()
        with run.phase(f"{name} idle"), self._using(run, after=0.0) as waiting:
            run.wait(self.silence, f"{name} streams are idle")
        minutes = (time.monotonic() - began) / 60
        memory = _each(_held(run), streams, self._memory)
        files = _each(by_part(run.deployment.parts, open_files), streams, self._files)
        kernel = kernel_memory((slab() - self._slab) / streams, files)
        others = sockets() - self._sockets - round(streams * sum(files.values()))
        run.sampler.at_full()

        events = max(1, round(self.length * self.pace))
        with run.phase(f"{name} to all"), self._using(run) as delivering:
            buffers = self._publish(run, events)
        ranges = zip(run.ask("range"), self._gone, strict=True)
        channels = self.own_channels((first + gone, count - gone) for (first, count), gone in ranges)
        with run.phase(f"{name} to each"), self._using(run) as telling:
            run.progress(f"{name} streams: an event to each alone")
            for channel in channels:
                run.press.publish(channel, SIZE)
            run.level(fresh=0.0)
        return {
            "streams": streams,
            "memory": {**memory, "kernel": kernel},
            "files": files,
            "others": others,
            "buffers": buffers / streams,
            "connect": _each(connecting, streams - opened),
            "connects_per_second": (streams - opened) / seconds,
            "idle": _each(waiting, streams * minutes),
            "minutes": minutes,
            "events": _each(delivering, streams * events),
            "personal": _each(telling, streams),
            "published": events,
            "expected": streams * (events + 1),
        }

    @contextlib.contextmanager
    def _using(self, run: Script, after: float = 0.2) -> Iterator[ByPart]:
        """Seconds of CPU of a block and so long after it, without what is used when there are no streams."""
        used: ByPart = {}
        before, began = used_cpu(run.deployment.parts), time.monotonic()
        yield used
        gevent.sleep(after)
        used |= since(before, used_cpu(run.deployment.parts), time.monotonic() - began, self._base)

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


def _held(run: Script) -> ByPart:
    return settled(lambda: by_part(run.deployment.parts, own))


def since(before: ByPart, now: ByPart, seconds: float, base: ByPart) -> ByPart:
    """What was used meanwhile, without what is used anyway: ``base`` is that per second."""
    return {name: max(0.0, cpu - before[name] - seconds * base.get(name, 0.0)) for name, cpu in now.items()}


def _each(figures: ByPart, count: float, before: ByPart | None = None) -> ByPart:
    """Of one of so many, without what there was before."""
    return {name: (figure - (before or {}).get(name, 0.0)) / count for name, figure in figures.items()}
