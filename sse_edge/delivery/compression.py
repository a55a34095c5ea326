"""gzip for many streams at once: what all of them are given is compressed once.

A deflate block that ends on a byte (RFC 1951 3.2.4, zlib's Z_SYNC_FLUSH) may be followed by one that
another compressor made, and may refer back to the last 32 KiB of plain text, whoever compressed them.  In
a broadcast those are the same for all streams that were given the channel's last events and nothing else.
So an event is compressed *after* those events, once for all of them, or *alone* for whoever was given
something of its own in between.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import deque
from functools import lru_cache

HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""The first bytes of a gzip file without a name, a time or a system (RFC 1952 2.3)."""

STORED_FIRST = b"\x00"
"""What follows them: a stream's greeting is stored as it is.  No compressor in a proxy begins like that."""

WINDOW = 32_768
"""Bytes that deflate may refer back to (RFC 1951 2)."""

MANY = 8
"""Compressed streams on a feed from which on its last events are kept to be referred to."""

KEPT = 2 * WINDOW
"""Bytes of a feed that are kept to be referred to: whoever lags by a window still gets what it can."""

STORED = 128
"""Bytes below which a piece of one stream's own is not worth a compressor: 6 µs against 0.2 (measured)."""

COMMON = 512
"""Bytes from which on a piece of one stream's own may be another's too: what many have missed.  To look for
it takes 0.1 to 1.6 µs, and a compressor 6 to 40 (measured)."""

STEPS = (64, 16, 4, 1)
"""How many of the last events a stream must have been given, besides as many as fit in the window, for
another form of what follows.  Each form is made when the first stream needs it."""

_LEVEL = 6
_LAST = b"\x03\x00"  # an empty block, the final one


def block(data: bytes, after: bytes = b"") -> bytes:
    """``data`` as deflate blocks for whoever was given the bytes ``after`` last, and right for nobody
    else; right for everybody if there are none."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, after[-WINDOW:])
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


_recent = lru_cache(maxsize=16)(block)


def stored(data: bytes) -> bytes:
    """``data`` as a block that is not compressed, of at most 65,535 bytes (RFC 1951 3.2.4).

    An empty one follows it, as with Z_SYNC_FLUSH: until then Go's compress/flate holds back what it has read.
    """
    size = len(data)
    sizes = size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return b"\x00%b%b\x00\x00\x00\xff\xff" % (sizes, data)


class Cut:
    """What a feed has for all streams that have seen as much, as bytes.

    ``data`` is so many ``events``, and ``chunk`` the same framed.  ``window`` is what they were given of the
    feed before, up to event number ``seen``; None where it is not kept.
    """

    __slots__ = ("_blocks", "_given", "_starts", "chunk", "data", "events")

    def __init__(
        self, data: bytes, events: int, chunk: bytes = b"", window: Window | None = None, seen: int = 0
    ) -> None:
        self.data = data
        self.events = events
        self.chunk = chunk
        self._given, self._starts = (b"", ()) if window is None else window.upto(seen)
        self._blocks: dict[int, bytes] = {}

    def compressed(self, since: int) -> bytes:
        """``data`` as blocks for a stream that was given nothing but this feed's events after number
        ``since``."""
        for start, size in self._starts:
            if since <= start:
                return self._block(size)
        return self._block(0)

    def _block(self, size: int) -> bytes:
        made = self._blocks.get(size)
        if made is None:
            made = self._blocks[size] = block(self.data, self._given[-size:] if size else b"")
        return made


class Window:
    """The last events of a feed, for those that come next to refer to.

    They have numbers, which only grow.
    """

    __slots__ = ("_frames", "_numbers", "_size")

    def __init__(self) -> None:
        self._numbers: deque[int] = deque()
        self._frames: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        """How many events it has."""
        return len(self._numbers)

    def append(self, number: int, frame: bytes) -> None:
        """Take an event; the oldest are let go of."""
        self._numbers.append(number)
        self._frames.append(frame)
        self._size += len(frame)
        while self._size > KEPT and len(self._frames) > 1:
            self._numbers.popleft()
            self._size -= len(self._frames.popleft())

    def clear(self) -> None:
        """What was given is not the same for all streams any more."""
        self._numbers.clear()
        self._frames.clear()
        self._size = 0

    def upto(self, seen: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        """The last bytes up to event number ``seen``, and which streams were given how many of them: the
        number after which a stream must have been given all, and the bytes that this is; most first."""
        numbers = list(self._numbers)
        end = bisect_right(numbers, seen)
        frames = list(self._frames)
        size, fits = 0, 0
        ends: list[int] = []  # sizes of the last 1, 2, … events
        while fits < end and size < WINDOW:
            fits += 1
            size += len(frames[end - fits])
            ends.append(min(size, WINDOW))
        if not fits:
            return b"", ()
        counts = [fits, *(step for step in STEPS if step < fits)]
        starts = tuple(
            (numbers[end - count - 1] if count < end else numbers[0] - 1, ends[count - 1]) for count in counts
        )
        return b"".join(frames[end - fits : end])[-WINDOW:], starts


class Gzip:
    """One stream as a gzip file: how its next bytes are to be written, and its check sum so far.

    It begins with ``first``, whatever it is given before that is sent.  Its plain bytes end with all that
    ``feed`` had for everybody after number ``since``.
    """

    __slots__ = ("_crc", "_size", "begin", "feed", "since")

    def __init__(self, first: bytes = b"") -> None:
        self.since = 0
        self.feed: object = None
        self._crc = 0
        self._size = 0
        self.begin = HEAD + self.own(first)

    def own(self, data: bytes) -> bytes:
        """What only this stream is given."""
        self._count(data)
        self.feed = None
        if len(data) < STORED:
            return stored(data)
        return block(data) if len(data) < COMMON else _recent(data)

    def shared(self, cut: Cut, feed: object, seen: int) -> bytes:
        """What all streams of ``feed`` are given that have ``seen`` as much."""
        self._count(cut.data)
        if self.feed is not feed:
            self.feed, self.since = feed, seen
        return cut.compressed(self.since)

    def part(self) -> None:
        """It is not given something that all others of its feed are."""
        self.feed = None

    def end(self) -> bytes:
        """The end of the file (RFC 1952 2.3.1)."""
        return _LAST + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")

    def _count(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
