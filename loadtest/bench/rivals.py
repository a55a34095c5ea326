"""The edge beside other servers that deliver Server-Sent Events, as their own documentation sets them up.

    python -m loadtest.bench.rivals [--save]

Those that ``python -m loadtest.bench`` has, and with them Mercure, Centrifugo, Pushpin and
django-eventstream, as far as they are installed: of any other it says what is missing, and goes on without.
All have the same clients and the same events, and whoever keeps events keeps 100 of a channel; plain HTTP, no
proxy, one core for the server, keep-alives far apart where that can be set.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..measure import machine
from ..report.files import RESULTS
from ..report.progress import Progress
from ..run.options import count
from ..site import programs
from . import plot
from .contenders import absent, versions
from .groups import measure
from .run import Plan, Run, check
from .targets import TABLES, Samples, each, medians, series

BESIDE = ("single_cpu", "single_last", "burst_rate", "burst_cpu", "memory")  # what is divided by the edge's

TOGETHER = ("floor", "sse_edge", "nchan", "mercure", "centrifugo", "sse-starlette")
"""Who takes turns with all others."""

APART = ("pushpin", "django-eventstream")
"""Who takes turns with the edge alone, with a third of the streams at most.

Pushpin ended some while 15,000 were opened, 250 a second.  django-eventstream writes to each every 20
seconds, which cannot be set and which the others would pay for, and a burst takes it minutes.
"""


def beside(samples: Samples) -> Samples:
    """Everybody's figures divided by the edge's, round by round."""
    found: Samples = {}
    for what, name, size, rounds in each(samples):
        edge = series(samples, what, "sse_edge").get(size)
        if edge and name != "sse_edge":
            ratios = [one / other for one, other in zip(rounds, edge, strict=False) if other]
            found.setdefault(what, {}).setdefault(name, {})[size] = ratios
    return found


def report(run: Run) -> str:
    """The medians, how many times the edge's they are, and how large an event was."""
    figures = TABLES["Many streams, one channel"]
    ratios = medians(beside(run.samples), {name: figures[name]._replace(unit="") for name in BESIDE})
    sizes = ", ".join(f"{name} {size:.0f}" for name, size in run.wire_bytes.items())
    heading = "Divided by sse_edge's, round by round: medians"
    return f"{medians(run.samples, figures)}\n\n{heading}\n{ratios}\n\nbytes per event: {sizes}\n"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench.rivals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--streams", type=count, default=15_000, metavar="N", help="at most (default: 15000)")
    option("--rounds", type=count, default=3, metavar="N", help="of each measurement (default: 3)")
    others = [name for name in (*TOGETHER, *APART) if name not in ("floor", "sse_edge")]
    option("--without", action="append", default=[], choices=others, help="leave one out")
    option("--save", action="store_true", help="write comparison.json, .txt and .svg")
    return parser.parse_args(given)


def present(without: Sequence[str]) -> list[str]:
    """Who takes part; says of each that cannot what it lacks."""
    names = [name for name in (*TOGETHER, *APART) if name not in without]
    lacking = absent(names)
    for name, what in lacking.items():
        print(f"without {name}: it takes {what}", file=sys.stderr)
    return [name for name in names if name not in lacking]


def bouts(plan: Plan, names: Sequence[str], progress: Progress) -> Iterator[Run]:
    """All together, then each of the others with the edge, and at last most streams, one event at a time."""
    together = [name for name in names if name in TOGETHER]
    fewer, most = replace(plan, sizes=plan.sizes[:2]), replace(plan, sizes=plan.sizes[2:])
    whole = {"memory", "single", "burst"}
    apart = [(fewer, ["sse_edge", name], whole) for name in names if name in APART]
    for numbers, contenders, parts in ((fewer, together, whole), *apart, (most, together, {"single"})):
        run = Run(numbers, contenders, parts, progress)
        measure(run)
        yield run


def save(found: Sequence[Run], text: str, facts: dict[str, str], command: str) -> None:
    """Write what there is so far."""
    whole = {"command": command, "machine": facts, "runs": [run.samples for run in found]}
    (RESULTS / "comparison.txt").write_text(text + "\n")
    (RESULTS / "comparison.json").write_text(json.dumps(whole, indent=1) + "\n")
    drawn: Samples = {}
    for run in reversed(found):  # what all were measured in together counts
        for what, name, size, rounds in each(run.samples):
            drawn.setdefault(what, {}).setdefault(name, {})[size] = rounds
    plot.draw(drawn, RESULTS / "comparison.svg", facts)


def main() -> int:
    """Run it; 2 when it cannot begin or go on."""
    given = arguments()
    names = present(given.without)
    try:
        check(given.streams, [name for name in names if name in TOGETHER], plot=given.save)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    plan = replace(Plan.of(given.streams, quick=False), rounds=given.rounds, few_rounds=1)
    facts = machine.facts() | {name: version for name, version in versions().items() if name in names}
    command = shlex.join(["python", "-m", "loadtest.bench.rivals", *sys.argv[1:]])
    progress, found = Progress(), list[Run]()
    try:
        for run in bouts(plan, names, progress):
            found.append(run)
    except (RuntimeError, OSError) as error:
        print(f"the comparison could not be finished: {progress.last}: {error!r}", file=sys.stderr)
        return 2
    finally:
        progress.clear()
        said = "\n".join(f"{what}: {value}" for what, value in (facts | {"command": command}).items())
        text = "\n".join([*map(report, found), said])
        print(text)
        if given.save and found:
            save(found, text, facts, command)
    return 0


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
