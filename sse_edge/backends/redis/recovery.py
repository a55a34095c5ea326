"""What a worker did not hear, read from history: after a lost connection, or where a message went missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

from ...errors import BackendError
from ...event import EventId
from ...logline import about, value
from ..log import Log
from .channel import Channel
from .history import Asked, Cut
from .order import Order
from .recent import EVENTS
from .ticks import Tick

logger = logging.getLogger("sse_edge")

BATCH = 500
"""Channels per read: Redis serves nobody else meanwhile."""

TURN = 200
"""Steps of catching up before other tasks get a turn."""


class Recovery:
    """Asks ``order`` what is missing, has it read, and lets what is held take its turn.

    What it raises ends the connection, and what was missing then is so with the next.
    """

    def __init__(self, order: Order, read: Callable[[Sequence[Asked]], Awaitable[Cut]]) -> None:
        self._order = order
        self._read = read

    async def recover(self, tick: Tick, channels: Iterable[Channel]) -> None:
        """Deliver what was published until ``tick`` while it could not be heard, or reset the channels.

        ``tick`` is the first since all of them were confirmed on this connection.  Everything that is heard
        meanwhile is held, so that each stream gets events in their order.
        """
        owed = self._order.begin(tick, [channel for channel in channels if channel.settled])
        found = {channel: (after, log) async for channel, after, log in self._read_again(owed, tick)}
        overheard = self._order.overheard([(channel, *read) for channel, read in found.items()])
        async for channel, after, log in self._read_again(overheard, tick):
            found[channel] = after, log
        newest = {channel: log async for channel, log in self._read_newest(tick)}
        missed = [(channel, *read) for channel, read in found.items()]
        await _paced(self._order.recover(tick.id, missed, newest))

    async def drain(self) -> None:
        """Let what is held take its turn, and read what is missing in between."""
        while not self._order.flows:
            gap = self._order.gap
            if gap is not None:
                extra = about("gap", channel=gap.channel.name)
                text = "announcements went missing; reading history, channel=%s"
                logger.warning(text, value(gap.channel.name), extra=extra)
                cut = await self._read([Asked(gap.channel.name, gap.after, gap.upto)])
                if cut.tag != self._order.tag:
                    raise BackendError("Redis holds another data set now")
                self._order.fill(gap, cut.logs[0])
            await _paced(self._order.drain())

    async def _read_again(
        self, owed: Sequence[tuple[Channel, EventId]], tick: Tick
    ) -> AsyncIterator[tuple[Channel, EventId, Log]]:
        for at in range(0, len(owed), BATCH):
            batch = owed[at : at + BATCH]
            logs = await self._read_for(tick, [Asked(channel.name, after) for channel, after in batch])
            for (channel, after), log in zip(batch, logs, strict=True):
                yield channel, after, log

    async def _read_newest(self, tick: Tick) -> AsyncIterator[tuple[Channel, Log]]:
        """What comes first of the channels that are stale."""
        left = self._order.stale
        while left:
            batch: list[Channel] = []
            room = EVENTS
            while left and room > 0 and len(batch) < BATCH:
                batch.append(left.pop())
                room -= max(1, batch[-1].first)
            counts = [max(1, channel.first) for channel in batch]
            asked = [Asked(channel.name, newest=n) for channel, n in zip(batch, counts, strict=True)]
            logs = await self._read_for(tick, asked)
            for channel, count, log in zip(batch, counts, logs, strict=True):
                if log.enough(count)[1]:
                    yield channel, log
                else:  # not all of those are events for everybody
                    yield channel, (await self._read_for(tick, [Asked(channel.name)]))[0]

    async def _read_for(self, tick: Tick, asked: Sequence[Asked]) -> list[Log]:
        cut = await self._read(asked)
        if cut.tag != tick.tag:
            raise BackendError("Redis holds another data set now")
        return cut.logs


async def _paced(steps: Iterator[None]) -> None:
    """Take all steps, and let other tasks have a turn from time to time."""
    for count, _ in enumerate(steps, 1):
        if count % TURN == 0:
            await asyncio.sleep(0)
