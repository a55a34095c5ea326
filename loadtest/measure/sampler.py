"""What each part of a run uses, looked at again and again while it runs."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, linear_regression
from typing import Any

import gevent

from .machine import SOCKET_INODE_BYTES, busy_seconds, slab, socket_memory, sockets
from .process import CLIENTS, ByPart, by_part, cpu_seconds, own

EVERY = 1.0  # seconds between two looks, or more: looking may take a twentieth of the time
KERNEL = "kernel"


class Sampler:
    """Memory and CPU by part; ``parts`` are the processes of each, now."""

    def __init__(self, parts: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self.began = time.time()
        """When the run began, by the wall clock; ``samples`` count from there."""
        self.samples: list[dict[str, Any]] = []
        self.busy: list[tuple[float, float]] = []
        """Cores that worked at all, and those that worked for this run; one pair for each sample."""
        self._full: ByPart = {}
        self.used: Counter[str] = Counter()
        """Seconds of CPU so far."""
        self._parts = parts
        self._cpu: dict[int, float] = {}
        self._slab, self._sockets = slab(), sockets()
        by_part(parts(), self._newly_used)  # from here on
        self._empty = self._memory()
        self._running = gevent.spawn(self._run, self.began, time.monotonic(), busy_seconds())

    def at_full(self) -> None:
        """All streams are open and idle."""
        self._full = self._memory()

    def per_part(self, streams: int) -> dict[str, dict[str, float]]:
        """What each part held without streams, with all, and for each; nothing if it was never full."""
        found = {}
        for name in ("worker", "proxy", "Redis", KERNEL, CLIENTS):
            if name in self._full:
                empty, full = self._empty.get(name, 0.0), self._full[name]
                found[name] = {"empty": empty, "full": full, "per_stream": (full - empty) / streams}
        return found

    def growth(self, name: str, first: float) -> float | None:
        """Percent by which a part's memory grows in an hour, by least squares from second ``first`` on."""
        points = [(each["t"], each["memory"].get(name, 0.0)) for each in self.samples if each["t"] >= first]
        if len(points) < 2:
            return None
        times, sizes = zip(*points, strict=True)
        return 100 * 3600 * linear_regression(times, sizes).slope / fmean(sizes) if any(sizes) else None

    def end(self) -> None:
        """No more looks."""
        self._running.kill()

    def _memory(self) -> ByPart:
        """Bytes that each part holds; the kernel's are those of all new sockets, the clients' too."""
        grown = slab() - self._slab + (sockets() - self._sockets) * SOCKET_INODE_BYTES
        return {**by_part(self._parts(), own), KERNEL: max(0.0, grown) + socket_memory()}

    def _newly_used(self, pid: int) -> float:
        """Seconds of CPU since this was asked before, or since the process began."""
        before, self._cpu[pid] = self._cpu.get(pid, 0.0), cpu_seconds(pid)
        return self._cpu[pid] - before

    def _run(self, first: float, last: float, worked: float) -> None:
        pause = EVERY
        while True:
            gevent.sleep(pause)
            now, work = time.monotonic(), busy_seconds()
            memory, cpu = self._memory(), by_part(self._parts(), self._newly_used)
            self.used.update(cpu)
            rates = {name: used / (now - last) for name, used in cpu.items()}
            self.busy.append(((work - worked) / (now - last), sum(rates.values())))
            self.samples.append({"t": time.time() - first, "memory": memory, "cpu": rates})
            last, worked = now, work
            pause = max(EVERY, 20 * (time.monotonic() - now))
