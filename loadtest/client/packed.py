"""A stream that comes compressed: unpacked only far enough to count its events."""

from __future__ import annotations

import zlib
from collections.abc import Callable

GZIP = b"content-encoding: gzip\r\n"
"""In the head of a response, whatever the case of its letters."""


class Chunks:
    """The body of a response in chunks, given in pieces that end anywhere; RuntimeError at its end."""

    def __init__(self) -> None:
        self._rest = b""
        self._lacks = 0  # bytes of the chunk under way, its CR LF included

    def feed(self, data: bytes) -> bytes:
        """What of the body is in the next piece."""
        body = []
        data = self._rest + data
        at = 0
        while at < len(data):
            if self._lacks:
                part = data[at : at + self._lacks]
                at += len(part)
                body.append(part[: max(0, self._lacks - 2)])
                self._lacks -= len(part)
                continue
            line, found, _ = data[at:].partition(b"\r\n")
            if not found:
                break
            at += len(line) + 2
            size = int(line, 16)
            if not size:
                raise RuntimeError("the server ended a stream")
            self._lacks = size + 2
        self._rest = data[at:]
        return b"".join(body)


class Packed:
    """Reads a connection as ``recv_into`` does, but for what is in the buffer afterwards.

    That is as many ``mark``s as the plain text has, and nothing else, so that whoever counts them there, and
    counts bytes as they were on the wire, need not know.
    """

    def __init__(self, receive: Callable[[bytearray], int], mark: bytes) -> None:
        self._receive = receive
        self._mark = mark
        self._chunks = Chunks()
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def plain(self, data: bytes) -> bytes:
        """What the next bytes of the body say."""
        return self._inflate.decompress(self._chunks.feed(data))

    def __call__(self, buffer: bytearray) -> int:
        """The next read."""
        n = self._receive(buffer)
        marks = self.plain(bytes(memoryview(buffer)[:n])).count(self._mark)
        # No event takes less than a byte, however it is compressed.
        buffer[:n] = (self._mark * marks).ljust(n, b"\0")
        return n
