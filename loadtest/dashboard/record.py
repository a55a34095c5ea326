"""The recorded run: five minutes in which what goes wrong goes wrong, and what each panel showed of it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..report.progress import Progress
from ..site.deployment import EXIT
from ..site.prometheus import Prometheus, prometheus
from . import events
from .board import Panel, panels
from .crowd import Crowd
from .site import Servers

STEP = 2.0
"""Seconds between two points of a panel."""

INTERVAL = "10s"
"""What rates are taken over, of a scrape each second."""

SERVERS, CLIENTS, SLEEPERS = 4, 360, 20

Incident = tuple[float, str, Callable[[Servers, Crowd], Awaitable[None]]]


async def _come(site: Servers, crowd: Crowd) -> None:
    for _ in range(CLIENTS // 20):
        crowd.join(20)
        await asyncio.sleep(1)


async def _herd(site: Servers, crowd: Crowd) -> None:
    crowd.cut()


async def _strangers(site: Servers, crowd: Crowd) -> None:
    for _ in range(60):
        await asyncio.gather(events.refused(crowd), events.dropped(site))
        await asyncio.sleep(0.3)


async def _sleepers(site: Servers, crowd: Crowd) -> None:
    await events.asleep(site, crowd, SLEEPERS, 12)


async def _away(site: Servers, crowd: Crowd) -> None:
    await asyncio.to_thread(site.stop_redis)
    await asyncio.sleep(5)
    crowd.join(20)
    await asyncio.sleep(40)
    await asyncio.to_thread(site.start_redis_again)


async def _rolling(site: Servers, crowd: Crowd) -> None:
    for number, server in enumerate(site.programs["worker"]):
        await asyncio.to_thread(site.drain, number)
        await asyncio.to_thread(server.stop, EXIT)
        await asyncio.to_thread(server.start)
        await asyncio.sleep(3)


INCIDENTS: tuple[Incident, ...] = (
    (5, f"{CLIENTS} clients come", _come),
    (45, "all streams are cut at once", _herd),
    (75, "strangers, and a message that is no event", _strangers),
    (115, f"{SLEEPERS} clients do not read", _sleepers),
    (150, "Redis is away for 45 s", _away),
    (230, "a rolling restart, each drained first", _rolling),
)
"""When each begins, what it is, and how it is brought about."""

END = 300.0


def record(progress: Progress) -> dict[str, Any]:
    """Let it all happen, and ask each panel's queries over it."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sse-edge-recorded-"))
        site = Servers(Path(directory), SERVERS)
        ours = stack.enter_context(prometheus(site.targets))
        stack.enter_context(site)
        began = time.time()
        asyncio.run(_happen(site, progress))
        version = ours.ask("status/buildinfo")["version"]
        return {
            "about": f"{SERVERS} workers, {CLIENTS} clients, Prometheus {version.partition('+')[0]}",
            "step": STEP,
            "end": END,
            "incidents": [[at, words] for at, words, _ in INCIDENTS],
            "panels": {str(panel.id): _shown(ours, panel, began) for panel in panels(INTERVAL)},
        }


async def _happen(site: Servers, progress: Progress) -> None:
    crowd = Crowd(site.ports, events.path)
    publishing = asyncio.ensure_future(events.publish(site, crowd, 0.05))
    began = time.monotonic()

    async def happen(at: float, words: str, incident: Callable[[Servers, Crowd], Awaitable[None]]) -> None:
        await asyncio.sleep(at - (time.monotonic() - began))
        progress(words)
        await incident(site, crowd)

    await asyncio.gather(*(happen(*each) for each in INCIDENTS))
    await asyncio.sleep(END - (time.monotonic() - began))
    publishing.cancel()
    crowd.leave()


def _shown(ours: Prometheus, panel: Panel, began: float) -> dict[str, list[dict[str, Any]]]:
    """Of each query its series: name, labels, and values at each step; of an instant one, at the end."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for query in panel.queries:
        first, end = (began + END if query.instant else began), began + END
        shown[query.ref] = found = []
        for each in ours.over(query.expr, first, end, STEP):
            values: list[float | None] = [None] * (round((end - first) / STEP) + 1)
            for moment, value in each["values"]:
                values[round((moment - first) / STEP)] = float(f"{float(value):.4g}")
            found.append({"name": query.name(each["metric"]), "labels": each["metric"], "values": values})
    return shown
