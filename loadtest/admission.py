"""What it costs to let a stream in, against a bare uvicorn app that answers one streaming chunk, and nchan.

    python -m loadtest.admission

uvicorn workers, one after the other and in several rounds, get the same load at the same pace: clients
that connect, read the first chunk that tells their place, and leave, so many at a time.  CPU is each
process's own, by the kernel's account.  Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .measure import machine
from .measure.process import cpu_seconds
from .site import nchan, programs
from .site.apps import requests

NCHAN = "nchan"
"""nginx with that module, where an app would be named."""


class Case(NamedTuple):
    """An app or ``NCHAN``, its backend, whether limits are on, whether its users come with a cookie that
    the worker has seen before, and the target as a ratio to the first case."""

    app: str
    backend: str = "memory://"
    caps: str = "1"
    known: bool = False
    target: float | None = None


CASES = {
    "bare": Case("loadtest.site.apps:bare", caps="0"),
    "memory, no limits": Case("loadtest.site.apps:edge", caps="0"),
    "memory": Case("loadtest.site.apps:edge", target=1.3),
    "redis": Case("loadtest.site.apps:edge", "redis", target=1.6),
    "memory, known cookie": Case("loadtest.site.apps:edge", known=True, target=1.3),
    "redis, known cookie": Case("loadtest.site.apps:edge", "redis", known=True, target=1.6),
    NCHAN: Case(NCHAN),
}

ROOMS = 100
"""Channels that the clients share."""

LIVE = (b"\nid: ", b": hi\n")
"""One of them is in the first bytes of a stream once it is live: its place, or nchan's greeting."""

RESULTS = Path(__file__).parent / "results"


class Visit(asyncio.Protocol):
    """Connects, asks for a stream, and leaves when it is live."""

    def __init__(self, request: bytes, done: asyncio.Future[None]) -> None:
        self._request = request
        self._done = done
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._got += data
        if self._transport is not None and any(said in self._got for said in LIVE):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if self._done.done():
            return
        if self._got.startswith(b"HTTP/1.1 200 ") and b"edge-refused" not in self._got:
            self._done.set_result(None)
        else:
            self._done.set_exception(RuntimeError(f"no stream: {self._got!r}"))


async def visits(port: int, requests: Sequence[bytes], at_once: int, rate: float) -> None:
    """One stream for each request: so many at a time, and so many per second however fast the server is.

    A client that waits for a slow server sleeps, and to wake it costs the server; at the same pace
    all servers pay that alike.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    for first in range(0, len(requests), at_once):
        wave = range(first, min(first + at_once, len(requests)))
        await asyncio.gather(*(_visit(port, requests[number], number) for number in wave))
        due += at_once / rate
        await asyncio.sleep(max(0.0, due - loop.time()))


async def _visit(port: int, request: bytes, number: int) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    # A connection from one address and port to another cannot be had twice within a minute.
    source = f"127.0.3.{1 + number % 16}"
    await loop.create_connection(lambda: Visit(request, done), "127.0.0.1", port, local_addr=(source, 0))
    await done


def requests_for(streams: int, first: int = 0) -> list[bytes]:
    """Each of a user of its own, from the ``first`` on, to one of the shared channels."""
    return requests([f"/events/rooms/{n % ROOMS}" for n in range(first, first + streams)], first)


class Served(NamedTuple):
    """Where it listens, and the process that lets streams in."""

    port: int
    pid: int


@contextlib.contextmanager
def server(app: str, backend: str, caps: str) -> Iterator[Served]:
    """An app in one plain uvicorn process, without logs of requests; or nchan in one worker."""
    port = programs.free_port()
    if app == NCHAN:
        with nchan.running(port) as worker:
            yield Served(port, worker)
        return
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    arguments = [sys.executable, "-m", "uvicorn", app, *options]
    with programs.running(arguments, port, BACKEND=backend, CAPS=caps) as program:
        yield Served(port, program.pid)


def measure(
    streams: int, at_once: int, rate: float, rounds: int, cases: Sequence[str]
) -> dict[str, list[float]]:
    """Microseconds of CPU per admitted stream, by case, one number for each round."""
    known = requests_for(streams)
    costs: dict[str, list[float]] = {name: [] for name in cases}
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(programs.redis())
        workers = {}
        for name in cases:
            case = CASES[name]
            backend = redis if case.backend == "redis" else case.backend
            workers[name] = stack.enter_context(server(case.app, backend, case.caps))
            warm = known if case.known else known[:500]
            asyncio.run(visits(workers[name].port, warm, at_once, rate))
        for number in range(rounds):
            new = requests_for(streams, (number + 1) * streams)
            for name, worker in workers.items():
                before = cpu_seconds(worker.pid)
                asyncio.run(visits(worker.port, known if CASES[name].known else new, at_once, rate))
                costs[name].append((cpu_seconds(worker.pid) - before) / streams * 1e6)
    return costs


def results(costs: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and ratios to the first case."""
    floor = median(next(iter(costs.values())))
    return {
        name: {
            "cpu_us": round(median(each), 1),
            "ratio": round(median(each) / floor, 2),
            "target": CASES[name].target,
            "rounds": [round(one, 1) for one in each],
        }
        for name, each in costs.items()
    }


def table(found: dict[str, Any]) -> str:
    """The results for people."""
    lines = [f"{'':<20}{'CPU per stream':>16}{'ratio':>8}   target"]
    for name, each in found.items():
        target = "" if each["target"] is None else f"at most {each['target']}"
        lines.append(f"{name:<20}{each['cpu_us']:>13} µs{each['ratio']:>8}   {target}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Run it; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.admission", description=__doc__)
    parser.add_argument("--streams", type=int, default=3000, help="in each round")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1000.0, help="streams per second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/admission.json and .txt")
    given = parser.parse_args()
    # Without nchan there is nothing to compare with it, and all else is as it was.
    cases = [name for name in CASES if name != NCHAN or not machine.missing({NCHAN}, plot=False)]
    found = results(measure(given.streams, given.at_once, given.rate, given.rounds, cases))
    text = table(found)
    print(text)
    print(json.dumps(found))
    missed = [name for name, each in found.items() if each["target"] and each["ratio"] > each["target"]]
    if missed:
        print(f"MISSED: {', '.join(missed)}", file=sys.stderr)
    if given.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "admission.txt").write_text(text + "\n")
        (RESULTS / "admission.json").write_text(json.dumps(found, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
