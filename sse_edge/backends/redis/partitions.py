"""One worker's ear on several orders of events, with one place in all of them for each client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import TYPE_CHECKING

from ...event import NOWHERE, ZERO, EventId, Place, without_id
from ..base import NO_FIRST, Hearing, Receiver, Replay, Reset
from .retelling import Retelling
from .subscriber import RedisSubscriber

if TYPE_CHECKING:
    from .partition import Partition

WATCH = 1.0
"""Seconds between ticks.  A client's place is the one of the slowest partition, so this is how far a
resume goes back at most while all is well, and what it may repeat."""

GROUPS = 8
"""Parts of a tag at most: with more partitions than that, several share one."""

LETTERS = 5
"""Letters of each part."""

UNKNOWN = "0" * LETTERS
"""The part for a partition that was not reached yet; no tag has digits."""


FOREIGN = "other"
"""A tag of no data set that this worker knows."""


class Beginning(Place):
    """Where a stream begins: a place in all partitions, and the one in each that it listens to."""

    places: dict[RedisSubscriber, Place]


class PartitionedSubscriber:
    """See ``Subscriber``.

    Each partition numbers by its own server's clock, so a client that has heard an event of one knows
    nothing about the others.  Therefore the id it is given with an event is the place up to which
    **all** partitions were heard.  From there a resume misses nothing; what it heard after it is
    repeated.  While a partition is away the place stands still.

    The tag of such a place is made of the tags of all partitions, so that it says which of them holds
    another data set than before.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        partition: Callable[[str], Partition],
        receiver: Receiver,
        *,
        ear: Callable[[Partition, Receiver], RedisSubscriber] = lambda partition, receiver: RedisSubscriber(
            partition, receiver, watch=WATCH
        ),
    ) -> None:
        self._receiver = receiver
        self._partition = partition
        self._ears = {each: ear(each, self) for each in partitions}
        self._resets: Counter[RedisSubscriber] = Counter()
        self._tags = [""] * len(partitions)
        self._tag = ""
        self._said = ZERO
        self._retelling = Retelling()

    @property
    def connected(self) -> bool:
        """Whether events arrive from every partition at the moment."""
        return all(ear.connected for ear in self._ears.values())

    @property
    def position(self) -> Place | None:
        """See ``Subscriber.position``: the slowest partition's."""
        places = [ear.position for ear in self._ears.values()]
        known = [place.id for place in places if place is not None]
        if len(known) < len(places):
            return None
        return self._place_of(min(known))

    @property
    def refused(self) -> str | None:
        """See ``Subscriber.refused``: of any partition."""
        return next((ear.refused for ear in self._ears.values() if ear.refused), None)

    @property
    def dropped(self) -> dict[str, int]:
        """See ``Subscriber.dropped``."""
        dropped: Counter[str] = Counter()
        for ear in self._ears.values():
            dropped.update(ear.dropped)
        return dict(dropped)

    @property
    def hearing(self) -> Hearing:
        """See ``Subscriber.hearing``: of all, and as old as the oldest."""
        settling, held, ages = zip(*(ear.hearing for ear in self._ears.values()), strict=True)
        return Hearing(sum(settling), sum(held), max(ages))

    def measure(self, channel: str, id: EventId, then: Callable[[float], None]) -> None:
        """See ``Subscriber.measure``."""
        self._ears[self._partition(channel)].measure(channel, id, then)

    def bound(self, max_event_bytes: int) -> None:
        """See ``Subscriber.bound``."""
        for ear in self._ears.values():
            ear.bound(max_event_bytes)

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

    async def subscribe(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.subscribe``."""
        groups = self._groups(channels)
        tasks = [asyncio.ensure_future(ear.subscribe(names)) for ear, names in groups.items()]
        try:
            places = await asyncio.gather(*tasks)
            if None not in places:
                places = await self._begun(groups)
        except BaseException:
            # Each undoes itself, but for those that were done already.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task, (ear, names) in zip(tasks, groups.items(), strict=True):
                if not task.cancelled() and task.exception() is None:
                    ear.unsubscribe(names)
            raise
        known = {ear: place for ear, place in zip(groups, places, strict=True) if place is not None}
        if len(known) < len(places):
            return None
        beginning = Beginning(*self._place_of(min(place.id for place in known.values())))
        beginning.places = known
        return beginning

    async def _begun(self, groups: Mapping[RedisSubscriber, Sequence[str]]) -> list[Place | None]:
        """Where a stream begins in each partition, at one moment: nothing is owed from the time in which the
        last of them was waited for.
        """
        while True:
            places = [ear.beginning(names) for ear, names in groups.items()]
            waited_for = [ear for ear, place in zip(groups, places, strict=True) if place is None]
            if not waited_for:
                return places
            for ear in waited_for:
                await ear.subscribe(groups[ear])
                ear.unsubscribe(groups[ear])  # it is counted already

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See ``Subscriber.unsubscribe``."""
        for ear, names in self._groups(channels).items():
            ear.unsubscribe(names)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        ends: list[EventId] = []
        for ear, names in self._groups(channels).items():
            end = ear.finished(names)
            if end is None:
                return None
            ends.append(end.id)
        return self._place_of(max(ends))

    async def replay(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """See ``Subscriber.replay``."""
        # Not the position afterwards: while one partition is waited for, the others' events go on.
        begin = self.position
        groups = self._groups(channels)
        replays = await self._replays(groups, after, first, user)
        resets = [reset for replay in replays for reset in replay.resets]
        uptos = [replay.upto.id for replay in replays if replay.upto is not None]
        if len(uptos) < len(replays):
            return Replay([], [reset._replace(head=None) for reset in resets], None)
        place = self._place_of(min(uptos if begin is None else [begin.id, *uptos]))
        if after is not None and after.tag == place.tag and not isinstance(after, Beginning):
            # It was told more by a worker that is ahead in partitions that do not concern it.
            place = max(place, after)
        return Replay(
            self._retelling.of([event for replay in replays for event in replay.events], place),
            [reset._replace(head=place) for reset in resets],
            place,
            {
                name: replay.upto.id
                for replay, names in zip(replays, groups.values(), strict=True)
                if replay.upto is not None
                for name in names
            },
        )

    async def _replays(
        self,
        groups: Mapping[RedisSubscriber, Sequence[str]],
        after: Place | None,
        first: Mapping[str, int],
        user: str | None,
    ) -> list[Replay]:
        """Each partition's part; again of those that reset something while the others were waited for."""
        answers: dict[RedisSubscriber, tuple[Replay, int]] = {}

        async def ask(ear: RedisSubscriber) -> None:
            replay = await ear.replay(groups[ear], self._part(ear, after), first, user)
            answers[ear] = replay, self._resets[ear]

        while asked := [ear for ear in groups if ear not in answers or answers[ear][1] != self._resets[ear]]:
            at_hand = {ear: ear.at_hand(groups[ear], self._part(ear, after), first, user) for ear in asked}
            answers |= {
                ear: (known, self._resets[ear]) for ear, known in at_hand.items() if known is not None
            }
            if waiting := [ear for ear, known in at_hand.items() if known is None]:
                await asyncio.gather(*map(ask, waiting))
        return [answers[ear][0] for ear in groups]

    # The partitions' Receiver

    def deliver(self, channel: str, id: EventId | None, frame: bytes, except_user: str | None = None) -> None:
        """Pass an event on with the place of all partitions instead of its own id."""
        if id is None:
            self._receiver.deliver(channel, None, frame, except_user)
            return
        place = self.position
        body = without_id(frame)
        # No two events are sent with one id.
        if place is not None and place.id > self._said:
            self._said = place.id
            body = place.line() + body
        self._receiver.deliver(channel, id, body, except_user)

    def deliver_late(self, channel: str, id: EventId, frame: bytes, except_user: str | None = None) -> None:
        """See ``Receiver.deliver_late``."""
        self._receiver.deliver_late(channel, id, frame, except_user)

    def traced(self, channel: str, trace: str) -> None:
        """See ``Receiver.traced``."""
        self._receiver.traced(channel, trace)

    def reset(self, reset: Reset) -> None:
        """See ``Receiver.reset``."""
        head = None if reset.head is None else self._place_of(reset.head.id)
        self._resets[self._ears[self._partition(reset.channel)]] += 1
        self._receiver.reset(reset._replace(head=head))

    def flush(self) -> None:
        """See ``Receiver.flush``."""
        self._receiver.flush()

    # Places

    def _place_of(self, id: EventId) -> Place:
        tags = [ear.tag for ear in self._ears.values()]
        if tags != self._tags:
            if any(was not in ("", tag) for was, tag in zip(self._tags, tags, strict=True)):
                self._said = ZERO  # places in another data set have no order with these
            self._tags = tags
            self._tag = joined(tags)
        return Place(id, self._tag)

    def _part(self, ear: RedisSubscriber, after: Place | None) -> Place | None:
        """What a client's place is in one partition: with the partition's own tag, if it has its part."""
        if isinstance(after, Beginning):
            return after.places[ear]
        if after is None or after == NOWHERE:
            return after
        tag = self._place_of(after.id).tag
        at = list(self._ears.values()).index(ear) % (len(tag) // LETTERS) * LETTERS
        part = after.tag[at : at + LETTERS]
        same = len(after.tag) == len(tag) and part == tag[at : at + LETTERS] != UNKNOWN
        return Place(after.id, ear.tag if same else FOREIGN)

    def _groups(self, channels: Sequence[str]) -> dict[RedisSubscriber, list[str]]:
        groups: dict[RedisSubscriber, list[str]] = {}
        for channel in channels:
            groups.setdefault(self._ears[self._partition(channel)], []).append(channel)
        return groups


def joined(tags: Sequence[str]) -> str:
    """The tag of a place in all partitions, of theirs in order; each empty while it is not known."""
    if len(tags) == 1:
        return tags[0] or UNKNOWN
    groups = min(GROUPS, len(tags))
    return "".join(_part_of(tags[group::groups], len(tags)) for group in range(groups))


def _part_of(tags: Sequence[str], count: int) -> str:
    """Letters made of the tags of partitions that share a part, and of how many there are: where a channel
    is depends on that.
    """
    if "" in tags:
        return UNKNOWN
    digest = sha1(" ".join([str(count), *tags]).encode(), usedforsecurity=False).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in digest[:LETTERS])
