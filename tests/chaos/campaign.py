"""One campaign: real programs, the cast on them, the faults in their time, and the verdict."""

import asyncio
import contextlib
import time
from typing import NamedTuple

from sse_edge.errors import EdgeError

from . import leftovers
from .clients import Client, Watcher
from .faults import FAULTS
from .jobs import Line
from .layouts import LAYOUTS
from .plan import LINES, WORKERS
from .publishers import Desk, connect
from .record import SURE, Incident, Place, Record
from .verdict import Rules, Verdict, Violation, judge
from .watched import judge_watchers
from .workers import Worker

PATIENCE = 45.0
"""Seconds for everybody to be level after the last fault, from the last sign of progress on."""

BEAT = 0.05
"""Seconds between two looks at how late this process's own event loop is."""

WATCH = 0.5
"""Seconds between two looks at which servers are primaries."""


class Outcome(NamedTuple):
    """A campaign that was played: its plan, what was seen, the verdict, and the workers' logs."""

    plan: object
    record: Record
    verdict: Verdict
    logs: dict
    statuses: dict
    lag: float


async def play(plan, say=lambda text: None):
    """Play a plan, and judge it.  Everything that was started is ended, whatever happens."""
    stage = Stage(plan, say)
    try:
        async with contextlib.AsyncExitStack() as closing:
            await stage.build(closing)
            violations = await stage.play()
    finally:
        logs = stage.logs()
    settings = plan.settings
    rules = Rules(settings.partitions, settings.history, settings.history_ttl, settings.accepts_blindly)
    verdict = judge(stage.record, rules)
    verdict.violations.extend([*judge_watchers(stage.record, rules), *violations])
    for line in stage.lines:
        verdict.violations.extend(line.violations)
    statuses = {}
    for client in [*stage.clients, *stage.watchers]:
        for status, count in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return Outcome(plan, stage.record, verdict, logs, statuses, stage.lag)


