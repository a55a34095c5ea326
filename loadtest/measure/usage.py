"""What the parts of a deployment use, and the kernel for them."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .process import TICKS, cpu_seconds, said, system_seconds

SOCKET_INODE_BYTES = 1150
"""A socket's inode and directory entry.  The kernel counts them as reclaimable, where what other programs
do with files changes more than streams do; in ``/proc/slabinfo`` of Linux 6.18 sock_inode_cache grows by 937
and dentry by 217 bytes per socket."""

TIME_WAIT_BYTES = 256  # of a connection that is over, for a minute, in the kernel
CLIENTS = "Locust"  # whoever holds streams, among the parts of a run
READER = "reader"  # the clients' part, which is no part of the deployment

ByPart = dict[str, float]


def kernel_memory(grown: float, files: Mapping[str, float]) -> float:
    """Bytes per stream of the kernel's that are not for the reader, of what it has grown by per stream.

    ``files`` are each part's descriptors per stream: a client's socket costs as much as a server's.
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
    def of(cls, parts: Mapping[str, Sequence[int]]) -> Self:
        """So far."""
        ours = [pid for name, pids in parts.items() if name != READER for pid in pids]
        used = {name: sum(map(cpu_seconds, pids)) for name, pids in parts.items()}
        return cls(time.monotonic(), {**used, "kernel": sum(map(system_seconds, ours))})

    def since(self, before: Self, base: Mapping[str, float] | None = None) -> ByPart:
        """Between then and now, without what the processes use anyway: ``base`` is that per second."""
        anyway = {name: (self.at - before.at) * rate for name, rate in (base or {}).items()}
        return {
            name: max(0.0, cpu - before.used[name] - anyway.get(name, 0.0)) for name, cpu in self.used.items()
        }


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine was started, whoever it was for."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


def by_part(parts: Mapping[str, Sequence[int]], ask: Callable[[int], float]) -> ByPart:
    """What ``ask`` says of each process, added up for each part; nothing of one that has just ended."""
    found = dict.fromkeys(parts, 0.0)
    for name, pids in parts.items():
        for pid in pids:
            with contextlib.suppress(OSError):
                found[name] += ask(pid)
    return found


def slab() -> int:
    """Bytes of the kernel's own objects that it cannot give back: sockets, files, what is in their queues.

    Without those of connections that are over (TIME_WAIT), which are no stream's.
    """
    return said("/proc/meminfo", r"SUnreclaim:\s+(\d+) kB") * 1024 - _tcp("tw") * TIME_WAIT_BYTES


def sockets() -> int:
    """TCP sockets that are there."""
    return _tcp("alloc")


def socket_memory() -> int:
    """Bytes in all TCP buffers."""
    return _tcp("mem") * os.sysconf("SC_PAGE_SIZE")


def _tcp(what: str) -> int:
    return said("/proc/net/sockstat", rf"TCP:.* {what} (\d+)")
