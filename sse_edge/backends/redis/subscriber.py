"""One worker's ear on Redis: one connection, counted channels, and no loss that goes unnoticed."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ...errors import BackendError, EventError
from ...event import MAX_EVENT_BYTES, NOWHERE, EventId, Place
from ...logline import about, sentence, value
from ..base import NO_FIRST, Hearing, Receiver, Replay, Reset
from ..log import Log
from . import announcement
from .channel import Channel, State
from .connection import end, stay_connected
from .history import Asked, Cut
from .inlet import listen
from .membership import Membership
from .offset import Offset
from .order import Order
from .recent import EVENTS, Recent, lacking, replayed
from .ticks import Tick, Ticks

if TYPE_CHECKING:
    from .partition import Partition

logger = logging.getLogger("sse_edge")

WATCH = 5.0
"""Seconds between ticks: how fresh the position of quiet streams is, and how soon a connection that
is dead without saying so is noticed."""

LINGER = 2.0
"""Seconds a channel that nobody listens to stays subscribed: a page that reloads comes right back."""

BATCH = 500
"""Channels per SUBSCRIBE and streams per read: Redis serves nobody else meanwhile."""

TURN = 200
"""Steps of catching up before other tasks get a turn."""

DOUBT = 1.0
"""Seconds at least between ticks that are sent because of foreign announcements, or of late events."""

TELL = 60.0
"""Seconds at least between two warnings about malformed messages; all of them are counted."""

ROUNDS = 3
"""Times a stream waits for a read that it shares, before it reads on its own: the first may have begun too
late for it, and the second been asked for more than can be kept."""


class RedisSubscriber:
    """See ``Subscriber``.

    ``Membership`` says what is to be subscribed, ``Order`` what is delivered and when; this is the
    connection between them and Redis.  When it is lost, everything after the position is read from
    history; where history cannot prove to be complete, the channel is reset.
    """

    def __init__(self, partition: Partition, receiver: Receiver, *, watch: float = WATCH) -> None:
        self._partition = partition
        self._verbs = partition.server.verbs
        self._timeout = partition.settings.timeout
        self._worker = secrets.token_hex(16)
        self._own = partition.names.worker(self._worker).encode()
        self._own_heard = False
        self._receiver = receiver
        self._members = Membership(self._channel)
        self._recent = Recent(self._read_history)
        self._order = Order(receiver, self._recent, self._on_foreign)
        self._ticks = Ticks(self._send_tick, self._on_tick, every=watch, timeout=self._timeout)
        self._offset = Offset()
        self._level = time.monotonic()  # when everything was known to be delivered
        self._place = NOWHERE
        self._gap = asyncio.Event()
        self._live = asyncio.Event()
        self._wake = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doubted = self._measured = self._told_malformed = float("-inf")
        self._settings_changed = False
        self._most = MAX_EVENT_BYTES
        self.refused: str | None = None
        self.generation = 0
        self.malformed = 0
        self.foreign = 0
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
        return {"malformed": self.malformed, "foreign": self.foreign}

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
        self._members = Membership(self._channel)

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
            self._wake.set()
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
        known = _within(after, position)
        if (known is not None and known > position.id) or lacking(channels, known, first, position.id, user):
            return None
        return replayed(channels, known, position, first, lost=_lost(after, position), user=user)

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
            known = _within(after, position)
            if known is not None and known > position.id:  # from a worker that is ahead of this one, if any
                await self._ticks.next()
                position = self.position or position
            if known is not None and known > position.id:
                known = None  # from none: its client is reset
            channels = [self._members.channels[name] for name in names]
            for _ in range(ROUNDS):
                if lacks := lacking(channels, known, first, position.id, user):
                    await self._recent.complete(lacks)
            apart = lacking(
                channels, known, first, position.id, user
            )  # too large to be kept beside each other
            cut = (
                await self._read_history([lack.asked(each.name) for each, lack in apart.items()])
                if apart
                else None
            )
            if lacking(channels, known, first, position.id, user).keys() - apart.keys():
                continue  # another was let go of meanwhile
            was, position = position, self.position
            if position is None or position.tag != was.tag or generation != self.generation:
                continue
            if self._live.is_set() and (cut is None or cut.tag == position.tag):
                logs = dict(zip(apart, cut.logs, strict=True)) if cut else {}
                upto = Place(min(position.id, cut.upto) if cut else position.id, position.tag)
                lost = "unknown-id" if after is not None and known is None and after.tag == upto.tag else ""
                lost = lost or _lost(after, upto)
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
            await self._check_permissions()
            await self._partition.declare(wins=True)
            self._members.begin()
            self._drop_idle(0.0)
            self._own_heard = False
            self._confirmed.clear()
            self._gap.clear()
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(connection, self._on_reply, self._receiver.flush))
                group.create_task(self._reconcile(connection))
                group.create_task(self._tick_on())
                group.create_task(self._catch_up())
        finally:
            self._live.clear()
            self._order.lose()
            self._ticks.fail()
            await connection.disconnect(nowait=True)

    async def _check_permissions(self) -> None:
        if self.generation:
            return
        if denied := await self._partition.denied():
            said = ", ".join(denied)
            extra = about("backend-denied", detail=said)
            logger.error("this user of Redis has no permission for %s", said, extra=extra)

    async def _tick_on(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self._confirmed.wait()
        await self._ticks.run()

    async def _send_tick(self, mark: str, settling: Sequence[Channel]) -> None:
        refusal = await self._partition.tick(self._worker, mark, [channel.name for channel in settling])
        if bool(refusal) != bool(self.refused):
            said = f"no writes: {sentence(refusal)}" if refusal else "writes again"
            extra = about("writes-refused", detail=refusal) if refusal else about("writes-taken")
            logger.warning("Redis takes %s", said, extra=extra)
        self.refused = refusal or None

    async def _reconcile(self, connection: Any) -> None:
        """Make what is subscribed what is wanted."""
        await connection.send_command(self._verbs.subscribe, self._own)
        while True:
            self._wake.clear()
            while batch := self._members.ask(BATCH):
                await connection.send_command(self._verbs.subscribe, *(channel.wire for channel in batch))
            gone = self._drop_idle(LINGER)
            for at in range(0, len(gone), BATCH):
                await connection.send_command(self._verbs.unsubscribe, *gone[at : at + BATCH])
            try:
                async with asyncio.timeout(LINGER / 2):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _drop_idle(self, linger: float) -> list[bytes]:
        """Forget the channels that nobody has wanted for ``linger`` seconds; what to unsubscribe from."""
        dropped, wires = self._members.drop(asyncio.get_running_loop().time(), linger)
        for channel in dropped:
            self._recent.forget(channel)
            self._order.leave(channel)
        if dropped:
            self._note_begun()
            if not self._order.flows:
                self._gap.set()  # what waited for one of them need not wait any more
        return wires

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
            self._on_confirmed(wire)
        elif kind == verbs.unsubscribed:
            self._on_left(wire)

    def _on_left(self, wire: bytes) -> None:
        if not self._members.left(wire) and (wire in self._members.wires or wire == self._own):
            # Not asked for: a Cluster moved the slot, and other servers announce from now on.
            raise BackendError("the subscription was ended by the server")

    def _on_confirmed(self, wire: bytes) -> None:
        if wire == self._own:
            self._own_heard = True
        channel = self._members.confirmed(wire)
        if channel is not None and not channel.settled:
            self._ticks.settling.append(channel)
            self._ticks.want()
        self._note_begun()

    def _note_begun(self) -> None:
        if self._own_heard and self._members.has_begun:
            self._confirmed.set()

    def _on_message(self, channel: Channel, payload: bytes) -> None:
        try:
            heard = announcement.parse(payload, self._most)
        except EventError as error:
            self.malformed += 1
            now = asyncio.get_running_loop().time()
            if now - self._told_malformed >= TELL:
                self._told_malformed = now
                # Not the error itself: it may repeat what was published.
                said = f"{error.field} {error.why}"
                extra = about("message-dropped", reason="malformed", channel=channel.name, detail=said)
                text = "a malformed message was dropped (%s), channel=%s"
                logger.warning(text, said, value(channel.name), extra=extra)
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
        if not self.foreign:
            extra = about("message-dropped", reason="foreign", channel=channel.name)
            text = "an announcement of somebody else was dropped, channel=%s"
            logger.warning(text, value(channel.name), extra=extra)
        self.foreign += 1
        now = asyncio.get_running_loop().time()
        if now - self._doubted >= DOUBT:
            self._doubted = now
            self._ticks.want()

    # Catching up

    async def _catch_up(self) -> None:
        """Catch up after a reconnect, and whenever announcements went missing."""
        await self._confirmed.wait()
        await self._recover()
        await self._drain()
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
                await self._drain()
                self._live.set()
            if self._settings_changed:  # by another worker
                self._settings_changed = False
                was_numbered = self._partition.kept.numbered
                await self._partition.read([])
                if self._partition.kept.numbered != was_numbered:
                    raise BackendError(
                        "history is kept from now on" if not was_numbered else "no history is kept"
                    )

    async def _recover(self) -> None:
        """Deliver what was published while it could not be heard, or reset the channels.

        Everything that is heard meanwhile is held, so that each stream gets events in their order.
        """
        tick = await self._ticks.next()
        settled = [channel for channel in self._members.channels.values() if channel.settled]
        owed = self._order.begin(tick, settled)
        found = {channel: (after, log) async for channel, after, log in self._read_again(owed, tick)}
        overheard = self._order.overheard([(channel, *read) for channel, read in found.items()])
        async for channel, after, log in self._read_again(overheard, tick):
            found[channel] = after, log
        newest = {channel: log async for channel, log in self._read_newest(tick)}
        missed = [(channel, *read) for channel, read in found.items()]
        await _paced(self._order.recover(tick.id, missed, newest))
        self._level = tick.sent

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
        cut = await self._read_history(asked)
        if cut.tag != tick.tag:
            raise BackendError("Redis holds another data set now")
        return cut.logs

    async def _drain(self) -> None:
        """Let what is held take its turn, and read what is missing in between."""
        while not self._order.flows:
            gap = self._order.gap
            if gap is not None:
                extra = about("gap", channel=gap.channel.name)
                text = "announcements went missing; reading history, channel=%s"
                logger.warning(text, value(gap.channel.name), extra=extra)
                cut = await self._read_history([Asked(gap.channel.name, gap.after, gap.upto)])
                if cut.tag != self._order.tag:
                    raise BackendError("Redis holds another data set now")
                self._order.fill(gap, cut.logs[0])
            await _paced(self._order.drain())


def _within(after: Place | None, position: Place) -> EventId | None:
    """A client's place in the data set of ``position``, if it is in that."""
    return after.id if after is not None and after.tag == position.tag else None


def _lost(after: Place | None, position: Place) -> str:
    """Why nothing can be said of the time since a client's place; empty if it can, or it has none."""
    if after is None or after.tag == position.tag:
        return ""
    return "unknown-id" if after == NOWHERE else "epoch"


async def _paced(steps: Iterator[None]) -> None:
    """Take all steps, and let other tasks have a turn from time to time."""
    for count, _ in enumerate(steps, 1):
        if count % TURN == 0:
            await asyncio.sleep(0)
