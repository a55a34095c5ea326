"""The machine: its cores, its limits, and what is installed on it."""

import contextlib
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .process import said

DESCRIPTORS = 300  # that a process needs besides its streams
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")  # Debian package libnginx-mod-nchan
ABSENT = "not installed"

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


def raise_descriptors(streams: int) -> None:
    """As many descriptors as are allowed, here and in what is started.  RuntimeError if too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < streams + DESCRIPTORS:
        raise RuntimeError(
            f"--streams {streams} needs {streams + DESCRIPTORS} descriptors in one process, and only {hard} "
            f"are allowed: raise the hard limit (ulimit -Hn), or give at most --streams {hard - DESCRIPTORS}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def available_memory() -> int:
    """Bytes that can be used without swapping."""
    return said("/proc/meminfo", r"MemAvailable:\s+(\d+) kB") * 1024


def nginx() -> str | None:
    """The path of nginx, which Debian keeps where not everybody looks."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def missing(contenders: set[str], *, plot: bool) -> list[str]:
    """What has to be installed first, for these."""
    lacks = {
        "redis-server (Debian package redis-server)": shutil.which("redis-server") is None,
        "cc (Debian package build-essential)": "floor" in contenders and shutil.which("cc") is None,
        "nchan (Debian package libnginx-mod-nchan), or give --without nchan": (
            "nchan" in contenders and (nginx() is None or not NCHAN.exists())
        ),
        "sse-starlette (pip install -e '.[bench]'), or give --without sse-starlette": (
            "sse-starlette" in contenders and package("sse-starlette") == ABSENT
        ),
        "matplotlib for the plot (pip install -e '.[bench]'), or give --no-plot": (
            plot and package("matplotlib") == ABSENT
        ),
    }
    return [what for what, lacking in lacks.items() if lacking]


def facts() -> dict[str, str]:
    """What the figures were made on and with."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    found = {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "redis-server": says("redis-server", "--version", pattern=r"v=(\S+)"),
        "nginx": says(nginx() or "", "-v", pattern=r"nginx/(\S+)"),
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
