"""Messages that are no events of ours: counted, and told without what they say."""

from __future__ import annotations

import logging
import time

from ...errors import EventError
from ...logline import about, value

logger = logging.getLogger("sse_edge")

TELL = 60.0
"""Seconds at least between two warnings about malformed messages; all of them are counted."""


class Strays:
    """What one worker has dropped; see ``Subscriber.dropped``."""

    def __init__(self) -> None:
        self._malformed = self._foreign = 0
        self._told = float("-inf")

    @property
    def counted(self) -> dict[str, int]:
        """How many of each kind there were."""
        return {"malformed": self._malformed, "foreign": self._foreign}

    def malformed(self, channel: str, error: EventError) -> None:
        """One that cannot be read."""
        self._malformed += 1
        now = time.monotonic()
        if now - self._told < TELL:
            return
        self._told = now
        # Not the error itself: it may repeat what was published.
        said = f"{error.field} {error.why}"
        extra = about("message-dropped", reason="malformed", channel=channel, detail=said)
        text = "a malformed message was dropped (%s), channel=%s"
        logger.warning(text, said, value(channel), extra=extra)

    def foreign(self, channel: str) -> None:
        """One of another data set, or of somebody who may only PUBLISH."""
        if not self._foreign:
            extra = about("message-dropped", reason="foreign", channel=channel)
            text = "an announcement of somebody else was dropped, channel=%s"
            logger.warning(text, value(channel), extra=extra)
        self._foreign += 1
