"""Tens of thousands of streams, and whether all that is promised holds while workers die.

    python -m loadtest SCENARIO --streams N [--proxy nginx|caddy|none] [--workers N] [--target URL]

Without --target it starts Redis, workers and a proxy with the shipped files, as `sse-edge tune` writes them.
Locust holds the streams, over as many processes and source addresses as it takes.  At the end everything
that was started is stopped, and a folder has the report (index.html), summary.json and Locust's own HTML
and CSV.  Exits with 0 when every threshold is met, 1 when one is not, 2 when the run could not begin or be
finished, and 130 when it was interrupted; the report of what was measured is written all the same.
"""

import argparse
import contextlib
import importlib.metadata
import json
import logging
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import gevent

from sse_edge.errors import ConfigError
from sse_edge.tune.sizing import size

from ..measure import machine
from ..report.files import RESULTS, keep, write
from ..report.progress import Progress
from ..scenarios import SCENARIOS
from ..scenarios.script import crowd
from ..site import programs
from ..site.deployment import Site, Theirs
from ..site.layout import PROXIES, READER_STREAM_BYTES, STREAMS_PER_READER, Host, arrange, remarks
from ..site.shipped import COOKIE, Shipped, facts, missing
from .conductor import Conductor, conduct
from .options import OURS, THEIRS, count, declare
from .probe import examine

ALL = "all"  # where a scenario's name is asked for: each of them
SHORT = {"ramp": 15.0, "slow": 10.0, "churn": 10.0, "abuse": 10.0}  # of the main parts; 6 of all others


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios:\n" + "\n".join(f"  {name:<10} {each.what}" for name, each in SCENARIOS.items()),
    )
    add = parser.add_argument
    names = [*SCENARIOS, ALL]
    add("scenario", choices=names, metavar="SCENARIO", help=f"see below; {ALL}: each for a short while")
    declare(add)
    add("--proxy", choices=PROXIES, default="nginx", help="(default: nginx)")
    add("--workers", type=count, metavar="N", help="app processes (default: as tune says)")
    often = "to the proxy (default: yes, without a proxy no)"
    add("--tls", action=argparse.BooleanOptionalAction, help=often)
    add("--processes", type=count, metavar="N", help="of Locust (default: one for 10,000 streams)")
    add("--out", type=Path, metavar="DIR", help="default: loadtest-runs/SCENARIO-TIME")
    kept = f"also write {RESULTS.name}/NAME.json, .txt and .svg (default: SCENARIO-STREAMS)"
    add("--save", nargs="?", const="", metavar="NAME", help=kept)

    usual = {name: parser.get_default(name) for name in (*OURS, *THEIRS)}
    parser.set_defaults(**dict.fromkeys(usual))  # so that it is seen what is given
    found = parser.parse_args(words, argparse.Namespace(words=words))
    for name in OURS if found.target else THEIRS:
        if getattr(found, name) is not None:
            place = "what is started here, and --target names" if found.target else "--target, which names"
            parser.error(f"--{name.replace('_', '-')} is for {place} what runs already")
    vars(found).update((name, value) for name, value in usual.items() if getattr(found, name) is None)
    if found.proxy == "none" and found.tls:
        parser.error("--tls is between clients and proxy, and --proxy is none")
    found.tls = (found.proxy != "none") if found.tls is None else found.tls
    if found.seconds is not None and found.scenario == "ramp" and found.seconds < 5:
        parser.error(f"--seconds {found.seconds:g} is too short for the steps of ramp: 5 or more")
    capacity = found.scenario == "capacity"
    if capacity and found.target:
        parser.error("--target names what runs already, and capacity looks at what is started here")
    if capacity and found.steps and found.steps[-1] > found.streams:
        parser.error(f"--steps has {found.steps[-1]}, more than --streams {found.streams}")
    if found.save == "":
        plain = "" if found.tls or found.proxy == "none" else "-plain"
        found.save = f"capacity-{found.proxy}{plain}" if capacity else f"{found.scenario}-{found.streams}"
    found.out = found.out or Path("loadtest-runs") / f"{found.scenario}-{datetime.now():%Y%m%d-%H%M%S}"
    return found


