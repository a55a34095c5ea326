"""What the kernel of this machine allows, and the processes that listen on a port of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST = 500
"""Open files of a process that are looked at."""

LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Machine:
    """``files``: the limit on open files of each process that accepts connections there; empty if unknown.

    ``ports``: how many an address has for outgoing connections to one other.  None: no such setting here.
    """

    files: tuple[int, ...] = ()
    ports: int | None = None
    somaxconn: int | None = None
    syn_backlog: int | None = None


def this_machine(port: int) -> Machine:
    """Look.  What cannot be read, since there is no /proc or it is another user's, is left out."""
    low_high = _numbers("net/ipv4/ip_local_port_range")
    return Machine(
        files=tuple(_files(port)),
        ports=low_high[1] - low_high[0] + 1 if len(low_high) == 2 else None,
        somaxconn=next(iter(_numbers("net/core/somaxconn")), None),
        syn_backlog=next(iter(_numbers("net/ipv4/tcp_max_syn_backlog")), None),
    )


def _numbers(setting: str) -> list[int]:
    try:
        return [int(word) for word in Path("/proc/sys", setting).read_text().split()]
    except (OSError, ValueError):
        return []


def _files(port: int) -> Iterator[int]:
    sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
    holders: dict[int, Path] = {}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        # A server that listens began with that: a process may have tens of thousands of open files.
        with contextlib.suppress(OSError):  # gone, or not ours
            for file in sorted(map(int, os.listdir(process / "fd")))[:FIRST]:
                if os.readlink(f"{process}/fd/{file}") in sockets:
                    holders[int(process.name)] = process
    # A process whose children hold the socket too only watches over them.
    masters = {_parent(process) for process in holders.values()}
    for pid, process in holders.items():
        limit = None if pid in masters else _limit(process)
        if limit is not None:
            yield limit


def _listeners(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _limit(process: Path) -> int | None:
    try:
        lines = (process / "limits").read_text().splitlines()
        soft = next(line for line in lines if line.startswith("Max open files")).split()[3]
        return int(soft)
    except (OSError, ValueError, StopIteration):
        return None
