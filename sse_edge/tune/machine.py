"""What this machine has, and where that falls short of a sizing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .sizing import BUSY, KIB, MIB, Sizing


@dataclass(frozen=True, slots=True)
class Machine:
    """What the kernel says; None where it does not, as on macOS.  ``memory`` is in bytes."""

    cores: int | None = None
    memory: int | None = None
    files: int | None = None
    """RLIMIT_NOFILE, the hard one of this process."""
    nr_open: int | None = None
    file_max: int | None = None
    somaxconn: int | None = None
    syn_backlog: int | None = None
    ports: int | None = None
    """How many local ports there are for outgoing connections."""
    conntrack: int | None = None
    tcp_memory: int | None = None
    """Bytes that all TCP buffers together may have."""

    @classmethod
    def read(cls, proc: Path = Path("/proc")) -> Machine:
        """This machine; ``proc`` is where the kernel tells."""
        first, last = _numbers(proc / "sys/net/ipv4/ip_local_port_range", 2)
        pages = _numbers(proc / "sys/net/ipv4/tcp_mem", 3)[2]
        return cls(
            cores=_cores(),
            memory=_memory(proc / "meminfo"),
            files=_file_limit(proc / "self/limits"),
            nr_open=_number(proc / "sys/fs/nr_open"),
            file_max=_number(proc / "sys/fs/file-max"),
            somaxconn=_number(proc / "sys/net/core/somaxconn"),
            syn_backlog=_number(proc / "sys/net/ipv4/tcp_max_syn_backlog"),
            ports=None if first is None or last is None else last - first + 1,
            conntrack=_number(proc / "sys/net/netfilter/nf_conntrack_max"),
            tcp_memory=None if pages is None else pages * os.sysconf("SC_PAGE_SIZE"),
        )


def shortfalls(sizing: Sizing, machine: Machine, memory: int | None = None) -> list[str]:
    """What this machine lacks, one sentence with its remedy each.

    ``memory`` is what may be used, in bytes, in place of all that the machine has.
    """
    found = []

    def need(have: int | None, least: float, what: str, remedy: str) -> None:
        if have is not None and have < least:
            found.append(f"{what} is {have:,}, and {least:,.0f} are needed: {remedy}")

    available = machine.memory if memory is None else memory
    if available is not None and available < sizing.memory:
        found.append(
            f"memory is {available // MIB:,} MiB, and {sizing.memory // MIB:,} MiB are needed: "
            "more of it, or fewer streams per machine"
        )
    if machine.cores is not None:
        if machine.cores < sizing.cpu:
            found.append(
                f"cores are {machine.cores}, and delivery alone takes {sizing.cpu:.1f}: more, or fewer events"
            )
        if sizing.proxy == "nginx" and machine.cores < sizing.proxy_workers:
            found.append(
                f"cores are {machine.cores}, so worker_processes auto gives fewer than the "
                f"{sizing.proxy_workers} that worker_connections is meant for: set the number in nginx.conf"
            )
    if sizing.worker_cpu > BUSY * sizing.workers:
        found.append(
            f"workers are {sizing.workers}, and delivery takes {sizing.worker_cpu:.1f} cores: more of them"
        )
    if sizing.redis_cpu > BUSY:
        found.append(
            f"Redis has one core, and {sizing.publishes:,.0f} events a second take {sizing.redis_cpu:.1f}: "
            "fewer events, each for more streams, or a cluster with partitions"
        )
    files = max(sizing.worker_files, sizing.proxy_files)
    need(
        machine.files, files, "RLIMIT_NOFILE, the hard one here,",
        "LimitNOFILE in the systemd units, ulimits in a container, limits.conf for a shell",
    )  # fmt: skip
    need(machine.nr_open, files, "fs.nr_open", f"sysctl fs.nr_open={files}")
    need(machine.file_max, sizing.open_files, "fs.file-max", f"sysctl fs.file-max={2 * sizing.open_files}")
    need(machine.somaxconn, sizing.backlog, "net.core.somaxconn", "the sysctl file")
    need(machine.syn_backlog, sizing.syn_backlog, "net.ipv4.tcp_max_syn_backlog", "the sysctl file")
    need(
        machine.ports, sizing.worker_ports, "net.ipv4.ip_local_port_range, in ports,",
        "the sysctl file, more workers, or unix sockets",
    )  # fmt: skip
    need(
        machine.conntrack, 2 * sizing.connections, "net.netfilter.nf_conntrack_max",
        "the sysctl file, or do not track loopback",
    )  # fmt: skip
    # An event to everybody waits in three sockets of each stream for a moment, a page of memory in each.
    need(
        machine.tcp_memory, 3 * sizing.connections * 4 * KIB, "net.ipv4.tcp_mem, in bytes,",
        "more memory, of which it is a share, or sysctl",
    )  # fmt: skip
    return found


def _numbers(path: Path, count: int) -> list[int | None]:
    try:
        words = path.read_text().split()
        return [int(word) for word in words[:count]] if len(words) >= count else [None] * count
    except (OSError, ValueError):
        return [None] * count


def _number(path: Path) -> int | None:
    return _numbers(path, 1)[0]


def _cores() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count()


def _memory(path: Path) -> int | None:
    """MemTotal, or what the control group of this process may have, if that is less."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    total = next((int(line.split()[1]) * KIB for line in lines if line.startswith("MemTotal:")), None)
    group = _number(Path("/sys/fs/cgroup/memory.max"))  # "max" where there is no limit
    return min((each for each in (total, group) if each is not None), default=None)


def _file_limit(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            hard = line.split()[4]
            return int(hard) if hard.isdigit() else None
    return None
