"""The clients: a process that holds many streams, over TLS or plain, and looks at every event they get.

No event loop: one ``epoll``.  An event's data is ``number moment filling``, the moment being when it was
published (``time.monotonic()``, which all processes of a machine share); each stream is to get every number
once and in order.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import re
import select
import socket
import ssl
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ..client.addresses import source
from ..site import programs

AT_ONCE = 100
"""Streams that a reader is opening at the same time."""

PATIENCE = 60.0
"""Seconds without a new stream after which opening is given up."""

RECORD = 17_000
"""Bytes of one read: no less than a TLS record, so that none is left where ``epoll`` does not look."""

BATCH = 1024
"""Descriptors that one ``epoll`` call tells of."""

DATA = re.compile(rb"^data: (\d+) (\d+\.\d+) ", re.MULTILINE)
ID = re.compile(rb"^id: ", re.MULTILINE)
KEEP_ALIVE = b": keep-alive"


@dataclass
class Report:
    """What streams got since it was begun.  ``latencies`` are seconds from publishing to reading."""

    received: int = 0
    lost: int = 0
    repeated: int = 0
    ended: int = 0
    keep_alives: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def add(self, other: Report) -> None:
        """That of another process as well."""
        self.received += other.received
        self.lost += other.lost
        self.repeated += other.repeated
        self.ended += other.ended
        self.keep_alives += other.keep_alives
        self.latencies.extend(other.latencies)


class Stream:
    """One stream's connection, what is unread of it, and the newest event it has."""

    __slots__ = ("_chunk", "_text", "live", "newest", "request", "secured", "socket")

    def __init__(self, connection: socket.socket, request: bytes) -> None:
        self.socket = connection
        self.request: bytes | None = request
        self.secured = False
        self.live = False
        self.newest = 0
        self._chunk = b""
        self._text = b""

    def head(self, data: bytes) -> bool:
        """Whether the response's head is there.  RuntimeError for a refusal."""
        self._chunk += data
        head, end, rest = self._chunk.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200 ") or b"chunked" not in head.lower():
            raise RuntimeError(f"no stream: {self._chunk[:400]!r}")
        self._chunk = rest
        return True

    def blocks(self, data: bytes) -> list[bytes]:
        """What stands between blank lines, of the chunks that are complete now; keep-alives have none."""
        rest = self._chunk + data
        while rest:
            size, end, after = rest.partition(b"\r\n")
            length = int(size, 16) if end else 0
            if not end or len(after) < length + 2:
                break
            self._text += after[:length]
            rest = after[length + 2 :]
        self._chunk = rest
        blocks = []
        while True:
            kept = self._text.startswith(KEEP_ALIVE)
            block, end, text = self._text.partition(b"\n" if kept else b"\n\n")
            if not end:
                return blocks
            blocks.append(block)
            self._text = text


