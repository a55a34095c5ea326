"""Events that the doctor publishes itself, to see what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from ..backends.redis import RedisBackend
from ..errors import BackendError, PublishError
from ..publishing.publisher import Publisher
from .finding import Finding, unknown
from .judgement import delivery, opening, redis
from .visitor import Visitor
from .wire import SAME_ORIGIN, Answer, Connection, Heard, heard

EVENTS = 3
"""How many are published to see whether they come one by one."""

APART = 0.4
"""Seconds between them."""

BUSY = "too much comes on this channel to find them: give a quieter --channel"

EVENT_NAME = "sse-edge-doctor"
"""What the published events are called: a name that no page listens for."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``channel``: where events for the visitor's URL are published.  ``user``: whose the cookie is, if that
    user is the doctor's own, so that their streams may be ended; ``known``: whether the app knows them."""

    visitor: Visitor
    backend: RedisBackend
    channel: str
    user: str | None
    known: bool
    mark: str = field(default_factory=lambda: token_hex(8), init=False)

    async def findings(self, stream: Connection) -> AsyncIterator[Finding]:
        """Publish, come back for what was missed, and be disconnected."""
        patience = self.visitor.patience
        events = Publisher(self.backend)
        try:
            times = await self._publish(events, stream)
            if stream.answer.endless:
                yield unknown("buffering", BUSY)
                return
            finding = delivery.events(times)
            yield finding
            if finding.fault is None:
                yield await self._resume(heard(stream.answer))
            if self.user is None:
                yield unknown("ending", "give --secret: only a user of its own may be disconnected")
            elif finding.code == "events-missing":
                yield unknown("ending", "where events do not arrive, nor does the word to end")
            elif not self.known:
                yield unknown(
                    "ending", "the app knows no user by this cookie, so there is none to disconnect"
                )
            else:
                await events.disconnect(user=self.user)
                await stream.read(patience)
                yield delivery.ending(stream.answer, heard(stream.answer))
        except (PublishError, BackendError) as error:
            if isinstance(error, PublishError) and error.reason == "finished":
                yield unknown("events", f"{error}: give another --channel, or reopen it")
            else:
                yield redis.unanswered("events", str(error))

    async def _publish(self, events: Publisher, stream: Connection) -> list[tuple[float, float | None]]:
        """When each was published, and heard."""
        mine = self._texts()
        published = []
        for number, text in enumerate(mine):
            if number:
                await stream.read(APART)
            published.append(stream.now)
            await events.publish(self.channel, text, event=EVENT_NAME)
        await stream.read(self.visitor.patience, _have_arrived(mine))
        arrived = {block.data: block.at for block in heard(stream.answer) if block.data in mine}
        return [(at, arrived.get(text)) for at, text in zip(published, mine, strict=True)]

    async def _resume(self, blocks: list[Heard]) -> Finding:
        """Come back as who has heard the first of the events, on a stream of ``blocks``."""
        first, *missed = self._texts()
        until = next(number for number, block in enumerate(blocks) if block.data == first)
        # With several partitions not each event moves the place.
        places = [block.id for block in blocks[: until + 1] if block.id]
        if not places:
            return unknown("resume", "this backend keeps no history")
        async with Connection(self.visitor.target) as stream:
            await stream.ask(self.visitor.headers(*SAME_ORIGIN, ("Last-Event-ID", places[-1])))
            await stream.read(self.visitor.patience, _have_arrived(missed[-1:]))
            if stream.answer.endless:
                return unknown("resume", BUSY)
            if stream.answer.status != 200:
                return opening.second(stream.answer)
            return delivery.resume(missed, heard(stream.answer))

    def _texts(self) -> list[str]:
        """What the events say: nobody else's do, as of another doctor at the same time."""
        return [f"{self.mark} {number}" for number in range(EVENTS)]


def _have_arrived(texts: Sequence[str]) -> Callable[[Answer], bool]:
    """Whether events with all of ``texts`` have; each block is looked at once."""
    missing, looked = {*texts}, 0

    def have(answer: Answer) -> bool:
        nonlocal looked
        blocks = heard(answer)
        missing.difference_update(block.data for block in blocks[looked:])
        looked = len(blocks)
        return not missing

    return have
