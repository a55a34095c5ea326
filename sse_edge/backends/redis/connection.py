"""Being connected: one session after the other, with a pause between them that grows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from redis.exceptions import RedisError

from ...errors import BackendError
from ...logline import about, sentence
from .failure import told

logger = logging.getLogger("sse_edge")

BACK_OFF = (0.05, 2.0)
"""Seconds before the first attempt to reconnect, and at most before a later one; varied by half."""

_LOST = (RedisError, OSError, TimeoutError, BackendError)


async def stay_connected(
    session: Callable[[], Coroutine[Any, Any, None]], generation: Callable[[], int]
) -> None:
    """Run sessions for ever.  ``generation`` counts those that came as far as to be level."""
    attempt = 0
    while True:
        before = generation()
        try:
            # In a task of its own: until Python 3.11.3 a failed TaskGroup leaves its task counted as
            # being cancelled, and every later asyncio.timeout in it raises CancelledError.
            await _apart(session())
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            _tell(error, first=generation() > before or attempt == 0)
        attempt = 0 if generation() > before else attempt + 1
        least, most = BACK_OFF
        await asyncio.sleep(min(most, least * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.5))


def _tell(error: Exception, *, first: bool) -> None:
    # Not in the loop that goes on: it would keep the errors, and with them the frames of all who waited.
    causes = list(_leaves(error))
    if not all(isinstance(cause, _LOST) for cause in causes):
        logger.exception("the Redis subscriber failed; reconnecting", extra=about("backend-away"))
    elif first:
        said = told(causes[0])
        extra = about("backend-away", detail=said)
        logger.warning("no connection to Redis (%s); reconnecting", sentence(said), extra=extra)


async def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` in a task of its own, which ends with this call whatever happens."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    finally:
        await end(task)
    if task.cancelled():
        raise BackendError("the session was cancelled")
    task.result()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it is done: on Python 3.11 a TaskGroup can drop a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    if not task.cancelled():
        task.exception()  # seen, also where nobody asks: asyncio would log it as never retrieved


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
