"""A process, or the parts of a deployment: what they use, and what they hold, as the kernel says.

Memory is weighed in three ways, each for what it is right for: ``rss`` is all that one process has in memory,
``pss`` is fair where several are added up, and ``own`` leaves out what is a file's.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

TICKS = os.sysconf("SC_CLK_TCK")

LOOK_AGAIN = 0.25  # seconds

CLIENTS = "Locust"  # whoever holds streams: a part of a run, and none of the deployment

ByPart = dict[str, float]
Figure = TypeVar("Figure")


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used so far, by the kernel's account, to the nanosecond.

    Linux makes such a clock's id of the process id (clock_getcpuclockid in its C library does).
    """
    return time.clock_gettime(~pid << 3 | 2)


def system_seconds(pid: int) -> float:
    """Those of them that it was in system calls."""
    # The name in parentheses may have spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[12]) / TICKS


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def said(path: str, pattern: str) -> int:
    """The number in the line of a kernel's file that begins like this; 0 if there is none."""
    found = re.search(f"^{pattern}", Path(path).read_text(), re.M)
    return int(found[1]) if found else 0


def _rollup(pid: int, *names: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = [int(size) for name in names for size in re.findall(rf"^{name}:\s+(\d+) kB", rollup, re.M)]
    if len(sizes) != len(names):
        raise RuntimeError(f"the kernel does not say what process {pid} holds")
    return sum(sizes) * 1024


def rss(pid: int) -> int:
    """Bytes that a process has in memory, by itself or with others.

    For how one process grows: a library that another one maps or lets go of meanwhile must not count.
    """
    return _rollup(pid, "Rss")


def pss(pid: int) -> int:
    """Bytes that a process has in memory, of what several share its part: for a sum over processes."""
    return _rollup(pid, "Pss")


def own(pid: int) -> int:
    """Bytes of a process that are no file's: a library that another program loads changes nothing.

    What several processes share, as nginx's zones, counts once for all of them together.
    """
    return _rollup(pid, "Pss_Anon", "Pss_Shmem")


def settled(look: Callable[[], Figure], looks: int = 20) -> Figure:
    """What is found once it does not change any more, or after so many looks (Caddy's memory always does)."""
    found = [look()]
    while len(found) < looks and not (len(found) > 2 and found[-1] == found[-2] == found[-3]):
        time.sleep(LOOK_AGAIN)
        found.append(look())
    return found[-1]


def by_part(parts: Mapping[str, Sequence[int]], ask: Callable[[int], float]) -> ByPart:
    """What ``ask`` says of each process, added up for each part; nothing of one that has just ended."""
    found = dict.fromkeys(parts, 0.0)
    for name, pids in parts.items():
        for pid in pids:
            with contextlib.suppress(OSError):
                found[name] += ask(pid)
    return found


def used_cpu(parts: Mapping[str, Sequence[int]]) -> ByPart:
    """Seconds of CPU that each part's processes have used so far.

    "kernel" is what of it, but of the clients', was in system calls.
    """
    ours = [pid for name, pids in parts.items() if name != CLIENTS for pid in pids]
    return {**by_part(parts, cpu_seconds), "kernel": sum(map(system_seconds, ours))}
