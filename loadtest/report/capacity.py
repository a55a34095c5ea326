"""What streams take of a machine, at each number of them: as tables, and as a picture."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..measure.process import CLIENTS
from .picture import PARTS, captioned, dress, fit, headed, picture
from .table import Rows, Summary, number, part_name

Step = Mapping[str, Any]
"""What ``scenarios.capacity`` found with so many streams."""

INSIDE = " of CPU; the kernel's share is within the others"


def present(steps: Sequence[Step]) -> list[str]:
    """The parts that were there; without a proxy there is none."""
    return [part for part in ("worker", "proxy", "Redis") if part in steps[0]["memory"]]


def tables(summary: Summary) -> dict[str, Rows]:
    """All of it, by what each table is about; nothing of another scenario."""
    steps: Sequence[Step] = summary.get("steps") or ()
    if not steps:
        return {}
    parts = present(steps)
    heads = [part_name(summary, part) for part in parts]

    def table(heads: list[str], each: Callable[[Step], list[float | None]]) -> Rows:
        return [["streams", *heads], *([f"{step['streams']:,}", *map(number, each(step))] for step in steps)]

    def by_part(what: str, unit: float) -> Rows:
        def figures(step: Step) -> list[float | None]:
            found = {part: figure / unit for part, figure in step[what].items()}
            # The kernel's CPU is within the others', its memory is not.
            whole = [*parts, "kernel"] if what == "memory" else parts
            each = [found[part] for part in (*parts, "kernel")]
            return [*each, sum(found[part] for part in whole), found[CLIENTS]]

        return table([*heads, "kernel", "all", "(clients)"], figures)

    def delivery(step: Step) -> list[float | None]:
        # A run that ended before its verdict has none of them; where nothing came, it took no time.
        times = [1000 * (step.get(name) or 0.0) for name in ("p50", "p99", "longest")]
        return [step["published"], step["expected"], step.get("received"), *times]

    without = summary["without_streams"]
    cpu = without["cpu_per_second"]
    return {
        "Memory per stream, KiB": by_part("memory", 1024),
        "Descriptors per stream": table(
            [*heads, "(clients)"], lambda step: [step["files"][part] for part in (*parts, CLIENTS)]
        ),
        f"To connect, µs per stream{INSIDE}": by_part("connect", 1e-6),
        f"Idle, µs per stream and minute{INSIDE}": by_part("idle", 1e-6),
        f"An event a second, µs per delivered event{INSIDE}": by_part("events", 1e-6),
        f"An event for one stream, µs per event{INSIDE}": by_part("personal", 1e-6),
        "Delivery, from publishing to the client": table(
            ["events", "due", "received", "p50 ms", "p99 ms", "longest ms"], delivery
        ),
        "Besides": table(
            ["opened per second", "keep-alives per minute", "socket buffers, KiB"],
            lambda step: [step["connects_per_second"], step.get("keep_alives"), step["buffers"] / 1024],
        ),
        "Without streams, all processes of each": [
            ["", *heads],
            ["MiB", *(f"{without['memory'][part] / 2**20:.0f}" for part in parts)],
            ["CPU s a minute, not counted above", *(f"{cpu[part] * 60:.2f}" for part in parts)],
        ],
    }


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG of memory, CPU and delay over the number of streams."""
    steps, setup, facts = summary["steps"], summary["setup"], summary["machine"]
    parts = present(steps)
    with picture(path, 14.2, 4.7) as figure:
        memory, cpu, wait = figure.subplots(1, 3)
        keys = _stack(memory, steps, "memory", [*parts, "kernel"], 1024)
        headed(memory, "memory per idle stream, KiB", "clients not counted")
        _stack(cpu, steps, "events", parts, 1e-6)
        every = "one event a second to every stream"
        headed(cpu, "CPU per delivered event, µs", f"{every}; system calls included")
        for what, label, style, beside in (
            ("p99", "99 %", "--s", (-10, 6)),
            ("p50", "half of all", "-o", (18, -5)),
        ):
            values = [1000 * (step.get(what) or 0.0) for step in steps]
            wait.plot(values, style, color=PARTS["worker"], ms=5, lw=1.8, label=label)
            for place in enumerate(values):
                wait.annotate(
                    number(place[1]), place, beside, textcoords="offset points", ha="center", size=9
                )
        wait.legend(loc="upper left", frameon=False)
        headed(wait, "from publishing to the client, ms", every)
        for axis in (memory, cpu, wait):
            axis.set_xlabel("open streams")
            axis.set_xticks(range(len(steps)), [f"{step['streams']:,}" for step in steps])
            axis.set_xlim(-0.6, len(steps) - 0.4)
            dress(axis)
            fit(axis)
        named = {part_name(summary, part): key for part, key in keys.items()}
        note = f"{setup['proxy']}{', TLS' if setup['tls'] else ''}; {facts['cpu']}, Linux {facts['kernel']}"
        captioned(figure, named, note)


def _stack(axis: Any, steps: Sequence[Step], what: str, parts: Sequence[str], unit: float) -> dict[str, Any]:
    """Bars with their figures; the bars of each part, for a key."""
    tops, drawn = [0.0] * len(steps), {}
    highest = max(sum(step[what][part] for part in parts) for step in steps) / unit
    for part in parts:
        # A part that shrank, by the kernel's noise, has no height.
        sizes = [max(0.0, step[what][part]) / unit for step in steps]
        drawn[part] = bars = axis.bar(range(len(steps)), sizes, 0.55, tops, color=PARTS[part])
        said = [number(size) if size > highest / 16 else "" for size in sizes]
        axis.bar_label(bars, said, label_type="center", color="white", size=9)
        tops = [top + size for top, size in zip(tops, sizes, strict=True)]
    axis.bar_label(bars, map(number, tops), padding=2, fontweight="bold", size=9)
    return drawn
