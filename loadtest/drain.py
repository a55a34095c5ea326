"""A deploy under load: one worker drains, its streams resume on another.

    python -m loadtest.drain --streams 10000 --window 20

Starts Redis and two workers under ``sse-edge serve``, opens every stream on the first, publishes
numbered events all the time, and sends the first worker SIGTERM.  Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sse_edge import Publisher

from . import programs
from .apps import AUTH
from .checker import Checker, payload
from .streams import Address, Crowd

ROOMS = 100
"""Channels; the streams are spread evenly over them."""

EVENTS = 50
"""Events published per second, over all channels."""

FRESH = 0.5
"""Seconds that an event may be under way before who lacks it counts as behind."""

HERD = 2.0
"""The target: no second sees more reconnects than so many times the mean."""

EXIT_MARGIN = 2.0
"""The target: seconds after the window within which the process has exited."""

RESULTS = Path(__file__).parent / "results"


# The clients, in processes of their own


def crowd_process(pipe: Connection, number: int, streams: int, address: Address) -> None:
    """Hold a share of the streams and do what the pipe says."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_crowd(pipe, number, streams, address))


async def _crowd(pipe: Connection, number: int, streams: int, address: Address) -> None:
    target = address
    crowd = Crowd(Checker(), lambda: target)
    for n in range(streams):
        name, room = f"{number}-{n}", n % ROOMS
        cookie = AUTH.issue(f"u{name}", [f"room:{room}"])
        crowd.add(
            name,
            f"/events/rooms/{room}",
            [f"room:{room}"],
            cookie=f"session={cookie}",
            source=f"127.0.{1 + number}.{1 + n % 8}",
        )
    await crowd.open()
    pipe.send("open")
    orders: asyncio.Queue[Any] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(pipe.fileno(), lambda: orders.put_nowait(pipe.recv()))
    while True:
        order, argument = await orders.get()
        if order == "go to":
            target = argument
            pipe.send(None)
        elif order == "state":
            pipe.send((crowd.streaming(target), crowd.given_up, crowd.behind(argument)))
        else:
            crowd.close()
            pipe.send((list(crowd.connects), dict(crowd.seen), crowd.checker.to_dict()))
            return


