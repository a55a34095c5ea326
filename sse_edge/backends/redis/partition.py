"""One order of events, and the commands about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...event import EventId
from ..base import Outgoing
from .history import Cut, parse_cut
from .names import Names
from .scripts import ANNOUNCE, PUBLISH, READ, TICK, Script
from .server import Argument, Server


class Settings(NamedTuple):
    """What every partition of a backend has in common."""

    history: int
    history_ttl_ms: int
    timeout: float
    durable: bool


class Partition:
    """One order of events: a clock, the channels that follow it, and the commands about them."""

    def __init__(self, server: Server, names: Names, settings: Settings) -> None:
        self.server = server
        self.names = names
        self.settings = settings

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """Number, keep and announce events in one step; their ids.  Raises CommandError."""
        announce = self.names.announce
        verb = self.server.verbs.publish
        if not self.settings.history:
            plain: list[Argument] = [
                part for event in events for part in (announce(event.channel), event.body)
            ]
            await self._run(ANNOUNCE, [self.names.clock], [verb, *plain])
            return [""] * len(events)
        places = {self.names.clock: 1}
        arguments: list[Argument] = [self.settings.history, self.settings.history_ttl_ms, verb]
        for event in events:
            stream = places.setdefault(self.names.stream(event.channel), len(places) + 1)
            dedupe = 0
            if event.dedupe_key is not None:
                dedupe = places.setdefault(self.names.dedupe(event.dedupe_key), len(places) + 1)
            arguments += [announce(event.channel), event.body, stream, dedupe]
        return [id.decode() for id in await self._run(PUBLISH, list(places), arguments)]

    async def read(self, channels: Sequence[str], after: Sequence[EventId]) -> Cut:
        """Each channel's log after an id of its own.  Raises CommandError."""
        keys = [self.names.clock, *(self.names.stream(channel) for channel in channels)]
        answer = await self._run(READ, keys, [int(self.settings.durable), *(str(id) for id in after)])
        return parse_cut(answer, after, self.settings.history_ttl_ms)

    async def tick(self, worker: str, mark: str) -> None:
        """Announce a cursor and a mark to ``worker``.  Raises CommandError."""
        await self._run(
            TICK, [self.names.clock], [self.server.verbs.publish, self.names.worker(worker), mark]
        )

    async def listener(self) -> Any:
        """A new connection for pub/sub, not connected yet."""
        return await self.server.listener(self.names.clock)

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self.server.run(script, keys, arguments, self.names.clock)
