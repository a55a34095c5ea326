"""What a stream takes on a server: memory while it is idle, and CPU for an event."""

import asyncio
import json
import os
from pathlib import Path

from loadtest.measure.process import rss
from servers.sse import get

from .listener import Held

STREAMS = 1000
"""That are there before, and as many again that are measured: what the first take is not taken again."""

EVENTS = 40

PAUSE = 0.1
"""Seconds between events: each is written by itself."""


async def footprint(process, *, http2=False):
    """KiB that an idle stream takes of a server's worker, and its microseconds of CPU for an event to one."""
    held = []
    pid = json.loads((await get(f"{process.url}/figures")).body)["pid"]
    try:
        await _hold(held, process.port, http2)
        before = await _settled(process, pid)
        await _hold(held, process.port, http2)
        memory = (await _settled(process, pid) - before) / STREAMS / 1024
        began = _cpu(pid)
        for _ in range(EVENTS):
            await get(f"{process.url}/publish/news/150")
            await asyncio.sleep(PAUSE)
        cpu = (_cpu(pid) - began) / (EVENTS * len(held)) * 1e6
    finally:
        for client in held:
            client.abort()
    return {"memory": round(memory, 1), "cpu": round(cpu, 1)}


async def _hold(held, port, http2):
    for number in range(STREAMS):
        held.append(await Held.open(port, f"u{number}", http2=http2))


async def _settled(process, pid):
    for _ in range(3):
        await get(f"{process.url}/collect")
    return rss(pid)


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
