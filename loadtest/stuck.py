"""What clients that never read cost the others, as ratios in one run.

    python -m loadtest.stuck --streams 5000 --stuck 500

Starts Redis and a worker under plain uvicorn, and measures the same events three times in each round:
``before``, while all streams read; ``stuck``, while some of them do not read any more and are ended as
slow; and ``after``, when those are gone.  What is measured is what the others see: how long an event takes
to them, and the worker's CPU for each event that a client reads.  The worker has a core of its own;
clients, publisher and Redis run on another.  Exits with 1 when a stuck stream was not ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from .bench.arena import Arena
from .bench.contenders import RATE, Edge, paced
from .bench.measure import AFTERWARDS, held
from .client.counting import MARK
from .client.reader import Reader, reading
from .measure import machine
from .measure.process import rss
from .site import programs
from .site.apps import requests

RESULTS = Path(__file__).parent / "results"

EVENTS = 40
"""Published in each phase."""

SIZE = 8000
"""Bytes of an event's data."""

SPACING = 0.2
"""Seconds between events, or more: ``ROOM`` times what one fan-out takes."""

ROOM = 2.0

SETTINGS = {"MAX_UNSENT": "131072", "MAX_UNSENT_AGE": "4"}
"""The worker's bounds, in bytes and seconds; it looks at what waits twice in that time."""

RECEIVE_BUFFER = 16_384
"""SO_RCVBUF of those that will be stuck, so that what they do not read waits on the worker's side."""

ENDED = 30.0
"""Seconds for the stuck streams to be ended after the last event."""

NETWORK = 9
"""The stuck clients connect from 127.0.9.x; the benchmark's readers from 127.0.10.x on."""

PHASES = ("before", "stuck", "after")
FIGURES = {"p50": "latency p50, ms", "p99": "latency p99, ms", "cpu": "worker's CPU per event read, µs"}


class Stage:
    """A worker, those of its streams that always read, and those that will be stuck."""

    def __init__(self, edge: Edge, some: Reader, streams: int, stuck: int) -> None:
        self.edge = edge
        self.some = some
        self.stuck = stuck
        self.others = streams - stuck
        self._opened = 0
        self._spacing = SPACING
        edge.grow(self.others)
        edge.check_sink(task=False)

    def open(self) -> None:
        """Open the streams that will be stuck."""
        first = self.others + self._opened
        heads = requests(self.edge.paths(first, self.stuck), self.edge.users + first)
        self.some.open(self.edge.port, heads, self.edge.ready, RATE, receive_buffer=RECEIVE_BUFFER)
        self._opened += self.stuck

    def leave(self) -> None:
        """Close what the worker has let go of."""
        self.some.drop(self.some.streams)

    def find_pace(self) -> None:
        """Measure what a fan-out takes, and leave room for it."""
        took = []
        for _ in range(5):
            self.edge.reader.expect(1)
            self.some.expect(1)
            (published,) = self._publish([0.0])
            last = max(self.edge.reader.arrival().at, self.some.arrival().at)
            took.append(last - published)
        self._spacing = max(SPACING, ROOM * median(took))

    def measure(self, *, some_read: bool) -> dict[str, float]:
        """A phase, as the ``others`` see it; ``some_read``: the rest read as well."""
        self.edge.reader.expect(EVENTS, record=True, seconds=300)
        if some_read:
            self.some.expect(EVENTS, seconds=300)
        cpu = self.edge.cpu()
        published = self._publish([number * self._spacing for number in range(EVENTS)])
        self.edge.reader.arrival()
        if some_read:
            self.some.arrival()
        time.sleep(AFTERWARDS)
        cpu = self.edge.cpu() - cpu
        p50, p99, _ = self.edge.reader.latencies(published)
        read = EVENTS * (self.others + (self.some.streams if some_read else 0))
        return {"p50": p50 * 1e3, "p99": p99 * 1e3, "cpu": cpu / read * 1e6}

    def slow(self) -> int:
        """How many streams were ended as slow so far."""
        ended: int = self.edge.ask("figures")["endings"].get("slow", 0)
        return ended

    def await_slow(self, count: int) -> int:
        """Wait until so many were, or for ``ENDED`` seconds; how many were."""
        deadline = time.monotonic() + ENDED
        while (ended := self.slow()) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        return ended

    @property
    def spacing(self) -> float:
        """Seconds between events."""
        return self._spacing

    def _publish(self, pace: list[float]) -> list[float]:
        channel = f"room:{self.edge.room}"
        data = "x" * (SIZE - len(MARK)) + MARK.decode()
        return self.edge.arena.runner.run(paced(pace, lambda: self.edge.events.publish(channel, data)))


