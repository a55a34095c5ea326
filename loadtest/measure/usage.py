"""What the parts of a deployment use, and the kernel for them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import TICKS, cpu_seconds, system_seconds

PAGE = os.sysconf("SC_PAGE_SIZE")

SOCKET_INODE_BYTES = 1150
"""A socket's inode and directory entry.  The kernel counts them as reclaimable, where what other programs
do with files changes more than streams do; in ``/proc/slabinfo`` of Linux 6.18 sock_inode_cache grows by 937
and dentry by 217 bytes per socket."""

TIME_WAIT_BYTES = 256
"""A connection that is over, for a minute, in the kernel."""

READER = "reader"
"""The clients' part, which is no part of the deployment."""

ByPart = dict[str, float]


def kernel_memory(grown: float, files: Mapping[str, float]) -> float:
    """Bytes per stream of the kernel's that are not for the reader, of what it has grown by per stream.

    ``files`` are the descriptors of each part per stream.  A socket of a client and one of a server cost
    the same, so the growth is divided by their number.
    """
    ours = sum(count for name, count in files.items() if name != READER)
    everything = sum(files.values())
    return grown * ours / everything + ours * SOCKET_INODE_BYTES if everything else 0.0


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU that each part's processes have used, when (``time.monotonic()``) that was read.

    "kernel" is what of it, but of the reader's, was in system calls.
    """

    at: float
    used: ByPart

    @classmethod
    def of(cls, parts: Mapping[str, Sequence[int]]) -> Cpu:
        """So far."""
        ours = [pid for name, pids in parts.items() if name != READER for pid in pids]
        used = {name: sum(map(cpu_seconds, pids)) for name, pids in parts.items()}
        return cls(time.monotonic(), {**used, "kernel": sum(map(system_seconds, ours))})

    def since(self, before: Cpu, base: Mapping[str, float] | None = None) -> ByPart:
        """Between then and now, without what the processes use anyway: ``base`` is that per second."""
        seconds = self.at - before.at
        used = {name: cpu - before.used[name] for name, cpu in self.used.items()}
        return {name: max(0.0, cpu - seconds * (base or {}).get(name, 0.0)) for name, cpu in used.items()}


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine was started, whoever it was for."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def by_part(parts: Mapping[str, Sequence[int]], ask: Callable[[int], float]) -> dict[str, float]:
    """What ``ask`` says of each process, added up for each part."""
    return {name: sum(map(ask, pids)) for name, pids in parts.items()}


def slab() -> int:
    """Bytes of the kernel's own objects that it cannot give back: sockets, files, what is in their queues.

    Without those of connections that are over (TIME_WAIT), which are no stream's.
    """
    found = re.search(r"^SUnreclaim:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    over = re.search(r"^TCP:.* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
    return (int(found[1]) * 1024 if found else 0) - (int(over[1]) * TIME_WAIT_BYTES if over else 0)


def sockets() -> int:
    """TCP sockets that are there."""
    found = re.search(r"^TCP:.* alloc (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
    return int(found[1]) if found else 0


def socket_memory() -> int:
    """Bytes in all TCP buffers."""
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
    return int(found[1]) * PAGE if found else 0
