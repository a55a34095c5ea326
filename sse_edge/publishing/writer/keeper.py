"""That this event loop's writers live, and what they are told."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ...backends.writers import HOLDS, LIFE, Writers, Writing
from ...errors import BackendError
from ...logline import about

logger = logging.getLogger("sse_edge")

RENEW = 0.5
"""Seconds between renewals: so long a ``stop`` takes, and a call."""

PATIENCE = 2.0
"""Seconds that who has to know waits for the next."""


class Told(Protocol):
    """A writer; ``lives`` is when it was last certain to be the channel's, on the event loop's clock."""

    writing: Writing
    lives: float

    def tell(self, standing: str) -> None:
        """It is to stop, or the channel is not its own any more: ``STOPS`` or ``LOST``."""


class Keeper:
    """Renews all writers of one event loop together, for as long as there are any."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._kept: set[Told] = set()
        self._task: asyncio.Task[None] | None = None
        self._renewed: asyncio.Future[None] | None = None
        self._waits = False

    def add(self, writer: Told) -> None:
        """Renew it from now on; it began just now."""
        self._kept.add(writer)
        self._begin()

    def remove(self, writer: Told) -> None:
        """Renew it no more."""
        self._kept.discard(writer)

    async def certain(self, writer: Told) -> None:
        """Return when the channel is certain to be the writer's own, or it was told that it is not.

        A process that stood still, or could not reach the backend, may have been taken for dead.  Raises
        BackendError when it cannot be known at the moment.
        """
        loop = asyncio.get_running_loop()
        if loop.time() - writer.lives < LIFE or writer not in self._kept:
            return
        self._begin()
        if self._renewed is None or self._renewed.done():
            self._renewed = loop.create_future()
        await asyncio.wait([self._renewed], timeout=PATIENCE)
        if loop.time() - writer.lives >= LIFE:
            raise BackendError("no answer to whether it still has the channel")

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(RENEW)
                if not self._kept:
                    break
                await self._renew(loop.time(), list(self._kept))
        finally:
            self._task = None
            self._wake()

    async def _renew(self, now: float, kept: list[Told]) -> None:
        try:
            answer = await self._writers.renew([writer.writing for writer in kept])
        except BackendError:  # it is tried again
            answer = [None] * len(kept)
        if waits := answer.count(None):
            if not self._waits:
                extra = about("writers-wait", writers=waits)
                logger.warning("writers wait for the backend: %d", waits, extra=extra)
        elif self._waits:
            logger.warning("writers go on", extra=about("writers-go-on"))
        self._waits = waits > 0
        for writer, standing in zip(kept, answer, strict=True):
            if standing is None:
                continue
            writer.lives = now
            if standing != HOLDS:
                writer.tell(standing)
        self._wake()

    def _wake(self) -> None:
        if self._renewed is not None and not self._renewed.done():
            self._renewed.set_result(None)
