"""What one event loop publishes to one partition: concurrent publishes travel together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from redis.exceptions import NoPermissionError

from ..base import Outgoing
from .call import Argument, Call
from .failure import CommandError
from .scripts import PUBLISH, Script

BATCH = 200
"""Events that travel in one call, unless a single step has more.  Redis serves nobody else meanwhile: about
2 ms for so many, or for so many ``BYTES``, where up to ten workers listen to their channels (measured)."""

BYTES = 262_144
"""Bytes of events that travel in one call, unless a single step has more.  Redis copies each for every worker
that listens."""

PART = 500
"""Events of one step in one call: those of a larger one are published part by part, call after call."""

TRIES = 5
"""Times a step is sent with other settings before it fails: two workers may declare in turn."""


class Published(NamedTuple):
    """What came of publishing several events: the places of those that are published, and why no more.

    ``error.sent`` is whether the one after those may be published all the same.
    """

    places: list[str]
    error: CommandError | None = None


class Step:
    """Events of one caller, which are published with nothing of later callers between them: ``events`` is the
    part whose turn it is, and waits until ``deadline``.  After a part that fails no other is sent.
    """

    __slots__ = (
        "_places", "_timeout", "alone", "deadline", "done", "events", "outbox", "repeated", "size", "tries",
        "whole",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, events: Sequence[Outgoing], timeout: float) -> None:
        self.outbox = outbox
        self.whole = events
        self.done: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self.alone = False
        self._timeout = timeout
        self._places: list[str] = []
        self._begin_part()

    def _begin_part(self) -> None:
        at = len(self._places)
        self.events = self.whole if len(self.whole) <= PART else self.whole[at : at + PART]
        self.size = sum([len(event.body) for event in self.events])
        self.deadline = self.done.get_loop().time() + self._timeout
        self.repeated = False
        self.tries = 0

    @property
    def waits(self) -> bool:
        """Whether somebody still wants to know what comes of it."""
        return not self.done.done()

    @property
    def begun(self) -> bool:
        """Whether a part of it is published."""
        return bool(self._places)

    def may_repeat(self, error: CommandError) -> bool:
        """Whether the part is to be sent once more: the connection was lost, and every event has a key."""
        again = error.is_lost and not self.repeated
        return again and all(event.dedupe_key is not None for event in self.events)

    def settle(self, published: Published) -> None:
        """Tell what came of the part; the step still waits if there is another."""
        if self.done.done():
            return
        if self._places:
            published = published._replace(places=[*self._places, *published.places])
        if published.error is None:
            if len(published.places) < len(self.whole):
                self._places = published.places
                self._begin_part()
                return
        elif self.repeated:
            # Whatever came of the second time, the first may have happened.
            published = published._replace(error=published.error.unsure())
        self.done.set_result(published)

    def fail(self, error: Exception) -> None:
        """Tell that nothing came of it, and what the caller is to raise."""
        if not self.done.done():
            self.done.set_exception(error)


async def outcomes(steps: Sequence[Step]) -> list[Published]:
    """What came of each, once it is known of all; who is cancelled meanwhile waits for none of them any more.

    Raises EventError for what the data set cannot take.
    """
    try:
        if len(steps) == 1:
            return [await steps[0].done]
        settled = await asyncio.gather(*(step.done for step in steps), return_exceptions=True)
    except asyncio.CancelledError:
        for step in steps:
            step.outbox.leave(step)
        raise
    for outcome in settled:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in settled if isinstance(outcome, Published)]


class Carrier(Protocol):
    """Who knows how steps are sent."""

    def compose(self, steps: Sequence[Step]) -> tuple[Script, Sequence[str], Sequence[Argument]]:
        """The script that publishes them, its keys and its arguments; fails steps that cannot be."""

    async def carry(self, batch: Batch) -> None:
        """Send it and settle its steps; what is not settled then is sent again.  Raises CommandError."""


class Batch(Call):
    """The steps of one call.  They are chosen when there is a connection to send them on: until then who
    waits for them may leave, and more may join.
    """

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(PUBLISH)
        self._outbox = outbox
        self.steps: list[Step] = []

    def prepare(self) -> None:
        """See ``Call.prepare``."""
        steps = self._outbox.take(self.steps)
        self.script, self.keys, self.arguments = self._outbox.carrier.compose(steps)
        self.steps = [step for step in steps if step.waits]


class Outbox:
    """One call at a time.  Who publishes while none is under way does not wait; all who come while one is
    travel in the next, in the order in which they came, and each gets what came of its own events.

    Each part of a step waits for ``timeout`` seconds at most.  A call goes on as long as anybody waits for
    it.
    """

    def __init__(self, carrier: Carrier, timeout: float) -> None:
        self.carrier = carrier
        self._timeout = timeout
        self._waiting: deque[Step] = deque()
        self._under_way: Batch | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def queue(self, events: Sequence[Outgoing]) -> Step:
        """Events that are to be published after all that are queued already; see ``outcomes``."""
        loop = asyncio.get_running_loop()
        step = Step(self, events, self._timeout)
        self._waiting.append(step)
        if self._task is None:
            self._task = loop.create_task(self._run())
        if self._timer is None:
            self._timer = loop.call_at(step.deadline, self._expire)
        return step

    def leave(self, step: Step) -> None:
        """Nobody waits for it any more."""
        step.done.cancel()
        self._end_if_left()

    def take(self, steps: Sequence[Step]) -> list[Step]:
        """The steps of the next call, in their order, beginning with ``steps``."""
        taken = [step for step in steps if step.waits]
        count, size = sum(len(step.events) for step in taken), sum(step.size for step in taken)
        while self._next_waits():
            step = self._waiting[0]
            count, size = count + len(step.events), size + step.size
            if taken and (count > BATCH or size > BYTES or step.alone or taken[0].alone):
                break
            taken.append(self._waiting.popleft())
        return taken

    def _next_waits(self) -> bool:
        while self._waiting and not self._waiting[0].waits:
            self._waiting.popleft()
        return bool(self._waiting)

    async def _run(self) -> None:
        while self._next_waits():
            batch = self._under_way = Batch(self)
            try:
                await self.carrier.carry(batch)
            except CommandError as error:
                self._fail(batch, error)
            except asyncio.CancelledError:
                self._end(batch)
                raise
            except Exception as error:  # noqa: BLE001 - told to those whose events these are
                for step in batch.steps or self.take(()):
                    step.fail(error)
            self._put_back(batch.steps)
        self._under_way = self._task = None

    def _fail(self, batch: Batch, error: CommandError) -> None:
        steps = batch.steps or self.take(())
        if len(steps) > 1 and not error.sent and isinstance(error.__cause__, NoPermissionError):
            # A key of one of them is enough for Redis to refuse the whole call.
            for step in steps:
                step.alone = True
            batch.steps = steps
            return
        for step in steps:
            if step.may_repeat(error):
                step.repeated = True  # and is put back
            else:
                step.settle(Published([], error))

    def _put_back(self, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            step.tries += 1
            if step.tries >= TRIES:
                error = CommandError(RuntimeError("the settings keep changing"), sent=False)
                step.settle(Published([], error))
            if step.waits:
                self._waiting.appendleft(step)

    def _expire(self) -> None:
        """Tell those whose time is over, and come again for the next."""
        loop, self._timer = asyncio.get_running_loop(), None
        now, deadlines = loop.time(), []
        batch = self._under_way
        sent = batch.steps if batch is not None else []
        for step in [*sent, *self._waiting]:
            if not step.waits:
                continue
            if step.deadline > now:
                deadlines.append(step.deadline)
                if not step.begun:
                    break  # who is behind it came later; a part of a large one may end after all of them
                continue
            step.settle(Published([], self._late(batch, was_sent=step in sent)))
        if deadlines:
            self._timer = loop.call_at(min(deadlines), self._expire)
        self._end_if_left()

    def _late(self, batch: Batch | None, *, was_sent: bool) -> CommandError:
        if batch is None or (batch.sent and not was_sent):
            return Call(PUBLISH).late()
        return batch.late()

    def _end_if_left(self) -> None:
        """Give up the call for which nobody waits any more."""
        steps = self._under_way.steps if self._under_way is not None else []
        if self._task is not None and not self._next_waits() and not any(step.waits for step in steps):
            task, self._task, self._under_way = self._task, None, None
            task.cancel()

    def _end(self, batch: Batch) -> None:
        """The event loop ends; or else nobody waits."""
        if self._under_way is batch:
            self._under_way = self._task = None
            why = RuntimeError("the event loop ends")
            for steps, sent in ((batch.steps, batch.sent), (self._waiting, False)):
                for step in steps:
                    step.settle(Published([], CommandError(why, sent=sent)))
