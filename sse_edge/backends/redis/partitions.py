"""One worker's ear on several orders of events, with one place in all of them for each client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...event import EventId
from ..base import Numbered, Receiver, Replay, Reset
from .subscriber import RedisSubscriber

if TYPE_CHECKING:
    from .partition import Partition

WATCH = 1.0
"""Seconds between ticks.  A client's place is the one of the slowest partition, so this is how far a
resume goes back at most while all is well, and what it may repeat."""


class PartitionedSubscriber:
    """See ``Subscriber``.

    Each partition numbers by its own server's clock, so a client that has heard an event of one knows
    nothing about the others.  Therefore the id it is given with an event is the place up to which
    **all** partitions were heard.  From there a resume misses nothing; what it heard after it is
    repeated.  While a partition is away the place stands still.
    """

    def __init__(
        self, partitions: Sequence[Partition], partition: Callable[[str], Partition], receiver: Receiver
    ) -> None:
        self._receiver = receiver
        self._partition = partition
        self._ears = {each: RedisSubscriber(each, self, watch=WATCH) for each in partitions}

    @property
    def connected(self) -> bool:
        """Whether events arrive from every partition at the moment."""
        return all(ear.connected for ear in self._ears.values())

    @property
    def position(self) -> EventId | None:
        """See ``Subscriber.position``: the slowest partition's."""
        places = [ear.position for ear in self._ears.values()]
        return None if None in places else min(place for place in places if place is not None)

    @property
    def malformed(self) -> int:
        """Messages that were dropped."""
        return sum(ear.malformed for ear in self._ears.values())

    async def start(self) -> None:
        """See ``Subscriber.start``."""
        for ear in self._ears.values():
            await ear.start()

    async def close(self) -> None:
        """See ``Subscriber.close``."""
        for ear in self._ears.values():
            await ear.close()

    def want(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.want``."""
        for ear, names in self._groups(channels).items():
            ear.want(names)

    async def subscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.subscribe``."""
        groups = self._groups(channels)
        outcomes = await asyncio.gather(
            *(ear.subscribe(names) for ear, names in groups.items()), return_exceptions=True
        )
        failed = [outcome for outcome in outcomes if outcome is not None]
        if failed:
            for (ear, names), outcome in zip(groups.items(), outcomes, strict=True):
                if outcome is None:
                    ear.unsubscribe(names)
            raise failed[0]

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        for ear, names in self._groups(channels).items():
            ear.unsubscribe(names)

    async def replay(self, channels: Sequence[str], after: EventId | None) -> Replay:
        """See ``Subscriber.replay``."""
        replays = await asyncio.gather(
            *(ear.replay(names, after) for ear, names in self._groups(channels).items())
        )
        resets = [reset for replay in replays for reset in replay.resets]
        # Not the position of now: while one partition was waited for, the others' events went on.
        places = [replay.upto for replay in replays if replay.upto is not None]
        if len(places) < len(replays):
            return Replay([], resets, None)
        place = min(places)
        events = sorted((event for replay in replays for event in replay.events), key=lambda event: event.id)
        return Replay(
            # Sorted, everything before an event up to the place was sent before it; after it, not so.
            [
                event if event.id <= place else Numbered(event.id, _without_id(event.frame))
                for event in events
            ],
            resets,
            place,
        )

    # The partitions' Receiver

    def deliver(self, channel: str, id: EventId | None, frame: bytes) -> None:
        """Pass an event on with the place of all partitions instead of its own id."""
        if id is None:
            self._receiver.deliver(channel, None, frame)
            return
        place = self.position
        body = _without_id(frame)
        self._receiver.deliver(channel, id, body if place is None else place.line() + body)

    def deliver_late(self, channel: str, id: EventId, frame: bytes) -> None:
        """See ``Receiver.deliver_late``."""
        self._receiver.deliver_late(channel, id, frame)

    def reset(self, reset: Reset) -> None:
        """See ``Receiver.reset``."""
        self._receiver.reset(reset)

    def _groups(self, channels: Sequence[str]) -> dict[RedisSubscriber, list[str]]:
        groups: dict[RedisSubscriber, list[str]] = {}
        for channel in channels:
            groups.setdefault(self._ears[self._partition(channel)], []).append(channel)
        return groups


def _without_id(frame: bytes) -> bytes:
    return frame.partition(b"\n")[2] if frame.startswith(b"id: ") else frame
