"""Every scenario, one after another, each for a short while."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..scenarios import SCENARIOS
from ..site import programs

ALL = "all"
"""The name of a round, where a scenario's is asked for."""

SECONDS = {"ramp": 15.0, "slow": 10.0, "churn": 10.0, "abuse": 10.0}  # of the main parts; 6 of all others


def play(words: Sequence[str], out: Path) -> int:
    """Each scenario in a process of its own, with the same words of a command line; 1 when one failed."""
    rest = list(words)
    rest.remove(ALL)
    began, failed = time.monotonic(), []
    for name in SCENARIOS:
        # The last of an option counts: what is given before this, and a folder each after that.
        short = ["--seconds", str(SECONDS.get(name, 6.0)), "--idle", "2"]
        own = [name, *short, *rest, "--out", str(out / name)]
        started = time.monotonic()
        done = _done([sys.executable, "-m", "loadtest", *own])
        print(f"{name:<10} {time.monotonic() - started:4.0f} s  {_verdict(out / name, done)}", flush=True)
        if done.returncode:
            failed.append(name)
            print(f"           again: python -m loadtest {shlex.join(own)}", flush=True)
        if done.returncode == programs.INTERRUPTED:
            return programs.INTERRUPTED
    print(f"{len(SCENARIOS) - len(failed)} of {len(SCENARIOS)} scenarios in {time.monotonic() - began:.0f} s")
    print(f"reports: {out}/*/index.html")
    return int(bool(failed))


def _done(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a scenario to its end, which it comes to by itself where this process is interrupted."""
    with subprocess.Popen(  # noqa: S603 - this program again
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said = process.communicate()
        except KeyboardInterrupt:
            process.terminate()
            said = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, *said)


def _verdict(out: Path, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode not in (0, 1):
        return f"FAILED: {done.stderr.strip()[-600:]}"
    summary = json.loads((out / "summary.json").read_text())
    missed = [f"{each['what']}: {each['value']}" for each in summary["thresholds"] if not each["met"]]
    if missed:
        return "MISSED: " + "; ".join(missed)
    received, latency = summary["verdict"]["received"], summary["latency"] or {}
    return f"ok    {received:>9,} events, none lost, p99 {1000 * latency.get('p99', 0):.0f} ms"
