"""A stream that comes compressed: unpacked only far enough to count its events."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from .wire import read_body


class Packed:
    """Reads a connection as ``recv_into`` does, but for what is in the buffer afterwards.

    That is as many ``mark``s as the plain text has, and nothing else, so that whoever counts them there, and
    counts bytes as they were on the wire, need not know.
    """

    def __init__(self, receive: Callable[[bytearray], int], mark: bytes) -> None:
        self._receive = receive
        self._mark = mark
        self._rest = b""
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def plain(self, data: bytes) -> bytes:
        """What the next bytes of the body say; RuntimeError at its end, which no stream comes to."""
        body, self._rest, over = read_body(self._rest + data)
        if over:
            raise RuntimeError("the server ended a stream")
        return self._inflate.decompress(body)

    def __call__(self, buffer: bytearray) -> int:
        """The next read."""
        n = self._receive(buffer)
        marks = self.plain(bytes(memoryview(buffer)[:n])).count(self._mark)
        # No event takes less than a byte, however it is compressed.
        buffer[:n] = (self._mark * marks).ljust(n, b"\0")
        return n
