"""A process of its own that holds streams and counts what they get, and the pipe to it."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from ..site import programs
from .counting import Arrival, Streams

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def _work(pipe: Connection, network: int) -> None:
    """Does what the pipe says until it is closed, also by Ctrl-C."""
    streams = Streams(network)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            method, given, named = pipe.recv()
            try:
                pipe.send(getattr(streams, method)(*given, **named))
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
        self, port: int, asked: Sequence[bytes], ready: bytes, rate: float, receive_buffer: int | None = None
    ) -> None:
        """Open more streams; return when all are.  See ``Streams.open``."""
        self.streams = self.ask(Streams.open, port, asked, ready, rate, receive_buffer=receive_buffer)

    def herd(self, port: int, requests: Sequence[bytes], events: int, *, seconds: float = 60.0) -> float:
        """Open streams, all at once, that missed events; see ``Streams.herd``."""
        took = self.ask(Streams.herd, port, requests, events, seconds)
        self.streams = len(requests)
        return took

    def drop(self, streams: int) -> None:
        """Close so many, the newest first."""
        self.streams = self.ask(Streams.drop, streams)

    def expect(self, events: int, *, seconds: float = 120.0, record: bool = False) -> None:
        """Wait for so many more events on each stream, from now on; ``arrival`` tells the end."""
        self.ask(Streams.expect, events)
        self._tell(Streams.read, seconds, record=record)

    def arrival(self) -> Arrival:
        """When all had all that was expected."""
        return cast(Arrival, self._answer())

    def expect_each(self, events: int, *, seconds: float = 60.0) -> None:
        """Wait for so many, one after the other on whichever stream; ``moments`` tells when they came."""
        self._tell(Streams.each, events, seconds)

    def moments(self) -> list[float]:
        """When each came that was expected."""
        return cast(list[float], self._answer())

    def ask(
        self, method: Callable[Concatenate[Streams, Given], Answer], *given: Given.args, **named: Given.kwargs
    ) -> Answer:
        """What a method says there."""
        self._tell(method, *given, **named)
        return cast(Answer, self._answer())

    def end(self) -> None:
        """End the process and with it the streams."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _tell(
        self, method: Callable[Concatenate[Streams, Given], Any], *given: Given.args, **named: Given.kwargs
    ) -> None:
        self._pipe.send((method.__name__, given, named))

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
