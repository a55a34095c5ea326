"""Which channels a worker is subscribed to, which it is about to be, and which it is about to leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .channel import Channel, State


class Membership:
    """The channels of one worker, counted, and how far Redis knows of each on the present connection.

    Pure: time is an argument, and what is to be sent is for the caller to ask and to send.  Nothing
    here takes longer because many channels are idle.
    """

    def __init__(self, make: Callable[[str], Channel]) -> None:
        self._make = make
        self.channels: dict[str, Channel] = {}
        self.wires: dict[bytes, Channel] = {}
        self._idle: OrderedDict[Channel, None] = OrderedDict()
        self._wanted: OrderedDict[Channel, None] = OrderedDict()
        self._leaving: dict[bytes, int] = {}
        self._first: set[Channel] = set()

    @property
    def has_begun(self) -> bool:
        """Whether every channel that was there when the connection began is confirmed."""
        return not self._first

    @property
    def settling(self) -> int:
        """How many channels are not known to be heard; a look at each of them."""
        heard = State.HEARD
        return sum(each.ready is not None or each.state is not heard for each in self.channels.values())

    def begin(self) -> None:
        """A new connection, on which nothing is asked for."""
        for channel in self.channels.values():
            channel.state = State.WANTED
        self._wanted = OrderedDict.fromkeys(self.channels.values())
        self._first = set(self.channels.values())
        self._leaving = {}

    def clear(self) -> None:
        """Nobody wants any channel."""
        self.channels, self.wires = {}, {}
        self._idle, self._wanted = OrderedDict(), OrderedDict()
        self._leaving, self._first = {}, set()

    def want(self, name: str) -> Channel:
        """One more wants a channel."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self._make(name)
            self.channels[name] = self.wires[channel.wire] = channel
            self._wanted[channel] = None
        channel.count += 1
        self._idle.pop(channel, None)
        return channel

    def release(self, name: str, now: float) -> None:
        """One fewer wants a channel."""
        channel = self.channels.get(name)
        if channel is None or not channel.count:
            return
        channel.count -= 1
        if not channel.count:
            channel.idle_since = now
            self._idle[channel] = None

    def ask(self, count: int) -> list[Channel]:
        """Channels to subscribe to, ``count`` at most; from now on they are asked for."""
        batch = [self._wanted.popitem(last=False)[0] for _ in range(min(count, len(self._wanted)))]
        for channel in batch:
            channel.state = State.ASKED
        return batch

    def drop(self, now: float, linger: float) -> tuple[list[Channel], list[bytes]]:
        """Forget the channels that nobody has wanted for ``linger`` seconds; them, and what to
        unsubscribe from."""
        dropped, leaving, unconfirmed = [], [], []
        while self._idle:
            channel = next(iter(self._idle))
            if channel.idle_since > now - linger:
                break
            del self._idle[channel]
            if channel.state is State.ASKED:
                # Its confirmation would be taken for that of the next one of the name: left for later.
                unconfirmed.append(channel)
                continue
            if channel.state is State.HEARD:
                leaving.append(channel.wire)
                self._leaving[channel.wire] = self._leaving.get(channel.wire, 0) + 1
            channel.state = State.LEFT
            self._wanted.pop(channel, None)
            self._first.discard(channel)
            del self.channels[channel.name], self.wires[channel.wire]
            dropped.append(channel)
        for channel in unconfirmed:
            channel.idle_since = now
            self._idle[channel] = None
        return dropped, leaving

    def confirmed(self, wire: bytes) -> Channel | None:
        """Redis confirmed a subscription: the channel that is heard from now on."""
        channel = self.wires.get(wire)
        if channel is None or channel.state is not State.ASKED:
            return None
        channel.state = State.HEARD
        self._first.discard(channel)
        return channel

    def left(self, wire: bytes) -> bool:
        """Redis ended a subscription; whether it was asked to."""
        count = self._leaving.pop(wire, 0)
        if count > 1:
            self._leaving[wire] = count - 1
        return count > 0
