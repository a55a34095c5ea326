"""Recent events of the channels that a worker listens to, so that resuming clients share reads."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ...event import EventId, Place
from ..base import Entry, Replay, Reset
from ..log import Log
from .channel import UNREAD, Channel, Gone
from .history import Asked, Cut

RECENT_BYTES = 33_554_432
"""Bytes of recent events kept per worker, over all channels."""


class Recent:
    """The logs of all channels together, bounded by ``size`` bytes in all.

    ``read`` reads channels' history.
    """

    def __init__(self, read: Callable[[Sequence[Asked]], Awaitable[Cut]], size: int = RECENT_BYTES) -> None:
        self._read = read
        self._size_limit = size
        self._size = 0
        self._order: OrderedDict[Channel, None] = OrderedDict()
        self._asked: dict[Channel, EventId] = {}

    def append(self, channel: Channel, id: tuple[int, int], frame: bytes) -> None:
        """Keep an event that was just heard."""
        log = channel.log
        before = log.size
        log.append((id, frame))
        if log.count > channel.keep or log.size > self._size_limit:
            log.trim(channel.keep, self._size_limit, UNREAD)
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

    async def complete(self, channels: Sequence[Channel], after: EventId) -> None:
        """Read what channels' logs lack of the time after ``after``, where Redis has it.

        Once for all streams that ask at the same time, after the earliest of what they ask; who asks
        while a read is under way waits for it, and may have to ask again.  Raises BackendError.
        """
        for channel in channels:
            self._asked[channel] = min(after, self._asked.get(channel, after))
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
            await asyncio.sleep(0)  # whoever asks in the same turn of the loop is asked for as well
            wanted = [(channel, self._asked.pop(channel), channel.log.floor) for channel in channels]
            wanted = [(channel, after, floor) for channel, after, floor in wanted if after < floor]
            asked = [Asked(channel.name, after, floor) for channel, after, floor in wanted]
            cut = await self._read(asked)
            for (channel, _, _), one, log in zip(wanted, asked, cut.logs, strict=True):
                if not log.covers(one.after):
                    channel.gone = Gone(log.floor, log.reason)
                # Not if it was let go of meanwhile: then what came after the read is missing.
                if channel.log.floor == one.upto:
                    self._prepend(channel, one.after, log)
        finally:
            for channel in channels:
                channel.reading = None
                self._asked.pop(channel, None)

    def _prepend(self, channel: Channel, after: EventId, read: Log) -> None:
        heard = channel.log
        # Above the floor everything was heard, or will be: only what is below is taken from history.
        older = [event for event in read.events if event.id <= heard.floor]
        before = heard.size
        heard.prepend(older)
        if read.covers(after):
            heard.floor = min(after, heard.floor)  # and Redis may have more
        else:
            heard.floor, heard.reason = min(read.floor, heard.floor), read.reason
        heard.trim(channel.keep, self._size_limit, UNREAD)
        self._grown(channel, heard.size - before)

    def _grown(self, channel: Channel, by: int) -> None:
        self._size += by
        try:
            self._order.move_to_end(channel)
        except KeyError:
            self._order[channel] = None
        while self._size > self._size_limit:
            oldest = next(iter(self._order))
            self.forget(oldest)


def replayed(
    channels: Sequence[Channel], after: EventId, upto: Place, apart: Mapping[Channel, Log] | None = None
) -> Replay:
    """What the logs of ``channels`` say, or those that were read ``apart``, all of them up to one place."""
    if after > upto.id:
        return unproven([channel.name for channel in channels], "unknown-id", upto)
    events: list[Entry] = []
    resets: list[Reset] = []
    for channel in channels:
        log = (apart or {}).get(channel, channel.log)
        if log.covers(after):
            missed = log.since(after)
            while missed and missed[-1][:2] > upto.id:
                missed.pop()
            events += missed
        else:
            reason = channel.gone.reason if log.reason == UNREAD else log.reason
            resets.append(Reset(channel.name, reason, upto))
    if len(channels) > 1:
        events.sort()
    return Replay(events, resets, upto)


def unproven(names: Sequence[str], reason: str, head: Place) -> Replay:
    """Nothing can be said of the time before."""
    return Replay([], [Reset(name, reason, head) for name in names], head)
