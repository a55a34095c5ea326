"""What a producer gives, of whatever kind, and closing it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from ...errors import EventError, is_end
from ...event import Event
from ...logline import about
from .thread import Threaded

logger = logging.getLogger("sse_edge")

Pieces = AsyncIterable[str | Event] | Iterable[str | Event]
"""What a producer makes: tokens of a model, lines, states of a job."""


def checked(iterator: object) -> AsyncIterable[Any]:
    """What was given, as an async iterable.  Raises EventError."""
    if isinstance(iterator, AsyncIterable):
        return iterator
    if isinstance(iterator, Iterable) and not isinstance(iterator, (str, bytes, bytearray, Mapping)):
        return Threaded(iterator)
    raise EventError("iterator", "must be an async or a sync iterator of text and Events", iterator)


async def close(iterator: object) -> None:
    """Let an async iterator clean up.  What it raises then is logged: what it made is out."""
    end = getattr(iterator, "aclose", None) or getattr(iterator, "close", None)
    try:
        if callable(end):
            done = end()
            if inspect.isawaitable(done):
                await done
    except (Exception, GeneratorExit, BaseExceptionGroup) as error:
        if not is_end(error):
            logger.exception("closing an iterator failed", extra=about("writer-failed"))
