"""Whether a machine has room for so many streams."""

from __future__ import annotations

from collections.abc import Sequence

from ..finding import Finding, found, ok, unknown
from ..machine import Machine

PORTS = 28_000
BACKLOG = 4096


def room(seen: Machine, streams: int) -> list[Finding]:
    """Whether this machine has room for ``streams`` streams through the proxy."""
    findings = []
    if not seen.files:
        findings.append(unknown("open files", "the process that listens cannot be seen; try as root"))
    elif sum(seen.files) < 2 * streams:
        text = f"{sum(seen.files):,} in {_processes(seen.files)}; {streams:,} streams need {2 * streams:,}"
        findings.append(found("open files", "few-files", text))
    else:
        findings.append(ok("open files", f"{sum(seen.files):,} in {_processes(seen.files)}"))
    if seen.ports is not None:
        few = found("ports", "few-ports", f"{seen.ports:,} for outgoing connections")
        findings.append(
            few if seen.ports < PORTS else ok("ports", f"{seen.ports:,} to each address of the app")
        )
    short = [
        f"{name} {value}"
        for name, value in (("somaxconn", seen.somaxconn), ("tcp_max_syn_backlog", seen.syn_backlog))
        if value is not None and value < (BACKLOG if name == "somaxconn" else BACKLOG // 8)
    ]
    if short:
        findings.append(found("backlog", "short-backlog", ", ".join(short)))
    elif seen.somaxconn is not None:
        findings.append(ok("backlog", f"somaxconn {seen.somaxconn}"))
    return findings


def _processes(files: Sequence[int]) -> str:
    return f"{len(files)} process{'es' if len(files) > 1 else ''}"
