"""What a scrape is told: this worker's figures, or those of all workers that share a directory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from ..backends.siblings import is_second
from ..errors import ConfigError
from ..figures import Figures, accumulated, complete, together
from ..logline import about, sentence
from .exposition import Row, text
from .slots import VARIABLE, Slot, Slots

logger = logging.getLogger("sse_edge")

EVERY = 1.0
"""Seconds between the times that a worker's figures are written for the others."""

FRESH = 3600.0
"""Seconds between the times that all files are made newer: what tidies up does so by days."""

SHARE = 0.1
"""Of its time that a worker spends on scrapes at most, however many ask."""


class Scrapes:
    """Answers for the worker that ``figures`` tells of, and for all others of the same ``edge`` that the
    directory of ``SSE_EDGE_FIGURES`` has.

    Without that, or where it cannot be used, for the one alone.
    """

    def __init__(self, edge: str, figures: Callable[[], Figures]) -> None:
        self._edge = edge
        self._figures = figures
        self._slots: Slots | None = None
        self._slot: Slot | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failing = False
        self._touched = float("-inf")
        self._next: dict[bool, asyncio.Task[bytes]] = {}
        self._last: asyncio.Task[bytes] | None = None
        self._free_at = 0.0

    def begin(self) -> None:
        """A worker begins on the running event loop."""
        self._next, self._last, self._free_at = {}, None, 0.0
        directory = os.environ.get(VARIABLE)
        if directory and self._slot is None:
            try:
                self._slots = Slots(directory, self._edge)
                self._slot = self._slots.take()
            except ConfigError as error:
                self._slots = None
                extra = about("figures-alone", detail=str(error))
                said = "%s: this worker's metrics are its own alone"
                logger.warning(said, sentence(str(error)), extra=extra)
            else:
                if self._slot.torn:
                    logger.warning(
                        "what worker %d of %s counted before cannot be read: it counts from 0",
                        self._slot.number,
                        VARIABLE,
                        extra=about("figures-lost"),
                    )
        if not directory and is_second(f"{self._edge} metrics"):
            said = "several workers, and a scrape of their metrics tells of one: name a directory in %s"
            logger.warning(said, VARIABLE, extra=about("figures-of-one"))
        if self._slot is not None:
            self._on_time()

    def end(self) -> None:
        """It is over: what was counted stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(over=True)

    async def text(self, *, by_worker: bool) -> bytes:
        """The figures as of now, each worker's by itself or all as one.

        Who asks while others are answered is answered with all who came meanwhile.  Raises ImportError
        without prometheus_client, and OSError where the others' figures cannot be read.
        """
        task = self._next.get(by_worker)
        if task is None:
            task = self._next[by_worker] = asyncio.create_task(self._make(self._last, by_worker=by_worker))
            self._last = task
        return await asyncio.shield(task)

    async def _make(self, before: asyncio.Task[bytes] | None, *, by_worker: bool) -> bytes:
        loop = asyncio.get_running_loop()
        if before is not None:
            await asyncio.wait([before])
        if (wait := self._free_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        began = loop.time()
        del self._next[by_worker]  # who asks from now on is told what is newer
        try:
            return await text(await self._rows(by_worker=by_worker))
        finally:
            took = loop.time() - began
            self._free_at = loop.time() + min(EVERY, took / SHARE)

    async def _rows(self, *, by_worker: bool) -> list[Row]:
        own = self._tell()
        if self._slots is None or self._slot is None:
            return [Row(own, worker="0" if by_worker else None)]
        rows = [Row(own, worker=str(self._slot.number))]
        for told in self._slots.told():
            if told.number != self._slot.number:
                rows.append(Row(told.figures, told.lives, str(told.number)))
            await asyncio.sleep(0)
        if by_worker:
            return sorted(rows, key=lambda row: int(row.worker or 0))
        gone = together(row.figures for row in rows if not row.lives)
        return [Row(accumulated(gone, together(row.figures for row in rows if row.lives)))]

    def _on_time(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(EVERY, self._on_time)
        self._tell()
        if self._slots is not None and loop.time() >= self._touched + FRESH:
            self._touched = loop.time()
            self._slots.touch()

    def _tell(self, *, over: bool = False) -> Figures:
        """Write this worker's figures; what they are, with those of who had its slot before."""
        figures = self._figures()
        if self._slot is None:
            return complete(figures)
        try:
            if self._slots is not None and self._slot.lost:
                self._take_anew(self._slots, self._slot)
            told, failing = self._slot.tell(figures, over=over), False
        except (OSError, ConfigError) as error:
            told, failing = self._slot.counted(figures), True
            if not self._failing:
                why = error.why if isinstance(error, ConfigError) else error.strerror
                extra = about("figures-unwritten", detail=why)
                said = "the figures of this worker cannot be written to %s: %s"
                logger.warning(said, VARIABLE, why, extra=extra)
        self._failing = failing
        return told

    def _take_anew(self, slots: Slots, lost: Slot) -> None:
        self._slot = slots.take_anew(lost)
        said = "somebody removed files of worker %d from %s: it goes on as worker %d"
        extra = about("figures-removed")
        logger.warning(said, lost.number, VARIABLE, self._slot.number, extra=extra)
