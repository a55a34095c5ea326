"""The orders to all workers, heard and carried out by one of them; and who is revoked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from itertools import islice

from .admission.gate import Gate
from .backends.base import CONTROL, Backend
from .delivery.hub import Hub
from .errors import BackendError
from .logline import about, reason, sentence, why
from .outcome import REVOKED
from .publishing import orders

logger = logging.getLogger("sse_edge")

AGAIN = 0.5
"""Seconds before the revoked sessions are asked for again while the backend is away, or they could not be
read; and between looks whether it is away."""

EVERY = 3600.0
"""Seconds after which they are asked for again in any case: that also says how long ours live."""

SOME = 2000
"""Revoked sessions that are learned before other tasks get a turn."""

INFORMED = 1.0
"""Seconds that the first requests wait at most for the revoked sessions."""


class Control:
    """Carries out on a ``hub`` what every worker is told, and has the ``gate`` know who is revoked.

    ``spawn`` runs what takes longer in a task of the worker's.
    """

    def __init__(
        self,
        hub: Hub,
        backend: Backend,
        gate: Gate,
        spawn: Callable[[Coroutine[None, None, object]], None],
    ) -> None:
        self._hub = hub
        self._backend = backend
        self._gate = gate
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._informed = asyncio.Event()

    def start(self) -> None:
        """Begin to listen to them."""
        self._spawn(self._listen())
        self._spawn(self._stay_informed())

    def disconnect(
        self, *, user: str | None = None, channel: str | None = None, session: str | None = None
    ) -> int:
        """End this worker's streams of a user, on a channel, or of a session; how many there were."""
        hub = self._hub
        chosen = []
        if user is not None:
            chosen += hub.users.of(user)
        if session is not None:
            chosen += hub.sessions.of(session)
        if channel is not None:
            chosen += hub.on(channel)
        return hub.end_soon(chosen, REVOKED)

    def hear(self, frame: bytes | None) -> None:
        """Carry out an order, or learn what is revoked where some may have been missed."""
        if frame is None:  # what is revoked is kept apart from the orders
            self._spawn(self._learn_revoked())
            return
        try:
            name, value, until = orders.read(frame)
        except (ValueError, OverflowError, RecursionError) as error:  # anybody on Redis can PUBLISH
            extra = about("order-dropped", detail=reason(error))
            logger.warning("a malformed order to all workers was dropped: %s", why(error), extra=extra)
            return
        if until is not None:
            self._gate.revocations.add(value, until, time.time())
        self.disconnect(**{name: value})

    @property
    def is_informed(self) -> bool:
        """Whether the revoked sessions are known, or could not be read."""
        return self._informed.is_set()

    async def informed(self) -> None:
        """Wait until they are, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INFORMED):
                await self._informed.wait()

    async def _listen(self) -> None:
        # What was revoked before the first order could be heard is told to nobody: ask then.
        while True:
            try:
                await self._hub.subscriber.subscribe([CONTROL])
            except BackendError:
                await asyncio.sleep(AGAIN)
                continue
            self._hub.subscriber.unsubscribe([CONTROL])  # the hub goes on wanting it
            break
        await self._learn_revoked()

    async def _stay_informed(self) -> None:
        """Ask when the worker begins, every hour, and again and again while no orders are heard."""
        while True:
            took = await self._learn_revoked()
            learned = self._loop.time()
            await asyncio.sleep(max(AGAIN, 4 * took))  # long lists are not all that Redis has to do
            while self._hub.subscriber.connected and self._loop.time() < learned + EVERY:  # noqa: ASYNC110
                await asyncio.sleep(AGAIN)

    async def _learn_revoked(self) -> float:
        """Know who is revoked, and end their streams; the seconds for which it was read."""
        while True:
            began = self._loop.time()
            try:
                revoked = await self._backend.revoked(self._gate.session_life)
            except BackendError as error:
                if not self._informed.is_set():
                    extra = about("revocations-unread", detail=str(error))
                    text = "which sessions are revoked cannot be read: %s"
                    logger.warning(text, sentence(str(error)), extra=extra)
                self._informed.set()
                await asyncio.sleep(AGAIN)
                continue
            break
        took = self._loop.time() - began
        known = iter(revoked.items())
        while some := dict(islice(known, SOME)):
            self._gate.revocations.merge(some, time.time())
            await asyncio.sleep(0)
        self._hub.end_soon(self._hub.sessions.among(revoked), REVOKED)
        self._informed.set()
        return took
