"""How a channel's writing ends: what is said last, by whom if the writer died, and what others see of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math

from ...admission.callback import generates, is_async
from ...backends.base import Backend, Outgoing
from ...backends.writers import IS_FINISHED, LIFE, WRITES
from ...errors import BackendError, EventError, PublishError
from ...event import MAX_EVENT_BYTES, Event, finishing, fitting
from ...logline import about, value
from ...stored import stored
from .output import patiently

logger = logging.getLogger("sse_edge")

COMPLETE, FAILED, STOPPED, ABANDONED = "complete", "failed", "stopped", "abandoned"
"""The names of the last events: the iterator ended; it raised; ``stop`` was called; its writer died."""

JOINED = 0.5
"""Seconds between looks whether another writer is done."""


class Endings:
    """The last events of a channel, by their names.  Raises EventError for data that no event can carry."""

    def __init__(
        self,
        *,
        complete: object,
        failed: object,
        stopped: object,
        abandoned: object,
        most: int = MAX_EVENT_BYTES,
    ) -> None:
        self._most = most
        self._failed = failed
        given = {COMPLETE: complete, STOPPED: stopped, ABANDONED: abandoned}
        if not callable(failed):
            given[FAILED] = failed
        elif is_async(failed) or generates(failed):
            raise EventError(FAILED, "must be text, or a function that returns it and is not async", failed)
        self._bodies = {name: _last(name, data, most) for name, data in given.items()}

    def of(self, name: str, error: BaseException | None = None) -> bytes:
        """One of them; ``error`` is what was raised."""
        if name not in self._bodies and callable(self._failed):
            try:
                return _last(FAILED, self._failed(error), self._most)
            except Exception:
                extra = about("callback-failed", function="failed")
                logger.exception("what is to be said of a failure failed", extra=extra)
                return _last(FAILED, FAILED, self._most)
        return self._bodies[name]


def _last(name: str, data: object, most: int) -> bytes:
    if not isinstance(data, str):
        raise EventError(name, "must be text", data)
    try:
        return finishing(fitting(Event(data, event=name).encode(), most))
    except EventError as error:  # it names the event's own fields
        raise EventError(name, error.why, error.value) from error


async def how_it_ended(
    backend: Backend, channel: str, patience: float, most: float = math.inf
) -> tuple[str, str]:
    """Wait until nobody writes to ``channel``, for ``most`` seconds: the name and id of its last event.

    ``("abandoned", "")`` where it has none: nobody goes on with it, or others do.
    """
    loop = asyncio.get_running_loop()
    until, nobody_since = loop.time() + most, None
    standing, ended = WRITES, (ABANDONED, "")

    async def look() -> None:
        nonlocal standing, ended
        standing = await backend.writers().standing(channel)
        if standing == IS_FINISHED:
            for place, frame in await backend.recent(channel, 1):
                event = stored(channel, frame)
                if event is not None:
                    ended = event.event, str(place)

    while True:
        try:
            await patiently(look, patience)
        except BackendError as error:
            raise PublishError(str(error), may_have_happened=False) from error
        if standing == IS_FINISHED:
            return ended
        if standing == WRITES:
            nobody_since = None
        elif nobody_since is None:
            nobody_since = loop.time()
        elif loop.time() - nobody_since > LIFE:  # nor was a lease lost that is renewed
            return ended
        if loop.time() > until:
            return ended
        await asyncio.sleep(JOINED)


async def end_abandoned(backend: Backend) -> None:
    """End the channels whose writers have died; of all workers, one does each.  Raises BackendError."""
    writers = backend.writers()
    for writing in await writers.expired():
        try:
            await backend.publish([Outgoing(writing.channel, writing.last)])
            extra = about("writer-abandoned", channel=writing.channel)
            logger.warning("channel %s was abandoned by its writer", value(writing.channel), extra=extra)
        except PublishError as error:
            if error.reason != IS_FINISHED:
                continue  # it is taken over again in a moment, by whoever can
        with contextlib.suppress(BackendError):
            await writers.end(writing)
