"""What one writer publishes: all of it once and in order, while the backend comes and goes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ...backends.base import Backend, Outgoing
from ...errors import BackendError, PublishError
from ...event import MAX_EVENT_BYTES, ZERO, EventId, Place, without_id

SIZE = MAX_EVENT_BYTES
"""Bytes that are published in one call, or one event that is larger; Redis serves nobody else meanwhile."""

EVENTS = 50
"""Events that are: history has to have them all where it is uncertain whether they are out."""

OTHERS = 50
"""Events of others that are reckoned with between a writer's own."""

AGAIN = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between one attempt and the next; the last of them from then on."""

SETTLED = 0.1
"""Seconds between two looks at what is out: what reached Redis before the first is done before the second,
also where its connection is closed and Redis stood still."""


class Output:
    """Publishes events on ``channel``, after ``begin``.

    Whenever it is not certain whether events are out, it looks before it repeats any.  ``ready`` is waited
    for before each attempt.  After ``patience`` seconds without success it gives up.
    """

    def __init__(
        self, backend: Backend, channel: str, ready: Callable[[], Awaitable[None]], patience: float
    ) -> None:
        self._backend = backend
        self._channel = channel
        self._ready = ready
        self._patience = patience
        self._waiting: deque[bytes] = deque()
        self._is_unsure = False
        self._after, self._most = ZERO, EVENTS
        self.id = ""
        self.events = 0

    def begin(self, after: EventId, kept: int) -> None:
        """All ids will be above ``after``, and so many events are kept."""
        self._after, self._most = after, max(1, min(EVENTS, kept // 2))

    async def send(self, bodies: Sequence[bytes]) -> None:
        """Return once these are out, and all before them.

        Raises PublishError: its ``reason`` is ``"finished"`` where the channel is.  What is not out when it
        raises, or is cancelled, goes out with the next call.
        """
        self._waiting += bodies
        while self._waiting:
            try:
                await patiently(self._send, self._patience)
            except BackendError as error:
                raise PublishError(str(error), may_have_happened=self._is_unsure) from error

    async def _send(self) -> None:
        await self._ready()
        if self._is_unsure:
            await self._look()
            return
        some: list[Outgoing] = []
        size = 0
        for body in self._waiting:
            size += len(body)
            if some and (size > SIZE or len(some) >= self._most):
                break
            some.append(Outgoing(self._channel, body))
        self._is_unsure = True
        try:
            self._note(await self._backend.publish(some))
        except PublishError as error:
            self._note(error.published)
            self._is_unsure = error.may_have_happened
            raise
        self._is_unsure = False

    def _note(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._waiting.popleft()
            self.id = id
        self.events += len(ids)

    async def _look(self) -> None:
        """See which of those that wait are out: Redis does them in order, and others' events between them."""
        after = Place.parse(self.id).id if self.id else self._after
        count = min(len(self._waiting), self._most) + OTHERS
        await self._backend.recent(self._channel, 1)
        await asyncio.sleep(SETTLED)
        for place, frame in await self._backend.recent(self._channel, count):
            if place.id > after and self._waiting and without_id(frame) == self._waiting[0]:
                self._note([str(place)])
        self._is_unsure = False


async def patiently(work: Callable[[], Awaitable[None]], patience: float) -> None:
    """Work that is tried again while the backend fails, for ``patience`` seconds; then its error is raised.

    One that says that it will not get better is raised at once.
    """
    loop = asyncio.get_running_loop()
    until, pauses = loop.time() + patience, iter(AGAIN)
    while True:
        try:
            await work()
            return
        except (PublishError, BackendError) as error:
            if getattr(error, "reason", "unconfirmed") != "unconfirmed" or loop.time() >= until:
                raise
        await asyncio.sleep(min(next(pauses, AGAIN[-1]), max(0.0, until - loop.time())))
