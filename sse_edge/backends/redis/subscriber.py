"""One worker's ear on Redis: one connection, counted channels, and no loss that goes unnoticed."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from ...errors import BackendError, EventError
from ...event import MAX_EVENT_BYTES, NOWHERE, EventId, Place
from ...logline import about, sentence
from ..base import NO_FIRST, Hearing, Receiver, Replay, Reset
from . import announcement
from .channel import Channel, State
from .connection import end, stay_connected
from .history import Asked, Cut
from .inlet import listen
from .membership import Membership
from .offset import Offset
from .order import Order
from .partition import Partition
from .recent import Recent, lacking, replayed, why_lost, within
from .recovery import Recovery
from .strays import Strays
from .subscriptions import Subscriptions
from .ticks import Tick, Ticks

logger = logging.getLogger("sse_edge")

WATCH = 5.0
"""Seconds between ticks: how fresh the position of quiet streams is, and how soon a connection that
is dead without saying so is noticed."""

DOUBT = 1.0
"""Seconds at least between ticks that are sent because of foreign announcements, or of late events."""


class RedisSubscriber:
    """See ``Subscriber``.

    ``Membership`` says what is to be subscribed, ``Order`` what is delivered and when; this is the
    connection between them and Redis.  When it is lost, ``Recovery`` reads everything after the position
    from history; where history cannot prove to be complete, the channel is reset.
    """

    def __init__(self, partition: Partition, receiver: Receiver, *, watch: float = WATCH) -> None:
        self._partition = partition
        self._verbs = partition.server.verbs
        self._timeout = partition.settings.timeout
        self._worker = secrets.token_hex(16)
        self._own = partition.names.worker(self._worker).encode()
        self._receiver = receiver
        self._members = Membership(self._channel)
        self._recent = Recent(self._read_history)
        self._order = Order(receiver, self._recent, self._on_foreign)
        self._ticks = Ticks(self._send_tick, self._on_tick, every=watch, timeout=self._timeout)
        self._recovery = Recovery(self._order, self._read_history)
        self._subscriptions = Subscriptions(self._members, self._verbs, self._own, self._settle, self._forget)
        self._offset = Offset()
        self._strays = Strays()
        self._level = time.monotonic()  # when everything was known to be delivered
        self._place = NOWHERE
        self._gap = asyncio.Event()
        self._live = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doubted = self._measured = float("-inf")
        self._settings_changed = False
        self._most = MAX_EVENT_BYTES
        self.refused: str | None = None
        self.generation = 0
        self.reads = 0

    @property
    def connected(self) -> bool:
        """Whether events arrive at the moment."""
        return self._live.is_set()

    @property
    def position(self) -> Place | None:
        """See ``Subscriber.position``."""
        order = self._order
        if order.position is None or not self._partition.kept.numbered:
            return None
        if self._place.id is not order.position or self._place.tag != order.tag:
            self._place = Place(order.position, order.tag)  # streams keep it: one for all that come meanwhile
        return self._place

    @property
    def tag(self) -> str:
        """What names the data set; empty as long as that is not known."""
        return self._order.tag

    def beginning(self, channels: Sequence[str]) -> Place | None:
        """Where a stream on subscribed ``channels`` would begin now; None while it had to wait."""
        members = [self._members.channels[name] for name in channels]
        return self.position if self._live.is_set() and self._order.begins(members) else None

    @property
    def dropped(self) -> dict[str, int]:
        """See ``Subscriber.dropped``."""
        return self._strays.counted

    @property
    def hearing(self) -> Hearing:
        """See ``Subscriber.hearing``."""
        now, position = time.monotonic(), self._order.position
        age = None if position is None else self._offset.since(position.ms, now)
        # Where ids cannot tell, since they stand still, ticks do.
        age = now - self._level if age is None else min(age, now - self._level)
        members = self._members
        settling = members.settling if self._live.is_set() else len(members.channels)
        return Hearing(settling, self._order.held, age)

    def measure(self, channel: str, id: EventId, then: Callable[[float], None]) -> None:
        """See ``Subscriber.measure``."""
        now = time.monotonic()
        if self._offset.measure(id.ms, now, then) and now - self._measured >= DOUBT:
            self._measured = now
            self._ticks.want()

    def bound(self, max_event_bytes: int) -> None:
        """See ``Subscriber.bound``."""
        self._most = max_event_bytes

    async def start(self) -> None:
        """See ``Subscriber.start``."""
        self._task = asyncio.create_task(stay_connected(self._session, lambda: self.generation))

    async def close(self) -> None:
        """See ``Subscriber.close``."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        self._members.clear()

    # What the hub asks

    def want(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.want``."""
        for name in channels:
            self._want(name)

    async def subscribe(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.subscribe``."""
        wanted = [self._want(name) for name in channels]
        if self._live.is_set() and self._order.begins(wanted):
            return self.position
        try:
            async with asyncio.timeout(self._timeout):
                while not (self._live.is_set() and self._order.begins(wanted)):
                    waiting = {channel.ready for channel in wanted if channel.ready is not None}
                    if waiting:
                        # Unlike awaiting them, this does not cancel what other streams wait for too.
                        await asyncio.wait(waiting)
                    await self._live.wait()
        except TimeoutError as error:
            self.unsubscribe(channels)
            raise BackendError("Redis did not confirm a subscription in time") from error
        except BaseException:
            self.unsubscribe(channels)
            raise
        return self.position

    def _want(self, name: str) -> Channel:
        channel = self._members.want(name)
        if channel.state is State.WANTED:
            self._subscriptions.wake()
        return channel

    def _channel(self, name: str) -> Channel:
        return Channel(
            name,
            self._partition.names.announce(name).encode(),
            asyncio.get_running_loop().create_future(),
            self._partition.kept.of(name),
        )

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        now = time.monotonic()  # the loop's clock, too; to ask for the loop is a system call before 3.12
        for name in channels:
            self._members.release(name, now)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        now, ends = self._order.position, []
        for name in channels:
            channel = self._members.channels.get(name)
            if channel is None or channel.finished is None or now is None or not channel.is_finished(now):
                return None
            ends.append(channel.finished)
        return Place(max(ends), self._order.tag)

    async def replay(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """See ``Subscriber.replay``."""
        if (replay := self.at_hand(channels, after, first, user)) is not None:
            return replay
        try:
            async with asyncio.timeout(self._timeout):
                return await self._replay(channels, after, first, user)
        except TimeoutError as error:
            raise BackendError("Redis did not answer in time") from error

    def at_hand(
        self,
        names: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay | None:
        """What is known without waiting; None if that does not say it all.  Raises BackendError."""
        for name in names if first else ():
            channel = self._members.channels[name]
            channel.first = max(channel.first, min(first.get(name, 0), channel.retention.events))
        if not self._live.is_set():
            return None
        position = self.position
        if not self._partition.kept.numbered:
            lost = [] if after is None else [Reset(name, "unknown-id", None) for name in names]
            return Replay([], lost, None)
        if position is None:
            raise BackendError("the position is unknown")
        if after == position:
            return Replay([], [], position)
        channels = [self._members.channels[name] for name in names]
        known = within(after, position)
        if (known is not None and known > position.id) or lacking(channels, known, first, position.id, user):
            return None
        return replayed(channels, known, position, first, lost=why_lost(after, position), user=user)

    async def _replay(
        self, names: Sequence[str], after: Place | None, first: Mapping[str, int], user: str | None
    ) -> Replay:
        while True:
            await self._live.wait()
            replay = self.at_hand(names, after, first, user)
            if replay is not None:
                return replay
            position, generation = self.position, self.generation
            assert position is not None
            known = within(after, position)
            if known is not None and known > position.id:  # from a worker that is ahead of this one, if any
                await self._ticks.next()
                position = self.position or position
            if known is not None and known > position.id:
                known = None  # from none: its client is reset
            channels = [self._members.channels[name] for name in names]
            lacks = partial(lacking, channels, known, first, position.id, user)
            apart = await self._recent.completed(lacks)
            asked = [lack.asked(channel.name) for channel, lack in apart.items()]
            cut = await self._read_history(asked) if asked else None
            if lacks().keys() - apart.keys():
                continue  # another was let go of meanwhile
            was, position = position, self.position
            if position is None or position.tag != was.tag or generation != self.generation:
                continue
            if self._live.is_set() and (cut is None or cut.tag == position.tag):
                logs = dict(zip(apart, cut.logs, strict=True)) if cut else {}
                upto = Place(min(position.id, cut.upto) if cut else position.id, position.tag)
                lost = "unknown-id" if after is not None and known is None and after.tag == upto.tag else ""
                lost = lost or why_lost(after, upto)
                return replayed(channels, known, upto, first, logs, lost=lost, user=user)

    async def _read_history(self, asked: Sequence[Asked]) -> Cut:
        self.reads += 1
        return await self._partition.read(asked)

    # The connection

    async def _session(self) -> None:
        """Connect, take up every channel again, catch up, and listen until something fails."""
        async with asyncio.timeout(self._timeout):
            connection = await self._partition.listener()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
            if not self.generation:
                await self._partition.check_permissions()
            await self._partition.declare(wins=True)
            self._subscriptions.begin()
            self._gap.clear()
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(connection, self._on_reply, self._receiver.flush))
                group.create_task(self._subscriptions.keep(connection))
                group.create_task(self._tick_on())
                group.create_task(self._catch_up())
        finally:
            self._live.clear()
            self._order.lose()
            self._ticks.fail()
            await connection.disconnect(nowait=True)

    async def _tick_on(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self._subscriptions.confirmed.wait()
        await self._ticks.run()

    async def _send_tick(self, mark: str, settling: Sequence[Channel]) -> None:
        refusal = await self._partition.tick(self._worker, mark, [channel.name for channel in settling])
        if bool(refusal) != bool(self.refused):
            said = f"no writes: {sentence(refusal)}" if refusal else "writes again"
            extra = about("writes-refused", detail=refusal) if refusal else about("writes-taken")
            logger.warning("Redis takes %s", said, extra=extra)
        self.refused = refusal or None

    def _on_reply(self, reply: Any) -> None:
        try:
            kind, wire, payload = reply
        except (TypeError, ValueError):
            if isinstance(reply, RedisError):
                raise reply from None
            return  # a push of another kind
        verbs = self._verbs
        if kind == verbs.message:
            channel = self._members.wires.get(wire)
            if channel is not None:
                self._on_message(channel, payload)
            elif wire == self._own:
                self._ticks.arrived(payload)
        elif kind == verbs.subscribed:
            self._subscriptions.confirm(wire)
        elif kind == verbs.unsubscribed:
            self._subscriptions.leave(wire)

    def _settle(self, channel: Channel) -> None:
        if not channel.settled:
            self._ticks.settling.append(channel)
            self._ticks.want()

    def _forget(self, channel: Channel) -> None:
        self._recent.forget(channel)
        self._order.leave(channel)
        if not self._order.flows:
            self._gap.set()  # what waited for it need not wait any more

    def _on_message(self, channel: Channel, payload: bytes) -> None:
        try:
            heard = announcement.parse(payload, self._most)
        except EventError as error:
            self._strays.malformed(channel.name, error)
            return
        self._order.hear(channel, heard)
        if self._order.gap is not None:
            self._gap.set()

    def _on_tick(self, tick: Tick) -> None:
        self._offset.learn(tick.sent, time.monotonic(), tick.ms)
        self._order.tick(tick)
        if self._order.position == tick.id:  # it is not held
            self._level = tick.sent
        if tick.version != (self._partition.version or "-"):
            self._settings_changed = True
            self._gap.set()

    def _on_foreign(self, channel: Channel) -> None:
        """Somebody else announces, or Redis holds another data set now: a tick will tell."""
        self._strays.foreign(channel.name)
        now = asyncio.get_running_loop().time()
        if now - self._doubted >= DOUBT:
            self._doubted = now
            self._ticks.want()

    # Catching up

    async def _catch_up(self) -> None:
        """Catch up after a reconnect, and whenever announcements went missing."""
        await self._subscriptions.confirmed.wait()
        tick = await self._ticks.next()
        await self._recovery.recover(tick, self._members.channels.values())
        self._level = tick.sent
        await self._recovery.drain()
        self.generation += 1
        if self.generation > 1:
            level = len(self._members.channels)
            extra = about("backend-back", channels=level)
            logger.warning("connected to Redis again; %d channels are level", level, extra=extra)
        self._live.set()
        while True:
            await self._gap.wait()
            self._gap.clear()
            if not self._order.flows:
                self._live.clear()
                await self._recovery.drain()
                self._live.set()
            if self._settings_changed:  # by another worker
                self._settings_changed = False
                await self._partition.reread_settings()
