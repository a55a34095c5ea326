"""What it costs to deliver events to many streams, as ratios in one run.

    python -m loadtest.bench [--only ROWS] [--save]

Compares the edge under plain uvicorn, on each of its sinks, with a bare loop of ``socket.send()`` (the
floor), with sse-starlette and its usual Redis fan-out, and with nginx and nchan.  Starts everything
itself: each server on one core, and its clients, the publisher and Redis on another.  CPU is each
process's own, by the kernel's account.  Exits with 1 when a target is missed.
"""

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..measure import machine
from ..report.files import RESULTS
from ..report.progress import Progress
from ..run.options import count
from ..site import programs
from . import plot
from .contenders import CONTENDERS, OPTIONAL
from .groups import BY_DEFAULT, PARTS, measure
from .run import Plan, Run, check
from .targets import COUNTED, TABLES, TARGETS, medians, verdicts


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a message when it makes no sense."""
    asked = "; only if it is asked for"
    rows = [f"  {name:12}{what}{'' if name in BY_DEFAULT else asked}" for name, (_, what) in PARTS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description=__doc__,
        epilog="\n".join(["ROWS:", *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    saved = f"write {RESULTS.name}/NAME.json, .txt and .svg (default: bench, or the ROWS)"
    option = parser.add_argument
    option("--streams", type=count, metavar="N", help="at most (default: 15000, quick: 3000)")
    option("--only", type=_parts, metavar="ROWS", help="some of those below, with commas between them")
    option("--without", action="append", default=[], choices=OPTIONAL, help="leave a contender out")
    option("--quick", action="store_true", help="fewer streams, sizes and rounds: a first impression")
    option("--no-plot", action="store_true", help="with --save: no picture")
    option("--save", nargs="?", const="", metavar="NAME", help=saved)
    found = parser.parse_args(given)
    found.streams = found.streams or (3000 if found.quick else 15_000)
    found.save = found.save if found.save != "" else "-".join(found.only or ["bench"])
    found.only = found.only or list(BY_DEFAULT)
    # What is measured only if it is asked for is measured of the edge alone.
    names = CONTENDERS if set(BY_DEFAULT) & set(found.only) else ("sse_edge",)
    found.names = [name for name in names if name not in found.without]
    found.drawn = found.save is not None and not found.no_plot and bool(plot.PANELS.keys() & set(found.only))
    return found


def _parts(value: str) -> list[str]:
    for part in value.split(","):
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(PARTS)}")
    return value.split(",")


def report(run: Run, facts: dict[str, str], command: str) -> tuple[str, dict[str, Any]]:
    """The results for people and for programs."""
    rows = [target.judge(run.samples) for target in TARGETS if target.part in run.parts]
    wire = ", ".join(f"{name} {size:.0f}" for name, size in run.wire_bytes.items())
    said = {"bytes per event on the wire": wire} if wire else {}
    said |= run.notes | facts | {"command": command}
    sections = [verdicts(rows), "Medians"] if rows else ["Medians"]
    for title, figures in TABLES.items():
        if figures.keys() & run.samples.keys():
            sections.append(f"{title}\n{medians(run.samples, figures, COUNTED.get(title, 'streams'))}")
    sections.append("\n".join(f"{what}: {found}" for what, found in said.items()))
    whole: dict[str, Any] = {"command": command, "machine": facts, "plan": dataclasses.asdict(run.plan)}
    whole |= {"wire_bytes": run.wire_bytes, "notes": run.notes, "rows": rows, "samples": run.samples}
    return "\n\n".join(sections), whole


def main() -> int:
    """Run it; 1 when a target is missed, 2 when it cannot begin or go on."""
    given = arguments()
    try:
        check(given.streams, given.names, plot=given.drawn)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    facts, progress, began, failure = machine.facts(), Progress(), time.monotonic(), None
    run = Run(Plan.of(given.streams, quick=given.quick), given.names, set(given.only), progress)
    try:
        measure(run)
    except (RuntimeError, OSError) as error:
        failure = f"{progress.last}: {error!r}"
    finally:
        progress.clear()
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    text, whole = report(run, facts, shlex.join(["python", "-m", "loadtest.bench", *sys.argv[1:]]))
    print(text)
    if failure is not None:
        print(f"the benchmark could not be finished: {failure}", file=sys.stderr)
        return 2
    if given.save is not None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{given.save}.txt").write_text(text + "\n")
        (RESULTS / f"{given.save}.json").write_text(json.dumps(whole, indent=1) + "\n")
        if given.drawn:
            plot.draw(run.samples, RESULTS / f"{given.save}.svg", facts)
    return int(any(row["verdict"] == "MISSED" for row in whole["rows"]))


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
