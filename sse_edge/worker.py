"""What runs on one event loop: the hub, its leases, what all workers are told, and the drain."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Coroutine

from .admission.gate import Admission, Gate
from .backends.base import Backend, Leases
from .delivery.hub import Hub
from .delivery.lifetime import Lifetime
from .delivery.stream import Stream
from .drain import SignalChain
from .errors import BackendError, ConfigError
from .outcome import BACKEND_DOWN, REVOKED

logger = logging.getLogger("sse_edge")

ASKING = 32
"""Streams whose right is asked again at the same time: ``authorize`` may be a database."""

AGAIN = 1.0
"""Seconds before the revoked sessions are asked for again, when they could not be read."""


class Worker:
    """One event loop's share of the edge."""

    def __init__(
        self,
        backend: Backend,
        gate: Gate,
        leases: Leases,
        lifetime: Lifetime,
        *,
        max_unsent: int,
        drain_window: float,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub(
            backend,
            lifetime,
            max_unsent=max_unsent,
            on_recheck=self._on_recheck,
            on_control=self._on_control,
        )
        self._backend = backend
        self._gate = gate
        self._leases = leases
        self._drain_window = drain_window
        self._signals = SignalChain(self.loop, self._on_signal)
        self._admissions: dict[Stream, Admission] = {}
        self._asking = asyncio.Semaphore(ASKING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen; does not wait for the backend to be there."""
        self._signals.install()
        await self._leases.start()
        await self.hub.start()
        self._spawn(self._learn_revoked())

    async def stop(self) -> None:
        """End every stream and let go of everything."""
        self.forget()
        await self.hub.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._leases.close()
        await self._gate.rate.close()

    def forget(self) -> None:
        """Hear no more signals."""
        self._signals.remove()

    # A stream's right to its channels, asked again

    def watch(self, stream: Stream, admission: Admission) -> None:
        """Ask ``authorize`` again from time to time about the channels that only it opened."""
        if admission.guarded:
            self._admissions[stream] = admission
            self.hub.recheck_at(stream, self.hub.lifetime.recheck(random.random()))

    def unwatch(self, stream: Stream) -> None:
        """The stream is over."""
        self._admissions.pop(stream, None)

    def _on_recheck(self, stream: Stream) -> None:
        admission = self._admissions.get(stream)
        if admission is not None:
            self._spawn(self._ask_again(stream, admission))

    async def _ask_again(self, stream: Stream, admission: Admission) -> None:
        async with self._asking:
            for channel in admission.guarded:
                if stream.ending is not None:
                    return
                refusal = await self._gate.ask(admission.identity, [channel])
                # A failing authorize is no answer: it is asked again, and ends nobody.
                if refusal is not None and refusal.code != BACKEND_DOWN.code:
                    self.hub.drop_channel(stream, channel)
        self.hub.recheck_at(stream, self.hub.lifetime.recheck(random.random()))

    # What all workers are told

    def disconnect(
        self, *, user: str | None = None, channel: str | None = None, session: str | None = None
    ) -> int:
        """End this worker's streams of a user, on a channel, or of a session; how many there were."""
        chosen = [
            stream
            for stream in self.hub.streams
            if (user is not None and stream.user == user)
            or (channel is not None and channel in stream.channels)
            or (session is not None and stream.session == session)
        ]
        self.hub.end_all(chosen, REVOKED)
        return len(chosen)

    def _on_control(self, frame: bytes | None) -> None:
        if frame is None:  # something may have been missed: what is revoked is kept apart from it
            self._spawn(self._learn_revoked())
            return
        try:
            message = json.loads(frame.partition(b"data: ")[2])
            order = {key: value for key, value in message.items() if key in ("user", "channel", "session")}
            if "until" in message:
                self._gate.revocations.add(message["session"], float(message["until"]), time.time())
            self.disconnect(**order)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            logger.warning("a malformed order to all workers was dropped: %r", error)

    async def _learn_revoked(self) -> None:
        while True:
            try:
                revoked = await self._backend.revoked()
            except BackendError:
                await asyncio.sleep(AGAIN)
                continue
            break
        now = time.time()
        self._gate.revocations.merge(revoked, now)
        for session in revoked:
            self.disconnect(session=session)

    # The end

    def _on_signal(self) -> None:
        if self.hub.draining:
            self.hub.hurry()
        else:
            self._spawn(self.hub.drain(self._drain_window))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a background task failed", exc_info=error)


def check_seconds(field: str, value: object) -> float:
    """The value, if it is a number of seconds, 0 or more.  Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 86_400:
        raise ConfigError(field, "must be a number of seconds, 0 or more and at most a day", value)
    return value
