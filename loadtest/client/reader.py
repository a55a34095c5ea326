"""A process of its own that holds streams and counts what they get, and the pipe to it."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ..site import programs
from .counting import Arrival, Streams


def _work(pipe: Connection, network: int) -> None:
    """Does what the pipe says until it is closed, also by Ctrl-C."""
    streams = Streams(network)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order, arguments, options = pipe.recv()
            try:
                pipe.send(getattr(streams, order)(*arguments, **options))
            except (OSError, RuntimeError, ValueError) as error:
                pipe.send(error)


class Reader:
    """``Streams`` of another process, which read while this one publishes."""

    def __init__(self, network: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, network), daemon=True)
        with programs.undisturbed():
            self._process.start()
        theirs.close()
        self.streams = 0

    def open(
        self,
        port: int,
        requests: Sequence[bytes],
        ready: bytes,
        rate: float,
        *,
        receive_buffer: int | None = None,
    ) -> None:
        """Open more streams; return when all are.  See ``Streams.open``."""
        self.streams = self._ask("open", port, requests, ready, rate, receive_buffer=receive_buffer)

    def visit(self, port: int, requests: Sequence[bytes], ready: bytes, at_once: int, rate: float) -> None:
        """Open streams that leave at once; see ``Streams.visit``."""
        self._ask("visit", port, requests, ready, at_once, rate)

    def drop(self, streams: int) -> None:
        """Close so many, the newest first."""
        self.streams = self._ask("drop", streams)

    def expect(self, events: int, *, seconds: float = 120.0, record: bool = False) -> None:
        """Wait for so many more events on each stream, from now on; ``arrival`` tells the end."""
        self._ask("expect", events)
        self._tell("read", seconds, record=record)

    def arrival(self) -> Arrival:
        """When all had all that was expected."""
        arrival: Arrival = self._answer()
        return arrival

    def expect_each(self, events: int, *, seconds: float = 60.0) -> None:
        """Wait for so many, one after the other on whichever stream; ``moments`` tells when they came."""
        self._tell("each", events, seconds)

    def moments(self) -> list[float]:
        """When each came that was expected."""
        moments: list[float] = self._answer()
        return moments

    def herd(self, port: int, requests: Sequence[bytes], events: int, *, seconds: float = 60.0) -> float:
        """Open streams, all at once, that missed events; see ``Streams.herd``."""
        took: float = self._ask("herd", port, requests, events, seconds)
        self.streams = len(requests)
        return took

    @property
    def packed(self) -> int:
        """How many streams come compressed."""
        count: int = self._ask("packed")
        return count

    def latencies(self, published: Sequence[float]) -> list[float]:
        """See ``Streams.latencies``."""
        latencies: list[float] = self._ask("latencies", published)
        return latencies

    def end(self) -> None:
        """End the process and with it the streams."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _tell(self, order: str, *arguments: Any, **options: Any) -> None:
        self._pipe.send((order, arguments, options))

    def _ask(self, order: str, *arguments: Any, **options: Any) -> Any:
        self._tell(order, *arguments, **options)
        return self._answer()

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.contextmanager
def reading(network: int) -> Iterator[Reader]:
    """A reader until the end of the block."""
    reader = Reader(network)
    try:
        yield reader
    finally:
        reader.end()
