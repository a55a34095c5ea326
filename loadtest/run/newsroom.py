"""Who publishes: a process of its own, which numbers every event and remembers when it was published.

    python -m loadtest.run.newsroom REDIS

It takes an order a line on standard input, as JSON, and answers each with a line.  Apart from Locust, because
gevent replaces what asyncio stands on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from sse_edge import Publisher, PublishError

from ..checker import Checker, payload

LONGEST = 1 << 26
"""Bytes of an order."""


class Newsroom:
    """Publishes numbered events."""

    def __init__(self, publisher: Publisher) -> None:
        self.checker = Checker()
        self.failed = 0
        """Events of which nobody knows whether they are out."""
        self._publisher = publisher
        self._tasks: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    async def publish(self, channel: str, size: int) -> None:
        """One event, whose data has ``size`` bytes or a few more."""
        at = time.time()
        numbering = self.checker.numbering(channel)
        number = numbering.next(at)
        try:
            await self._publisher.publish(channel, payload(channel, number, at, size))
        except (PublishError, asyncio.CancelledError) as error:
            self.failed += 1
            numbering.give_up(number)
            if isinstance(error, asyncio.CancelledError):
                raise

    async def say(self, channel: str, data: str) -> None:
        """One event that has no number."""
        await self._publisher.publish(channel, data)

    def start(self, channels: Sequence[str], rate: float, size: int, hands: int = 1) -> None:
        """So many events a second, to each channel in turn, by so many publishers at once."""
        for hand in range(hands):
            task = asyncio.create_task(self._steadily(channels[hand::hands], rate / hands, size))
            self._tasks.append(task)

    async def stop(self) -> None:
        """No more of them, once what is under way is out.  Raises what publishing raised."""
        tasks, self._tasks = self._tasks, []
        self._over.set()
        self._over = asyncio.Event()
        await asyncio.gather(*tasks)

    async def burst(self, channel: str, count: int, spacing: float, size: int) -> None:
        """So many events, that many seconds apart or as soon as the one before is out."""
        began = time.monotonic()
        for number in range(count):
            await self.publish(channel, size)
            await asyncio.sleep(max(0.0, began + (number + 1) * spacing - time.monotonic()))

    async def each(self, channels: Sequence[str], size: int) -> None:
        """One event to each channel, the next when the one before is out."""
        for channel in channels:
            await self.publish(channel, size)

    async def _steadily(self, channels: Sequence[str], rate: float, size: int) -> None:
        due, turn, over = time.monotonic(), 0, self._over
        while channels and not over.is_set():
            await self.publish(channels[turn % len(channels)], size)
            turn += 1
            due = max(due + 1 / rate, time.monotonic() - 1.0)  # what was missed by more is not made up for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await over.wait()

    def newest(self, fresh: float) -> dict[str, tuple[int, float]]:
        """The newest event of each channel, and when it was published; but for the last ``fresh`` seconds."""
        until, found = time.time() - fresh, {}
        for name, each in self.checker.numberings.items():
            n = each.first_after(until) - 1
            while n in each.unconfirmed:  # nobody knows whether it is out
                n -= 1
            if n:
                found[name] = n, each.times[n - 1]
        return found

    def numbers(self) -> dict[str, Any]:
        """Every number, as a checker of another process takes it in."""
        return self.checker.to_dict()


async def serve(url: str) -> None:
    """Do what the lines say until there are no more."""
    lines = asyncio.StreamReader(limit=LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Publisher(url) as publisher:
        newsroom = Newsroom(publisher)
        while line := await lines.readline():
            number, order, given = json.loads(line)
            answer: dict[str, Any] = {"number": number}
            try:
                found = getattr(newsroom, order)(**given)
                answer["answer"] = await found if asyncio.iscoroutine(found) else found
                answer["failed"] = newsroom.failed
            except Exception as error:  # noqa: BLE001 - whoever ordered it is told
                answer["error"] = f"{type(error).__name__}: {error}"
            print(json.dumps(answer), flush=True)
        await newsroom.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
