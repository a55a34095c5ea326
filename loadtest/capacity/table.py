"""The steps as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..measure.usage import READER, ByPart
from .measure import Step

PARTS = ("worker", "proxy", "Redis")
"""The processes of a deployment, in the order of the table; a run without a proxy lacks that."""


def present(steps: Sequence[Step]) -> list[str]:
    """The parts that were there."""
    return [part for part in PARTS if steps and part in steps[0].memory]


def total(figures: Mapping[str, float], *, kernel: bool) -> float:
    """Of all parts but the reader; the kernel's CPU is within the others', its memory is not."""
    return sum(figures.get(part, 0.0) for part in (*PARTS, *(["kernel"] if kernel else [])))


def tables(steps: Sequence[Step], without: ByPart, base: ByPart, proxy: str) -> str:
    """All of it for people."""
    parts = present(steps)
    heads = [proxy if part == "proxy" else part for part in parts]

    def block(title: str, what: str, scale: float, last: str = "all", *, kernel: bool) -> list[str]:
        rows = [["streams", *heads, "kernel", last, "(clients)"]]
        for step in steps:
            figures: ByPart = getattr(step, what)
            values = [figures[part] for part in (*parts, "kernel")]
            values += [total(figures, kernel=kernel), figures[READER]]
            rows.append([f"{step.streams:,}", *(number(value * scale) for value in values)])
        return [title, *aligned(rows), ""]

    files = [["streams", *heads, "(clients)"]]
    files += [
        [f"{step.streams:,}", *(number(step.files[part]) for part in (*parts, READER))] for step in steps
    ]
    delivery = [
        [
            "streams",
            "events",
            "due",
            "received",
            "lost",
            "repeated",
            "ended",
            "p50 ms",
            "p99 ms",
            "longest ms",
        ]
    ]
    delivery += [
        [
            f"{step.streams:,}",
            *(f"{count:,}" for count in (step.published, step.expected, step.received)),
            *(f"{count:,}" for count in (step.lost, step.repeated, step.ended)),
            *(number(wait * 1000) for wait in (step.p50, step.p99, step.longest)),
        ]
        for step in steps
    ]  # fmt: skip
    others = [["streams", "opened per second", "keep-alives per minute", "socket buffers, KiB"]]
    others += [
        [
            f"{step.streams:,}",
            number(step.connects_per_second),
            number(step.keep_alives),
            number(step.buffers / 1024),
        ]
        for step in steps
    ]
    inside = "CPU; the kernel's share is within the others"
    names = dict(zip(parts, heads, strict=True))
    empty = ", ".join(f"{name} {without[part] / 2**20:.0f} MiB" for part, name in names.items())
    waiting = ", ".join(f"{name} {base[part] * 60:.2f} s" for part, name in names.items())
    return "\n".join([
        *block("Memory per stream, KiB", "memory", 1 / 1024, kernel=True),
        "Descriptors per stream", *aligned(files), "",
        *block(f"To connect, µs per stream of {inside}", "connect", 1e6, kernel=False),
        *block(f"Idle, µs per stream and minute of {inside}", "idle", 1e6, kernel=False),
        *block(f"An event a second, µs per delivered event of {inside}", "events", 1e6, kernel=False),
        *block(f"An event for one stream, µs per event of {inside}", "personal", 1e6, kernel=False),
        "Delivery, from publishing to the client", *aligned(delivery), "",
        "Besides", *aligned(others), "",
        f"Without streams, all processes of each: {empty}; CPU per minute, not counted above: {waiting}",
    ])  # fmt: skip


def number(figure: float) -> str:
    """Three digits of it."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns that end where their heads do."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


def faults(steps: Sequence[Step]) -> list[str]:
    """What did not go as it should, in words."""
    return [
        f"{step.streams:,} streams: {step.received:,} of {step.expected:,} events, {step.lost:,} lost, "
        f"{step.repeated:,} repeated, {step.ended:,} streams ended"
        for step in steps
        if not step.whole
    ]


def doubts(steps: Sequence[Step]) -> list[str]:
    """Which figures other programs have disturbed, in words."""
    return [
        f"{step.streams:,} streams: the kernel's memory is not to be trusted, since other programs have "
        f"{'opened' if step.others > 0 else 'closed'} {abs(step.others):,} sockets meanwhile"
        for step in steps
        if not step.alone
    ]
