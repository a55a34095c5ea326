"""Streams that are only counted, in a process of their own: many thousands cost it as little as can be.

No event loop and no parser: one ``epoll``, one buffer for all, and each event is told by one byte
(``MARK``) that nothing else on a stream contains, so that it does not matter where a read ends.  Only what
comes compressed is unpacked.
"""

import contextlib
import multiprocessing
import select
import socket
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

from ..site import programs
from .wire import read_body, read_head

Answer = TypeVar("Answer")

MARK = b"~"  # once in each event
BATCH = 1024  # descriptors that one ``epoll`` call tells of


class Arrival(NamedTuple):
    """All streams have it: when the last did (``time.monotonic()``), and what reading took."""

    at: float
    cpu: float
    size: int


class Packed:
    """Reads a connection whose stream comes compressed as ``recv_into`` does, and leaves as many ``MARK``s in
    the buffer as the plain text has: who counts those, and the bytes on the wire, need not know.
    """

    def __init__(self, receive: Callable[[bytearray], int]) -> None:
        self._receive = receive
        self._rest = b""
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def plain(self, data: bytes) -> bytes:
        """What the next bytes of the body say; RuntimeError at its end, which no stream comes to."""
        body, self._rest, over = read_body(self._rest + data)
        if over:
            _ended()
        return self._inflate.decompress(body)

    def __call__(self, buffer: bytearray) -> int:
        """The next read."""
        n = self._receive(buffer)
        marks = self.plain(bytes(memoryview(buffer)[:n])).count(MARK)
        # No event takes less than a byte, however it is compressed.
        buffer[:n] = (MARK * marks).ljust(n, b"\0")
        return n


class Streams:
    """Open connections and how many events each has got.

    ``network`` n connects from 127.0.n.x; ``receive_buffer`` is SO_RCVBUF, if not the kernel's choice.
    """

    def __init__(self, network: int, receive_buffer: int | None = None) -> None:
        self._network, self._receive_buffer = network, receive_buffer
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 20)  # the most that one read takes
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._counts: dict[int, int] = {}
        self._told = 0  # events that every stream is to have
        self._lacking = 0  # streams that have fewer
        self._steps = array("Q")
        self._times = array("d")

    def open(
        self, port: int, requests: Sequence[bytes], ready: bytes, rate: float | None, *, stay: bool = True
    ) -> None:
        """Open one stream for each request; return when each has sent ``ready``.

        So many per second, of which no more than 200 wait for that; or all at once.  Those that do not
        ``stay`` leave when they are ready.
        """
        began, opened = time.monotonic(), 0
        deadline = began + (len(requests) / rate if rate else 0.0) + 60.0  # a server may be slower
        early: dict[int, bytes] = {}
        while opened < len(requests):
            now = time.monotonic()
            if now > deadline:
                said = next(iter(early.values()), b"")
                raise RuntimeError(f"{len(requests) - opened} streams could not be opened in time: {said!r}")
            due = min(1 + int((now - began) * rate), opened + 200) if rate else len(requests)
            # First all connect, then all ask.
            asking = [(self._connect(port), request) for request in requests[opened + len(early) : due]]
            for fd, request in asking:
                self._sockets[fd].sendall(request)
                early[fd] = b""
            for fd, _ in self._poll.poll(0.01, BATCH):
                if fd not in early:
                    self._counts[fd] += self._take(fd)
                    continue
                early[fd] += self._sockets[fd].recv(65536) or _ended()
                body = self._body(fd, early[fd])
                if body is not None and ready in body:
                    del early[fd]
                    opened += 1
                    self._counts[fd] = self._told + body.count(MARK)
                    if not stay:
                        self._close(fd)

    def visit(self, port: int, requests: Sequence[bytes], ready: bytes, at_once: int, rate: float) -> None:
        """One stream for each request that leaves when it is live, so many at a time.

        So many per second, however fast the server is: a client that waits for a slow server sleeps, and to
        wake it costs the server; at the same pace all servers pay that alike.
        """
        due = time.monotonic()
        for first in range(0, len(requests), at_once):
            self.open(port, requests[first : first + at_once], ready, None, stay=False)
            due += at_once / rate
            time.sleep(max(0.0, due - time.monotonic()))

    def herd(self, port: int, requests: Sequence[bytes], events: int) -> float:
        """Open a stream for each request, all at the same time, and read until each has so many events.

        Seconds from the first connect to the last event; there may be no stream open.
        """
        began = time.monotonic()
        self.open(port, requests, b"", None)
        self._told += events
        self._lacking = sum(count < self._told for count in self._counts.values())
        took = self.read(60.0, record=False).at - began
        self.expect(0)  # none has more
        return took

    def _connect(self, port: int) -> int:
        connection = socket.socket()
        fd = connection.fileno()
        self._sockets[fd], self._receive[fd] = connection, connection.recv_into
        if self._receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        # Each address has only so many ports.
        connection.bind((f"127.0.{self._network}.{1 + len(self._sockets) % 32}", 0))
        connection.connect(("127.0.0.1", port))
        self._poll.register(fd, select.EPOLLIN)
        return fd

    def _body(self, fd: int, first: bytes) -> bytes | None:
        """What the first bytes say behind the head; if that is compressed, so is what follows."""
        response = read_head(first)
        if response is None:
            return None
        head, body = response
        if head.status != 200:
            raise RuntimeError(f"no stream: {first[:300]!r}")
        if head.encoding == "gzip":  # from the beginning: there may have been fewer before
            packed = self._receive[fd] = Packed(self._sockets[fd].recv_into)
            body = packed.plain(body)
        return body

    def packed(self) -> int:
        """How many streams come compressed."""
        return sum(isinstance(each, Packed) for each in self._receive.values())

    def _take(self, fd: int) -> int:
        """Read what is there; how many events that were."""
        n = self._receive[fd](self._buffer) or _ended()
        return self._buffer.count(MARK, 0, n)

    def expect(self, events: int) -> None:
        """From now on each stream is to get so many more."""
        if any(count != self._told for count in self._counts.values()):
            raise RuntimeError("a stream has more events than were published")
        self._told += events
        self._lacking = len(self._counts)
        self._steps, self._times = array("Q"), array("d")

    def read(self, seconds: float, *, record: bool) -> Arrival:
        """Read until every stream has what is expected; RuntimeError after so many seconds.

        With ``record``, ``latencies`` can tell when which event came.
        """
        target, remaining, size = self._told, self._lacking, 0
        counts, receive, buffer, poll = self._counts, self._receive, self._buffer, self._poll.poll
        count, mark, now = buffer.count, MARK, time.monotonic
        steps, times = self._steps, self._times
        deadline, cpu = now() + seconds, time.process_time()
        while remaining:
            ready = poll(1.0, BATCH)
            moment = now()
            if moment > deadline:
                lack = [target - each for each in counts.values()]
                raise RuntimeError(
                    f"{remaining} of {len(counts)} streams still lack events: {sum(lack)} in all, "
                    f"{max(lack)} at most"
                )
            for fd, _ in ready:
                # As ``_take`` does, which would cost a call.
                n = receive[fd](buffer) or _ended()
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
        return Arrival(now(), time.process_time() - cpu, size)

    def each(self, events: int, seconds: float = 60.0) -> list[float]:
        """Read so many events, one after the other on whichever stream; when each came.

        They are none of those that ``expect`` tells of.
        """
        deadline = time.monotonic() + seconds
        moments: list[float] = []
        while len(moments) < events:
            ready = self._poll.poll(1.0, BATCH)
            moment = time.monotonic()
            if moment > deadline:
                raise RuntimeError(f"{len(moments)} of {events} events came")
            for fd, _ in ready:
                moments += [moment] * self._take(fd)
        return moments

    def latencies(self, published: Sequence[float]) -> tuple[float, float]:
        """Seconds from publishing to reading, the 50th and the 99th in a hundred.

        Of what came since ``expect``; ``published`` are the moments of its events.
        """
        first = self._told - len(published)
        waits = sorted(
            moment - published[number]
            for step, moment in zip(self._steps, self._times, strict=True)
            for number in range((step >> 32) - first, (step & 0xFFFFFFFF) - first)
        )
        return waits[int(len(waits) * 0.5)], waits[int(len(waits) * 0.99)]

    def __len__(self) -> int:
        return len(self._sockets)

    def close(self) -> None:
        """Close all; others may be opened."""
        for fd in list(self._sockets):
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._sockets.pop(fd).close()
        del self._receive[fd]
        self._counts.pop(fd, None)


