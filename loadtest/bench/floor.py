"""The floor: what no server can be faster than that makes one system call per event and connection.

    python -m loadtest.bench.floor PORT

Answers a GET with the head of an event stream, and writes the body of a POST, as one event in one chunk,
to every stream there is, or, of a POST to /one, to one of them, each in its turn: a loop over bound
``socket.send`` methods and nothing else.  A GET with ``Last-Event-ID: N`` gets the last N events in the same
write.  ``floor.c`` is the same in C; this one is for machines without a compiler.
"""

from __future__ import annotations

import itertools
import re
import select
import shutil
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)

KEPT = 64
"""Events for those that come back."""

MISSED = re.compile(rb"\r\nlast-event-id: (\d+)", re.I)


def compiled(directory: Path, compiler: str = "cc") -> Path | None:
    """The same in C, made by this machine's compiler; None if there is none that can."""
    if shutil.which(compiler) is None:
        return None
    program = directory / "floor"
    command = [compiler, "-O2", "-o", str(program), str(Path(__file__).with_name("floor.c"))]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own
    return program if done.returncode == 0 else None


def framed(data: bytes) -> bytes:
    """``data`` as one chunk of a response."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Floor:
    """Its connections, and the loop over them."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, socket.socket] = {}
        self._got: dict[int, bytes] = {}
        self._sends: dict[int, Callable[[bytes], int]] = {}
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._turns = itertools.count()

    def serve(self) -> None:
        """Until the process is ended."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._read(fd)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.fileno()] = connection
        self._got[connection.fileno()] = b""
        self._poll.register(connection, select.EPOLLIN)

    def _read(self, fd: int) -> None:
        try:
            data = self._open[fd].recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._sends.pop(fd, None)
            self._got.pop(fd, None)
            self._open.pop(fd).close()
            return
        got = self._got[fd] + data
        while (request := _request(got)) is not None:
            head, body, got = request
            if head.startswith(b"POST "):
                self._fan_out(body, everybody=not head.startswith(b"POST /one "))
                self._open[fd].send(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                found = MISSED.search(head)
                missed = list(self._kept)[-int(found[1]) :] if found and found[1] != b"0" else []
                self._open[fd].send(b"".join([HEAD, framed(b": open\n\n"), *missed]))
                self._sends[fd] = self._open[fd].send
        self._got[fd] = got

    def _fan_out(self, body: bytes, *, everybody: bool) -> None:
        event = framed(b"data: %b\n\n" % body)
        self._kept.append(event)
        sends = list(self._sends.values())
        for send in sends if everybody else sends and [sends[next(self._turns) % len(sends)]]:
            send(event)


def _request(got: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The head and body of the first request, and what is behind it; None while it is not complete."""
    head, end, rest = got.partition(b"\r\n\r\n")
    if not end:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return None if len(rest) < length else (head, rest[:length], rest[length:])


if __name__ == "__main__":
    Floor(int(sys.argv[1])).serve()
