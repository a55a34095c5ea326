"""Recent events of the channels that a worker listens to, so that resuming clients share reads."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ...event import FINISHED, NOWHERE, ZERO, EventId, Place
from ..base import NO_FIRST, Entry, Replay, Reset
from ..log import Log
from .channel import UNREAD, Channel, Gone
from .history import Asked, Cut

NOTHING_APART: Mapping[Channel, Log] = MappingProxyType({})

EVENTS = 20_000
"""Events that are asked for in one call at most, unless one channel alone has more."""

ROUNDS = 3
"""Times a stream waits for a read that it shares, before it reads on its own: the first may have begun too
late for it, and the second been asked for more than can be kept."""

RECENT_BYTES = 33_554_432
"""Bytes of recent events kept per worker, over all channels."""


class Lack(NamedTuple):
    """What a log lacks: events after an id (None: none), and so many of the ``newest`` (0: none)."""

    after: EventId | None
    newest: int = 0

    def joined(self, other: Lack) -> Lack:
        """As much as satisfies both."""
        if self.after is None and other.after is None:
            return Lack(None, max(self.newest, other.newest))
        if self.newest or other.newest:
            return Lack(ZERO)
        return Lack(min(each.after for each in (self, other) if each.after is not None))

    def is_beneath(self, log: Log) -> bool:
        """Whether there is anything to be read, below what ``log`` has."""
        return self.after is None or self.after < log.floor or self.after == ZERO

    def asked(self, channel: str, upto: EventId | None = None) -> Asked:
        """What is to be read, up to an id."""
        if self.after is None:
            return Asked(channel, ZERO, upto, self.newest)
        return Asked(channel, self.after, upto)


class Recent:
    """The logs of all channels together, bounded by ``size`` bytes in all.

    ``read`` reads channels' history.
    """

    def __init__(self, read: Callable[[Sequence[Asked]], Awaitable[Cut]], size: int = RECENT_BYTES) -> None:
        self._read = read
        self._size_limit = size
        self._size = 0
        self._order: OrderedDict[Channel, None] = OrderedDict()
        self._asked: dict[Channel, Lack] = {}
        self._next: list[Channel] = []
        self._room = 0
        self._last: asyncio.Task[None] | None = None

    def append(
        self, channel: Channel, id: tuple[int, int], frame: bytes, except_user: str | None = None
    ) -> None:
        """Keep an event that was just heard."""
        log = channel.log
        before = log.size
        log.append(id, frame, except_user)
        keep = channel.retention.events
        if log.count > keep or log.size > self._size_limit:
            log.trim(keep, self._size_limit, UNREAD)
        channel.finished = EventId(*id) if frame.endswith(FINISHED) else None
        self._grown(channel, log.size - before)

    def forget(self, channel: Channel) -> None:
        """Let go of a channel's events."""
        if channel in self._order:
            del self._order[channel]
            self._size -= channel.log.size
        channel.log = Log(channel.log.head, UNREAD)

    async def completed(self, lacks: Callable[[], Mapping[Channel, Lack]]) -> Mapping[Channel, Lack]:
        """What is lacking still once it was read several times: what is too large to be kept side by side.

        Raises BackendError.
        """
        for _ in range(ROUNDS):
            if lacking := lacks():
                await self.complete(lacking)
        return lacks()

    async def complete(self, lacks: Mapping[Channel, Lack]) -> None:
        """Read what channels' logs lack, where Redis has it.

        Once for all streams that ask at the same time, as much as satisfies each, and of all their channels
        in one call; who asks while one is under way is in the next.  Who asks for a channel that is being
        read waits for that, and may have to ask again.  Raises BackendError.
        """
        for channel, lack in lacks.items():
            self._asked[channel] = self._asked.get(channel, lack).joined(lack)
            if channel.reading is None:
                channel.reading = self._join(channel, lack.newest or channel.retention.events)
        readings = {channel.reading for channel in lacks if channel.reading is not None}
        for reading in (await asyncio.wait(readings))[0]:
            reading.result()

    def _join(self, channel: Channel, count: int) -> asyncio.Task[None]:
        """The call that is to read so many events of ``channel``."""
        if not self._next or self._room < count:
            before = None if self._last is None or self._last.done() else self._last
            self._next, self._room = [], EVENTS
            # A task of its own: the stream that began it may leave, and others wait for it.
            self._last = asyncio.create_task(self._fill(self._next, before))
            self._last.add_done_callback(lambda task: task.cancelled() or task.exception())
        assert self._last is not None
        self._next.append(channel)
        self._room -= count
        return self._last

    async def _fill(self, channels: Sequence[Channel], before: asyncio.Task[None] | None) -> None:
        try:
            if before is None:
                await asyncio.sleep(0)  # whoever asks in the same turn of the loop is asked for as well
            else:
                await asyncio.wait([before])
            if self._next is channels:
                self._next = []
            wanted = [(channel, self._asked.pop(channel), channel.log) for channel in channels]
            wanted = [(channel, lack, log) for channel, lack, log in wanted if lack.is_beneath(log)]
            asked = [lack.asked(channel.name, log.bound) for channel, lack, log in wanted]
            floors = [log.floor for _, _, log in wanted]
            cut = await self._read(asked)
            for (channel, _, _), one, floor, log in zip(wanted, asked, floors, cut.logs, strict=True):
                if log.whole or (one.newest is None and not log.covers(one.after)):
                    channel.gone = Gone(log.floor, log.reason)
                # Not if it was let go of meanwhile: then what came after the read is missing.
                if channel.log.floor == floor and channel.log.bound == one.upto:
                    self._prepend(channel, one, log)
        finally:
            for channel in channels:
                channel.reading = None
                self._asked.pop(channel, None)

    def _prepend(self, channel: Channel, asked: Asked, read: Log) -> None:
        heard, bound = channel.log, channel.log.bound
        # Above the floor everything was heard, or will be: only what is below is taken from history.
        older = [event for event in read.events if event.id <= bound]
        before = heard.size
        heard.prepend(older)
        if asked.newest is None and read.covers(asked.after):
            heard.floor = min(asked.after, heard.floor)  # and Redis may have more
        else:
            heard.floor = min(read.floor, heard.floor)
            if asked.newest is None or read.whole or read.reason == "epoch":
                heard.reason = read.reason
        heard.whole = read.whole
        heard.trim(channel.retention.events, self._size_limit, UNREAD)
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


