"""A run as text: for a terminal, to keep, and on the page."""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sse_edge.counted import counted

from . import capacity
from .table import Rows, Summary, aligned, number, part_name

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

SHOWN = 5  # findings in a terminal; the page has all
WIDTH = 110
MS, KIB, MIB = 1e-3, 2**10, 2**20


def text(summary: Summary, findings: int = SHOWN) -> str:
    """All of it, with so many of the findings."""
    began = datetime.fromisoformat(summary["began"]).astimezone(UTC)
    machine = [f"{name} {fact}" for name, fact in summary["machine"].items()]
    blocks = [
        [
            f"{title(summary)} {_setup(summary['setup'])}",
            summary["what"],
            f"began {began:%Y-%m-%d %H:%M:%S} UTC, took {lasting(summary['took'])}",
        ],
        [sentence for _, sentence in judged(summary)],
        _table("Thresholds", _thresholds(summary)),
        _verdict(summary["verdict"], findings) if summary["verdict"] else [],
        _table("Delivery by phase", _phases(summary)),
        _table("Times, ms", _times(summary)),
        _counts(summary),
        _table("Memory and CPU", _usage(summary)),
        *(_table(about, rows) for about, rows in capacity.tables(summary).items()),
        list(summary["remarks"]),
        [*_wrapped("machine: ", machine), f"command: {summary['command']}"],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def judged(summary: Summary) -> list[tuple[str, str]]:
    """How it went, in a sentence or two: each with whether that is good, doubtful or bad."""
    found = []
    missed = [
        f"{each['what']}: {_value(each['value'])} instead of {each['limit']}"
        for each in summary["thresholds"]
        if not each["met"]
    ]
    if summary["failure"]:
        found.append(("bad", f"The run failed: {summary['failure']}"))
    if missed:
        found.append(("bad", f"Missed: {'; '.join(missed)}"))
    if summary["interrupted"]:
        found.append(("doubtful", "The run was interrupted: figures are of what had happened until then"))
    if not summary["thresholds"]:
        return found or [("doubtful", "No threshold was checked")]
    return found or [("good", "All thresholds met")]


def title(summary: Summary) -> str:
    """Which scenario, and how large."""
    return f"{summary['scenario']}: {counted(summary['setup']['streams'], 'stream')}"


def lasting(seconds: float) -> str:
    """A length of time, as one says it."""
    if seconds < 600:
        return f"{number(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _setup(given: Mapping[str, Any]) -> str:
    """How the streams went, and whose they were."""
    if given["proxy"] == "target":
        said = f"to {given['target']}"
    else:
        said = "without a proxy" if given["proxy"] == "none" else f"through {given['proxy']}"
        said += f", {'TLS' if given['tls'] else 'no TLS'}, {counted(given['workers'], 'worker')}"
    users, processes = counted(given["users"], "user"), given["processes"]
    return f"{said}; {users} in {processes:,} process{'es' * (processes != 1)} of Locust"


# Tables


def _thresholds(summary: Summary) -> Rows:
    rows = [
        [each["what"], _value(each["value"]), each["limit"], "met" if each["met"] else "MISSED"]
        for each in summary["thresholds"]
    ]
    return [["", "found", "limit", ""], *rows]


def _phases(summary: Summary) -> Rows:
    rows = [["", "seconds", "events", "p50 ms", "p99 ms", "longest ms"]]
    for each in summary["phases"]:
        times = [number(each[name], MS) for name in ("p50", "p99", "longest")]
        rows.append([each["name"], number(each["to"] - each["from"]), number(each["events"]), *times])
    return rows


def _times(summary: Summary) -> Rows:
    rows = [["", "count", "p50", "p95", "p99", "longest"]]
    for name, label in TIMES.items():
        if found := summary[name]:
            times = [number(found[part], MS) for part in ("p50", "p95", "p99", "longest")]
            rows.append([label, number(found["count"]), *times])
    return rows


def _usage(summary: Summary) -> Rows:
    """What each part held and used."""
    memory, cpu = summary["memory"], summary["cpu"]
    rows = [["", "empty MiB", "full MiB", "KiB per stream", "CPU s", "cores on average"]]
    for part in dict.fromkeys([*memory, *cpu]):
        held, used = memory.get(part, {}), cpu.get(part)
        sizes = [number(held.get("empty"), MIB), number(held.get("full"), MIB)]
        sizes.append(number(held.get("per_stream"), KIB))
        rows.append([part_name(summary, part), *sizes, number(used), number(used, summary["took"] or 1)])
    return rows


def _table(title: str, rows: Rows) -> list[str]:
    """Names to the left, and figures to the right of them under their heads; no column without any."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return [title, *aligned(list(zip(*columns, strict=True)), 0)] if columns else []


# Lines


def _verdict(found: Mapping[str, Any], most: int) -> list[str]:
    """What clients got, held against what was published."""
    facts = [f"{label} {number(found[name])}" for name, label in VERDICT.items() if name in found]
    facts += [f"reset: {each}" for each in _counted(found["resets"])]
    findings = found["findings"]
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return ["Verdict", *_wrapped("", facts), *(f"  {each}" for each in [*findings[:most], *more])]


def _counts(summary: Summary) -> list[str]:
    """Endings, refusals and errors, and how fast all came back."""
    lines = []
    for what in ("endings", "refusals", "errors"):
        lines += _wrapped(f"{what}: ", _counted(summary[what]))
    if found := summary["reconnects"]:
        lines.append(
            f"reconnects: {found['count']:,} within {lasting(found['seconds'])}: "
            f"{number(found['mean'])} per second, {number(found['peak'])} in the busiest"
        )
    return lines


def _counted(found: Mapping[str, int]) -> list[str]:
    """Each with its number, most of them first."""
    return [
        f"{code} {count:,}" for code, count in sorted(found.items(), key=lambda each: (-each[1], each[0]))
    ]


def _wrapped(label: str, facts: Sequence[str]) -> list[str]:
    """The facts one after another, in lines that fit a terminal; none is torn apart."""
    whole = label + ", ".join(fact.replace(" ", "\xa0") for fact in facts)
    lines = textwrap.wrap(
        whole, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\xa0", " ") for line in lines] if facts else []


def _value(found: float | str) -> str:
    return found if isinstance(found, str) else number(found)
