"""What kept events take in Redis, beside what ``sse-edge tune`` reckons.

    python -m loadtest.kept

Starts a Redis for each row, and publishes to channels of which so many events are kept: between as many and
2.2 times as many to each, in no order, so that what was kept first is let go of in the middle of a node.
Exits with 1 where more was taken than is reckoned, a hundredth aside for what is no history.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import sys
from pathlib import Path
from typing import Any

from redis import Redis

from sse_edge import Event, RedisBackend, Retention
from sse_edge.backends.base import Outgoing
from sse_edge.tune.history import memory

from .measure import machine
from .site import programs

RESULTS = Path(__file__).parent / "results"

SIZES = (50, 150, 500, 1000, 2000, 4000, 10_000, 60_000)
KEPT = (1, 10, 100, 1000)

BYTES = 12_000_000
"""Of events in a row, about."""

CHANNELS = 3, 5000
"""At least, and at most."""

AT_ONCE = 500
"""Events of a call."""

ROOM = 1.01

FACTS = ("cpu", "kernel", "python", "redis-server")


async def measured(size: int, events: int, channels: int, *, keyed: bool = False) -> dict[str, Any]:
    """What ``channels`` take, each with ``events`` of ``size`` bytes; ``keyed``: these have dedupe keys."""
    chance = random.Random(size)
    names = [f"task:{number:08d}-0000-4000" for number in range(channels)]
    todo = [name for name in names for _ in range(round(events * (1 + 1.2 * chance.random())))]
    if events > 1:
        chance.shuffle(todo)
    body = Event("x" * (size - len(Event("").encode()))).encode()
    with programs.redis() as url:
        client: Any = Redis.from_url(url)
        backend = RedisBackend(url, retention={"task:*": Retention(events, 3600)})
        await backend.publish([Outgoing("other", body)])
        before = client.info("memory")["used_memory"]
        for at in range(0, len(todo), AT_ONCE):
            some = [
                Outgoing(name, body, f"key-{number}" if keyed else None)
                for number, name in enumerate(todo[at : at + AT_ONCE], at)
            ]
            await backend.publish(some)
        used = client.info("memory")["used_memory"] - before
        await backend.close()
        client.close()
    return {
        "size": size,
        "events": events,
        "channels": channels,
        "published": len(todo),
        "used": used,
        "reckoned": memory(channels, events, size),
    }


async def run() -> dict[str, Any]:
    """All rows, and what a dedupe key takes."""
    rows = []
    for size in SIZES:
        for events in KEPT:
            channels = min(CHANNELS[1], max(CHANNELS[0], BYTES // (size * events)))
            rows.append(await measured(size, events, channels))
    plain, keyed = await measured(150, 100, 200), await measured(150, 100, 200, keyed=True)
    return {"rows": rows, "key": (keyed["used"] - plain["used"]) / plain["published"]}


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = ["  event, bytes    kept  channels    bytes for a channel    reckoned   used of it"]
    for row in result["rows"]:
        each = row["used"] / row["channels"]
        lines.append(
            f"{row['size']:14,}{row['events']:8,}{row['channels']:10,}{each:23,.0f}"
            f"{row['reckoned'] / row['channels']:12,.0f}{row['used'] / row['reckoned']:13.2f}"
        )
    return "\n".join([*lines, "", f"a dedupe key: {result['key']:.0f} bytes"])


def main() -> int:
    """Run it; 1 where too little is reckoned."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.kept",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/kept.json and .txt")
    given = parser.parse_args()
    result = asyncio.run(run())
    facts = {name: value for name, value in machine.facts().items() if name in FACTS}
    command = shlex.join(["python", "-m", "loadtest.kept", *sys.argv[1:]])
    lines = [table(result), "", *(f"{name}: {value}" for name, value in facts.items()), f"command: {command}"]
    text = "\n".join(lines)
    print(text)
    if given.save:
        (RESULTS / "kept.txt").write_text(text + "\n")
        whole = {"command": command, "machine": facts, **result}
        (RESULTS / "kept.json").write_text(json.dumps(whole, indent=1) + "\n")
    missed = [row for row in result["rows"] if row["used"] > ROOM * row["reckoned"]]
    if missed:
        print("MISSED: more was taken than is reckoned", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
