"""Recent events of the channels that a worker listens to, so that resuming clients share reads."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ...event import ZERO, EventId
from ..base import Numbered
from ..log import Log
from .history import Cut

RECENT_BYTES = 33_554_432
"""Bytes of recent events kept per worker, over all channels."""

UNREAD = "unread"
"""A log's reason for its floor: what is below was not read here; Redis may still have it."""


class Gone(NamedTuple):
    """The floor below which Redis has nothing any more, and why."""

    floor: EventId
    reason: str


class Channel:
    """A channel that streams of this worker listen to.

    ``log`` holds its recent events, complete from the floor on once the channel is settled.  ``head``
    is the newest id heard, or known to be before all that will be.  ``ready`` is done once it is
    settled.  ``gone`` has the floor below which Redis itself has nothing any more, as far as it was
    read.  ``gap`` is the head at which an announcement went missing, and the id of the newest that did.
    """

    __slots__ = (
        "confirmed",
        "count",
        "gap",
        "gone",
        "head",
        "idle_since",
        "log",
        "name",
        "reading",
        "ready",
        "wire",
    )

    def __init__(self, name: str, wire: bytes, ready: asyncio.Future[None]) -> None:
        self.name = name
        self.wire = wire
        self.ready = ready
        self.count = 0
        self.idle_since = 0.0
        self.confirmed = False
        self.head = ZERO
        self.gap: tuple[EventId, EventId] | None = None
        self.log = Log(ZERO, UNREAD)
        self.reading: asyncio.Task[None] | None = None
        self.gone = Gone(ZERO, UNREAD)

    @property
    def settled(self) -> bool:
        """Whether everything above the log's floor is heard."""
        return self.ready.done()

    def restart(self, floor: EventId) -> None:
        """Know nothing before ``floor``, and everything after it."""
        self.log = Log(floor, UNREAD)
        self.head = floor
        if floor < self.gone.floor:  # another data set, with a clock behind
            self.gone = Gone(ZERO, UNREAD)


class Recent:
    """The logs of all channels together, bounded by ``count`` per channel and ``size`` bytes in all.

    ``read`` reads channels' history after an id each.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str], Sequence[EventId]], Awaitable[Cut]],
        count: int,
        size: int = RECENT_BYTES,
    ) -> None:
        self._read = read
        self._count = count
        self._size_limit = size
        self._size = 0
        self._order: OrderedDict[Channel, None] = OrderedDict()

    def append(self, channel: Channel, event: Numbered) -> None:
        """Keep an event that was just heard."""
        log = channel.log
        before = log.size
        log.append(event)
        log.trim(self._count, self._size_limit, UNREAD)
        self._grown(channel, log.size - before)

    def forget(self, channel: Channel) -> None:
        """Let go of a channel's events."""
        if channel in self._order:
            del self._order[channel]
            self._size -= channel.log.size
        channel.log = Log(channel.log.head, UNREAD)

    def lacking(self, channels: Sequence[Channel], after: EventId) -> list[Channel]:
        """Those whose logs cannot say what was published after ``after``, while Redis may."""
        return [
            channel
            for channel in channels
            if channel.log.reason == UNREAD and after < channel.log.floor and after >= channel.gone.floor
        ]

    async def complete(self, channels: Sequence[Channel]) -> None:
        """Read the whole history of channels into their logs.

        Once per channel, however many streams ask at the same time.  Raises BackendError.
        """
        unread = [channel for channel in channels if channel.reading is None]
        if unread:
            # A task of its own: the stream that began it may leave, and others wait for it.
            reading = asyncio.create_task(self._fill(unread))
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            for channel in unread:
                channel.reading = reading
        readings = {channel.reading for channel in channels if channel.reading is not None}
        for reading in (await asyncio.wait(readings))[0]:
            reading.result()

    async def _fill(self, channels: Sequence[Channel]) -> None:
        try:
            cut = await self._read([channel.name for channel in channels], [ZERO] * len(channels))
            for channel, log in zip(channels, cut.logs, strict=True):
                channel.gone = Gone(log.floor, log.reason)
                # Not if it was let go of meanwhile: then what came after the read is missing.
                if channel.log.floor <= cut.upto:
                    self._prepend(channel, log)
        finally:
            for channel in channels:
                channel.reading = None

    def _prepend(self, channel: Channel, read: Log) -> None:
        heard = channel.log
        # Above the floor everything was heard, or will be: only what is below is taken from history.
        older = [event for event in read.events if event.id <= heard.floor]
        before = heard.size
        heard.events.extendleft(reversed(older))
        heard.size += sum(len(event.frame) for event in older)
        if read.floor < heard.floor:
            heard.floor, heard.reason = read.floor, read.reason
        else:
            heard.reason = read.reason
        heard.trim(self._count, self._size_limit, UNREAD)
        self._grown(channel, heard.size - before)

    def _grown(self, channel: Channel, by: int) -> None:
        self._size += by
        self._order[channel] = None
        self._order.move_to_end(channel)
        while self._size > self._size_limit:
            oldest = next(iter(self._order))
            self.forget(oldest)
