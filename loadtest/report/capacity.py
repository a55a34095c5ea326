"""What streams take of a machine, at each number of them: as tables, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .picture import PARTS, captioned, dress, fit, headed, picture
from .table import Rows, number

Step = Mapping[str, Any]
"""What ``scenarios.capacity`` found with so many streams."""

CLIENTS = "reader"

KINDS = {
    "connect": "To connect, µs per stream",
    "idle": "Idle, µs per stream and minute",
    "events": "An event a second, µs per delivered event",
    "personal": "An event for one stream, µs per event",
}

INSIDE = " of CPU; the kernel's share is within the others"


def present(steps: Sequence[Step]) -> list[str]:
    """The parts that were there; without a proxy there is none."""
    return [part for part in ("worker", "proxy", "Redis") if part in steps[0]["memory"]]


def tables(summary: Mapping[str, Any]) -> dict[str, Rows]:
    """All of it, by what each table is about; nothing of another scenario."""
    steps: Sequence[Step] = summary.get("steps") or ()
    if not steps:
        return {}
    parts, proxy = present(steps), summary["setup"]["proxy"]
    heads = [proxy if part == "proxy" else part for part in parts]

    def rows(heads: list[str], each: Any) -> Rows:
        return [["streams", *heads], *([f"{step['streams']:,}", *each(step)] for step in steps)]

    def by_part(what: str, scale: float, *, kernel: bool) -> Rows:
        def figures(step: Step) -> list[str]:
            found = step[what]
            # The kernel's CPU is within the others', its memory is not.
            whole = sum(found[part] for part in (*parts, *(["kernel"] if kernel else [])))
            return [
                number(figure * scale)
                for figure in (*(found[part] for part in (*parts, "kernel")), whole, found[CLIENTS])
            ]

        return rows([*heads, "kernel", "all", "(clients)"], figures)

    without = summary["without_streams"]
    return {
        "Memory per stream, KiB": by_part("memory", 1 / 1024, kernel=True),
        "Descriptors per stream": rows(
            [*heads, "(clients)"], lambda step: [number(step["files"][part]) for part in (*parts, CLIENTS)]
        ),
        **{title + INSIDE: by_part(what, 1e6, kernel=False) for what, title in KINDS.items()},
        "Delivery, from publishing to the client": rows(
            ["events", "due", "received", "p50 ms", "p99 ms", "longest ms"],
            lambda step: [
                *(f"{step[name]:,}" for name in ("published", "expected", "received")),
                *(number((step[name] or 0.0) * 1000) for name in ("p50", "p99", "longest")),
            ],
        ),
        "Besides": rows(
            ["opened per second", "keep-alives per minute", "socket buffers, KiB"],
            lambda step: [
                number(step["connects_per_second"]),
                number(step["keep_alives"]),
                number(step["buffers"] / 1024),
            ],
        ),
        "Without streams, all processes of each": [
            ["", *heads],
            ["MiB", *(f"{without['memory'][part] / 2**20:.0f}" for part in parts)],
            [
                "CPU s a minute, not counted above",
                *(f"{without['cpu_per_second'][part] * 60:.2f}" for part in parts),
            ],
        ],
    }


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Write an SVG of memory, CPU and delay over the number of streams."""
    steps, setup, facts = summary["steps"], summary["setup"], summary["machine"]
    parts = present(steps)
    with picture(path, 14.2, 4.7) as figure:
        memory, cpu, wait = figure.subplots(1, 3)
        _stack(memory, steps, "memory", [*parts, "kernel"], 1 / 1024)
        headed(memory, "memory per idle stream, KiB", "clients not counted")
        _stack(cpu, steps, "events", parts, 1e6)
        headed(
            cpu, "CPU per delivered event, µs", "one event a second to every stream; system calls included"
        )
        _lines(wait, steps)
        headed(wait, "from publishing to the client, ms", "one event a second to every stream")
        for axis in (memory, cpu, wait):
            axis.set_xlabel("open streams")
            axis.set_xticks(range(len(steps)), [f"{step['streams']:,}" for step in steps])
            axis.set_xlim(-0.6, len(steps) - 0.4)
            dress(axis)
            fit(axis)
        handles, labels = memory.get_legend_handles_labels()
        names = (setup["proxy"] if label == "proxy" else label for label in labels)
        note = f"{setup['proxy']}{', TLS' if setup['tls'] else ''}; {facts['cpu']}, Linux {facts['kernel']}"
        captioned(figure, dict(zip(names, handles, strict=True)), note)


def _stack(axis: Any, steps: Sequence[Step], what: str, parts: Sequence[str], scale: float) -> None:
    bottoms = [0.0] * len(steps)
    # A part that shrank, by the kernel's noise, has no height.
    heights = {part: [max(0.0, step[what][part]) * scale for step in steps] for part in parts}
    highest = max(map(sum, zip(*heights.values(), strict=True)))
    for part, sizes in heights.items():
        axis.bar(range(len(steps)), sizes, 0.55, bottoms, color=PARTS[part], label=part)
        for place, (size, bottom) in enumerate(zip(sizes, bottoms, strict=True)):
            if size > highest / 16:
                said = {"ha": "center", "va": "center", "color": "white", "size": 9}
                axis.text(place, bottom + size / 2, number(size), **said)
        bottoms = [bottom + size for bottom, size in zip(bottoms, sizes, strict=True)]
    for place, top in enumerate(bottoms):
        axis.text(place, top + highest / 60, number(top), ha="center", va="bottom", fontweight="bold", size=9)


def _lines(axis: Any, steps: Sequence[Step]) -> None:
    for what, label, style, beside in (
        ("p99", "99 %", "--s", (-10, 6)),
        ("p50", "half of all", "-o", (18, -5)),
    ):
        values = [(step[what] or 0.0) * 1000 for step in steps]
        axis.plot(range(len(steps)), values, style, color=PARTS["worker"], ms=5, lw=1.8, label=label)
        for place in enumerate(values):
            axis.annotate(number(place[1]), place, beside, textcoords="offset points", ha="center", size=9)
    axis.legend(loc="upper left", frameon=False)
