"""One worker's ear on Redis: one connection, counted channels, and no loss that goes unnoticed."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ...errors import BackendError, EventError
from ...event import ZERO, EventId
from ..base import Numbered, Receiver, Replay, Reset
from ..log import Log
from . import announcement
from .announcement import Announcement
from .history import Cut
from .recent import UNREAD, Channel, Recent
from .ticks import Ticks

if TYPE_CHECKING:
    from .partition import Partition

logger = logging.getLogger("sse_edge")

WATCH = 5.0
"""Seconds between ticks: how fresh the position of quiet streams is, and how soon a connection that
is dead without saying so is noticed."""

LINGER = 2.0
"""Seconds a channel that nobody listens to stays subscribed: a page that reloads comes right back."""

BACK_OFF = (0.05, 2.0)
"""Seconds before the first attempt to reconnect, and at most before a later one; varied by half."""

BATCH = 500
"""Channels per SUBSCRIBE and streams per read: Redis serves nobody else meanwhile."""

TURN = 200
"""Messages read in a row before other tasks get a turn."""

HELD = 100_000
"""Messages held at most while history is read; with more, the connection is begun anew."""

_LOST = (RedisError, OSError, TimeoutError, BackendError)


class RedisSubscriber:
    """See ``Subscriber``.

    Redis sends everything to one pub/sub connection in the order in which it happened.  So once a tick
    (a cursor that this worker announces to itself) comes back, every event before it has been heard:
    that is the position.  A channel is settled by the first tick after its subscription.  When the
    connection is lost, everything after the position is read from history; where history cannot prove
    to be complete, the channel is reset.
    """

    def __init__(self, partition: Partition, receiver: Receiver, *, watch: float = WATCH) -> None:
        self._partition = partition
        self._verbs = partition.server.verbs
        self._timeout = partition.settings.timeout
        self._history = partition.settings.history
        self._receiver = receiver
        self._worker = secrets.token_hex(8)
        self._own = partition.names.worker(self._worker).encode()
        self._channels: dict[str, Channel] = {}
        self._wires: dict[bytes, Channel] = {}
        self._idle: set[Channel] = set()
        self._leaving: set[bytes] = set()
        self._unsent: set[Channel] = set()
        self._unconfirmed: set[bytes] = set()
        self._ticks = Ticks(self._send_tick, self._on_tick, every=watch, timeout=self._timeout)
        self._recent = Recent(self._read_history, self._history)
        self._position: EventId | None = None
        self._held: list[tuple[Channel, Announcement]] | None = []
        self._gap = asyncio.Event()
        self._live = asyncio.Event()
        self._wake = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        self.malformed = 0
        self.reads = 0

    @property
    def connected(self) -> bool:
        """Whether events arrive at the moment."""
        return self._live.is_set()

    @property
    def position(self) -> EventId | None:
        """See ``Subscriber.position``."""
        return self._position if self._history else None

    async def start(self) -> None:
        """See ``Subscriber.start``."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """See ``Subscriber.close``."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        self._channels.clear()
        self._wires.clear()

    # What the hub asks

    def want(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.want``."""
        for name in channels:
            self._want(name)

    async def subscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.subscribe``."""
        wanted = [self._want(name) for name in channels]
        waiting = {channel.ready for channel in wanted if not channel.settled}
        if not waiting:
            return
        try:
            # Unlike awaiting them, asyncio.wait does not cancel what other streams wait for too.
            _, missing = await asyncio.wait(waiting, timeout=self._timeout)
        except BaseException:
            self.unsubscribe(channels)
            raise
        if missing:
            self.unsubscribe(channels)
            raise BackendError("Redis did not confirm a subscription in time")

    def _want(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            ready = asyncio.get_running_loop().create_future()
            wire = self._partition.names.announce(name).encode()
            channel = self._channels[name] = self._wires[wire] = Channel(name, wire, ready)
            self._unsent.add(channel)
            self._wake.set()
        channel.count += 1
        self._idle.discard(channel)
        return channel

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        now = asyncio.get_running_loop().time()
        for name in channels:
            channel = self._channels.get(name)
            if channel is None:
                continue
            channel.count -= 1
            if channel.count == 0:
                channel.idle_since = now
                self._idle.add(channel)

    async def replay(self, channels: Sequence[str], after: EventId | None) -> Replay:
        """See ``Subscriber.replay``."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._replay(channels, after)
        except TimeoutError as error:
            raise BackendError("Redis did not answer in time") from error

    async def _replay(self, names: Sequence[str], after: EventId | None) -> Replay:
        while True:
            await self._live.wait()
            position = self._position
            if position is None:
                raise BackendError("the position is unknown")
            if not self._history:
                lost = [] if after is None else [Reset(name, "unknown-id", position) for name in names]
                return Replay([], lost, None)
            if after is None:
                return Replay([], [], position)
            generation = self.generation
            if after > position:  # from a worker that is ahead of this one, if from any at all
                await self._ticks.next()
            channels = [self._channels[name] for name in names]
            if lacking := self._recent.lacking(channels, after):
                await self._recent.complete(lacking)
            apart = self._recent.lacking(channels, after)  # too large to be kept beside each other
            cut = (
                await self._read_history([channel.name for channel in apart], [after] * len(apart))
                if apart
                else None
            )
            if set(self._recent.lacking(channels, after)) - set(apart):
                continue  # another was let go of meanwhile
            if self._live.is_set() and generation == self.generation:
                return self._cut(channels, after, dict(zip(apart, cut.logs, strict=True)) if cut else {}, cut)

    def _cut(
        self, channels: Sequence[Channel], after: EventId, apart: dict[Channel, Log], cut: Cut | None
    ) -> Replay:
        """What the logs say, all of them up to the same place.  Nothing may be awaited in here."""
        upto = self._position or ZERO
        if after > upto:
            return Replay([], [Reset(channel.name, "unknown-id", upto) for channel in channels], upto)
        if cut is not None:
            upto = min(upto, cut.upto)
        events: list[Numbered] = []
        resets: list[Reset] = []
        for channel in channels:
            log = apart.get(channel, channel.log)
            if log.covers(after):
                events += [event for event in log.since(after) if event.id <= upto]
            else:
                reason = channel.gone.reason if log.reason == UNREAD else log.reason
                resets.append(Reset(channel.name, reason, upto))
        events.sort(key=lambda event: event.id)
        return Replay(events, resets, upto)

    async def _read_history(self, names: Sequence[str], after: Sequence[EventId]) -> Cut:
        self.reads += 1
        return await self._partition.read(names, after)

    # The connection

    async def _run(self) -> None:
        attempt = 0
        while True:
            generation = self.generation
            try:
                # In a task of its own: until Python 3.11.3 a failed TaskGroup leaves its task counted as
                # being cancelled, and every later asyncio.timeout in it raises CancelledError.
                await _apart(self._session())
            except Exception as error:
                causes = list(_leaves(error))
                if not all(isinstance(cause, _LOST) for cause in causes):
                    logger.exception("the Redis subscriber failed; reconnecting")
                elif self.generation > generation or attempt == 0:
                    logger.warning(
                        "no connection to Redis (%s); reconnecting", str(causes[0]) or "no answer in time"
                    )
            attempt = 0 if self.generation > generation else attempt + 1
            least, most = BACK_OFF
            await asyncio.sleep(min(most, least * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.5))

    async def _session(self) -> None:
        """Connect, take up every channel again, catch up, and listen until something fails."""
        async with asyncio.timeout(self._timeout):
            connection = await self._partition.listener()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
            self._drop_idle(0.0)
            for channel in self._channels.values():
                channel.confirmed = False
            self._held = []
            self._unsent = set(self._channels.values())
            self._unconfirmed = {self._own}
            self._ticks.settling.clear()
            self._leaving = set()
            self._confirmed.clear()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                group.create_task(self._reconcile(connection))
                group.create_task(self._tick_on())
                group.create_task(self._recoveries())
        finally:
            self._live.clear()
            self._ticks.fail()
            await connection.disconnect(nowait=True)

    async def _tick_on(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self._confirmed.wait()
        await self._ticks.run()

    async def _send_tick(self, mark: str) -> None:
        await self._partition.tick(self._worker, mark)

    async def _reconcile(self, connection: Any) -> None:
        """Make what is subscribed what is wanted."""
        await connection.send_command(self._verbs.subscribe, self._own)
        while True:
            self._wake.clear()
            while self._unsent:
                batch = [self._unsent.pop() for _ in range(min(BATCH, len(self._unsent)))]
                self._unconfirmed.update(channel.wire for channel in batch)
                await connection.send_command(self._verbs.subscribe, *(channel.wire for channel in batch))
            gone = self._drop_idle(LINGER)
            self._leaving.update(gone)
            for at in range(0, len(gone), BATCH):
                await connection.send_command(self._verbs.unsubscribe, *gone[at : at + BATCH])
            try:
                async with asyncio.timeout(LINGER / 2):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _drop_idle(self, linger: float) -> list[bytes]:
        """Forget the channels that nobody has wanted for ``linger`` seconds."""
        since = asyncio.get_running_loop().time() - linger
        # An unconfirmed one is left for later: its confirmation would be taken for the next one's.
        gone = [
            channel
            for channel in self._idle
            if channel.idle_since <= since and (channel.confirmed or not linger)
        ]
        for channel in gone:
            self._idle.discard(channel)
            self._recent.forget(channel)
            del self._channels[channel.name], self._wires[channel.wire]
        return [channel.wire for channel in gone]

    async def _read(self, connection: Any) -> None:
        verbs = self._verbs
        while True:
            for _ in range(TURN):
                kind, wire, payload = await connection.read_response()
                if kind == verbs.message:
                    self._on_message(wire, payload)
                elif kind == verbs.subscribed:
                    self._on_confirmed(wire)
                elif wire in self._leaving:
                    self._leaving.discard(wire)
                elif wire in self._wires or wire == self._own:
                    # Not asked for: a Cluster moved the slot, and other servers announce from now on.
                    raise BackendError("the subscription was ended by the server")
            await asyncio.sleep(0)  # reading what is buffered already never suspends

    def _on_confirmed(self, wire: bytes) -> None:
        channel = self._wires.get(wire)
        if channel is not None:
            channel.confirmed = True
            if not channel.settled:
                self._ticks.settling.append(channel)
        self._unconfirmed.discard(wire)
        if not self._unconfirmed and not self._unsent:
            self._confirmed.set()
            self._ticks.want()

    def _on_message(self, wire: bytes, payload: bytes) -> None:
        if wire == self._own:
            self._ticks.arrived(payload)
            return
        channel = self._wires.get(wire)
        if channel is None:
            return
        try:
            heard = announcement.parse(payload)
        except EventError as error:
            self.malformed += 1
            logger.warning("a malformed message on channel %r was dropped: %s", channel.name, error)
            return
        if self._held is None:
            self._deliver(channel, heard)
        elif len(self._held) < HELD:
            self._held.append((channel, heard))
        else:
            raise BackendError("too much arrived while history was read")

    def _deliver(self, channel: Channel, heard: Announcement) -> None:
        id, previous, frame = heard
        if id is None:
            self._receiver.deliver(channel.name, None, frame)
            return
        if id <= channel.head:
            return  # known from history
        if previous is not None and previous > channel.head and channel.settled:
            logger.warning("announcements on channel %r went missing; reading history", channel.name)
            channel.gap = (channel.head, previous)
            self._held = [(channel, heard)]
            self._gap.set()
            return
        self._pass_on(channel, Numbered(id, frame))

    def _pass_on(self, channel: Channel, event: Numbered) -> None:
        channel.head = event.id
        self._recent.append(channel, event)
        self._advance(event.id)
        self._receiver.deliver(channel.name, event.id, event.frame)

    def _advance(self, id: EventId) -> None:
        if self._position is None or id > self._position:
            self._position = id

    def _on_tick(self, id: EventId, settling: Sequence[Channel]) -> None:
        if self._held is None:
            self._advance(id)
        for channel in settling:
            self._recent.forget(channel)
            channel.restart(id)
            channel.ready.set_result(None)

    # Catching up

    async def _recoveries(self) -> None:
        """Catch up after a reconnect, and whenever announcements went missing."""
        await self._confirmed.wait()
        await self._recover([channel for channel in self._channels.values() if channel.settled])
        self.generation += 1
        if self.generation > 1:
            logger.warning("connected to Redis again; %d channels are level", len(self._channels))
        self._live.set()
        while True:
            await self._gap.wait()
            self._gap.clear()
            self._live.clear()
            await self._recover([channel for channel in self._channels.values() if channel.gap is not None])
            self._live.set()

    async def _recover(self, channels: Sequence[Channel]) -> None:
        """Deliver what was published on ``channels`` while it could not be heard, or reset them.

        Everything that is heard meanwhile is held, so that each stream gets events in their order.
        """
        lost = self._position
        upto = await self._ticks.next()
        resets: list[tuple[Reset, Channel]]
        missed: list[tuple[Numbered, Channel]] = []
        if lost is not None and upto < lost:
            # Another data set, with a clock behind the old one's: its ids are no newer than those.
            self._position = None
            resets = [(Reset(channel.name, "epoch", upto), channel) for channel in channels]
        else:
            resets, missed = await self._read_missed(channels, upto)
        # Nothing is awaited from here on.
        for reset, channel in resets:
            self._recent.forget(channel)
            channel.restart(reset.head)
            self._receiver.reset(reset)
        missed.sort(key=lambda pair: pair[0].id)
        for event, channel in missed:
            self._pass_on_missed(channel, event, lost)
        for channel in channels:
            channel.head = max(channel.head, upto if channel.gap is None else channel.gap[1])
            channel.gap = None
        self._advance(upto)
        held, self._held = self._held or [], None
        for channel, heard in held:
            if self._held is None:
                self._deliver(channel, heard)
            else:
                self._held.append((channel, heard))

    async def _read_missed(
        self, channels: Sequence[Channel], upto: EventId
    ) -> tuple[list[tuple[Reset, Channel]], list[tuple[Numbered, Channel]]]:
        """What history has of the time in which it was not heard, up to the tick ``upto``.

        What is newer is announced to us, because every channel was confirmed before the tick; after a
        gap, so is everything but what went missing.
        """
        resets: list[tuple[Reset, Channel]] = []
        missed: list[tuple[Numbered, Channel]] = []
        for at in range(0, len(channels), BATCH):
            batch = channels[at : at + BATCH]
            # Before there was a position, a channel was heard from its own beginning.
            after = [
                channel.gap[0] if channel.gap else self._position or channel.log.floor for channel in batch
            ]
            cut = await self._read_history([channel.name for channel in batch], after)
            for channel, asked, log in zip(batch, after, cut.logs, strict=True):
                if not self._history:
                    resets.append((Reset(channel.name, "gap", upto), channel))
                elif log.covers(asked):
                    last = channel.gap[1] if channel.gap else upto
                    missed += [(event, channel) for event in log.events if event.id <= last]
                else:
                    resets.append((Reset(channel.name, log.reason, upto), channel))
        return resets, missed

    def _pass_on_missed(self, channel: Channel, event: Numbered, lost: EventId | None) -> None:
        if event.id <= channel.head:
            return
        if lost is None or event.id > lost:
            self._pass_on(channel, event)
            return
        # Newer events of other channels went out before it.  Without its id line it cannot take a
        # client's Last-Event-ID back to a place before them.
        channel.head = event.id
        self._recent.append(channel, event)
        self._receiver.deliver_late(channel.name, event.id, event.frame.partition(b"\n")[2])


async def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` in a task of its own, which ends with this call whatever happens."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    finally:
        await end(task)
    if task.cancelled():
        raise BackendError("the session was cancelled")
    task.result()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it is done: on Python 3.11 a TaskGroup can drop a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    if not task.cancelled():
        task.exception()  # seen, also where nobody asks: asyncio would log it as never retrieved


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
