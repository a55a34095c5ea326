"""Streams that are only counted: a process's own, of which many thousands cost it as little as can be.

No event loop and no parser: one ``epoll``, one buffer for all, and each event is told by one byte
(``MARK``) that nothing else on a stream contains, so that it does not matter where a read ends.  Only what
comes compressed is unpacked.
"""

from __future__ import annotations

import errno
import select
import socket
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from .wire import read_body, read_head

MARK = b"~"
"""Once in each event."""

BATCH = 1024
"""Descriptors that one ``epoll`` call tells of."""


@dataclass(frozen=True)
class Arrival:
    """All streams have it: when the last did (``time.monotonic()``), and what reading took."""

    at: float
    cpu: float
    size: int


class Packed:
    """Reads a connection whose stream comes compressed as ``recv_into`` does, but for what is in the buffer
    afterwards.

    That is as many ``MARK``s as the plain text has, and nothing else, so that whoever counts them there, and
    counts bytes as they were on the wire, need not know.
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
    """Open connections and how many events each has got.  ``network`` n connects from 127.0.n.x."""

    def __init__(self, network: int) -> None:
        self._network = network
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 20)  # the most that one read takes
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
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
        *,
        stay: bool = True,
        receive_buffer: int | None = None,
    ) -> int:
        """Open one stream for each request, ``rate`` per second; return when each has sent ``ready``.

        Those that do not ``stay`` leave at that.  ``receive_buffer`` is the connections' SO_RCVBUF, if not
        the kernel's choice.  Returns how many are open.
        """
        began, started, opened = time.monotonic(), 0, 0
        early: dict[int, bytes] = {}
        waiting: dict[int, bytes] = {}
        deadline = began + len(requests) / rate + 60.0  # a server may be slower than the rate
        while opened < len(requests):
            if time.monotonic() > deadline:
                said = next(iter(early.values()), b"")
                raise RuntimeError(f"{len(requests) - opened} streams could not be opened in time: {said!r}")
            due = min(len(requests), 1 + int((time.monotonic() - began) * rate))
            while started < due and len(waiting) + len(early) < 200:
                waiting[self._connect(port, len(self._sockets), receive_buffer)] = requests[started]
                started += 1
            for fd, _ in self._poll.poll(0.01, BATCH):
                if fd in waiting:
                    self._request(fd, waiting.pop(fd))
                    early[fd] = b""
                elif fd in early:
                    early[fd] += self._sockets[fd].recv(65536) or _ended()
                    if ready in self._said(fd, early[fd]):
                        del early[fd]
                        opened += 1
                        self._counts[fd] = self._told
                        if not stay:
                            self._close(fd)
                else:
                    self._counts[fd] += self._take(fd)
        return len(self._sockets)

    def visit(self, port: int, requests: Sequence[bytes], ready: bytes, at_once: int, rate: float) -> None:
        """One stream for each request that leaves when it is live, so many at a time.

        So many per second, however fast the server is: a client that waits for a slow server sleeps, and to
        wake it costs the server; at the same pace all servers pay that alike.
        """
        due = time.monotonic()
        for first in range(0, len(requests), at_once):
            self.open(port, requests[first : first + at_once], ready, rate=1e9, stay=False)
            due += at_once / rate
            time.sleep(max(0.0, due - time.monotonic()))

    def _connect(self, port: int, number: int, receive_buffer: int | None = None) -> int:
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.bind((f"127.0.{self._network}.{1 + number % 32}", 0))  # each has only so many ports
        error = connection.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, f"a stream could not connect: {errno.errorcode[error]}")
        fd = connection.fileno()
        self._sockets[fd] = connection
        self._receive[fd] = connection.recv_into
        self._poll.register(fd, select.EPOLLOUT)
        return fd

    def _request(self, fd: int, request: bytes) -> None:
        self._sockets[fd].sendall(request)
        self._poll.modify(fd, select.EPOLLIN)

    def _said(self, fd: int, first: bytes) -> bytes:
        """What the first bytes say behind the head; if that is compressed, so is what follows."""
        response = read_head(first)
        if response is None:
            return b""
        head, body = response
        if head.status != 200:
            raise RuntimeError(f"no stream: {first[:300]!r}")
        if head.encoding != "gzip":
            return body
        # From the beginning: there may have been fewer before.
        packed = self._receive[fd] = Packed(self._sockets[fd].recv_into)
        return packed.plain(body)

    def packed(self) -> int:
        """How many streams come compressed."""
        return sum(isinstance(each, Packed) for each in self._receive.values())

    # Reading

    def _take(self, fd: int) -> int:
        """Read what is there; how many events that were."""
        n = self._receive[fd](self._buffer) or _ended()
        self._size += n
        return self._buffer.count(MARK, 0, n)

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
        return Arrival(now(), time.process_time() - self._cpu, size + self._size)

    def each(self, events: int, seconds: float) -> list[float]:
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

    def herd(self, port: int, requests: Sequence[bytes], events: int, seconds: float) -> float:
        """Open a stream for each request, all at the same time, and read until each has so many events.

        Seconds from the first connect to the last event; there may be no stream open.
        """
        began = time.monotonic()
        waiting = {self._connect(port, number): request for number, request in enumerate(requests)}
        lacks, silent = dict.fromkeys(waiting, events), set(waiting)
        while lacks:
            if time.monotonic() > began + seconds:
                raise RuntimeError(f"{len(lacks)} of {len(requests)} streams still lack events")
            for fd, _ in self._poll.poll(1.0, BATCH):
                if fd in waiting:
                    self._request(fd, waiting.pop(fd))
                    continue
                found = self._take(fd)
                if fd in silent:
                    silent.discard(fd)
                    if not self._buffer.startswith(b"HTTP/1.1 200 "):
                        raise RuntimeError(f"no stream: {bytes(self._buffer[:300])!r}")
                if fd in lacks and found:
                    lacks[fd] -= found
                    if lacks[fd] < 0:
                        raise RuntimeError("a stream has more events than it missed")
                    if not lacks[fd]:
                        del lacks[fd]
        took = time.monotonic() - began
        self._counts.update(dict.fromkeys(self._sockets, self._told))
        return took

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

    # Leaving

    def drop(self, streams: int) -> int:
        """Close the last so many; how many are left."""
        for fd in list(self._sockets)[-streams:]:
            self._close(fd)
        return len(self._sockets)

    def _close(self, fd: int) -> None:
        self._sockets.pop(fd).close()
        del self._receive[fd]
        self._counts.pop(fd, None)

    def close(self) -> None:
        """Close all."""
        self.drop(len(self._sockets))
        self._poll.close()


def _ended() -> NoReturn:
    raise RuntimeError("the server ended a stream")
