"""Ticks: cursors that a worker announces to itself, to know what it has heard everything up to."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ...errors import BackendError
from ...event import EventId
from .channel import Channel


class Tick(NamedTuple):
    """A tick that came back: the place in its data set, and what was confirmed before it was sent.

    ``version`` names the settings that hold, and ``history`` the server's: another one after it was
    synchronised with another server.  ``finished`` is the last event of those of ``settling`` that have had
    it, by their place.  ``sent`` is when it was asked for, by the monotonic clock:
    uvloop's own stands still during a turn.  ``ms`` is Redis's clock meanwhile, which ids may be ahead of.
    """

    id: EventId
    tag: str
    seal: bytes
    version: str
    settling: Sequence[Channel]
    history: str = ""
    finished: Mapping[int, EventId] = MappingProxyType({})
    sent: float = 0.0
    ms: int = 0


BATCH = 500
"""Channels that settle with one tick at most: Redis looks at the newest event of each."""


class UnderWay:
    """A tick on its way: what settles and who waits when it arrives."""

    __slots__ = ("arrived", "mark", "sent", "settling", "waiters")

    def __init__(self, settling: list[Channel], waiters: list[asyncio.Future[Tick]], sent: float) -> None:
        self.sent = sent
        self.mark = secrets.token_hex(8)
        self.settling = settling
        self.waiters = waiters
        self.arrived = asyncio.Event()


class Ticks:
    """One tick at a time: when something waits for one, and ``every`` so many seconds to see that the
    connection is alive.

    ``send`` announces a cursor and a mark, and which of some channels are finished.  ``on_arrival`` is told
    the tick, with the channels that were confirmed before it was sent (put into ``settling``).
    """

    def __init__(
        self,
        send: Callable[[str, Sequence[Channel]], Awaitable[None]],
        on_arrival: Callable[[Tick], None],
        *,
        every: float,
        timeout: float,
    ) -> None:
        self._send = send
        self._on_arrival = on_arrival
        self._every = every
        self._timeout = timeout
        self._wanted = asyncio.Event()
        self._waiters: list[asyncio.Future[Tick]] = []
        self._under_way: UnderWay | None = None
        self.settling: list[Channel] = []

    @property
    def waiting(self) -> int:
        """How many wait for a tick."""
        return len(self._waiters) + (len(self._under_way.waiters) if self._under_way else 0)

    def want(self) -> None:
        """Send one soon."""
        self._wanted.set()

    async def next(self) -> Tick:
        """A tick that is sent after this call.  Raises BackendError."""
        waiter: asyncio.Future[Tick] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wanted.set()
        return await waiter

    async def run(self) -> None:
        """Send ticks until one does not come back in time, which raises TimeoutError."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._wanted.wait()
            self._wanted.clear()
            self._under_way = tick = UnderWay(self.settling[:BATCH], self._waiters, time.monotonic())
            self.settling, self._waiters = self.settling[BATCH:], []
            if self.settling:
                self._wanted.set()
            async with asyncio.timeout(self._timeout):
                await self._send(tick.mark, tick.settling)
                await tick.arrived.wait()

    def arrived(self, payload: bytes) -> bool:
        """A message came on the worker's own channel; whether it was the tick that is waited for.

        To be called before the next message is read: what was heard until now is all up to its place.
        """
        mark, _, said = payload.decode("latin-1").partition(" ")
        under_way = self._under_way
        if under_way is None or under_way.mark != mark:
            return False  # one that was given up, or not ours at all
        place, tag, seal, version, history, ms, finished = said.split(" ")
        id, settling, sent = EventId.parse(place), under_way.settling, under_way.sent
        tick = Tick(id, tag, seal.encode(), version, settling, history, _by_place(finished), sent, int(ms))
        self._on_arrival(tick)
        self._under_way = None
        for waiter in under_way.waiters:
            if not waiter.done():
                waiter.set_result(tick)
        under_way.arrived.set()
        return True

    def fail(self) -> None:
        """Tell those who wait that no tick will come."""
        waiters = self._waiters + (self._under_way.waiters if self._under_way else [])
        self._waiters, self._under_way = [], None
        self.settling = []
        for waiter in waiters:
            # Not cancel(): the request that waits would take it for a cancellation of its own.
            if not waiter.done():
                waiter.set_exception(BackendError("the connection to Redis was lost"))


def _by_place(said: str) -> dict[int, EventId]:
    each = [one.split(":") for one in said.split(",") if one]
    return {int(place): EventId.parse(id) for place, id in each}
