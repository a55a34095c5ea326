"""Events that the doctor publishes itself, to see what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..backends.redis import RedisBackend
from ..errors import BackendError, PublishError
from ..publisher import Publisher
from .finding import Finding, found, unknown
from .judgement import delivery
from .visitor import Visitor
from .wire import SAME_ORIGIN, Connection, Heard, heard

EVENTS = 3
"""How many are published to see whether they come one by one."""

APART = 0.4
"""Seconds between them."""

EVENT_NAME = "sse-edge-doctor"
"""What the published events are called: a name that no page listens for."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``channel``: where events for the visitor's URL are published.  ``user``: whose the cookie is, if that
    user is the doctor's own, so that their streams may be ended."""

    visitor: Visitor
    backend: RedisBackend
    channel: str
    user: str | None

    async def findings(self, stream: Connection) -> AsyncIterator[Finding]:
        """Publish, come back for what was missed, and be disconnected."""
        patience = self.visitor.patience
        events = Publisher(self.backend)
        try:
            times, ids = await self._publish(events, stream)
            finding = delivery.events(times)
            yield finding
            if finding.fault is None:
                yield await self._resume(ids)
            if self.user is None:
                yield unknown("ending", "give --secret: only a user of its own may be disconnected")
            else:
                await events.disconnect(user=self.user)
                await stream.read(patience)
                yield delivery.ending(stream.answer, heard(stream.answer))
        except (PublishError, BackendError) as error:
            if isinstance(error, PublishError) and error.reason == "finished":
                yield unknown("events", f"{error}: give another --channel, or reopen it")
            else:
                yield found("events", "redis-away", str(error))

    async def _publish(
        self, events: Publisher, stream: Connection
    ) -> tuple[list[tuple[float, float | None]], list[str]]:
        published, ids = [], []
        before = len(heard(stream.answer))

        def arrived() -> list[Heard]:
            return [block for block in heard(stream.answer)[before:] if block.event == EVENT_NAME]

        for number in range(EVENTS):
            if number:
                await stream.read(APART)
            published.append(stream.now)
            ids.append(await events.publish(self.channel, str(number), event=EVENT_NAME))
        await stream.read(self.visitor.patience, lambda _: len(arrived()) >= EVENTS)
        # One may publish at the same time as another doctor: the data says which is which.
        times = {block.id or block.data: block.at for block in arrived()}
        keys = [id or str(number) for number, id in enumerate(ids)]
        return [(at, times.get(key)) for at, key in zip(published, keys, strict=True)], ids

    async def _resume(self, ids: list[str]) -> Finding:
        if not all(ids):
            return unknown("resume", "this backend keeps no history")
        async with Connection(self.visitor.target) as stream:
            await stream.ask(self.visitor.headers(*SAME_ORIGIN, ("Last-Event-ID", ids[0])))
            await stream.read(
                self.visitor.patience,
                lambda answer: any(block.id >= ids[-1] for block in heard(answer)),
            )
            return delivery.resume(ids[1:], heard(stream.answer))
