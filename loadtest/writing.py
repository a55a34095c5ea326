"""What a token costs its producer and Redis: through a writer, and published one by one.

    python -m loadtest.writing --save

Producers in processes of their own write to many channels at the same time, each token when its time has
come.  One way is measured after the other, each on a fresh Redis, and so is what the tokens' own clock costs:
producers that publish nothing.  CPU is what the kernel counts of producers, and what Redis says of itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis
import uvloop

from sse_edge import Publisher, RedisBackend

from .measure import machine
from .site import programs

RESULTS = Path(__file__).parent / "results"

WAYS = {"write": "write(channel, iterator)", "publish": "one publish per token", "nothing": "no publishing"}
"""How tokens are published, and what the table calls it."""


async def tokens(rate: float, seconds: float, phase: float) -> AsyncIterator[str]:
    """``rate`` tokens a second, each not before its time, for so many seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + phase / rate
    for number in range(round(rate * seconds)):
        if (pause := begin + number / rate - loop.time()) > 0:
            await asyncio.sleep(pause)
        yield " word"


async def produce(
    url: str, way: str, channels: int, rate: float, seconds: float, name: str
) -> dict[str, Any]:
    """One process's share: the tokens it had, the events it made of them, and its CPU."""
    events, made, count = Publisher(RedisBackend(url)), 0, 0

    async def one(number: int) -> None:
        nonlocal made, count
        channel, source = f"{name}:{number}", tokens(rate, seconds, number / channels)
        if way == "write":
            written = await events.write(channel, source)
            made += written.events
            count += round(rate * seconds)
            return
        async for token in source:
            if way == "publish":
                await events.publish(channel, token, event="token")
                made += 1
            count += 1

    began, before = time.monotonic(), cpu()
    await asyncio.gather(*map(one, range(channels)))
    figures = {"tokens": count, "events": made, "cpu": cpu() - before, "seconds": time.monotonic() - began}
    await events.aclose()
    return figures


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(way: str, given: argparse.Namespace) -> dict[str, float]:
    """One way, on a Redis of its own."""
    with programs.redis() as url, redis.Redis.from_url(url) as admin:
        share = given.channels // given.processes
        arguments = [url, way, str(share), str(given.rate), str(given.seconds)]
        began = admin.info("all")
        children = [
            subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-m", "loadtest.writing", "--produce", *arguments, str(number)],
                stdout=subprocess.PIPE,
            )
            for number in range(given.processes)
        ]
        try:
            told = [json.loads(child.communicate()[0]) for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
        ended = admin.info("all")
    spent = sum(ended[name] - began[name] for name in ("used_cpu_user", "used_cpu_sys"))
    calls = ended.get("cmdstat_evalsha", {"calls": 0})["calls"]
    count = sum(one["tokens"] for one in told)
    return {
        "tokens": count / max(one["seconds"] for one in told),
        "events": sum(one["events"] for one in told) / count,
        "calls": calls / count,
        "producers": 1e6 * sum(one["cpu"] for one in told) / count,
        "redis": 1e6 * spent / count,
    }


def table(figures: dict[str, dict[str, float]], given: argparse.Namespace) -> str:
    """For people."""
    lines = [
        f"{given.channels} channels, {given.rate:g} tokens a second each, for {given.seconds:g} s; "
        f"{given.processes} producing processes",
        "",
        f"{'':28}{'tokens/s':>10}{'events':>9}{'calls':>10}{'producers':>11}{'Redis':>8}",
        f"{'':28}{'':>10}{'per token':>9}{'per token':>10}{'CPU, µs':>11}{'CPU, µs':>8}",
    ]
    for way, text in WAYS.items():
        one = figures[way]
        lines.append(
            f"{text:28}{one['tokens']:10,.0f}{one['events']:9.2f}{one['calls']:10.4f}"
            f"{one['producers']:11.1f}{one['redis']:8.1f}"
        )
    clock, one_by_one, written = (figures[way] for way in ("nothing", "publish", "write"))
    producers = (one_by_one["producers"] - clock["producers"]) / (written["producers"] - clock["producers"])
    ratio = one_by_one["redis"] / written["redis"]
    lines += [
        "",
        f"one publish per token costs {producers:.1f} times the CPU of producers (without the tokens' clock) "
        f"and {ratio:.1f} times that of Redis",
    ]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.writing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--channels", type=int, default=500, help="all of them (default: 500)")
    parser.add_argument("--rate", type=float, default=200, help="tokens a second of each (default: 200)")
    parser.add_argument("--seconds", type=float, default=5, help="for how long (default: 5)")
    parser.add_argument("--processes", type=int, default=2, help="that produce (default: 2)")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/writing.txt")
    parser.add_argument("--produce", nargs=6, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Run it."""
    given = arguments()
    if given.produce:
        url, way, channels, rate, seconds, name = given.produce
        work = produce(url, way, int(channels), float(rate), float(seconds), name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(work)))
        return 0
    figures = {way: measure(way, given) for way in WAYS}
    facts = {name: machine.facts()[name] for name in ("cpu", "cores", "kernel", "python", "redis-server")}
    command = shlex.join(["python", "-m", "loadtest.writing", *sys.argv[1:]])
    lines = [table(figures, given), "", *(f"{name}: {value}" for name, value in facts.items())]
    text = "\n".join([*lines, f"command: {command}"])
    print(text)
    if given.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "writing.txt").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
