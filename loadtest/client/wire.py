"""An event stream's bytes: the response's head, its chunks, and the blocks between blank lines.

Pure, and quick where it matters: thousands of streams get the same bytes, which are read once.
"""

import contextlib
import math
import re
from functools import lru_cache
from typing import NamedTuple

from ..checker import read_payload

LONGEST_HEAD = 16_384  # bytes that a response's head may have
LONGEST_SIZE = 200  # bytes of a chunk's length, with what may follow it
DIGITS = 12  # of a number that makes sense here

SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]+)[ \t]*(?:;[^\r]*)?\r\n")
"""A chunk's length; what may follow it is an extension."""

COMMENTS = re.compile(rb"\A(?::[^\n]*\n)+")
"""They stand before a block and are no part of it: no blank line ends them."""


class WireError(ValueError):
    """This is no response that a stream can come in."""


class Head(NamedTuple):
    """What a response's first lines say.  ``length`` is None when its body comes in chunks, and without end
    where nothing says how long it is."""

    status: int
    length: float | None
    encoding: str = ""


class Block(NamedTuple):
    """What stands between two blank lines; None: no such line.

    ``payload`` are channel, number and time of an event that a load test published.
    """

    event: str
    data: str | None
    id: str | None
    retry_ms: int | None
    payload: tuple[str, int, float] | None


class Piece(NamedTuple):
    """What was complete in the bytes of a response, and what has to wait for more.

    ``chunk`` is the part of a chunk that is not complete, ``text`` that of a block; ``over`` is set by the
    last chunk.  ``kept`` are the lines that say nothing but that the stream is there.
    """

    blocks: tuple[Block, ...]
    chunk: bytes
    text: bytes
    over: bool
    kept: int = 0


def read_head(data: bytes) -> tuple[Head, bytes] | None:
    """The head and what follows it; None while it is not complete.  Raises WireError."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        if len(data) > LONGEST_HEAD:
            raise WireError(f"no end of the head after {len(data)} bytes")
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise WireError(f"no HTTP/1.1 response: {first[:80]!r}")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    encoding = fields.get("content-encoding", "").lower()
    said, length = fields.get("content-length", ""), math.inf
    if said.isdecimal() and len(said) <= DIGITS:
        length = int(said)
    chunked = fields.get("transfer-encoding", "").lower() == "chunked"
    return Head(int(status[:3]), None if chunked else length, encoding), rest


def read_chunks(data: bytes, text: bytes = b"") -> Piece:
    """Read chunks, which begin where ``data`` does; ``text`` is what waits of a block.  Raises WireError."""
    body, rest, over = read_body(data)
    return read_text(text + body, rest, over=over)


read_fresh = lru_cache(maxsize=1024)(read_chunks)  # with nothing waiting: what many get at once is read once


def read_text(text: bytes, chunk: bytes = b"", *, over: bool = False) -> Piece:
    """Read blocks; ``chunk`` and ``over`` are the piece's.  Raises WireError."""
    pieces, kept = text.split(b"\n\n"), 0
    for place, piece in enumerate(pieces):
        if piece.startswith(b":"):
            pieces[place] = COMMENTS.sub(b"", piece)
            kept += piece.count(b"\n") - pieces[place].count(b"\n")
    *blocks, text = pieces
    return Piece(tuple(map(read_block, blocks)), chunk, text, over, kept)


def read_body(data: bytes) -> tuple[bytes, bytes, bool]:
    """What the chunks say that are complete, what waits for more, and whether the last was there.

    ``data`` begins where a chunk does.  Raises WireError.
    """
    body, over = b"", False
    while data and not over:
        size = SIZE.match(data)
        if size is None:
            line, end, _ = data.partition(b"\r\n")
            if end or len(data) > (LONGEST_SIZE if b";" in data else 20):
                raise WireError(f"no length of a chunk: {line[:20]!r}")
            break
        begin, length = size.end(), int(size[1], 16)
        if len(data) < begin + length + 2:
            break
        body += data[begin : begin + length]
        data, over = data[begin + length + 2 :], not length
    return body, data, over


@lru_cache(maxsize=4096)
def read_block(raw: bytes) -> Block:
    """Read what stands between two blank lines.  Raises WireError."""
    said: dict[str, list[str]] = {"event": ["message"], "data": [], "id": [], "retry": []}
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as error:
        raise WireError(f"no UTF-8: {raw[:80]!r}") from error
    for line in lines:
        name, _, value = line.partition(":")
        if name in said:
            said[name].append(value.removeprefix(" "))
    event = said["event"][-1]
    data = "\n".join(said["data"]) if said["data"] else None
    id = said["id"][-1] if said["id"] else None
    times = [int(value) for value in said["retry"] if value.isdecimal() and len(value) <= DIGITS]
    payload = None
    if data is not None and event == "message":
        with contextlib.suppress(ValueError, LookupError, TypeError):  # somebody else's event
            payload = read_payload(data)
    return Block(event, data, id, times[-1] if times else None, payload)
