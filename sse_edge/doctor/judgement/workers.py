"""What the workers of an application say of themselves: see ``report``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any
from urllib.parse import unquote

from ...counted import counted
from ..finding import Finding, found, ok

CHECK = "workers"

Report = Mapping[str, Any]
Reports = Sequence[Report]

ALIKE = ("drain_window", "keep_alive", "max_duration", "limits", "trusted_proxies")
"""Settings that all workers of one application should share; of others that differ another fault tells."""

HISTORY = ("history", "history_ttl")

COMPOSED = 1.0
"""Seconds that a report may take from its composing to Redis."""


def all_of(reports: Reports, silent: int) -> list[Finding]:
    """Everything of the workers that report to one Redis, under one prefix; ``silent`` is how many do so in
    no way that is known here."""
    if not reports and not silent:
        return [found(CHECK, "no-worker", "none reports")]
    there = _there(reports, silent)
    return [there, *_states(reports), *_together(reports), *_servers(reports)] if reports else [there]


def _there(reports: Reports, silent: int) -> Finding:
    """How many there are, and of which versions."""
    if silent:
        seen = f"{silent} of {silent + len(reports)} workers say nothing that can be read here"
        return found(CHECK, "versions-differ", seen)
    versions = _by(reports, lambda report: report["worker"].get("version", "?"))
    if len(versions) > 1:
        return found(CHECK, "versions-differ", _each(versions))
    names = {report["worker"].get("host", "?") for report in reports}
    streams = sum(report["figures"].get("streams", 0) for report in reports)
    return ok(
        CHECK,
        f"{_count(reports)} on {', '.join(sorted(names))} with {counted(streams, 'stream')}",
    )


def _states(reports: Reports) -> list[Finding]:
    """Whether each takes streams, and hears events."""
    idle = [report for report in reports if not report["figures"].get("ready", 1)]
    alone = [(report, degraded) for report in reports if (degraded := _degraded(report))]
    findings = []
    if idle:
        away = [report for report in idle if not report["figures"].get("connected", 1)]
        why = "hears no events" if away else "is about to stop"
        findings.append(found(CHECK, "worker-not-ready", f"{name((away or idle)[0])} {why}{_more(idle)}"))
    else:
        findings.append(ok("readiness", f"{_count(reports)} ready"))
    if alone:
        first, degraded = alone[0]
        seen = f"{name(first)}: {', '.join(degraded)}{_more([each for each, _ in alone])}"
        findings.append(found("readiness", "worker-degraded", seen))
    return findings


def _together(reports: Reports) -> list[Finding]:
    """Whether they belong together."""
    apps = _by(reports, lambda report: report["settings"].get("app", ""))
    if len(apps) > 1:
        kinds = [f"{name(group[0])} at {group[0]['worker'].get('path', '?')}" for group in apps.values()]
        return [found("settings", "two-apps", f"{len(apps)} applications: {', '.join(kinds)}")]
    findings = []
    histories = _by(reports, lambda report: _shown(report, HISTORY))
    if len(histories) > 1:
        findings.append(found("settings", "history-differs", _each(histories)))
    apart = [one for one in ALIKE if len(_by(reports, lambda report, one=one: _shown(report, [one]))) > 1]
    if apart:
        groups = _by(reports, lambda report: _shown(report, apart))
        findings.append(found("settings", "settings-differ", _each(groups)))
    return findings or [ok("settings", "alike")]


def _servers(reports: Reports) -> list[Finding]:
    """How the servers around them end streams."""
    findings = []
    short = [
        report for report in reports if _number(report, "grace", inf) < _number(report, "drain_window", 0.0)
    ]
    if short:
        waits, window = (_number(short[0], setting, 0.0) for setting in ("grace", "drain_window"))
        seen = f"{name(short[0])} waits {waits:g} s, and drain_window is {window:g} s"
        findings.append(found("server", "short-grace", seen + _more(short)))
    findings += [found("server", "server-warns", said) for said in _by(reports, _warnings) if said]
    servers = sorted({str(report["worker"].get("server") or "an unknown server") for report in reports})
    return findings or [ok("server", ", ".join(servers))]


def _warnings(report: Report) -> str:
    said = report["settings"].get("warnings")
    return "; ".join(unquote(str(one)) for one in said) if isinstance(said, list) else ""


def _number(report: Report, setting: str, otherwise: float) -> float:
    value = report["settings"].get(setting)
    return value if isinstance(value, int | float) else otherwise


def _by(reports: Reports, key: Any) -> dict[str, list[Report]]:
    groups: defaultdict[str, list[Report]] = defaultdict(list)
    for report in reports:
        groups[str(key(report))].append(report)
    return groups


def _shown(report: Report, names: Sequence[str]) -> str:
    settings = report["settings"]
    return ", ".join(f"{one} {json.dumps(settings.get(one))}" for one in names)


def _each(groups: Mapping[str, Reports]) -> str:
    """Which group has how many, and one of each by name."""
    return "; ".join(
        f"{said} in {_count(group)}, such as {name(group[0])}" for said, group in sorted(groups.items())
    )


def _degraded(report: Report) -> list[str]:
    told = report["figures"].get("degraded", {})
    return [limit for limit, alone in told.items() if alone] if isinstance(told, Mapping) else list(told)


def name(report: Report) -> str:
    """A worker as its operator knows it."""
    worker = report["worker"]
    return f"{worker.get('host', '?')} process {worker.get('pid', '?')}"


def _count(reports: Reports) -> str:
    return counted(len(reports), "worker")


def _more(reports: Reports) -> str:
    return f", and {len(reports) - 1} more" if len(reports) > 1 else ""
