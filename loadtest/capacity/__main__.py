"""How much a stream takes of a machine, in the app, the proxy, Redis and the kernel.

    python -m loadtest.capacity --streams 10000 [--proxy nginx|caddy|none] [--save]

Starts Redis, workers and a proxy with the shipped files, as `sse-edge tune` writes them, opens streams
through the proxy step by step, and measures at each step: memory and descriptors per stream; CPU to connect,
to wait, and to deliver events to everybody and to each alone; when they arrive, and whether all do.  Exits
with 1 when an event was lost or repeated, or a stream ended.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sse_edge.errors import ConfigError

from ..report.progress import Progress
from ..site import programs
from ..site.deployment import facts as facts_of
from ..site.deployment import missing, running
from ..site.layout import PROXIES, Host, Layout, arrange, remarks
from . import plot, table
from .measure import Capacity
from .reader import reading

RESULTS = Path(__file__).parents[1] / "results"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=_count, metavar="N", help="in the last step (default: 10000)")
    parser.add_argument(
        "--steps", type=_steps, metavar="N,N,…", help="numbers of streams (default: a tenth, a third, all)"
    )
    parser.add_argument("--proxy", choices=PROXIES, default="nginx", help="(default: nginx)")
    parser.add_argument("--workers", type=_count, metavar="N", default=2, help="app processes (default: 2)")
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="between clients and proxy (default: yes, without a proxy no)",
    )
    parser.add_argument(
        "--idle", type=_seconds, metavar="SECONDS", default=60.0,
        help="to wait at each step; keep-alives come every 15 s (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--events", type=_count, metavar="N", default=20, help="one a second at each step (default: 20)"
    )
    parser.add_argument("--no-plot", action="store_true", help="with --save: no picture")
    parser.add_argument(
        "--save", action="store_true", help=f"write {RESULTS.name}/capacity-PROXY.json, .txt and .svg"
    )
    found = parser.parse_args(given)
    if found.proxy == "none" and found.tls:
        parser.error("--tls is between clients and proxy, and --proxy is none")
    found.tls = found.proxy != "none" if found.tls is None else found.tls
    if found.steps and found.streams and max(found.steps) > found.streams:
        parser.error(f"--steps has {max(found.steps)}, more than --streams {found.streams}")
    found.streams = found.streams or max(found.steps or [10_000])
    found.steps = sorted({*(found.steps or thirds(found.streams)), found.streams})
    return found


def thirds(streams: int) -> list[int]:
    """A tenth, three tenths, and all."""
    return [max(1, streams // 10), max(1, 3 * streams // 10), streams]


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number: {value!r}")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be seconds, more than 0 and up to 3600: {value!r}")
    return seconds


def _steps(value: str) -> list[int]:
    return [_count(step) for step in value.split(",")]


def prepare(given: argparse.Namespace) -> Layout:
    """The processes that it takes.  RuntimeError when the run could not be finished on this machine."""
    lacks = missing(given.proxy, plot=given.save and not given.no_plot)
    if lacks:
        raise RuntimeError("missing: " + "; ".join(lacks))
    try:
        return arrange(given.streams, given.proxy, given.workers, Host.read(), tls=given.tls)
    except ConfigError as error:
        raise RuntimeError(str(error)) from error


def report(
    capacity: Capacity, layout: Layout, facts: dict[str, str], command: str
) -> tuple[str, dict[str, Any]]:
    """The results for people and for programs."""
    way = (
        "without a proxy"
        if layout.proxy == "none"
        else f"through {layout.proxy}{', TLS' if layout.tls else ''}"
    )
    cores = len(os.sched_getaffinity(0))
    said = remarks(layout, cores)
    faults = table.faults(capacity.steps)
    lines = [
        f"{capacity.steps[-1].streams:,} streams {way}, {layout.workers} workers",
        "",
        table.tables(capacity.steps, capacity.without, capacity.base, layout.proxy),
        "",
        "MISSED: " + "; ".join(faults) if faults else "Every stream stayed open and got every event once.",
        "",
        *said,
        *table.doubts(capacity.steps),
        "",
        *(f"{name}: {value}" for name, value in facts.items()),
        f"command: {command}",
    ]  # fmt: skip
    whole = {
        "command": command,
        "machine": facts,
        "layout": asdict(layout),
        "remarks": said,
        "without_streams": {"memory": capacity.without, "cpu_per_second": capacity.base},
        "steps": capacity.as_json(),
        "missed": faults,
        "doubts": table.doubts(capacity.steps),
    }
    return "\n".join(lines), whole


def save(text: str, whole: dict[str, Any], capacity: Capacity, layout: Layout, *, picture: bool) -> None:
    """Write the results."""
    name = f"capacity-{layout.proxy}" + ("" if layout.tls or layout.proxy == "none" else "-plain")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    if picture:
        facts = whole["machine"]
        note = f"{layout.proxy}{', TLS' if layout.tls else ''}; {facts['cpu']}, Linux {facts['kernel']}"
        plot.draw(capacity.steps, RESULTS / f"{name}.svg", layout.proxy, note)


def main() -> int:
    """Run it; 1 when something was lost, 2 when it cannot begin or go on."""
    given = arguments()
    progress = Progress()
    began = time.monotonic()
    facts = facts_of(given.proxy)
    command = shlex.join(["python", "-m", "loadtest.capacity", *sys.argv[1:]])
    failure = None
    try:
        layout = prepare(given)
        with (
            tempfile.TemporaryDirectory(prefix="capacity-") as directory,
            running(layout, Path(directory)) as site,
            reading(layout.readers, site.authority) as readers,
        ):
            capacity = Capacity(site, readers, progress, idle=given.idle, events=given.events)
            try:
                capacity.run(given.steps)
            except (RuntimeError, OSError) as error:
                failure = f"after {progress.last!r}: {error!r}\n{site.said()}"
    except KeyboardInterrupt:
        progress.clear()
        raise
    except (RuntimeError, OSError) as error:
        progress.clear()
        print(error, file=sys.stderr)
        return 2
    progress.clear()
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    if capacity.steps:
        text, whole = report(capacity, layout, facts, command)
        print(text)
    if failure is not None:
        print(f"could not be finished {failure}", file=sys.stderr)
        return 2
    if given.save:
        save(text, whole, capacity, layout, picture=not given.no_plot)
    return int(bool(whole["missed"]))


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
