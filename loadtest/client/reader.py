"""The clients: a process that holds many streams and does nothing but count what they get.

No event loop and no parser: one ``epoll``, one buffer for all, and each event is told by one byte
(``MARK``) that nothing else on a stream contains, so that it does not matter where a read ends.  Only what
comes compressed is unpacked.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ..site import programs
from .packed import GZIP, Packed

MARK = b"~"
"""Once in each event."""

BUFFER = 1 << 20
"""Bytes; the most that one read takes."""

AT_ONCE = 200
"""Streams that are being opened at the same time."""

SOURCES = 32
"""Addresses that a reader connects from: each has only so many ports."""

PATIENCE = 60.0
"""Seconds that a server may need to open streams beyond what the rate allows."""

BATCH = 1024
"""Descriptors that one ``epoll`` call tells of."""


@dataclass(frozen=True)
class Arrival:
    """All streams have it: when the last did (``time.monotonic()``), and what reading took."""

    at: float
    cpu: float
    size: int


class Streams:
    """Open connections and how many events each has got.  Runs in the reader's process."""

    def __init__(self, network: int) -> None:
        self._network = network
        self._poll = select.epoll()
        self._buffer = bytearray(BUFFER)
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._packed = 0
        self._counts: dict[int, int] = {}
        self._told = 0  # events that every stream has
        self._size = 0
        self._cpu = 0.0
        self._steps = array("Q")
        self._times = array("d")

    # Opening

    def open(
        self,
        port: int,
        requests: Sequence[bytes],
        ready: bytes,
        rate: float,
        receive_buffer: int | None = None,
    ) -> int:
        """Open one stream for each request, ``rate`` per second; return when each has sent ``ready``.

        ``receive_buffer`` is the connections' SO_RCVBUF, if not the kernel's choice.
        """
        began, started, opened = time.monotonic(), 0, 0
        early: dict[int, bytes] = {}
        waiting: dict[int, bytes] = {}
        deadline = began + len(requests) / rate + PATIENCE
        while opened < len(requests):
            if time.monotonic() > deadline:
                said = next(iter(early.values()), b"")
                raise RuntimeError(f"{len(requests) - opened} streams could not be opened in time: {said!r}")
            due = min(len(requests), 1 + int((time.monotonic() - began) * rate))
            while started < due and len(waiting) + len(early) < AT_ONCE:
                waiting[self._connect(port, len(self._sockets), receive_buffer)] = requests[started]
                started += 1
            for fd, _ in self._poll.poll(0.01, BATCH):
                if fd in waiting:
                    self._sockets[fd].sendall(waiting.pop(fd))
                    self._poll.modify(fd, select.EPOLLIN)
                    early[fd] = b""
                elif fd in early:
                    early[fd] += self._first(fd)
                    if ready in self._plain(fd, early[fd]):
                        self._check(early.pop(fd))
                        self._counts[fd] = self._told
                        opened += 1
                else:
                    self._count(fd)
        return len(self._sockets)

    def _connect(self, port: int, number: int, receive_buffer: int | None) -> int:
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.bind((f"127.0.{self._network}.{1 + number % SOURCES}", 0))
        error = connection.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, f"a stream could not connect: {errno.errorcode[error]}")
        fd = connection.fileno()
        self._sockets[fd] = connection
        self._receive[fd] = connection.recv_into
        self._poll.register(fd, select.EPOLLOUT)
        return fd

    def _first(self, fd: int) -> bytes:
        data = self._sockets[fd].recv(65536)
        if not data:
            raise RuntimeError("the server closed a stream that was being opened")
        return data

    def _plain(self, fd: int, first: bytes) -> bytes:
        """What the first bytes say; if that is compressed, so is what follows."""
        head, found, body = first.partition(b"\r\n\r\n")
        if not found or GZIP not in head.lower() + b"\r\n":
            return first
        self._packed += not isinstance(self._receive[fd], Packed)
        # From the beginning: there may have been fewer before.
        packed = self._receive[fd] = Packed(self._sockets[fd].recv_into, MARK)
        return packed.plain(body)

    def packed(self) -> int:
        """How many streams came compressed."""
        return self._packed

    @staticmethod
    def _check(first: bytes) -> None:
        if not first.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no stream: {first[:300]!r}")

    def _count(self, fd: int) -> int:
        n = self._receive[fd](self._buffer)
        if not n:
            raise RuntimeError("the server ended a stream")
        self._size += n
        found = self._buffer.count(MARK, 0, n)
        self._counts[fd] += found
        return found

    # Reading

    def expect(self, events: int) -> None:
        """From now on each stream is to get so many more."""
        if any(count != self._told for count in self._counts.values()):
            raise RuntimeError("a stream has more events than were published")
        self._told += events
        self._size = 0
        self._steps, self._times = array("Q"), array("d")
        self._cpu = time.process_time()

    def read(self, seconds: float, *, record: bool) -> Arrival:
        """Read until every stream has what is expected; RuntimeError after so many seconds.

        With ``record``, ``latencies`` can tell when which event came.
        """
        target, remaining, size = self._told, len(self._counts), 0
        counts, receive, buffer, poll = self._counts, self._receive, self._buffer, self._poll.poll
        count, mark, now = buffer.count, MARK, time.monotonic
        steps, times = self._steps, self._times
        deadline = now() + seconds
        while remaining:
            ready = poll(1.0, BATCH)
            moment = now()
            if moment > deadline:
                raise RuntimeError(f"{remaining} of {len(counts)} streams still lack events: {self._lack()}")
            for fd, _ in ready:
                n = receive[fd](buffer)
                if not n:
                    raise RuntimeError("the server ended a stream")
                size += n
                found = count(mark, 0, n)
                if found:
                    before = counts[fd]
                    counts[fd] = after = before + found
                    if after == target:
                        remaining -= 1
                    elif after > target:
                        raise RuntimeError("a stream has more events than were published")
                    if record:
                        steps.append(before << 32 | after)
                        times.append(moment)
        return Arrival(now(), time.process_time() - self._cpu, size + self._size)

    def each(self, events: int, seconds: float) -> list[float]:
        """Read so many events, one after the other on whichever stream; when each came.

        They are none of those that ``expect`` tells of.
        """
        deadline, moments, now = time.monotonic() + seconds, [], time.monotonic
        while len(moments) < events:
            ready = self._poll.poll(1.0, BATCH)
            moment = now()
            if moment > deadline:
                raise RuntimeError(f"{len(moments)} of {events} events came")
            for fd, _ in ready:
                n = self._receive[fd](self._buffer)
                if not n:
                    raise RuntimeError("the server ended a stream")
                moments += [moment] * self._buffer.count(MARK, 0, n)
        return moments

    def herd(self, port: int, requests: Sequence[bytes], events: int, seconds: float) -> float:
        """Open a stream for each request, all at the same time, and read until each has so many events.

        Seconds from the first connect to the last event; there may be no stream open.
        """
        began = time.monotonic()
        waiting = {self._connect(port, number, None): request for number, request in enumerate(requests)}
        lacks, silent = dict.fromkeys(waiting, events), set(waiting)
        buffer = self._buffer
        while lacks:
            if time.monotonic() > began + seconds:
                raise RuntimeError(f"{len(lacks)} of {len(requests)} streams still lack events")
            for fd, _ in self._poll.poll(1.0, BATCH):
                if fd in waiting:
                    self._sockets[fd].sendall(waiting.pop(fd))
                    self._poll.modify(fd, select.EPOLLIN)
                    continue
                n = self._receive[fd](buffer)
                if not n:
                    raise RuntimeError("the server ended a stream")
                if fd in silent:
                    silent.discard(fd)
                    self._check(bytes(buffer[: min(n, 300)]))
                found = buffer.count(MARK, 0, n)
                if fd in lacks and found:
                    lacks[fd] -= found
                    if lacks[fd] < 0:
                        raise RuntimeError("a stream has more events than it missed")
                    if not lacks[fd]:
                        del lacks[fd]
        took = time.monotonic() - began
        self._counts.update(dict.fromkeys(self._sockets, self._told))
        return took

    def _lack(self) -> str:
        lack = [self._told - count for count in self._counts.values()]
        return f"{sum(lack)} in all, {max(lack)} at most"

    def latencies(self, published: Sequence[float]) -> list[float]:
        """Seconds from publishing to reading, the 50th and 99th in a hundred and the longest.

        Of what came since ``expect``; ``published`` are the moments of its events.
        """
        first = self._told - len(published)
        waits = array("d")
        for step, moment in zip(self._steps, self._times, strict=True):
            for number in range((step >> 32) - first, (step & 0xFFFFFFFF) - first):
                waits.append(moment - published[number])
        ordered = sorted(waits)
        return [ordered[int(len(ordered) * part)] for part in (0.5, 0.99)] + ordered[-1:]

    def drop(self, streams: int) -> int:
        """Close the last so many; how many are left."""
        for fd in list(self._sockets)[-streams:]:
            self._sockets.pop(fd).close()
            del self._counts[fd], self._receive[fd]
        return len(self._sockets)

    def close(self) -> None:
        """Close all."""
        self.drop(len(self._sockets))
        self._poll.close()


