"""Who writes to which channel, in one process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ..base import Outgoing, check_kept
from ..writers import DOUBT, HOLDS, IS_FINISHED, LIFE, LOST, STOPS, WRITES, Begun, Writing
from .store import Store


@dataclass(slots=True)
class Held:
    """A channel's writer, until when it is taken to be alive or its doubt lasts, and what else is known."""

    writing: Writing
    until: float
    stops: bool = False
    doubted: bool = False


class LocalWriters:
    """See ``Writers``; for the threads of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, Held] = {}

    async def begin(self, writing: Writing, *, reopen: bool = False) -> Begun:
        """See ``Writers.begin``."""
        check_kept([Outgoing(writing.channel, writing.last)], numbered=self._store.kept.numbered)
        with self._store.lock:
            held = self._held.get(writing.channel)
            refused = ""
            if held is None:
                if self._is_finished(writing.channel) and not reopen:
                    refused = IS_FINISHED
                else:
                    self._held[writing.channel] = Held(writing, self._store.time() + LIFE)
            elif held.writing.token != writing.token:
                refused = WRITES
            return Begun(refused, self._store.now(), self._store.kept.of(writing.channel).events)

    async def renew(self, writings: Sequence[Writing]) -> list[str | None]:
        """See ``Writers.renew``."""
        with self._store.lock:
            return [self._renew(writing) for writing in writings]

    def _renew(self, writing: Writing) -> str:
        held = self._held.get(writing.channel)
        if held is None or held.writing.token != writing.token:
            return LOST
        held.until, held.doubted = self._store.time() + LIFE, False
        return STOPS if held.stops else HOLDS

    async def end(self, writing: Writing) -> None:
        """See ``Writers.end``."""
        with self._store.lock:
            held = self._held.get(writing.channel)
            if held is not None and held.writing.token == writing.token:
                del self._held[writing.channel]

    async def stop(self, channel: str) -> bool:
        """See ``Writers.stop``."""
        with self._store.lock:
            held = self._held.get(channel)
            if held is not None:
                held.stops = True
            return held is not None

    async def standing(self, channel: str) -> str:
        """See ``Writers.standing``."""
        with self._store.lock:
            if channel in self._held:
                return WRITES
            return IS_FINISHED if self._is_finished(channel) else ""

    async def expired(self) -> list[Writing]:
        """See ``Writers.expired``."""
        taken = []
        with self._store.lock:
            now = self._store.time()
            for channel, held in self._held.items():
                if now < held.until < now + 2 * LIFE:  # else the clock was set back
                    continue
                if held.doubted and 0 <= now - held.until <= 2 * DOUBT:
                    held.writing = Writing(channel, secrets.token_hex(8), held.writing.last)
                    taken.append(held.writing)
                held.until, held.doubted = now + DOUBT, True
        return taken

    def _is_finished(self, channel: str) -> bool:
        return self._store.finished([channel]) is not None
