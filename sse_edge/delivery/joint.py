"""One response for several streams: the sinks that they share it through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..logline import about
from .sink import Owner, Sink
from .stream import Stream

logger = logging.getLogger("sse_edge")

STRAND = b": strand %d\n"
"""Whose all that follows is."""

PATIENCE = 5.0
"""Seconds for a client to take the last bytes where no stream is left that would wait for it."""

Enter = Callable[["Strand"], Coroutine[Any, Any, None]]
"""Lets a stream in that is to be joined, or refuses it, as soon as the response has begun."""


class Joint:
    """A response whose bytes are those of several streams, behind a line each time that says whose they are:
    ``: strand N``, a comment.  No block has lines of two of them.

    ``first`` is the strand of the stream that the response was asked for, and begins with; the ``others`` are
    let in then, each in a task of its own, since each may be asked about.  The response is over when all
    are, or when its client has left; it is cut off for all of them where one has to be.
    """

    __slots__ = (
        "_entering",
        "_left",
        "_others",
        "_over",
        "_ready",
        "_sink",
        "_speaking",
        "_strands",
        "_timer",
        "_whole",
        "_written",
    )

    def __init__(self, sink: Sink, others: Sequence[Enter]) -> None:
        self._sink = sink
        self._others = others  # until the response has begun
        self._strands = [Strand(self, number) for number in range(1 + len(others))]
        self._left = len(self._strands)
        self._entering: set[asyncio.Task[None]] = set()
        self._speaking: Strand | None = None
        self._whole = True  # what was written last ends a block
        self._written = 0
        self._ready: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def first(self) -> Strand:
        """The strand that the response begins with."""
        return self._strands[0]

    @property
    def streams(self) -> list[Stream]:
        """Those that are open."""
        return [strand.owner for strand in self._strands if isinstance(strand.owner, Stream)]

    @property
    def sent(self) -> int:
        """How many of the bytes ever written have left, at least."""
        return self._written - self._sink.unsent

    @property
    def written(self) -> int:
        """How many bytes were written."""
        return self._written

    # The strands' side

    def write(self, strand: Strand, data: bytes, chunk: bytes | None) -> int:
        """Send ``data`` of ``strand``; see ``Sink.write``."""
        if self._over:
            return 0
        if strand is not self._speaking:
            data, chunk = self._turned_to(strand, data), None
        self._whole = data.endswith(b"\n\n")
        self._written += len(data)
        return self._sink.write(data, chunk)

    def end(self, strand: Strand, data: bytes) -> None:
        """Send the last of ``strand``; see ``Sink.finish``."""
        if self._over:
            return
        self._left -= 1
        if self._left:
            self.write(strand, data, None)
            strand.gone(asyncio.get_running_loop())
            return
        if strand is not self._speaking:
            data = self._turned_to(strand, data)
        self._written += len(data)
        self._sink.finish(data)
        if strand.owner is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.abort)

    def abort(self) -> None:
        """Let go of the client; see ``Sink.abort``."""
        if not self._over:
            self._sink.abort()
            asyncio.get_running_loop().call_soon(self.closed)

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``: one strand after the other, so that what waits is no more than for one."""
        self._ready.append(then)
        if len(self._ready) == 1:
            self._sink.when_ready(self._on_ready)

    async def start(self, strand: Strand, first: bytes) -> None:
        """Send the first bytes of ``strand``, behind the response's head if it is the first."""
        if strand.number:
            self.write(strand, first, None)
            if self._over:
                strand.gone(asyncio.get_running_loop())
            return
        first = self._turned_to(strand, first)
        self._whole = first.endswith(b"\n\n")
        self._written += len(first)
        await self._sink.start(first, self)
        others, self._others = self._others, ()
        if not self._over:
            for other, enter in zip(self._strands[1:], others, strict=True):
                task = asyncio.create_task(enter(other))
                self._entering.add(task)
                task.add_done_callback(self._entered)

    async def run(self) -> None:
        """See ``Sink.run``; it is also needed until all strands are let in."""
        await self._sink.run()
        while self._entering:
            await asyncio.wait(self._entering)

    def _turned_to(self, strand: Strand, data: bytes) -> bytes:
        self._speaking = strand
        return (b"" if self._whole else b"\n") + STRAND % strand.number + data

    def _on_ready(self) -> None:
        then = self._ready.pop(0)
        then()
        if self._ready:  # once that has been written
            asyncio.get_running_loop().call_soon(self._sink.when_ready, self._on_ready)

    def _entered(self, task: asyncio.Task[None]) -> None:
        self._entering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a stream could not be joined", exc_info=error, extra=about("task-failed"))
            self.abort()

    # The response's side: see Owner

    def closed(self) -> None:
        """The response is over, for all strands."""
        if self._over:
            return
        self._over = True
        self._ready.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._entering:
            task.cancel()
        strands, self._strands = self._strands, []
        for strand in strands:
            owner, strand.owner = strand.owner, None
            if owner is not None:
                owner.closed()

    def stopping(self) -> None:
        """The server waits for the response to end: one of the strands will do."""
        for strand in self._strands:
            if strand.owner is not None:
                strand.owner.stopping()
                return


