"""The end of all streams of a worker, spread over a time; nobody is let in meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable

from ..leash import Leash
from ..outcome import DRAIN, Ending
from .audience import Audience
from .clock import GOODBYE, Clock
from .lifetime import NEVER
from .rounds import FEW
from .stream import Stream
from .timetable import moments

SOON = 0.01
"""Seconds between looks whether requests have their answers."""


class Drain:
    """Ends an ``audience``: ``end`` ends one stream at once, ``end_soon`` many, a few in every turn.

    Called with ``seconds``, it takes no more streams, ends all in random order in that time (``timetable``
    says when), and returns when they are gone.  After ``latest`` seconds nobody is waited for who was told
    and has not read it.  ``begun`` is whether no more streams are taken.  ``entering`` are the requests that
    have no answer yet: it ends what they wait for.
    """

    def __init__(
        self,
        audience: Audience,
        clock: Clock,
        end: Callable[[Stream, Ending], None],
        end_soon: Callable[[Iterable[Stream], Ending], int],
    ) -> None:
        self.begun = False
        self.entering: set[Leash] = set()
        self._audience = audience
        self._clock = clock
        self._end = end
        self._end_soon = end_soon
        self._hurry = asyncio.Event()

    def refuse(self) -> set[Leash]:
        """Take no more streams, and wait for nothing that would let one in; who is refused by that."""
        self.begun = True
        for leash in self.entering:
            leash.pull()
        return set(self.entering)

    async def __call__(self, seconds: float, latest: float = NEVER) -> None:
        """Drain; another one may be under way."""
        refused = self.refuse()
        clock = self._clock
        clock.latest = min(clock.latest, clock.now + latest)
        streams = list(self._audience.streams)
        random.shuffle(streams)
        # Polls come back one by one anyway.
        self._end_soon([stream for stream in streams if stream.brief], DRAIN)
        began = clock.now
        for number, (stream, moment) in enumerate(zip(streams, moments(len(streams), seconds), strict=True)):
            if stream.ending is not None:  # it left, or another drain was faster
                continue
            while (wait := began + moment - clock.now) > 0 and not self._hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._hurry.wait()
            self._end(stream, DRAIN)
            if number % FEW == 0:
                await asyncio.sleep(0)
        await self._audience.gone()
        limit = clock.now + GOODBYE
        while refused & self.entering and clock.now < limit:  # noqa: ASYNC110
            await asyncio.sleep(SOON)

    def hurry(self) -> None:
        """End at once what is not ended yet."""
        self._hurry.set()
