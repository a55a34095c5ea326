"""A run as text: for a terminal, to keep, and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from . import capacity
from .table import Rows, aligned, number

Summary = Mapping[str, Any]
State = Literal["good", "doubtful", "bad"]

VERDICT = {
    "clients": "clients",
    "published": "events published",
    "received": "events received",
    "lost": "lost",
    "repeated": "repeated",
    "disordered": "out of order",
    "stranded": "clients stranded",
    "away": "clients not open at the end",
}

TIMES = {
    "latency": "from publishing to the client",
    "connect": "until connected",
    "first_byte": "until the response begins",
    "away": "from an ending until live again",
}

SHOWN = 5
"""Findings that a terminal is shown; the page has all."""

WIDTH = 110


def text(summary: Summary, findings: int = SHOWN) -> str:
    """All of it, with so many of the findings."""
    blocks = [
        [f"{title(summary)} {setup(summary)}", summary["what"], when(summary)],
        [sentence for _, sentence in judged(summary)],
        _table("Thresholds", thresholds(summary)),
        _verdict(summary["verdict"], findings) if summary["verdict"] else [],
        _table("Delivery by phase", phases(summary)),
        _table("Times, ms", times(summary)),
        _counts(summary),
        _table("Memory and CPU", usage(summary)),
        *(_table(about, rows) for about, rows in capacity.tables(summary).items()),
        list(summary["remarks"]),
        [
            *_wrapped("machine: ", [f"{name} {fact}" for name, fact in summary["machine"].items()]),
            f"command: {summary['command']}",
        ],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def judged(summary: Summary) -> list[tuple[State, str]]:
    """How it went, in a sentence or two."""
    found: list[tuple[State, str]] = []
    missed = [
        f"{each['what']}: {value(each['value'])} instead of {each['limit']}"
        for each in summary["thresholds"]
        if not each["met"]
    ]
    if summary["failure"]:
        found.append(("bad", f"The run failed: {summary['failure']}"))
    if missed:
        found.append(("bad", f"Missed: {'; '.join(missed)}"))
    if summary["interrupted"]:
        found.append(("doubtful", "The run was interrupted: figures are of what had happened until then"))
    if found:
        return found
    met = bool(summary["thresholds"])
    return [("good", "All thresholds met") if met else ("doubtful", "No threshold was checked")]


def title(summary: Summary) -> str:
    """Which scenario, and how large."""
    return f"{summary['scenario']}: {_some(summary['setup']['streams'], 'stream')}"


def setup(summary: Summary) -> str:
    """How the streams went, and whose they were."""
    given = summary["setup"]
    if given["proxy"] == "target":
        said = f"to {given['target']}"
    else:
        said = "without a proxy" if given["proxy"] == "none" else f"through {given['proxy']}"
        said += f", {'TLS' if given['tls'] else 'no TLS'}, {_some(given['workers'], 'worker')}"
    users, processes = _some(given["users"], "user"), _some(given["processes"], "process", "processes")
    return f"{said}; {users} in {processes} of Locust"


def when(summary: Summary) -> str:
    """When it began, and how long it took."""
    began = datetime.fromisoformat(summary["began"]).astimezone(UTC)
    return f"began {began:%Y-%m-%d %H:%M:%S} UTC, took {lasting(summary['took'])}"


def lasting(seconds: float) -> str:
    """A length of time, as one says it."""
    if seconds < 600:
        return f"{number(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def value(found: float | str) -> str:
    """What was found, as it is shown."""
    if isinstance(found, str):
        return found
    return f"{found:,}" if isinstance(found, int) else number(found)


def thresholds(summary: Summary) -> Rows:
    """What had to hold, and whether it did."""
    rows = [
        [each["what"], value(each["value"]), each["limit"], "met" if each["met"] else "MISSED"]
        for each in summary["thresholds"]
    ]
    return [["", "found", "limit", ""], *rows]


def phases(summary: Summary) -> Rows:
    """What was delivered in each part of the run, and how soon."""
    rows = [
        [
            each["name"],
            number(each["to"] - each["from"]),
            f"{each['events']:,}",
            *(_figure(each[name], 1e-3) for name in ("p50", "p99", "longest")),
        ]
        for each in summary["phases"]
    ]
    return [["", "seconds", "events", "p50 ms", "p99 ms", "longest ms"], *rows]


def times(summary: Summary) -> Rows:
    """How long things took in the whole run, in milliseconds."""
    rows = [
        [
            label,
            f"{found['count']:,}",
            *(_figure(found[part], 1e-3) for part in ("p50", "p95", "p99", "longest")),
        ]
        for name, label in TIMES.items()
        if (found := summary[name]) is not None
    ]
    return [["", "count", "p50", "p95", "p99", "longest"], *rows]


def usage(summary: Summary) -> Rows:
    """What each part held and used."""
    memory, cpu = summary["memory"], summary["cpu"]
    rows = []
    for part in dict.fromkeys([*memory, *cpu]):
        held, used = memory.get(part, {}), cpu.get(part)
        kept = (("empty", 2**20), ("full", 2**20), ("per_stream", 2**10))
        sizes = [_figure(held.get(name), unit) for name, unit in kept]
        rows.append([part_name(summary, part), *sizes, _figure(used, 1), _figure(used, summary["took"] or 1)])
    return [["", "empty MiB", "full MiB", "KiB per stream", "CPU s", "cores on average"], *rows]


def part_name(summary: Summary, part: str) -> str:
    """The proxy by its own name, where that is known."""
    proxy = summary["setup"]["proxy"]
    return proxy if part == "proxy" and proxy in {"nginx", "caddy"} else part


def _table(title: str, rows: Rows) -> list[str]:
    """Names to the left, and figures to the right of them under their heads; no column without any."""
    if len(rows) < 2:
        return []
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    columns[0] = tuple(name.ljust(max(map(len, columns[0]))) for name in columns[0])
    return [title, *(line.rstrip() for line in aligned(list(zip(*columns, strict=True))))]


def _verdict(found: Mapping[str, Any], most: int) -> list[str]:
    """What clients got, held against what was published."""
    facts = [f"{label} {value(found[name])}" for name, label in VERDICT.items() if name in found]
    facts += [f"reset: {reason} {count:,}" for reason, count in _most(found["resets"])]
    findings = found["findings"]
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return ["Verdict", *_wrapped("", facts), *(f"  {each}" for each in [*findings[:most], *more])]


def _counts(summary: Summary) -> list[str]:
    """Endings, refusals and errors, most of them first, and how fast all came back."""
    lines = []
    for what in ("endings", "refusals", "errors"):
        lines += _wrapped(f"{what}: ", [f"{code} {count:,}" for code, count in _most(summary[what])])
    if found := summary["reconnects"]:
        lines.append(
            f"reconnects: {found['count']:,} within {lasting(found['seconds'])}: "
            f"{number(found['mean'])} per second, {number(found['peak'])} in the busiest"
        )
    return lines


def _wrapped(label: str, facts: Sequence[str]) -> list[str]:
    """The facts one after another, in lines that fit a terminal; none is torn apart."""
    lines: list[str] = []
    for fact in facts:
        if lines and len(lines[-1]) + len(fact) + 3 <= WIDTH:
            lines[-1] += f", {fact}"
        else:
            lines = [*lines[:-1], f"{lines[-1]},", f"  {fact}"] if lines else [label + fact]
    return lines


def _most(found: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))


def _figure(found: float | None, unit: float) -> str:
    return "" if found is None else number(found / unit)


def _some(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
