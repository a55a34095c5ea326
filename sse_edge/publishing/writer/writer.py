"""Writing to a channel from an iterator until it ends, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from ...backends.base import Backend, Outgoing
from ...backends.writers import IS_FINISHED, LOST, WRITES, Writing
from ...errors import BackendError, EventError, PublishError
from ...event import REOPENED, Event, check_channel
from ...logline import about, reason, value, why
from .ending import ABANDONED, COMPLETE, FAILED, STOPPED, Endings, how_it_ended
from .joining import Joining, beat
from .keeper import Keeper
from .output import SIZE, Output, patiently
from .pieces import Pieces, checked, close

logger = logging.getLogger("sse_edge")

AHEAD = 262_144
"""Bytes that wait to be published at most before the iterator is asked for the next piece."""

TURN = 256
"""Pieces after which other tasks get a turn, should the iterator never wait."""

PATIENCE = 60.0
"""Seconds that a writer waits for a backend that is away."""

GRACE = 3.0
"""Seconds that it takes at most to end a channel, or to give it back, when the task that writes is cancelled
or the application stops."""

OVER = 10.0
"""Seconds that one waits at most whose channel was taken over, for the end of it."""


class Written(NamedTuple):
    """How a channel's writing ended: ``reason`` is the name of its last event, and ``id`` that event's id, or
    "" where it has none: it was given up before it began, or taken over.

    ``events`` is how many this call published.
    """

    reason: str
    id: str
    events: int


class Writer:
    """One iterator on its way to one channel."""

    def __init__(
        self,
        backend: Backend,
        keeper: Keeper,
        writing: Writing,
        pieces: AsyncIterable[Any],
        joining: Joining,
        endings: Endings,
        patience: float,
    ) -> None:
        self.writing = writing
        self.keeper = keeper
        self.lives = 0.0
        self.left = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._backend = backend
        self._pieces = pieces
        self._joining = joining
        self._endings = endings
        self._output = Output(backend, writing.channel, self._certain, patience)
        self._patience = patience
        self._told = ""
        self._bell, self._room = asyncio.Event(), asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._is_stopped = self._is_over = self._is_reopened = False
        _writing.setdefault(self._loop, WeakSet()).add(self)

    async def begin(self, *, reopen: bool) -> str:
        """Have the channel for its own, or the reason why not: ``ABANDONED`` if it was given up before.

        Raises PublishError.
        """
        beginning = self._loop.create_task(self._begin(reopen=reopen))
        beginning.add_done_callback(lambda _: self._bell.set())
        try:
            while not beginning.done() and self._told != ABANDONED:
                self._bell.clear()
                await self._bell.wait()
        except asyncio.CancelledError:
            await self._give_back(beginning)
            raise
        if self._told == ABANDONED:
            await self._give_back(beginning)
            return ABANDONED
        return beginning.result()

    async def _begin(self, *, reopen: bool) -> str:
        refused = ""

        async def ask() -> None:
            nonlocal refused
            self.lives = self._loop.time()
            begun = await self._backend.writers().begin(self.writing, reopen=reopen)
            refused = begun.refused
            self._output.begin(begun.after, begun.kept)

        async def open_again() -> None:
            self._is_reopened = True
            await self._backend.publish([Outgoing(self.writing.channel, REOPENED)])

        try:
            await patiently(ask, self._patience)
            if not refused:
                self.keeper.add(self)
                if reopen:
                    await patiently(open_again, self._patience)
        except BackendError as error:
            raise PublishError(str(error), may_have_happened=False) from error
        return refused

    async def run(self) -> Written:
        """Write until the end, and say which it was.  Raises PublishError."""
        self._reading = self._loop.create_task(self._read())
        self._reading.add_done_callback(self._on_read)
        try:
            return await self._write(self._reading)
        except asyncio.CancelledError:
            await self._abandon(self._reading)
            raise

    def leave(self) -> None:
        """Be renewed no more: it is over."""
        self.keeper.remove(self)
        _writing[self._loop].discard(self)
        self.left.set()

    def tell(self, standing: str) -> None:
        """See ``Told``: no further piece is wanted."""
        if standing == LOST or (self._reading is not None and not self._reading.done() and not self._told):
            self._told = standing
        self._stop_reading()
        self._bell.set()

    def give_up(self) -> None:
        """End as abandoned, or do not begin."""
        if not self._told and (self._reading is None or not self._reading.done()):
            self._told = ABANDONED
        self._stop_reading()
        self._bell.set()

    async def _write(self, reading: asyncio.Task[None]) -> Written:
        try:
            reason = await self._carry(reading)
            await self._finish(reason)
            written = Written(reason, self._output.id, self._output.events)
        except PublishError as error:
            if error.reason != IS_FINISHED:
                self._stop_reading()
                await asyncio.wait([reading])
                raise
            written = await self._over()
        self._stop_reading()
        await asyncio.wait([reading])
        return written

    # From the iterator

    async def _read(self) -> None:
        iterator, turn = None, 0
        try:
            iterator = aiter(self._pieces)
            async for piece in iterator:
                if self._is_stopped:
                    break
                if not isinstance(piece, (str, Event)):
                    raise EventError("iterator", "must give text and Events", piece)
                if isinstance(piece, Event) and piece.id is not None:
                    raise EventError("id", "is given by the backend", piece.id)
                was_due = self._joining.due
                self._joining.add(piece, self._loop.time())
                if (due := self._joining.due) != was_due and due is not None:
                    self._loop.call_at(beat(due), self._bell.set)
                turn += 1
                if turn % TURN == 0:
                    await asyncio.sleep(0)
                while self._joining.size > AHEAD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await close(self._pieces if iterator is None else iterator)

    def _on_read(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled() and (error := reading.exception()) is not None:
            self._log(error)
        self._bell.set()

    def _log(self, error: BaseException) -> None:
        channel = self.writing.channel
        extra = about("writer-failed", channel=channel)
        logger.error("writing failed, channel=%s", value(channel), exc_info=error, extra=extra)

    def _stop_reading(self) -> None:
        """Have the iterator closed; once, or it would be cancelled while it cleans up."""
        if self._reading is not None and not self._is_stopped:
            self._is_stopped = True
            if not self._reading.cancelling():  # by an event loop that ends
                self._loop.call_soon(self._reading.cancel)  # not before it began: that closes nothing

    # To the channel

    async def _carry(self, reading: asyncio.Task[None]) -> str:
        """Publish what is due until something ends it, and what that is."""
        while not self._told and not reading.done():
            self._bell.clear()
            if self._joining.is_due(self._loop.time()):
                await self._publish()
            else:
                await self._bell.wait()
        if self._told:
            return ABANDONED if self._told == ABANDONED else STOPPED
        try:
            self._error = reading.exception()
        except asyncio.CancelledError as error:  # not by anybody here
            self._error = error
            self._log(error)
        return COMPLETE if self._error is None else FAILED

    async def _publish(self) -> None:
        await self._output.send(self._joining.take(SIZE))
        if self._joining.size <= AHEAD:
            self._room.set()

    async def _finish(self, reason: str) -> None:
        last = self._endings.of(reason, self._error)
        self._joining.close(self._loop.time())
        while bodies := self._joining.take(SIZE):
            await self._output.send(bodies)
        await self._output.send([last])
        self._is_over = True
        # Not once only: who is taken for dead is ended, and by then the channel may have been reopened.
        with contextlib.suppress(BackendError):
            await patiently(lambda: self._backend.writers().end(self.writing), GRACE)

    async def _certain(self) -> None:
        await self.keeper.certain(self)
        if self._told == LOST:
            why = f"channel {self.writing.channel!r} is not this writer's any more"
            raise PublishError(why, may_have_happened=False, reason=IS_FINISHED)

    async def _over(self) -> Written:
        """How a channel ended that others have ended."""
        self._stop_reading()
        self.keeper.remove(self)
        with contextlib.suppress(BackendError):
            await self._backend.writers().end(self.writing)
        reason, id = await how_it_ended(self._backend, self.writing.channel, self._patience, OVER)
        if self._told == LOST and reason != ABANDONED:
            reason, id = ABANDONED, ""  # what came afterwards is another's
        return Written(reason, id, self._output.events)

    async def _abandon(self, reading: asyncio.Task[None]) -> None:
        """The task that writes is cancelled, perhaps again and again: end the channel all the same, now."""
        self._stop_reading()
        ending = self._loop.create_task(self._end_at_once())
        try:
            await self._insist(ending, reading)
        finally:
            ending.cancel()

    async def _give_back(self, beginning: asyncio.Task[str]) -> None:
        """Leave the channel as it was, whether it was had already or is about to be."""

        async def leave() -> None:
            # Not before: what is on its way would have the channel afterwards.
            await asyncio.wait([beginning])
            if self._is_reopened:
                await self._end_at_once()
            else:
                with contextlib.suppress(BackendError):
                    await self._backend.writers().end(self.writing)

        leaving = self._loop.create_task(leave())
        try:
            await self._insist(leaving)
        finally:
            leaving.cancel()
            if not beginning.cancel() and not beginning.cancelled():
                beginning.exception()  # nobody else asks for it

    async def _insist(self, *tasks: asyncio.Task[None]) -> None:
        """Wait for them, but not for ever, however often the task that writes is cancelled meanwhile."""
        until, cancelled = self._loop.time() + GRACE, None
        while waiting := [task for task in tasks if not task.done()]:
            if (left := until - self._loop.time()) <= 0:
                break
            try:
                await asyncio.wait(waiting, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _end_at_once(self) -> None:
        try:
            if not self._is_over:
                await self._finish(ABANDONED)
        except PublishError as error:
            if error.reason != IS_FINISHED:
                channel = self.writing.channel
                extra = about("writer-left", channel=channel, detail=reason(error))
                text = "channel %s is left to be ended by others: %s"
                logger.warning(text, value(channel), why(error), extra=extra)


_writing: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[Writer]] = WeakKeyDictionary()


async def give_up(keeper: Keeper | None = None) -> None:
    """Have those that write on this event loop, or ``keeper``'s alone, end as abandoned; wait for ``GRACE``
    seconds at most.
    """
    writers = [
        writer
        for writer in _writing.get(asyncio.get_running_loop(), ())
        if keeper is None or writer.keeper is keeper
    ]
    for writer in writers:
        writer.give_up()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            for writer in writers:
                await writer.left.wait()


async def write(
    backend: Backend,
    keeper: Keeper,
    channel: str,
    iterator: Pieces,
    *,
    event: str | None,
    endings: Endings,
    join: bool,
    reopen: bool,
    patience: float,
    most: int,
) -> Written:
    """See ``Publisher.write``; ``most`` bytes make an event."""
    channel = check_channel(channel)
    if len(Event("", event=event).encode()) > most // 2:
        raise EventError("event", f"leaves too little for the data of events of {most} bytes", event)
    if event in (COMPLETE, FAILED, STOPPED, ABANDONED):
        raise EventError("event", "is what the last event may be called", event)
    joining = Joining(event, most)
    pieces = checked(iterator)
    writing = Writing(channel, secrets.token_hex(8), endings.of(ABANDONED))
    writer = Writer(backend, keeper, writing, pieces, joining, endings, patience)
    try:
        try:
            refused = await writer.begin(reopen=reopen)
        except BaseException:
            await close(pieces)
            raise
        if not refused:
            return await writer.run()
        await close(pieces)
    finally:
        writer.leave()
    if refused == ABANDONED:
        return Written(ABANDONED, "", 0)
    if refused == WRITES and join:
        return Written(*await how_it_ended(backend, channel, patience), 0)
    said = "somebody else writes to it" if refused == WRITES else "it has had its last event"
    raise PublishError(f"channel {channel!r}: {said}", may_have_happened=False, reason=refused)
