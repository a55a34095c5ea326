"""Hits counted over all workers, in Redis, for the limits library."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from limits.aio.storage import SlidingWindowCounterSupport, Storage

from ...errors import BackendError
from ..base import Attempt, Window
from .call import PACE, Argument
from .loops import PerLoop
from .scripts import WINDOWS
from .server import Server

ANSWER = 1.0
"""Seconds that Redis has to answer."""

BATCH = 200
"""Hits per script call at most."""


class Hit(NamedTuple):
    """Somebody waits to be counted; the answer is None if that was done."""

    key: str
    limit: int
    length: int
    amount: int
    answer: asyncio.Future[Window | None]


class Queue:
    """The hits that wait on one event loop, and the task that asks for them while there are any."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.next_call = 0.0
        self.task: asyncio.Task[None] | None = None


class RedisWindows(Storage, SlidingWindowCounterSupport):
    """A storage of the limits library, for its asyncio ``SlidingWindowCounterRateLimiter``.

    Windows go by Redis's clock, and each key expires by itself.  All hits of one turn of the event loop,
    or that arrive while a call is under way or within PACE of its beginning, travel in one call; for that
    all keys share a hash tag, and on a Cluster live on one primary.

    Raises BackendError, or TimeoutError when there is no answer within ANSWER seconds.
    """

    STORAGE_SCHEME = None
    base_exceptions = BackendError

    def __init__(self, server: Server, stem: str) -> None:
        super().__init__()
        self._server = server
        self._prefix = f"{stem}:"
        self._queues = PerLoop(Queue)
        self._refused: tuple[str, Window] | None = None
        self.calls = 0

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a hit of ``amount`` unless that is more than ``limit`` in ``expiry`` seconds."""
        window = await self._ask(key, limit, expiry, amount)
        if window is None:
            return True
        self._refused = key, window
        return False

    def attempt(self, key: str, limit: int, expiry: int) -> Attempt:
        """A hit of ``key`` that others may count; see ``Turnstile``."""
        return Attempt(self._prefix + key, limit, 1000 * expiry)

    async def get_sliding_window(self, key: str, expiry: int) -> Window:
        """How full the windows are; right after a refusal, how full they were then."""
        refused, self._refused = self._refused, None
        if refused is not None and refused[0] == key:
            return refused[1]
        window = await self._ask(key, 0, expiry, 0)
        assert window is not None
        return window

    async def _unsupported(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("only sliding windows are counted here, and they expire by themselves")

    # What the library asks of a storage for its other strategies.
    incr = get = get_expiry = check = reset = clear = clear_sliding_window = _unsupported

    async def _ask(self, key: str, limit: int, length: int, amount: int) -> Window | None:
        queue = self._queues.get()
        loop = asyncio.get_running_loop()
        hit = Hit(key, limit, length, amount, loop.create_future())
        queue.hits.append(hit)
        if queue.task is None:
            queue.task = loop.create_task(self._run(queue))
        return await hit.answer

    async def _run(self, queue: Queue) -> None:
        """Ask until nobody waits."""
        loop = asyncio.get_running_loop()
        batch: list[Hit] = []
        try:
            while queue.hits:
                if (pause := queue.next_call - loop.time()) > 0:
                    await asyncio.sleep(pause)
                queue.next_call = loop.time() + PACE
                batch, queue.hits = queue.hits[:BATCH], queue.hits[BATCH:]
                async with asyncio.timeout(ANSWER):
                    answers = await self._call(batch)
                for hit, answer in zip(batch, answers, strict=True):
                    if not hit.answer.done():  # else it left while it waited
                        hit.answer.set_result(None if answer == 1 else window(answer))
        except BaseException as error:
            # A cancellation of this task is none of those who wait.
            told = error if isinstance(error, Exception) else BackendError("counting was cancelled")
            for hit in [*batch, *queue.hits]:
                if not hit.answer.done():
                    hit.answer.set_exception(told)
                    hit.answer.exception()  # seen, also where its waiter is cancelled just now
            queue.hits.clear()
            if told is not error:
                raise
        finally:
            queue.task = None

    async def _call(self, batch: list[Hit]) -> list[Any]:
        keys = [self._prefix + hit.key for hit in batch]
        arguments: list[Argument] = []
        for hit in batch:
            arguments += (hit.limit, hit.length * 1000, hit.amount)
        self.calls += 1
        answers: list[Any] = await self._server.run(WINDOWS, keys, arguments, self._prefix)
        return answers


def window(answer: list[int]) -> Window:
    """What ``hit.lua`` says."""
    previous, previous_left, current, current_left = answer
    return previous, previous_left / 1000, current, current_left / 1000
