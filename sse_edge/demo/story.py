"""What happens in the demo by itself: orders move on, jobs run, figures are told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import PublishError
from ..logline import about, sentence
from ..publishing.publisher import Publisher
from .people import PEOPLE, Person

logger = logging.getLogger("sse_edge.demo")

STEPS = ("placed", "paid", "packed", "shipped", "delivered")
TOLD_PRIVATELY = ("shipped", "delivered")

STEP_SECONDS = 3.5
JOB_SECONDS = 6.0
JOB_PERCENT = 10
ABSENCE_EVENTS = 5
ABSENCE_SECONDS = 0.2  # between two of them: all are out before the shortest wait is over


class Story:
    """The demo's background tasks.  ``figures`` gives what the panel shows."""

    def __init__(self, events: Publisher, figures: Callable[[], dict[str, Any]]) -> None:
        self._events = events
        self._figures = figures
        self._steps = dict.fromkeys(PEOPLE, 0)
        self._since = dict.fromkeys(PEOPLE, time.time())
        self._jobs: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Let it begin."""
        for person in PEOPLE.values():
            self._run(self._move(person))
        self._run(self._tell_figures())

    async def stop(self) -> None:
        """End every task."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def order(self, person: Person) -> dict[str, Any]:
        """A person's order as it is now: what its events carry."""
        step = self._steps[person.user]
        return {
            "order": person.order,
            "item": person.item,
            "step": step,
            "status": STEPS[step],
            "since": round(self._since[person.user], 3),
        }

    def job(self, person: Person) -> int | None:
        """How far a person's job is, in percent; None if none runs."""
        return self._jobs.get(person.user)

    def start_job(self, person: Person) -> bool:
        """Begin a job for somebody; False if theirs is running already."""
        if person.user in self._jobs:
            return False
        self._jobs[person.user] = 0
        self._run(self._work(person))
        return True

    def happen_meanwhile(self, person: Person) -> None:
        """Publish a few numbered events to somebody who is away."""
        self._run(self._miss(person))

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        # A task that nothing refers to may be collected in the middle of its work.
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _move(self, person: Person) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            step = (self._steps[person.user] + 1) % len(STEPS)
            self._steps[person.user] = step
            self._since[person.user] = time.time()
            await self._publish(f"order:{person.order}", "status", self.order(person))
            if STEPS[step] in TOLD_PRIVATELY:
                note = f"Your order {person.order}, {person.item}, was {STEPS[step]}."
                await self._publish(
                    f"user:{person.user}", "note", {"from": "The shop", "text": note, "to": person.user}
                )

    async def _work(self, person: Person) -> None:
        try:
            for percent in range(0, 101, JOB_PERCENT):
                self._jobs[person.user] = percent
                await self._publish(f"user:{person.user}", "progress", {"percent": percent})
                await asyncio.sleep(JOB_SECONDS * JOB_PERCENT / 100)
        finally:
            del self._jobs[person.user]

    async def _miss(self, person: Person) -> None:
        for number in range(1, ABSENCE_EVENTS + 1):
            await asyncio.sleep(ABSENCE_SECONDS)
            await self._publish(f"user:{person.user}", "away", {"number": number, "of": ABSENCE_EVENTS})

    async def _tell_figures(self) -> None:
        while True:
            await asyncio.sleep(1)
            figures = self._figures()
            if figures["streams"]:
                await self._publish("figures", "figures", figures)

    async def _publish(self, channel: str, name: str, content: dict[str, Any]) -> None:
        try:
            await self._events.publish(channel, json=content, event=name)
        except PublishError as error:
            # Redis may be away for a while; the story goes on, and so does this task.
            extra = about("unpublished", detail=str(error))
            logger.warning("an event was not published: %s", sentence(str(error)), extra=extra)
