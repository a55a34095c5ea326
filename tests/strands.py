"""A joint response as its client reads it: each strand's bytes by themselves."""

import re
from urllib.parse import quote

from servers.sse import Decoder

_LINE = re.compile(rb"^: strand (\d+)\n", re.MULTILINE)


def also(*urls):
    """The query that asks for these URLs besides."""
    return "&".join(f"also={quote(url, safe='')}" for url in urls)


def strands(body):
    """``{number: bytes}``; fails where a line stands within a block, or turns to who is speaking already."""
    before, *rest = _LINE.split(bytes(body))
    assert before == b""
    found, speaking, ended = {}, None, True
    for number, piece in zip(map(int, rest[::2]), rest[1::2], strict=True):
        assert number != speaking
        assert ended, f"a block of {speaking} was not over"
        found[number] = found.get(number, b"") + piece
        speaking, ended = number, piece.endswith(b"\n\n")
    return found


def heard(body, number):
    """The events of one strand, as a browser would dispatch them."""
    return Decoder().feed(strands(body).get(number, b""))


def place(body, number):
    """Where the client of one strand comes back from."""
    decoder = Decoder()
    decoder.feed(strands(body)[number])
    return decoder.last_event_id