class Streams:
    """All streams of a process.  ``authority`` is the file of who signed the server's certificate."""

    def __init__(self, authority: str | None) -> None:
        self._tls = ssl.create_default_context(cafile=authority) if authority else None
        self.poll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._opening: set[int] = set()
        self._heads: set[int] = set()
        self._report = Report()
        self._told = 0  # the number of the newest event

    # Opening

    def open(self, ports: Sequence[int], requests: Sequence[bytes], first: int) -> int:
        """Open one stream for each request, round all ports; return when each is live.  How many there are.

        ``first`` is the number of the first among all readers' streams.
        """
        began, started = time.monotonic(), 0
        done = 0
        while done < len(requests):
            while started < len(requests) and len(self._opening) < AT_ONCE:
                number = first + started
                self._connect(ports[number % len(ports)], source(number), requests[started])
                started += 1
            self.turn(0.1)
            now, open_now = time.monotonic(), started - len(self._opening)
            if open_now > done:
                done, began = open_now, now
            elif now > began + PATIENCE:
                raise RuntimeError(f"{len(requests) - done} streams could not be opened in time")
        return len(self._streams)

    def _connect(self, port: int, address: str, request: bytes) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((address, 0))
        error = connection.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            connection.close()
            raise OSError(error, f"a stream could not connect: {errno.errorcode[error]}")
        fd = connection.fileno()
        self._streams[fd] = Stream(connection, request)
        self._opening.add(fd)
        self.poll.register(fd, select.EPOLLOUT)

    def _advance(self, fd: int, stream: Stream) -> None:
        """What can be done next of: TLS, asking, and hearing that it is live."""
        if stream.request is not None:
            if self._tls is not None and not self._secure(fd, stream, self._tls):
                return
            error = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"a stream could not connect: {errno.errorcode[error]}")
            stream.socket.send(stream.request)
            stream.request = None
            self._heads.add(fd)
            self.poll.modify(fd, select.EPOLLIN)
            return
        data = self._receive(stream)
        if data == b"":
            raise RuntimeError("the server closed a stream that was being opened")
        if data is None:
            return
        if fd in self._heads:
            if not stream.head(data):
                return
            self._heads.discard(fd)
            data = b""
        self._take(stream, data)
        if stream.live:
            self._opening.discard(fd)

    def _secure(self, fd: int, stream: Stream, tls: ssl.SSLContext) -> bool:
        if not isinstance(stream.socket, ssl.SSLSocket):
            stream.socket = tls.wrap_socket(
                stream.socket, server_hostname="localhost", do_handshake_on_connect=False
            )
        try:
            stream.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.poll.modify(fd, select.EPOLLIN)
            return False
        except ssl.SSLWantWriteError:
            self.poll.modify(fd, select.EPOLLOUT)
            return False
        return True

    # Reading

    def turn(self, seconds: float) -> list[int]:
        """Read what is there, or comes within so many seconds; the ready descriptors that are no streams."""
        others = []
        for fd, _ in self.poll.poll(seconds, BATCH):
            stream = self._streams.get(fd)
            if stream is None:
                others.append(fd)
            elif fd in self._opening:
                self._advance(fd, stream)
            else:
                self._read(fd, stream)
        return others

    def _receive(self, stream: Stream) -> bytes | None:
        """None when there is nothing yet: what came was TLS's own."""
        try:
            return stream.socket.recv(RECORD)
        except (ssl.SSLWantReadError, BlockingIOError):
            return None
        except OSError:
            return b""

    def _read(self, fd: int, stream: Stream) -> None:
        data = self._receive(stream)
        if data:
            self._take(stream, data)
        elif data == b"":
            self._report.ended += 1
            self.poll.unregister(fd)
            stream.socket.close()
            # It stays among the streams: what it lacks is lost.
            self._streams[-fd - 1] = self._streams.pop(fd)

    def _take(self, stream: Stream, data: bytes) -> None:
        report = self._report
        for block in stream.blocks(data):
            found = DATA.search(block)
            if found is not None:
                now, number = time.monotonic(), int(found[1])
                report.received += 1
                report.latencies.append(now - float(found[2]))
                if number <= stream.newest:
                    report.repeated += 1
                else:
                    report.lost += number - stream.newest - 1
                    stream.newest = number
            elif ID.search(block):
                if not stream.live:
                    stream.live, stream.newest = True, self._told
            elif stream.live:
                report.keep_alives += 1

    # Counting

    def begin(self, told: int) -> None:
        """Count from now on; the next event has the number after ``told``."""
        self._told = told
        for stream in self._streams.values():
            stream.newest = told
        self._report = Report()

    def behind(self, newest: int) -> int:
        """How many streams lack this event."""
        return sum(stream.newest < newest for stream in self._streams.values())

    def report(self, newest: int) -> Report:
        """What came since ``begin``; what a stream lacks up to this event is lost."""
        self._report.lost += sum(max(0, newest - stream.newest) for stream in self._streams.values())
        self._told = newest
        return self._report

    def close(self) -> None:
        """Close all."""
        for stream in self._streams.values():
            stream.socket.close()
        self._streams.clear()
        self._opening.clear()
        self._heads.clear()


def _work(pipe: Connection, authority: str | None) -> None:
    """The reader's process: reads, and does what the pipe says until it is closed, also by Ctrl-C."""
    streams = Streams(authority)
    streams.poll.register(pipe.fileno(), select.EPOLLIN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            if not streams.turn(10.0):
                continue
            order, arguments = pipe.recv()
            try:
                pipe.send(getattr(streams, order)(*arguments))
            except (OSError, RuntimeError, ValueError) as error:
                pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


class Readers:
    """The readers' processes, as the run sees them."""

    def __init__(self, processes: int, authority: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        self.streams = 0
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, authority), daemon=True)
            with programs.undisturbed():
                process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [process.pid or 0 for process in self._processes]

    def open(self, ports: Sequence[int], requests: Sequence[bytes]) -> None:
        """Open one more stream for each request; return when all are live."""
        share, first = -(-len(requests) // len(self._pipes)), 0
        for pipe in self._pipes:
            part = requests[first : first + share]
            pipe.send(("open", (ports, part, self.streams + first)))
            first += len(part)
        self.streams = sum(self._answers())

    def ask(self, order: str, *arguments: Any) -> list[Any]:
        """Each one's answer to an order: the name of a method of ``Streams``."""
        for pipe in self._pipes:
            pipe.send((order, arguments))
        return self._answers()

    def close(self) -> None:
        """Close every stream."""
        self.ask("close")
        self.streams = 0

    def end(self) -> None:
        """End the processes and with them the streams."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.kill()
            process.join()

    def _answers(self) -> list[Any]:
        try:
            answers = [pipe.recv() for pipe in self._pipes]
        except EOFError:
            raise RuntimeError("a reader's process has ended") from None
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


@contextlib.contextmanager
def reading(processes: int, authority: str | None) -> Iterator[Readers]:
    """Readers until the end of the block."""
    readers = Readers(processes, authority)
    try:
        yield readers
    finally:
        readers.end()