class Clients:
    """The processes that hold the streams."""

    def __init__(self, streams: int, processes: int, address: Address) -> None:
        context = multiprocessing.get_context("spawn")
        self.streams = streams
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            share = streams // processes + (number < streams % processes)
            process = context.Process(
                target=crowd_process, args=(theirs, number, share, address), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    async def opened(self) -> None:
        """Wait until every stream is open."""
        await asyncio.to_thread(lambda: [pipe.recv() for pipe in self._pipes])

    async def ask(self, order: str, argument: object = None) -> list[Any]:
        """Every process's answer."""
        for pipe in self._pipes:
            pipe.send((order, argument))
        return await asyncio.to_thread(lambda: [pipe.recv() for pipe in self._pipes])

    async def state(self, newest: dict[str, int]) -> tuple[int, int, int]:
        """How many stream from where they should, have given up, and are behind."""
        states = await self.ask("state", newest)
        streaming, given_up, behind = (sum(values) for values in zip(*states, strict=True))
        return streaming, given_up, behind

    def end(self) -> None:
        """End what is left of them."""
        for process in self._processes:
            process.kill()
            process.join()


@contextlib.contextmanager
def holding(streams: int, processes: int, address: Address) -> Iterator[Clients]:
    """Clients until the end of the block."""
    clients = Clients(streams, processes, address)
    try:
        yield clients
    finally:
        clients.end()


# The publisher


class Newsroom:
    """Publishes numbered events to every room in turn, at a steady pace."""

    def __init__(self, backend: str, checker: Checker) -> None:
        self._publisher = Publisher(backend)
        self._checker = checker
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due, n = loop.time(), 0
        while True:
            channel = f"room:{n % ROOMS}"
            at = time.monotonic()
            number = self._checker.numbering(channel).next(at)
            await self._publisher.publish(channel, payload(channel, number, at))
            n += 1
            due += 1 / EVENTS
            await asyncio.sleep(max(0.0, due - loop.time()))

    def newest(self) -> dict[str, int]:
        """The newest event of each channel that everybody should have by now."""
        until = time.monotonic() - FRESH
        return {name: each.first_after(until) - 1 for name, each in self._checker.numberings.items()}

    async def stop(self) -> None:
        """No more events; raises what publishing raised."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._publisher.aclose()


# The run


async def level(clients: Clients, newsroom: Newsroom, seconds: float) -> float | None:
    """When all were streaming and level again; None when they are not within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        asked = time.monotonic()
        streaming, given_up, behind = await clients.state(newsroom.newest())
        if given_up or (streaming == clients.streams and not behind):
            return None if given_up else asked
        await asyncio.sleep(0.1)
    return None


async def run(streams: int, window: float, processes: int) -> dict[str, Any]:
    """One drain; what was seen."""
    checker = Checker()
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(programs.redis())
        settings = {"DRAIN_WINDOW": str(window)}
        leaving, staying = (
            stack.enter_context(programs.edge("loadtest.apps:edge", backend, **settings)) for _ in range(2)
        )
        clients = stack.enter_context(holding(streams, processes, ("127.0.0.1", leaving.port)))
        await clients.opened()
        newsroom = Newsroom(backend, checker)
        if await level(clients, newsroom, 60) is None:
            raise RuntimeError("the clients were not level before the drain")
        await clients.ask("go to", ("127.0.0.1", staying.port))
        began = time.monotonic()
        leaving.terminate()
        watch = asyncio.create_task(_exit_of(leaving, window + 60))
        level_at = await level(clients, newsroom, 2 * window + 60)
        exited_at = await watch
        await newsroom.stop()
        await asyncio.sleep(2 * FRESH)
        parts = await clients.ask("report")
        log = leaving.log + staying.log
        exit_code = leaving.exit_code
    seen: Counter[str] = Counter()
    moments: list[float] = []
    for connects, counts, records in parts:
        moments += [at - began for at in connects if at >= began]
        seen.update(counts)
        checker.merge(records)
    return {
        "streams": streams,
        "window": window,
        **rates(moments),
        "level_after": None if level_at is None else round(level_at - began, 2),
        "exit_after": None if exited_at is None else round(exited_at - began, 2),
        "exit_code": exit_code,
        "seen": dict(seen),
        "log": log,
        **verdict(checker),
    }


async def _exit_of(program: programs.Program, seconds: float) -> float | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if program.exit_code is not None:
            return time.monotonic()
        await asyncio.sleep(0.02)
    return None


def rates(moments: list[float]) -> dict[str, Any]:
    """Reconnects per second; the busiest second is looked for at every moment, not on a grid."""
    moments = sorted(moments)
    if not moments:
        return {"reconnects": 0, "mean": 0.0, "busiest": 0, "ratio": 0.0, "per_second": []}
    busiest = first = 0
    for last, at in enumerate(moments):
        while moments[first] <= at - 1:
            first += 1
        busiest = max(busiest, last - first + 1)
    mean = len(moments) / max(1.0, moments[-1] - moments[0])
    grid = Counter(int(at) for at in moments)
    return {
        "reconnects": len(moments),
        "mean": round(mean, 1),
        "busiest": busiest,
        "ratio": round(busiest / mean, 2),
        "per_second": [grid[second] for second in range(int(moments[-1]) + 1)],
    }


def verdict(checker: Checker) -> dict[str, Any]:
    """What the checker says, as numbers and as text."""
    report = checker.report()
    return {
        "events": sum(numbering.last for numbering in checker.numberings.values()),
        "received": report.received,
        "lost": sum(place.last - place.first + 1 for one in report.findings for place in one.lost),
        "repeated": sum(place.last - place.first + 1 for one in report.findings for place in one.repeated),
        "disordered": sum(len(one.disordered) for one in report.findings),
        "resets": dict(report.resets),
        "verdict": str(report),
    }


def missed(result: dict[str, Any]) -> list[str]:
    """The targets that were missed, in words."""
    streams, window = result["streams"], result["window"]
    late = result["exit_after"] is None or result["exit_after"] > window + EXIT_MARGIN
    wrong = {name: n for name, n in result["seen"].items() if name != "edge-close drain"}
    faults = [
        (result["ratio"] > HERD, f"the busiest second saw {result['ratio']} times the mean"),
        (result["reconnects"] != streams, f"{result['reconnects']} reconnects of {streams} streams"),
        (result["level_after"] is None, "not every client was level again"),
        (result["lost"] > 0, f"{result['lost']} events were lost"),
        (result["repeated"] + result["disordered"] > 0, "events came twice or out of order"),
        (bool(result["resets"]), f"clients were reset: {result['resets']}"),
        (bool(wrong), f"streams did not end as they should: {wrong}"),
        (result["exit_code"] != 0, f"the worker exited with {result['exit_code']}"),
        (late, f"the worker took {result['exit_after']} s to exit"),
        ("Traceback" in result["log"], "the log has a traceback"),
    ]
    return [what for wrong_, what in faults if wrong_]


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    rows = [
        ("streams", result["streams"], ""),
        ("window", f"{result['window']:g} s", ""),
        ("reconnects, mean", f"{result['mean']}/s", ""),
        ("reconnects, busiest second", f"{result['busiest']}/s", ""),
        ("busiest / mean", result["ratio"], f"at most {HERD:g}"),
        ("all level again after", f"{result['level_after']} s", ""),
        ("events published / received", f"{result['events']} / {result['received']}", ""),
        ("lost", result["lost"], "0"),
        ("repeated, out of order", f"{result['repeated']}, {result['disordered']}", "0, 0"),
        ("reset", sum(result["resets"].values()), "0"),
        ("exit code", result["exit_code"], "0"),
        ("exit after", f"{result['exit_after']} s", f"at most {result['window'] + EXIT_MARGIN:g} s"),
    ]
    lines = [f"{name:<30}{value!s:>18}   {target}".rstrip() for name, value, target in rows]
    return "\n".join([f"{'':<30}{'':>18}   target", *lines, f"per second: {result['per_second']}"])


def main() -> int:
    """Run it; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.drain", description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--window", type=float, default=20.0, help="seconds")
    parser.add_argument("--processes", type=int, default=2, help="that hold the clients")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/drain.json and .txt")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    result = asyncio.run(run(given.streams, given.window, given.processes))
    faults = missed(result)
    text = table(result)
    print(text)
    log = result.pop("log")
    result["missed"] = faults
    print(json.dumps(result))
    if faults:
        print("\nMISSED: " + "; ".join(faults), result["verdict"], log[-4000:], sep="\n", file=sys.stderr)
    if given.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "drain.txt").write_text(text + "\n")
        (RESULTS / "drain.json").write_text(json.dumps(result, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
