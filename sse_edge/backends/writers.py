"""Who writes to which channel, in one process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..event import EventId
from .base import DOUBT, HOLDS, IS_FINISHED, LIFE, LOST, STOPS, WRITES, Begun, Outgoing, Writing, check_kept
from .retention import Kept


@dataclass(slots=True)
class Held:
    """A channel's writer, until when it is taken to be alive or its doubt lasts, and what else is known."""

    writing: Writing
    until: float
    stops: bool = False
    doubted: bool = False


class LocalWriters:
    """See ``Writers``; for the threads of one process, which share ``lock``.

    ``now`` gives an id after every event so far, and ``finished`` whether a channel has had its last.
    ``kept`` is how much history there is.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        lock: threading.RLock,
        now: Callable[[], EventId],
        finished: Callable[[str], bool],
        kept: Kept,
    ) -> None:
        self._clock = clock
        self._lock = lock
        self._now = now
        self._finished = finished
        self._kept = kept
        self._held: dict[str, Held] = {}

    async def begin(self, writing: Writing, *, reopen: bool = False) -> Begun:
        """See ``Writers.begin``."""
        check_kept([Outgoing(writing.channel, writing.last)], numbered=self._kept.numbered)
        with self._lock:
            held = self._held.get(writing.channel)
            refused = ""
            if held is None:
                if self._finished(writing.channel) and not reopen:
                    refused = IS_FINISHED
                else:
                    self._held[writing.channel] = Held(writing, self._clock() + LIFE)
            elif held.writing.token != writing.token:
                refused = WRITES
            return Begun(refused, self._now(), self._kept.of(writing.channel).events)

    async def renew(self, writings: Sequence[Writing]) -> list[str | None]:
        """See ``Writers.renew``."""
        with self._lock:
            return [self._renew(writing) for writing in writings]

    def _renew(self, writing: Writing) -> str:
        held = self._held.get(writing.channel)
        if held is None or held.writing.token != writing.token:
            return LOST
        held.until, held.doubted = self._clock() + LIFE, False
        return STOPS if held.stops else HOLDS

    async def end(self, writing: Writing) -> None:
        """See ``Writers.end``."""
        with self._lock:
            held = self._held.get(writing.channel)
            if held is not None and held.writing.token == writing.token:
                del self._held[writing.channel]

    async def stop(self, channel: str) -> bool:
        """See ``Writers.stop``."""
        with self._lock:
            held = self._held.get(channel)
            if held is not None:
                held.stops = True
            return held is not None

    async def standing(self, channel: str) -> str:
        """See ``Writers.standing``."""
        with self._lock:
            if channel in self._held:
                return WRITES
            return IS_FINISHED if self._finished(channel) else ""

    async def expired(self) -> list[Writing]:
        """See ``Writers.expired``."""
        taken = []
        with self._lock:
            now = self._clock()
            for channel, held in self._held.items():
                if now < held.until < now + 2 * LIFE:  # else the clock was set back
                    continue
                if held.doubted and 0 <= now - held.until <= 2 * DOUBT:
                    held.writing = Writing(channel, secrets.token_hex(8), held.writing.last)
                    taken.append(held.writing)
                held.until, held.doubted = now + DOUBT, True
        return taken