def clients(given: argparse.Namespace) -> int:
    """How many processes hold the streams.  RuntimeError when they cannot."""
    users, each = crowd(given.streams)
    streams, here = users * each, Host.read()
    processes = given.processes or math.ceil(streams / STREAMS_PER_READER)
    share = math.ceil(users / processes) * each
    if share + machine.DESCRIPTORS > here.files:
        least = math.ceil(streams / max(1, here.files - machine.DESCRIPTORS))
        raise RuntimeError(
            f"--processes {processes} would be {share:,} streams each, and a process may have {here.files:,} "
            f"descriptors: --processes {least}, or raise the hard limit (ulimit -Hn) to "
            f"{share + machine.DESCRIPTORS}"
        )
    taken = streams * READER_STREAM_BYTES[given.target.startswith("https") if given.target else given.tls]
    if taken > here.memory:
        raise RuntimeError(
            f"--streams {streams} takes about {taken >> 20:,} MiB of memory for the clients alone, and "
            f"{here.memory >> 20:,} MiB are available: give fewer streams, or more machines"
        )
    is_here = "://localhost" in given.target or "://127." in given.target
    if given.target and not is_here and share * processes > here.ports:
        raise RuntimeError(
            f"--streams {streams} takes as many local ports, and there are {here.ports:,} to one address: "
            'sysctl net.ipv4.ip_local_port_range="10240 65535", fewer streams, or more machines'
        )
    return processes


@contextlib.contextmanager
def deployed(given: argparse.Namespace) -> Iterator[Site]:
    """What is under load, until the end of the block; ``given`` then says where it is."""
    if given.target:
        with Theirs(given.disturb) as theirs:
            yield theirs
        return
    if lacks := missing(given.proxy):
        raise RuntimeError("missing: " + "; ".join(lacks))
    streams = math.prod(crowd(given.streams))
    # As many workers as tune would have: the others can take a lost one's streams.
    workers = given.workers or size(streams).workers
    layout = arrange(streams, given.proxy, workers, Host.read(), tls=given.tls)
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder, Shipped(layout, Path(folder)) as site:
        site.begin()
        scheme = "https" if layout.tls else "http"
        given.target = ",".join(f"{scheme}://localhost:{port}/events/me" for port in site.ports)
        given.redis, given.cacert, given.cookie = site.redis, site.authority or "", COOKIE
        os.environ["SSE_EDGE_SECRET"] = site.secret
        yield site


def summarise(given: argparse.Namespace, conductor: Conductor, began: datetime) -> dict[str, Any]:
    """Everything that the report says."""
    run, cores = conductor.script, len(os.sched_getaffinity(0))
    layout = run.deployment.layout if isinstance(run.deployment, Shipped) else None
    said = remarks(layout, cores) if layout else []
    if run.streams != given.streams:
        said.append(f"{run.streams:,} streams, {run.per_user} for each of {run.users} users of Locust")
    said += _bounds(run.sampler.busy, cores) + conductor.scenario.remarks(run)
    return {
        "command": shlex.join(["python", "-m", "loadtest", *given.words]),
        "began": began.isoformat(timespec="seconds"),
        "took": round((datetime.now(UTC) - began).total_seconds(), 1),
        "machine": facts(given.proxy if layout else "none")
        | {"locust": importlib.metadata.version("locust")},
        "setup": {
            "streams": run.streams,
            "users": run.users,
            "processes": given.processes,
            "workers": layout.workers if layout else 0,
            "proxy": given.proxy if layout else "target",
            "tls": given.target.startswith("https"),
            "target": given.target.partition(",")[0],
        },
        "remarks": said,
        **conductor.summary(),
    }


