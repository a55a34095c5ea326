"""What each part of a run uses, looked at again and again while it runs."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, linear_regression
from typing import Any

import gevent

from .process import cpu_seconds, own
from .usage import SOCKET_INODE_BYTES, busy_seconds, slab, socket_memory, sockets

EVERY = 1.0
"""Seconds between two looks, or more: looking may take a twentieth of the time."""

KERNEL = "kernel"
CLIENTS = "Locust"


class Sampler:
    """Memory and CPU by part; ``parts`` are the processes of each, now."""

    def __init__(self, parts: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self.samples: list[dict[str, Any]] = []
        self.busy: list[tuple[float, float]] = []
        """Cores that worked at all, and those that worked for this run; one pair for each sample."""
        self.empty: dict[str, float] = {}
        self.full: dict[str, float] = {}
        self.used: Counter[str] = Counter()
        """Seconds of CPU so far."""
        self.began = time.time()
        """When the run began, by the wall clock; ``samples`` count from there."""
        self.parts = parts
        self._cpu: dict[int, float] = {}
        self._slab, self._sockets = slab(), sockets()
        self._look()
        self.empty = self.memory()
        self._last = time.monotonic()
        self._busy = busy_seconds()
        self._running = gevent.spawn(self._run)

    def memory(self) -> dict[str, float]:
        """Bytes that each part holds; the kernel's are those of all new sockets, the clients' too."""
        found: dict[str, float] = {}
        for name, pids in self.parts().items():
            found[name] = 0.0
            for pid in pids:
                with contextlib.suppress(OSError):  # it has just ended
                    found[name] += own(pid)
        grown = slab() - self._slab + (sockets() - self._sockets) * SOCKET_INODE_BYTES
        found[KERNEL] = max(0.0, grown) + socket_memory()
        return found

    def at_full(self) -> None:
        """All streams are open and idle."""
        self.full = self.memory()

    def per_part(self, streams: int) -> dict[str, dict[str, float]]:
        """What each part held without streams, with all, and for each; nothing if it was never full."""
        found = {}
        for name in ("worker", "proxy", "Redis", KERNEL, CLIENTS):
            if name in self.full:
                empty, full = self.empty.get(name, 0.0), self.full[name]
                found[name] = {"empty": empty, "full": full, "per_stream": (full - empty) / streams}
        return found

    def growth(self, name: str, first: float) -> float | None:
        """Percent by which a part's memory grows in an hour, by least squares from second ``first`` on."""
        points = [(each["t"], each["memory"].get(name, 0.0)) for each in self.samples if each["t"] >= first]
        if len(points) < 2:
            return None
        times, sizes = zip(*points, strict=True)
        return 100 * 3600 * linear_regression(times, sizes).slope / fmean(sizes) if any(sizes) else None

    def _look(self) -> dict[str, float]:
        """Seconds of CPU of each part since the last look, but for the last ones of what has ended."""
        found: dict[str, float] = {}
        for name, pids in self.parts().items():
            found[name] = 0.0
            for pid in pids:
                with contextlib.suppress(OSError):
                    now = cpu_seconds(pid)
                    found[name] += now - self._cpu.get(pid, now if not self._cpu else 0.0)
                    self._cpu[pid] = now
        return found

    def _run(self) -> None:
        pause = EVERY
        while True:
            gevent.sleep(pause)
            began, worked = time.monotonic(), busy_seconds()
            memory, cpu = self.memory(), self._look()
            seconds, self._last = began - self._last, began
            self.used.update(cpu)
            rates = {name: used / seconds for name, used in cpu.items()}
            self.busy.append(((worked - self._busy) / seconds, sum(rates.values())))
            self._busy = worked
            self.samples.append({"t": time.time() - self.began, "memory": memory, "cpu": rates})
            pause = max(EVERY, 20 * (time.monotonic() - began))

    def end(self) -> None:
        """No more looks."""
        self._running.kill()
