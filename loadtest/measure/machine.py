"""The machine: its cores, its limits, what its kernel holds, and what is installed on it."""

import contextlib
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .process import CLIENTS, TICKS, said

DESCRIPTORS = 300  # that a process needs besides its streams
ABSENT = "not installed"

SOCKET_INODE_BYTES = 1150
"""A socket's inode and directory entry.  The kernel counts them as reclaimable, where what other programs
do with files changes more than streams do; in ``/proc/slabinfo`` of Linux 6.18 sock_inode_cache grows by 937
and dentry by 217 bytes per socket."""

TIME_WAIT_BYTES = 256  # of a connection that is over, for a minute, in the kernel

PACKAGES = ("sse_edge", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "sse-starlette", "starlette")


def cores() -> tuple[set[int], set[int]]:
    """Those for the server under test, and those for everything else; the same where there is one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, {others[0]} if others else {first}


@contextlib.contextmanager
def on(chosen: set[int]) -> Iterator[None]:
    """What this process starts inside the block runs there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptors(streams: int = 0) -> int:
    """As many descriptors as are allowed, here and in what is started.  RuntimeError if too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = 1 << 30 if hard == resource.RLIM_INFINITY else hard
    if streams and allowed < streams + DESCRIPTORS:
        raise RuntimeError(
            f"--streams {streams} needs {streams + DESCRIPTORS} descriptors in one process, and only {hard} "
            f"are allowed: raise the hard limit (ulimit -Hn), or give at most --streams {hard - DESCRIPTORS}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return allowed


def available_memory() -> int:
    """Bytes that can be used without swapping."""
    return said("/proc/meminfo", r"MemAvailable:\s+(\d+) kB") * 1024


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine was started, whoever it was for."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


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


def kernel_memory(grown: float, files: Mapping[str, float]) -> float:
    """Bytes per stream of the kernel's that are not for the clients, of what it has grown by per stream.

    ``files`` are each part's descriptors per stream: a client's socket costs as much as a server's.
    """
    ours = sum(count for name, count in files.items() if name != CLIENTS)
    everything = sum(files.values())
    return grown * ours / everything + ours * SOCKET_INODE_BYTES if everything else 0.0


def program(name: str) -> str | None:
    """The path of a program; Debian keeps nginx where not everybody looks, and so does ``go install``."""
    go = os.environ.get("GOBIN") or str(Path.home() / "go" / "bin")
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", go]))


def lacking(*programs: str) -> list[str]:
    """Those that have to be installed first, each with its package."""
    packages = {"cc": "build-essential"}  # all others are called like theirs
    return [f"{name} (Debian package {packages.get(name, name)})" for name in programs if not program(name)]


def facts() -> dict[str, str]:
    """What the figures were made on and with."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    found = {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "redis-server": says("redis-server", "--version", pattern=r"v=(\S+)"),
        "nginx": says(program("nginx") or "", "-v", pattern=r"nginx/(\S+)"),
        "nchan": says("dpkg-query", "-W", "libnginx-mod-nchan", pattern=r"nchan\s+(?:\d+:)?([\d.]+)"),
    }
    return found | {name: package(name) for name in PACKAGES}


def package(name: str) -> str:
    """The version of a Python package, or ``ABSENT``."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def says(*command: str, pattern: str) -> str:
    """The version that a program says of itself, or ``ABSENT``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    except (OSError, subprocess.CalledProcessError):
        return ABSENT
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"