def one_round(stage: Stage, progress: str) -> dict[str, Any]:
    """All three phases; afterwards the stuck ones are gone."""

    def say(what: str) -> None:
        print(f"{progress}: {what}", file=sys.stderr, flush=True)

    say("opening")
    stage.open()
    stage.find_pace()
    memory = {"before": held(stage.edge)}
    ended = stage.slow()
    say("all read")
    phases = {"before": stage.measure(some_read=True)}
    say(f"{stage.stuck:,} do not")
    phases["stuck"] = stage.measure(some_read=False)
    memory["stuck"] = rss(stage.edge.pid)
    meanwhile = stage.slow() - ended
    ended = stage.await_slow(ended + stage.stuck) - ended
    stage.leave()
    say("they are gone")
    phases["after"] = stage.measure(some_read=False)
    memory["after"] = held(stage.edge)
    return {
        "phases": phases,
        "memory": memory,
        "ended": ended,
        "ended_before_the_last_event": meanwhile,
    }


@contextlib.contextmanager
def staged(streams: int, stuck: int) -> Iterator[Stage]:
    """Everything started, until the end of the block."""
    server, rest = machine.cores()
    with (
        machine.on(rest),
        asyncio.Runner() as runner,
        programs.redis() as url,
        Arena(url, runner, server, rest).contender("sse_edge", **SETTINGS) as edge,
        reading(NETWORK) as some,
    ):
        assert isinstance(edge, Edge)
        yield Stage(edge, some, streams, stuck)


def run(streams: int, stuck: int, rounds: int) -> dict[str, Any]:
    """So many rounds on one worker; what was seen."""
    with staged(streams, stuck) as stage:
        seen = [one_round(stage, f"round {number + 1} of {rounds}") for number in range(rounds)]
        spacing = stage.spacing
    return {
        "streams": streams,
        "stuck": stuck,
        "events": EVENTS,
        "size": SIZE,
        "spacing": spacing,
        "settings": SETTINGS,
        "rounds": seen,
        "ratios": ratios(seen),
    }


def ratios(seen: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """For each figure: ``stuck`` and ``after`` as parts of ``before``, in each round."""
    return {
        name: {
            phase: [one["phases"][phase][name] / one["phases"]["before"][name] for one in seen]
            for phase in PHASES[1:]
        }
        for name in FIGURES
    }


def table(result: dict[str, Any]) -> str:
    """For people."""
    seen = result["rounds"]
    lines = [
        f"{result['streams']:,} streams, {result['stuck']:,} of them stuck; {result['events']} events of "
        f"{result['size']:,} bytes, {result['spacing'] * 1e3:.0f} ms apart; medians of {len(seen)} rounds",
        "",
        " " * 34 + "   before    stuck    after   stuck ÷ before   after ÷ before",
    ]
    for name, text in FIGURES.items():
        figures = [median(one["phases"][phase][name] for one in seen) for phase in PHASES]
        parts = [median(result["ratios"][name][phase]) for phase in PHASES[1:]]
        lines.append(
            f"{text:34}" + "".join(f"{x:9.1f}" for x in figures) + "".join(f"{x:17.2f}" for x in parts)
        )
    sizes = [[one["memory"][phase] for one in seen] for phase in PHASES]
    parts = [median(one["memory"][phase] / one["memory"]["before"] for one in seen) for phase in PHASES[1:]]
    lines.append(
        f"{'worker memory, MiB':34}"
        + "".join(f"{median(size) / (1 << 20):9.1f}" for size in sizes)
        + "".join(f"{x:17.2f}" for x in parts)
    )
    ended = ", ".join(f"{one['ended']:,}" for one in seen)
    meanwhile = ", ".join(f"{one['ended_before_the_last_event']:,}" for one in seen)
    lines += ["", f"ended as slow in each round: {ended} (before the last event: {meanwhile})"]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.stuck",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=5000, help="all of them (default: 5000)")
    parser.add_argument("--stuck", type=int, default=500, help="those that stop reading (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/stuck.json and .txt")
    given = parser.parse_args()
    if not 0 < given.stuck < given.streams or given.rounds < 1:
        parser.error("there must be more --streams than --stuck, and at least one of each and of --rounds")
    return given


def main() -> int:
    """Run it; 1 when a stuck stream was not ended, 2 when it cannot begin."""
    given = arguments()
    try:
        machine.raise_descriptors(given.streams)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    result = run(given.streams, given.stuck, given.rounds)
    others = ("nginx", "nchan", "sse-starlette", "starlette")
    facts = {name: value for name, value in machine.facts().items() if name not in others}
    command = shlex.join(["python", "-m", "loadtest.stuck", *sys.argv[1:]])
    lines = [table(result), "", *(f"{name}: {value}" for name, value in facts.items()), f"command: {command}"]
    text = "\n".join(lines)
    print(text)
    if given.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "stuck.txt").write_text(text + "\n")
        whole = {"command": command, "machine": facts, **result}
        (RESULTS / "stuck.json").write_text(json.dumps(whole, indent=1) + "\n")
    missed = [one for one in result["rounds"] if one["ended"] != given.stuck]
    if missed:
        print("MISSED: not every stuck stream was ended as slow, or others were", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