def lacking(
    channels: Sequence[Channel],
    after: EventId | None,
    first: Mapping[str, int],
    now: EventId,
    user: str | None = None,
) -> dict[Channel, Lack]:
    """What logs cannot say of what is owed to a client that was at ``after``, or nowhere, while Redis may."""
    lacks: dict[Channel, Lack] = {}
    for channel in channels:
        log = channel.log
        if after is not None and log.covers(after):
            continue
        if after is not None and log.reason == UNREAD and after >= channel.gone.floor:
            lacks[channel] = Lack(after)
            continue
        count = _first(channel, first, now)
        is_all = log.whole or log.count >= channel.retention.events
        if count and not is_all and len(channel.newest(count, now, user=user)) < count:
            # Where not all that is there are events for this user, nobody knows how far back the rest are.
            lacks[channel] = Lack(None, count - log.count) if log.count < count else Lack(ZERO)
    return lacks


def _first(channel: Channel, first: Mapping[str, int], now: EventId) -> int:
    """How many events are to be given of a channel from before."""
    count = min(first.get(channel.name, 0), channel.retention.events)
    return count or int(channel.is_finished(now))


def replayed(
    channels: Sequence[Channel],
    after: EventId | None,
    upto: Place,
    first: Mapping[str, int] = NO_FIRST,
    apart: Mapping[Channel, Log] = NOTHING_APART,
    *,
    lost: str = "",
    user: str | None = None,
) -> Replay:
    """What the logs of ``channels`` say, or those that were read ``apart``, all of them up to one place: what
    is owed to a client that was at ``after``, or nowhere (``lost`` says why, if it was somewhere once).
    """
    if after is not None and after > upto.id:
        after, lost = None, "unknown-id"
    events: list[Entry] = []
    resets: list[Reset] = []
    for channel in channels:
        log = apart.get(channel, channel.log)
        if after is not None and log.covers(after):
            missed = log.since(after, user)
            while missed and missed[-1][:2] > upto.id:
                missed.pop()
            events += missed
            continue
        if after is not None:
            reason = channel.gone.reason if log.reason == UNREAD else log.reason
            resets.append(Reset(channel.name, reason, upto))
        elif lost:
            resets.append(Reset(channel.name, lost, upto))
        if count := _first(channel, first, upto.id):
            events += channel.newest(count, upto.id, log, user)
    if len(channels) > 1:
        events.sort()
    return Replay(events, resets, upto)


def within(after: Place | None, position: Place) -> EventId | None:
    """A client's place in the data set of ``position``, if it is in that."""
    return after.id if after is not None and after.tag == position.tag else None


def why_lost(after: Place | None, position: Place) -> str:
    """Why nothing can be said of the time since a client's place; empty if it can, or it has none."""
    if after is None or after.tag == position.tag:
        return ""
    return "unknown-id" if after == NOWHERE else "epoch"