def _work(pipe: Connection, network: int) -> None:
    """The reader's process: does what the pipe says until it is closed, also by Ctrl-C."""
    streams = Streams(network)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order, arguments, options = pipe.recv()
            try:
                if order == "read":
                    streams.expect(arguments[0])
                    pipe.send(None)
                    arguments = arguments[1:]
                elif order == "each":
                    pipe.send(None)
                pipe.send(getattr(streams, order)(*arguments, **options))
            except (OSError, RuntimeError) as error:
                pipe.send(error)


class Reader:
    """A reader's process, as the benchmark sees it.  ``network`` n connects from 127.0.n.x."""

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
        self.streams = self._ask("open", port, requests, ready, rate, receive_buffer)

    def drop(self, streams: int) -> None:
        """Close so many, the newest first."""
        self.streams = self._ask("drop", streams)

    def expect(self, events: int, *, seconds: float = 120.0, record: bool = False) -> None:
        """Wait for so many more events on each stream, from now on; ``arrival`` tells the end."""
        self._ask("read", events, seconds, record=record)

    def arrival(self) -> Arrival:
        """When all had all that was expected."""
        arrival: Arrival = self._answer()
        return arrival

    def expect_each(self, events: int, *, seconds: float = 60.0) -> None:
        """Wait for so many, one after the other on whichever stream; ``moments`` tells when they came."""
        self._ask("each", events, seconds)

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
        """How many streams came compressed."""
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

    def _ask(self, order: str, *arguments: Any, **options: Any) -> Any:
        self._pipe.send((order, arguments, options))
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
