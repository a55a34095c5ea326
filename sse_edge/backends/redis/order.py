"""The order in which a worker's streams get what one connection hears, and what it missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ...errors import BackendError
from ...event import EventId, Place, without_id
from ..base import CONTROL, Numbered, Receiver, Reset
from ..log import Log
from .announcement import NONE, Announcement, number
from .channel import Channel, State
from .recent import Recent
from .ticks import Tick

LEFT = State.LEFT  # looking it up costs as much as the rest of the comparison
_new = tuple.__new__  # half of what EventId's own takes

HELD = 100_000
"""Messages held at most while history is read; with more, the connection is begun anew."""


class Gap(NamedTuple):
    """Announcements on ``channel`` went missing: those after one id, up to another."""

    channel: Channel
    after: EventId
    upto: EventId


class Order:
    """Messages, ticks and losses in; deliveries and resets out.  No clock, and nothing is awaited.

    Redis sends everything to one connection in the order in which it happened, so a tick (a cursor that
    this worker announces to itself) comes after every event up to its place: that is the ``position``.
    A channel is settled by the first tick after its subscription was confirmed.

    From ``lose`` on, until ``recover`` has made good what was missed, and from a gap on until ``fill``
    has, everything that is heard is held, messages and ticks alike, and takes its turn afterwards.
    ``recover`` and ``drain`` yield between steps that take microseconds each, so that a caller with
    thousands of channels can pause.

    ``tag`` names the data set that all of this is about, and ``seal`` proves its announcements;
    ``on_foreign`` is called with a channel on which somebody else's was dropped.
    """

    def __init__(self, receiver: Receiver, recent: Recent, on_foreign: Callable[[Channel], None]) -> None:
        self._receiver = receiver
        self._recent = recent
        self._on_foreign = on_foreign
        self._held: deque[tuple[Channel, Announcement] | Tick] | None = deque()
        self._seal = b""
        self._past: set[bytes] = set()
        self._framed = b""
        self._history = ""
        self._stale: dict[Channel, None] = {}
        self._missed: dict[Channel, EventId] = {}
        self.tag = ""
        self.position: EventId | None = None
        self.gap: Gap | None = None

    @property
    def flows(self) -> bool:
        """Whether what is heard is delivered at once."""
        return self._held is None

    @property
    def held(self) -> int:
        """How many messages, and ticks among them, wait until those before them are there."""
        return len(self._held or ())

    def begins(self, channels: Sequence[Channel]) -> bool:
        """Whether everything on ``channels`` from now on, and nothing older, goes to a stream that begins
        at the position: not while events from before are held.
        """
        return self._held is None and all(channel.settled for channel in channels)

    # What is heard

    def hear(self, channel: Channel, heard: Announcement) -> None:
        """A message.  Raises BackendError when too many are held."""
        if self._held is None:
            self._take(channel, heard)
        elif len(self._held) < HELD:
            self._held.append((channel, heard))
        else:
            raise BackendError("too much arrived while history was read")

    def tick(self, tick: Tick) -> None:
        """A tick that came back.  Raises BackendError when it is of another data set."""
        if self._held is None:
            self._settle(tick)
        else:
            self._held.append(tick)

    def _take(self, channel: Channel, heard: Announcement) -> None:
        """Deliver a message.  Almost all follow on from the one before: nothing else is asked of those."""
        seal, said, previous, excepted, trace, body = heard
        if (previous != channel.said or seal != self._seal) and not self._follows(channel, heard):
            return
        ms, n = said.split(b"-")
        last = (int(ms), int(n))
        if last <= channel.last:
            return  # known from history
        frame = self._framed % (said, body)
        id = _new(EventId, last)
        channel.last, channel.said = last, said
        if self.position is None or id > self.position:
            self.position = id
        user = None if excepted is None else heard.except_user
        self._recent.append(channel, last, frame, user)
        self._receiver.deliver(channel.name, id, frame, user)
        if trace is not None:
            self._receiver.traced(channel.name, trace.decode())

    def _follows(self, channel: Channel, heard: Announcement) -> bool:
        """Whether a message is one to be delivered, and nothing is missing before it."""
        seal, said, previous, _, trace, body = heard
        if seal != self._seal and (seal or channel.name == CONTROL):
            if seal not in self._past:
                self._on_foreign(channel)
            return False
        if channel.state is LEFT or not channel.settled:
            return False  # nobody was promised it
        if said == NONE:
            self._receiver.deliver(channel.name, None, body, heard.except_user)
            if trace is not None:
                self._receiver.traced(channel.name, trace.decode())
            return False
        if previous == NONE or number(said) <= channel.last or number(previous) <= channel.last:
            return True
        self.gap = Gap(channel, channel.head, number(previous))
        if self._held is None:
            self._held = deque()
        self._held.appendleft((channel, heard))
        return False

    def _settle(self, tick: Tick) -> None:
        if tick.tag != self.tag or tick.seal != self._seal:
            raise BackendError("Redis holds another data set now")
        if tick.history != self._history:
            raise BackendError("Redis was synchronised with another server")
        self._advance(tick.id)
        for place, channel in enumerate(tick.settling):
            if channel.state is not LEFT and not channel.settled:
                self._recent.forget(channel)
                channel.settle(tick.id, tick.finished.get(place))

    def _pass_on(self, channel: Channel, event: Numbered) -> None:
        channel.head = event.id
        self._recent.append(channel, *event)
        self._advance(event.id)
        self._receiver.deliver(channel.name, *event)

    def _advance(self, id: EventId) -> None:
        if self.position is None or id > self.position:
            self.position = id

    # What was missed

    def leave(self, channel: Channel) -> None:
        """Nobody wants ``channel`` any more, nor what it missed."""
        channel.said = b""
        self._stale.pop(channel, None)
        self._missed.pop(channel, None)
        if self.gap is not None and self.gap.channel is channel:
            self.gap = None

    def lose(self) -> None:
        """The connection was lost, and all that was heard and not delivered yet with it."""
        self._held = deque()
        if self.gap is not None:  # it may lie before the position
            self._missed.setdefault(self.gap.channel, self.gap.after)
            self.gap = None

    def begin(self, tick: Tick, settled: Sequence[Channel]) -> list[tuple[Channel, EventId]]:
        """The first tick after every channel was confirmed anew: what of ``settled`` is to be read, and
        after which id.

        In another data set there is nothing to read: its ids say nothing about the time before.  The same
        if the ids went back, because an older copy was restored.
        """
        if self.tag and (tick.tag != self.tag or (self.position is not None and tick.id < self.position)):
            self._stale.update(dict.fromkeys(settled))
            self._missed.clear()
            self.position = None
        if self._seal and tick.seal != self._seal:
            self._past.add(self._seal)  # what was announced before is covered by the resets
        self.tag, self._seal, self._history = tick.tag, tick.seal, tick.history
        # Place.line and the body, in one step for each event.
        self._framed = b"id: %%b.%b\n%%b" % tick.tag.encode()
        return [
            (channel, self._missed.get(channel, self.position or channel.head))
            for channel in settled
            if channel not in self._stale
        ]

    def overheard(self, found: Sequence[tuple[Channel, EventId, Log]]) -> list[tuple[Channel, EventId]]:
        """Channels whose logs know an event before what was asked that was never heard: what of them is to
        be read instead, and after which id.
        """
        return [
            (channel, channel.head)
            for channel, after, log in found
            if log.previous is not None and after >= log.previous > channel.head
        ]

    @property
    def stale(self) -> list[Channel]:
        """Channels to be reset because Redis holds another data set: their newest events are to be read."""
        return list(self._stale)

    def recover(
        self,
        upto: EventId,
        found: Sequence[tuple[Channel, EventId, Log]],
        newest: Mapping[Channel, Log] = MappingProxyType({}),
    ) -> Iterator[None]:
        """Deliver what was published up to the tick ``upto`` while it could not be heard: the logs of the
        channels that ``begin`` named, after the ids that it gave.  Where that cannot be proven to be all,
        the channel is reset, with what comes first of it: the state that pages are to show, and the end of
        what is finished, for which no stream is to wait.  ``newest`` are logs of those that are ``stale``.

        What is newer is announced, because every channel was confirmed before the tick.
        """
        lost = self.position
        missed: list[tuple[Numbered, Channel]] = []
        for channel in list(self._stale):
            self._reset(channel, "epoch", upto, newest.get(channel))
            yield
        for channel, after, log in found:
            if log.covers(after):
                missed += [(event, channel) for event in log.events if event.id <= upto]
            else:
                self._reset(channel, log.reason, upto, log)
            yield
        missed.sort(key=lambda pair: pair[0].id)
        for event, channel in missed:
            self._pass_on_missed(channel, event, lost)
            yield
        for channel, _, _ in found:
            channel.head = max(channel.head, upto)
        self._missed.clear()
        self._advance(upto)

    def fill(self, gap: Gap, log: Log) -> None:
        """What history has of a gap."""
        if self.gap is not gap:  # nobody wants it any more
            return
        self.gap = None
        channel, after, upto = gap
        if log.covers(after):
            lost = self.position
            for event in log.events:
                if event.id <= upto:
                    self._pass_on_missed(channel, event, lost)
            channel.head = max(channel.head, upto)
        else:
            head = upto if self.position is None else max(upto, self.position)
            self._reset(channel, log.reason, head, log)

    def drain(self) -> Iterator[None]:
        """Let what is held take its turn, up to the next gap.  Raises like ``tick``."""
        while self._held and self.gap is None:
            item = self._held.popleft()
            if isinstance(item, Tick):
                self._settle(item)
            else:
                self._take(*item)
            yield
        if self.gap is None:
            self._held = None

    def _reset(self, channel: Channel, reason: str, head: EventId, log: Log | None) -> None:
        self._stale.pop(channel, None)
        if channel.state is LEFT:
            return
        self._recent.forget(channel)
        channel.restart(head)
        first = channel.enough(max(1, channel.first), head, log)
        for entry in first:
            self._recent.append(channel, entry[:2], *entry[2:])
        if not channel.first and channel.finished is None:
            first = []
        # Without id lines: other channels may still be owed what is older, or their reset.
        bare = [(*entry[:2], without_id(entry[2]), *entry[3:]) for entry in first]
        self._receiver.reset(Reset(channel.name, reason, Place(head, self.tag), bare))

    def _pass_on_missed(self, channel: Channel, event: Numbered, lost: EventId | None) -> None:
        if channel.state is LEFT or event.id <= channel.head:
            return
        if lost is None or event.id > lost:
            self._pass_on(channel, event)
            return
        # Newer events of other channels went out before it.  Without its id line it cannot take a
        # client's Last-Event-ID back to a place before them.
        channel.head = event.id
        self._recent.append(channel, *event)
        self._receiver.deliver_late(channel.name, event.id, without_id(event.frame), event.except_user)