class Stage:
    """All that a campaign is played on.  ``settling`` is whether the last fault is over."""

    def __init__(self, plan, say):
        self.plan = plan
        self.say = say
        self.layout = LAYOUTS[plan.layout](plan.settings)
        self.workers = []
        self.desks = []
        self.clients = []
        self.lines = []
        self.watchers = []
        self.settling = False
        self.crowded = None
        """The worker that clients go to when they come back, and soon leave again."""
        self.lag = 0.0
        """Seconds by which this process's loop was late so far, all together."""
        self._began = time.monotonic()
        self.record = Record(time.time() * 1000)

    def now(self):
        """Seconds on the campaign's clock."""
        return time.monotonic() - self._began

    async def build(self, closing):
        """Start Redis, the lines and the workers."""
        closing.callback(self.layout.close)
        await asyncio.to_thread(self.layout.start)
        closing.push_async_callback(self.layout.disconnect)
        await self.layout.connect()
        self.workers = [Worker(number, self.layout.url(number), self.plan) for number in range(WORKERS)]
        for worker in self.workers:
            closing.callback(worker.close)
        async with asyncio.TaskGroup() as group:
            for worker in self.workers:
                group.create_task(asyncio.to_thread(worker.start))
        backends = [connect(self.layout.url(WORKERS), self.plan.settings) for _ in range(2)]
        for backend in backends:
            closing.push_async_callback(backend.close)
        # Those with keys and those without beside each other.
        self.desks = [
            Desk(self, desk, backends[number // 2 % 2]) for number, desk in enumerate(self.plan.desks)
        ]
        self.lines = [Line(self, number, backends[number % 2]) for number in range(LINES)]
        for each in [*self.desks, *self.lines]:
            closing.push_async_callback(each.close)
        self._began = time.monotonic()
        self.record.wall = time.time() * 1000

    async def play(self):
        """Everything in its time; what is wrong besides what the record shows."""
        idle = max([len((await worker.introspect())["tasks"]) for worker in self.workers])
        beating = asyncio.create_task(self._beat())
        watching = asyncio.create_task(self._watch())
        self.clients = [Client(self, role) for role in self.plan.roles]
        for line in self.lines:
            line.start()
        self.watchers = [Watcher(self, role) for role in self.plan.watchers]
        listening = [asyncio.create_task(client.run()) for client in self.clients]
        watching_jobs = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        try:
            for desk in self.desks:
                desk.start()
            await self._befall()
            self.say(f"{self.now():.0f} s: the faults are over")
            violations = await self._settle(listening)
            await leftovers.see(self)
            for client in [*self.clients, *self.watchers]:
                client.finish()
            await asyncio.wait([*listening, *watching_jobs], timeout=30)
            violations += await leftovers.find(self, idle)
        finally:
            for task in [*listening, *watching_jobs, watching, beating]:
                task.cancel()
            await asyncio.wait([*listening, *watching_jobs, watching, beating])
        for task in [*listening, *watching_jobs]:
            if not task.cancelled():
                task.result()
        return violations

    def logs(self):
        """What the workers have written, by name."""
        return {worker.name: "\n".join(worker.logs) for worker in self.workers}

    # Faults

    async def _befall(self):
        lanes = {}
        for fault in self.plan.faults:
            lanes.setdefault(fault.lane, []).append(fault)
        async with asyncio.TaskGroup() as group:
            for faults in lanes.values():
                group.create_task(self._lane(faults))
        await asyncio.sleep(max(0.0, self.plan.seconds - self.now()))

    async def _lane(self, faults):
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at - self.now()))
            if self.now() > self.plan.seconds:  # the machine is slower than the plan
                return
            incident = Incident(fault.kind, "", self.now(), loses=fault.loses(self.plan.settings.durable))
            self.record.incidents.append(incident)
            async with FAULTS[fault.kind](self, fault) as target:
                incident.target = target
                await asyncio.sleep(fault.seconds)
            incident.ended = self.now()

    async def _watch(self):
        """Note when another server takes over, of whatever cause."""
        before = await asyncio.to_thread(self.layout.primaries)
        while before:
            await asyncio.sleep(WATCH)
            began = self.now()
            # While servers come and go there may be nobody to ask.
            with contextlib.suppress(Exception):
                now = await asyncio.to_thread(self.layout.primaries)
                if now != before:
                    who = f"{before} became {now}"
                    asked = self._under_way("failover", "slot moved")
                    self.record.incidents.append(
                        Incident(
                            "other primaries",
                            who,
                            began - 2 * WATCH,
                            self.now(),
                            loses=True,
                            splits=not asked,
                        )
                    )
                    before = now

    def _under_way(self, *kinds):
        return any(
            incident.kind in kinds and incident.began <= self.now() <= incident.ended
            for incident in self.record.incidents
        )

    async def _beat(self):
        while True:
            began = self.now()
            await asyncio.sleep(BEAT)
            self.lag += max(0.0, self.now() - began - 2 * BEAT)

    # The end

    async def _settle(self, listening):
        """Stop publishing, and wait until everybody has everything."""
        self.settling = True
        for each in [*self.desks, *self.lines]:
            await each.stop()
        last = {}
        for desk in self.desks:
            try:
                async with asyncio.timeout(PATIENCE):
                    marks = await desk.mark()
            except TimeoutError:
                return [
                    Violation("no recovery", self.now(), desk.desk.name, "", "it cannot publish any more")
                ]
            for mark in marks:
                assert mark.state == SURE
                order = Place.parse(mark.id).order
                last[mark.key.channel] = max(last.get(mark.key.channel, order), order)
        behind, deadline, latest = self.clients, self.now() + PATIENCE, self.now() + 3 * PATIENCE
        while behind and self.now() < min(deadline, latest) and not any(task.done() for task in listening):
            await asyncio.sleep(0.1)
            still = [client for client in behind if not _level(client, last)]
            if len(still) < len(behind):
                deadline = self.now() + PATIENCE
            behind = still
        return await self._until_over() + [
            Violation(
                "no recovery",
                self.now(),
                client.name,
                ",".join(client.channels),
                await self._why(client, last),
            )
            for client in behind
        ]

    async def _until_over(self):
        """Every watcher is told that its job is over: none is left open on a finished channel."""
        deadline = self.now() + PATIENCE
        try:
            async with asyncio.timeout(PATIENCE):
                for channel in {channel for watcher in self.watchers for channel in watcher.channels}:
                    await self.lines[0].end(channel)
        except TimeoutError:
            return [Violation("no recovery", self.now(), "a line", "", "it cannot finish a channel any more")]
        while self.now() < deadline and not all(watcher.over for watcher in self.watchers):
            await asyncio.sleep(0.1)
        return [
            Violation(
                "not over",
                self.now(),
                watcher.name,
                watcher.channels[0],
                f"it waits at {watcher.last_id or 'no place'} on {watcher.worker.name}",
            )
            for watcher in self.watchers
            if not watcher.over
        ]

    async def _why(self, client, last):
        wanted = max(last[channel] for channel in client.channels)
        text = f"it is at {client.last_id or 'no place'}, and the last event is {wanted[0]}-{wanted[1]}; "
        try:
            found = await client.worker.introspect()
        except (EdgeError, OSError, AssertionError, TimeoutError) as error:
            return text + f"{client.worker.name} does not answer: {error!r}"
        return text + f"{client.worker.name}: {found['figures']}"


def _level(client, last):
    wanted = max(last[channel] for channel in client.channels)
    return bool(client.last_id) and Place.parse(client.last_id).order >= wanted
