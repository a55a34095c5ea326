"""What others see of an abuse: whether they are served meanwhile, and what is left of it in the worker."""

import asyncio
import contextlib
import os
import time
from typing import NamedTuple

from loadtest.measure.process import rss

from .sse import StreamClient

EVENT = 2.0
"""Seconds within which every event must reach a client that behaves, whatever others do."""

ADMISSION = 5.0
"""Seconds within which such a client must be let in."""

CHANNELS = ["witness", "attacked", "heavy"]

PATIENCE = 30.0
"""Seconds until everything that an abuse took must be given back."""


class Witness:
    """A client that behaves, on a stream of its own: it is sent an event again and again, and newcomers come.

    ``async with`` it.  Whoever has to wait for too long fails the block; ``event`` and ``admission`` are
    the longest that anybody waited, and ``turned_away`` is how many attempts at a stream failed.
    """

    def __init__(self, front):
        self._front = front
        self.event = self.admission = 0.0
        self.turned_away = 0
        self._rounds = 0
        self._task = None

    async def __aenter__(self):
        self._client = await self._enter()
        self._task = asyncio.create_task(self._watch())
        await self.rounds(1)
        return self

    async def __aexit__(self, kind, error, trace):
        try:
            if error is None:
                await self.rounds(2)  # one of them began after the abuse
        finally:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._client.aclose()

    def __str__(self):
        return (
            f"an event took {self.event:.3f} s at most, and an admission {self.admission:.3f} s "
            f"({self.turned_away} attempts were turned away)"
        )

    async def rounds(self, count):
        """Wait for so many more rounds."""
        count += self._rounds
        while self._rounds < count and not self._task.done():
            await asyncio.sleep(0.02)
        if self._task.done():
            self._task.result()

    async def _watch(self):
        while True:
            for _ in range(3):
                await self._hear()
                await asyncio.sleep(0.1)
            began = time.monotonic()
            newcomer = await self._enter()
            self.admission = max(self.admission, time.monotonic() - began)
            await newcomer.aclose()
            self._rounds += 1

    async def _hear(self):
        began = time.monotonic()
        id = await self._front.publish("witness", "x")
        left = EVENT - (time.monotonic() - began)
        assert left > 0, f"an event could not be published within {EVENT} s"
        await self._client.until(lambda event: event.id == id, left)
        self.event = max(self.event, time.monotonic() - began)

    async def _enter(self):
        """Have a stream with its place in it.  Being told to come back is no stream, whatever its status."""
        async with asyncio.timeout(ADMISSION):
            while True:
                client = await StreamClient.connect(
                    f"{self._front.url}/events/witness",
                    cookies={"session": self._front.cookie("witness")},
                    ssl=self._front.ssl,
                )
                while not (client.last_event_id or client.over):
                    await asyncio.sleep(0.01)
                if client.last_event_id:
                    return client
                await client.aclose()
                self.turned_away += 1
                await asyncio.sleep(0.1)


class Ledger(NamedTuple):
    """What a worker holds.  ``descriptors`` and ``memory``, in bytes, as the kernel counts them."""

    streams: int
    tasks: int
    leases: int
    subscriptions: int
    descriptors: int
    memory: int

    @classmethod
    async def of(cls, worker, server):
        """Read it from a worker (see ``apps.chaos``) and its Redis."""
        found = await worker.introspect()
        leases, subscriptions = await asyncio.to_thread(_in_redis, server)
        return cls(
            streams=max(found["streams"], found["figures"]["streams"]),
            tasks=len(found["tasks"]),
            leases=leases,
            subscriptions=subscriptions,
            descriptors=len(os.listdir(f"/proc/{found['pid']}/fd")),
            memory=rss(found["pid"]),
        )

    def beyond(self, before, allowed):
        """What there is more of than before, and more than so much of it is ``allowed``: then and now."""
        return {
            name: (had, has)
            for name, had, has in zip(self._fields, before, self, strict=True)
            if has > had + allowed.get(name, 0)
        }


def _in_redis(server):
    """Slots that are held, with the streams that workers say they have, and channels that are heard."""
    with contextlib.closing(server.client()) as client:
        keys = [key for key in client.scan_iter("*leases*", count=1000) if client.type(key) == "hash"]
        fields = [field for key in keys for field in client.hgetall(key).items()]
        held = sum(int(count) for name, count in fields if name not in ("report", "told"))
        return held, sum(len(client.pubsub_channels(f"*:{channel}")) for channel in CHANNELS)


async def rest(look):
    """Look until nobody is there, and return how it is then."""
    deadline = time.monotonic() + PATIENCE
    while (now := await look()).streams or now.leases or now.subscriptions:
        assert time.monotonic() < deadline, f"it does not come to rest: {now}"
        await asyncio.sleep(0.2)
    return now


async def settle(look, before, **allowed):
    """Look until all is as it was before, and return how it is then."""
    deadline = time.monotonic() + PATIENCE
    while left := (now := await look()).beyond(before, allowed):
        assert time.monotonic() < deadline, f"not as it was: {left}"
        await asyncio.sleep(0.2)
    return now