def beside(sink: Sink) -> list[Stream]:
    """The streams on the response that ``sink`` writes to, if it is one of several."""
    return sink.joint.streams if isinstance(sink, Strand) else []


class Strand:
    """The sink of one of the streams.

    What is ``unsent`` of it is not known to the byte, others' bytes being among its own: when a mark of its
    own has left, all before it has, and the newest byte is marked.  So it seems more than it is for a while,
    and seems to get less as soon as it does.
    """

    __slots__ = ("_ended", "_left", "_mark", "_marked", "_own", "_upto", "joint", "number", "owner")

    def __init__(self, joint: Joint, number: int) -> None:
        self.number = number
        self.owner: Owner | None = None
        self.joint = joint
        self._ended = False
        self._own = 0  # bytes of its own, and up to where they go in the response
        self._upto = 0
        self._left = 0  # of its own, that are known to have left
        self._mark = 0  # a place in the response, and how many of its own there are up to there
        self._marked = 0

    @property
    def unsent(self) -> int:
        """See ``Sink.unsent``."""
        if self._left == self._own:
            return 0
        sent = self.joint.sent
        if sent >= self._upto:
            self._left = self._own
            return 0
        if sent >= self._mark:
            self._left = max(self._left, self._marked)
            self._mark, self._marked = self._upto, self._own
        return min(self._upto - sent, self._own - self._left)

    def write(self, data: bytes, chunk: bytes | None = None) -> int:
        """See ``Sink.write``; what waits is what waits for the client, whoever's it is."""
        if self._ended:
            return 0
        joint = self.joint
        behind = joint.write(self, data, chunk)
        self._own += len(data)
        self._upto = joint.written
        return behind

    def when_ready(self, then: Callable[[], None]) -> None:
        """See ``Sink.when_ready``."""
        self.joint.when_ready(then)

    def finish(self, data: bytes) -> None:
        """See ``Sink.finish``: the response ends with the last strand."""
        if not self._ended:
            self._ended = True
            self.joint.end(self, data)
            self._own += len(data)
            self._upto = self.joint.written

    def abort(self) -> None:
        """See ``Sink.abort``: who does not read one of them reads none."""
        self.joint.abort()

    async def start(self, first: bytes, owner: Owner) -> None:
        """See ``Sink.start``."""
        self.owner = owner
        await self.joint.start(self, first)

    async def run(self) -> None:
        """See ``Sink.run``: the first one's request's task is that of all."""
        if self.number == 0:
            await self.joint.run()

    def gone(self, loop: asyncio.AbstractEventLoop) -> None:
        """It has ended and others go on: its owner learns it when this turn is over."""
        owner, self.owner = self.owner, None
        if owner is not None:
            loop.call_soon(owner.closed)
