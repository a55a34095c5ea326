"""Slots counted over all workers, in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...errors import BackendError
from ...logline import about, refuses
from ..base import AloneError, Attempt, Window
from .call import PACE, Argument
from .fork import disown_after_fork
from .scripts import LEASES
from .server import Server
from .windows import window

logger = logging.getLogger("sse_edge")

HEARTBEAT = 5.0
"""Seconds between a worker's heartbeats.  The slots of a worker that was killed are free again within
twice this time."""

ANSWER = 1.0
"""Seconds that Redis has to answer before slots count in this worker alone."""

BATCH = 200
"""Requests per script call at most."""

ALONE = "leases are counted in this worker alone"

REFRESH = 60
"""Heartbeats within which every subject is written again; its key lives twice as long."""


class Request(NamedTuple):
    """Somebody waits for slots, and perhaps to be counted before."""

    caps: Sequence[tuple[str, int]]
    answer: asyncio.Future[Any]
    attempt: Attempt | None = None


class RedisLeases:
    """See ``Leases`` and ``Turnstile``.

    Each subject is a hash of worker → count, and each worker has a heartbeat.  A worker writes its own
    counts as they are, so everything in Redis can be lost and comes back.  All that is asked for in one
    turn of the event loop, or while a call is under way or within PACE of its beginning, travels in one
    call.

    While Redis is away caps count within this worker (``degraded`` is True), and what was granted then
    is counted when it is back.
    """

    def __init__(self, server: Server, stem: str, *, heartbeat: float = HEARTBEAT) -> None:
        self._server = server
        self._prefix = f"{stem}:"
        self._workers = f"{self._prefix}workers"
        self._worker = secrets.token_hex(8)
        disown_after_fork(self)
        self._heartbeat = heartbeat
        self._held: Counter[str] = Counter()
        self._requests: list[Request] = []
        self._asked: list[Request] = []
        self._unwritten: set[str] = set()
        self._refresh: dict[str, int] = {}
        self._beats = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.degraded = False
        self.calls = 0

    async def start(self) -> None:
        """Begin to beat, on the running event loop."""
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._held.clear()  # whoever held these was on a loop that is gone
            self._requests.clear()
            self._asked.clear()
            self._wake = asyncio.Event()
            self._task = asyncio.create_task(self._run())

    def disown(self) -> tuple[object, Iterable[int]]:
        """See ``Inherited.disown``: a child is another worker, or children would write over each other."""
        old, self._task = self._task, None
        self._worker = secrets.token_hex(8)
        return old, ()

    async def close(self) -> None:
        """Give everything back and stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._unwritten.update(self._held)
            self._held.clear()
            # Where this fails, the heartbeat ends with us all the same, and with it the slots.
            with contextlib.suppress(BackendError, TimeoutError):
                async with asyncio.timeout(ANSWER):
                    while self._unwritten:
                        await self._call([])
        for request in [*self._asked, *self._requests]:
            # Not cancel(): the stream that waits would take it for a cancellation of its own.
            if not request.answer.done():
                request.answer.set_exception(BackendError("this worker counts no more leases"))
        self._requests.clear()

    async def acquire(self, caps: Sequence[tuple[str, int]]) -> str | None:
        """See ``Leases.acquire``."""
        full = self._full(caps)
        if full is not None:  # by this worker alone: no need to ask
            return full
        if self.degraded or self._task is None:
            return self._take(caps)
        answer: str | None = await self._ask(caps)
        return answer

    async def enter(self, attempt: Attempt, caps: Sequence[tuple[str, int]]) -> Window | str | None:
        """See ``Turnstile.enter``."""
        if self.degraded or self._task is None:
            raise AloneError(ALONE)
        full = self._full(caps)
        answer: Window | str | None = await self._ask(caps if full is None else [], attempt)
        return full if answer is None else answer

    def release(self, subjects: Sequence[str]) -> None:
        """See ``Leases.release``."""
        for subject in subjects:
            self._held[subject] -= 1
            if self._held[subject] <= 0:
                del self._held[subject]
        self._unwritten.update(subjects)
        self._wake.set()

    def count(self, subject: str) -> int:
        """How many slots of ``subject`` this worker holds."""
        return self._held.get(subject, 0)

    async def _ask(self, caps: Sequence[tuple[str, int]], attempt: Attempt | None = None) -> Any:
        answer = asyncio.get_running_loop().create_future()
        self._requests.append(Request(caps, answer, attempt))
        self._wake.set()
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and not answer.exception() and not answer.result():
                self.release([subject for subject, _ in caps])
            raise

    def _full(self, caps: Sequence[tuple[str, int]]) -> str | None:
        for subject, cap in caps:
            if self._held[subject] >= cap:
                return subject
        return None

    def _take(self, caps: Sequence[tuple[str, int]]) -> str | None:
        full = self._full(caps)
        if full is None:
            for subject, _ in caps:
                self._held[subject] += 1
                self._unwritten.add(subject)
        return full

    async def _run(self) -> None:
        """Send what is asked for, and a heartbeat when nothing is."""
        loop = asyncio.get_running_loop()
        beat = next_call = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, beat - loop.time())):
                    await self._wake.wait()
            if (pause := next_call - loop.time()) > 0:
                await asyncio.sleep(pause)
            next_call = loop.time() + PACE
            self._wake.clear()
            if loop.time() >= beat:
                beat = loop.time() + self._heartbeat
                self._choose_for_refresh()
            elif self.degraded:
                continue  # the next heartbeat tries again
            await self._turn()
            if self._requests or (self._unwritten and not self.degraded):
                self._wake.set()

    async def _turn(self) -> None:
        self._asked, self._requests = self._requests[:BATCH], self._requests[BATCH:]
        try:
            async with asyncio.timeout(ANSWER):
                known = await self._call(self._asked)
        except Exception as error:
            if not isinstance(error, (BackendError, TimeoutError)):
                logger.exception("counting leases in Redis failed", extra=about("task-failed"))
            self._degrade(error)
            return
        if self.degraded:
            self.degraded = False
            logger.warning("Redis counts leases again", extra=about("limits-shared", limits="leases"))
        if not known:  # its data was lost, or we stood still for longer than a heartbeat lives
            self._unwritten.update(self._held)
            self._wake.set()

    def _degrade(self, error: Exception) -> None:
        if not self.degraded:
            self.degraded = True
            extra = about("limits-alone", limits="leases", detail=str(error))
            logger.warning("%s while Redis %s", ALONE, refuses(error), extra=extra)
        for request in [*self._asked, *self._requests]:
            if request.answer.done():
                continue
            if request.attempt is None:
                request.answer.set_result(self._take(request.caps))
            else:  # who knows how attempts are counted meanwhile asks again
                request.answer.set_exception(AloneError(ALONE))
        self._requests.clear()
        self._unwritten.update(self._held)

    def _choose_for_refresh(self) -> None:
        """Write some subjects again, in turn, before their keys expire."""
        self._beats += 1
        for subject in self._held:
            self._refresh.setdefault(subject, self._beats)
        share = -(-len(self._refresh) // REFRESH)
        chosen: list[str] = []
        for subject, since in self._refresh.items():  # the oldest first
            if len(chosen) >= share and self._beats - since < REFRESH:
                break
            chosen.append(subject)
        for subject in chosen:
            del self._refresh[subject]
            if self._held.get(subject):
                self._unwritten.add(subject)

    async def _call(self, batch: list[Request]) -> bool:
        written = [self._unwritten.pop() for _ in range(min(len(self._unwritten), 2 * BATCH))]
        places: dict[str, int] = {}
        for subject in [*written, *(subject for request in batch for subject, _ in request.caps)]:
            places.setdefault(subject, len(places) + 1)
        # A user's name from an application's own sessions may be what UTF-8 cannot carry.
        names = [subject.encode(errors="backslashreplace").decode() for subject in places]
        attempts = [request.attempt.key for request in batch if request.attempt is not None]
        keys = [self._workers, *(f"{self._prefix}{name}" for name in names), *attempts]
        own = [self._held.get(subject, 0) for subject in places]
        asked = []
        for request in batch:
            numbers = [0, 0] if request.attempt is None else [request.attempt.limit, request.attempt.length]
            for subject, cap in request.caps:
                numbers += (places[subject], cap)
            asked.append(numbers)
        life = round(2000 * self._heartbeat)
        self.calls += 1
        try:
            arguments: list[Argument] = [self._worker, life, json.dumps(own), json.dumps(asked)]
            answer = await self._server.run(LEASES, keys, arguments, self._workers)
        except BaseException:
            self._unwritten.update(places)  # whatever was counted there, our own counts are what is true
            raise
        subjects = list(places)
        for request, refused in zip(batch, answer[1:], strict=True):
            if isinstance(refused, list):
                self._answer(request, window(refused))
            else:
                self._answer(request, subjects[refused - 1] if refused else None)
        return bool(answer[0])

    def _answer(self, request: Request, refused: Window | str | None) -> None:
        if refused is None:
            for subject, _ in request.caps:
                self._held[subject] += 1
        if not request.answer.done():
            request.answer.set_result(refused)
        elif refused is None:  # it left while it waited
            self.release([subject for subject, _ in request.caps])