def _bounds(busy: Sequence[tuple[float, float]], cores: int) -> list[str]:
    """Where this machine bounds a figure; ``busy`` are cores that worked, and that worked for this run."""
    said: list[str] = []
    if busy and (full := fmean(worked > 0.9 * cores for worked, _ in busy)) > 0.1:
        said.append(
            f"all {cores} cores were busy in {100 * full:.0f} % of the time: what is said of "
            "time is bounded by this machine, clients and servers together"
        )
    if busy and (others := fmean(worked - ours for worked, ours in busy)) > 0.3:
        said.append(
            f"other programs, and what conducts and publishes, had {others:.1f} of {cores} cores: "
            "what is said of time is no better than that"
        )
    return said


def play(words: Sequence[str], out: Path) -> int:
    """Each scenario in a process of its own, with the same words of a command line; 1 when one failed."""
    rest = list(words)
    rest.remove(ALL)
    began, failed = time.monotonic(), 0
    for name in SCENARIOS:
        # The last of an option counts: what is given before this, and a folder each after that.
        short = ["--seconds", str(SHORT.get(name, 6.0)), "--idle", "2"]
        own = [name, *short, *rest, "--out", str(out / name)]
        started = time.monotonic()
        code, said = _play([sys.executable, "-m", "loadtest", *own])
        verdict = _verdict(out / name) if code in (0, 1) else f"FAILED: {said.strip()[-600:]}"
        print(f"{name:<10} {time.monotonic() - started:4.0f} s  {verdict}", flush=True)
        if code:
            failed += 1
            print(f"           again: python -m loadtest {shlex.join(own)}", flush=True)
        if code == programs.INTERRUPTED:
            return code
    print(f"{len(SCENARIOS) - failed} of {len(SCENARIOS)} scenarios in {time.monotonic() - began:.0f} s")
    print(f"reports: {out}/*/index.html")
    return int(failed > 0)


def _play(command: Sequence[str]) -> tuple[int, str]:
    """What a scenario exits with, and its errors; it comes to its end also where this is interrupted."""
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdout=quiet, stderr=pipe, text=True, start_new_session=True) as process:  # noqa: S603
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:
            process.terminate()
            _, said = process.communicate()
    return process.returncode, said


def _verdict(out: Path) -> str:
    summary = json.loads((out / "summary.json").read_text())
    missed = [f"{each['what']}: {each['value']}" for each in summary["thresholds"] if not each["met"]]
    if missed:
        return "MISSED: " + "; ".join(missed)
    received, latency = summary["verdict"]["received"], summary["latency"] or {}
    return f"ok    {received:>9,} events, none lost, p99 {1000 * latency.get('p99', 0):.0f} ms"


def main() -> int:
    """Run it; the module says what it exits with."""
    given = arguments(sys.argv[1:])
    # It is caught where the run is conducted; gevent need not print it.
    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)
    if given.scenario == ALL:
        return play(given.words, given.out)
    logging.basicConfig(level=logging.ERROR)
    began, progress = datetime.now(UTC), Progress(seldom=10.0)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(progress.clear)
            given.processes = clients(given)
            deployment = stack.enter_context(deployed(given))
            examine(given)
            given.out.mkdir(parents=True, exist_ok=True)
            conductor = conduct(given, deployment, progress)
            summary = summarise(given, conductor, began)
    except KeyboardInterrupt:
        print("interrupted before anything was measured; everything it started is stopped", file=sys.stderr)
        return programs.INTERRUPTED
    except (ConfigError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(write(given.out, summary))
    print(f"\nreport: {given.out / 'index.html'}")
    if summary["interrupted"]:
        return programs.INTERRUPTED
    if summary["failure"]:
        print(f"could not be finished: {summary['failure']}", file=sys.stderr)
        return 2
    if given.save:
        keep(given.out, given.save)
    return int(any(not each["met"] for each in summary["thresholds"]))