def _ended() -> NoReturn:
    raise RuntimeError("the server ended a stream")


class Reader:
    """``Streams`` of another process, which read while this one publishes; ``streams`` is how many it has."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.streams = 0

    def ask(self, method: Callable[..., Answer], *given: object, **named: object) -> Answer:
        """What a method says there."""
        self.tell(method, *given, **named)
        return cast(Answer, self.answer())

    def tell(self, method: Callable[..., Any], *given: object, **named: object) -> None:
        """Let it begin with a method, of which ``answer`` tells the end."""
        self._pipe.send((method, given, named))

    def answer(self) -> Any:
        """What the method says that it was told to begin with."""
        self.streams, answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def expect(self, events: int, *, seconds: float = 120.0, record: bool = False) -> None:
        """Wait for so many more events on each stream, from now on; the answer is an ``Arrival``."""
        self.ask(Streams.expect, events)
        self.tell(Streams.read, seconds, record=record)


@contextlib.contextmanager
def reading(network: int, receive_buffer: int | None = None) -> Iterator[Reader]:
    """A process with ``Streams`` until the end of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, network, receive_buffer), daemon=True)
    with programs.undisturbed():
        process.start()
    theirs.close()
    try:
        yield Reader(ours)
    finally:
        ours.close()
        process.terminate()
        process.join()


def _work(pipe: Connection, network: int, receive_buffer: int | None) -> None:
    """Does what the pipe says until it is closed, also by Ctrl-C."""
    streams = Streams(network, receive_buffer)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            method, given, named = pipe.recv()
            try:
                answer = method(streams, *given, **named)
            except (OSError, RuntimeError, ValueError) as error:
                answer = error
            pipe.send((len(streams), answer))
