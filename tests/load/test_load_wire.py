"""What a load test's streams read of a response: its head, its chunks and its blocks."""

import math

import pytest

from loadtest.checker import payload
from loadtest.client.wire import (
    LONGEST_HEAD,
    LONGEST_SIZE,
    Block,
    Head,
    Piece,
    WireError,
    read_block,
    read_chunks,
    read_fresh,
    read_head,
)

FIRST = payload("news", 1, 5.0)


def chunk(text):
    """A chunk as it is sent."""
    return b"%x\r\n%b\r\n" % (len(text), text)


GREETING = b": stream open\nretry: 3000\nid: 1-0\nevent: edge-position\n\n"

EVENT = f"id: 2-0\ndata: {FIRST}\n\n".encode()

SEVERAL = EVENT + b": keep-alive\nevent: edge-close\ndata: a\ndata: b\nid: 3-0\nretry: 9\n\n"

STREAM = chunk(GREETING) + chunk(EVENT[:5]) + chunk(EVENT[5:-1]) + chunk(EVENT[-1:] + SEVERAL)

BLOCKS = [
    Block("edge-position", None, "1-0", 3000, None),
    *[Block("message", FIRST, "2-0", None, ("news", 1, 5.0))] * 2,
    Block("edge-close", "a\nb", "3-0", 9, None),
]


def read(pieces):
    """All blocks of a response that comes in these pieces, and what is left of it."""
    blocks, chunk, text, over = [], b"", b"", False
    for data in pieces:
        piece = read_chunks(chunk + data, text)
        chunk, text, over = piece.chunk, piece.text, piece.over
        blocks += piece.blocks
    return blocks, chunk, text, over


# Heads


@pytest.mark.parametrize(
    ("lines", "head"),
    [
        (["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], Head(200, None)),
        (["HTTP/1.1 200 OK", "transfer-encoding:  Chunked "], Head(200, None)),
        (["HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"], Head(200, None)),
        (["HTTP/1.1 200 OK", "Server: nginx", "Content-Length: 12"], Head(200, 12)),
        (["HTTP/1.1 200 OK", "Content-Length: many"], Head(200, math.inf)),
        (["HTTP/1.1 200 OK", "Server: nginx"], Head(200, math.inf)),
        (["HTTP/1.0 401 Unauthorized"], Head(401, math.inf)),
        (["HTTP/1.1 503"], Head(503, math.inf)),
    ],
)
def test_a_head_says_its_status_and_how_its_body_ends(lines, head):
    """Chunks, a length, or neither; what follows the head is given back."""
    data = "\r\n".join(lines).encode() + b"\r\n\r\n"
    assert read_head(data + b"5\r\n") == (head, b"5\r\n")
    assert read_head(data) == (head, b"")


def test_a_head_is_read_once_it_is_complete():
    """Before its blank line there is nothing to say."""
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    for place in range(len(data)):
        assert read_head(data[:place]) is None
    assert read_head(data) == (Head(200, 2), b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP/1.1 response: 'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP/1.1 response"),
        (b"HTTP/1.1 OK\r\n\r\n", "no HTTP/1.1 response"),
        (b"\r\n\r\n", "no HTTP/1.1 response: ''"),
        (b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n", "no HTTP/1.1 response"),
        (b"x" * (LONGEST_HEAD + 1), f"no end of the head after {LONGEST_HEAD + 1} bytes"),
    ],
)
def test_what_is_no_response_is_an_error(data, said):
    """Something else that listens there is named, and not waited for."""
    with pytest.raises(WireError, match=said):
        read_head(data)


# Chunks


@pytest.mark.parametrize("size", [3, 12, 500])
def test_comments_are_counted_and_are_no_part_of_a_block(size):
    """Wherever reads end: many streams that got different ones before it get the same block."""
    whole = (
        chunk(b": keep-alive\n") + chunk(b": keep-alive\n: keep-alive\n" + EVENT) + chunk(b": keep-alive\n")
    )
    text = chunk_ = b""
    count, blocks = 0, []
    for place in range(0, len(whole), size):
        piece = read_chunks(chunk_ + whole[place : place + size], text)
        chunk_, text, count = piece.chunk, piece.text, count + piece.kept
        blocks += piece.blocks
    assert (count, text, blocks) == (4, b"", [read_block(EVENT[:-2])])


def test_the_whole_at_once():
    """Several chunks in one piece give all their blocks, wherever chunks end."""
    assert read([STREAM]) == (BLOCKS, b"", b"", False)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_pieces_of_any_size(size):
    """Pieces of one size give what the whole gives."""
    pieces = [STREAM[place : place + size] for place in range(0, len(STREAM), size)]
    assert read(pieces) == (BLOCKS, b"", b"", False)


def test_split_anywhere():
    """Two pieces give what the whole gives, at every byte that the first may end with."""
    whole = STREAM + b"0\r\n\r\n"
    for place in range(len(whole)):
        assert read([whole[:place], whole[place:]]) == (BLOCKS, b"", b"", True), place


def test_what_is_not_complete_waits():
    """The part of a chunk and the part of a block are given back; neither is over."""
    assert read_chunks(b"", b"") == Piece((), b"", b"", False)
    assert read_chunks(b"1", b"data: a") == Piece((), b"1", b"data: a", False)
    assert read_chunks(chunk(b"data: a\n") + b"5\r\n\nid", b"") == Piece(
        (), b"5\r\n\nid", b"data: a\n", False
    )
    assert read_chunks(chunk(b"\n"), b"data: a\n").blocks == (Block("message", "a", None, None, None),)


def test_the_last_chunk_ends_the_response():
    """It is over with the last chunk, and what stands behind that is not read."""
    piece = read_chunks(chunk(EVENT) + b"0\r\n\r\n" + b"HTTP/1.1 400", b"")
    assert piece.over
    assert len(piece.blocks) == 1
    assert not read_chunks(chunk(EVENT) + b"0\r\n", b"").over


@pytest.mark.parametrize(
    "data",
    [
        b"xyz\r\nabc\r\n",
        b"\r\nabc\r\n",
        chunk(EVENT) + b"data: a\r\n",
        b"data: without any chunk at all",
        b"<html>" * 4,
        b"-2\r\nab\r\n",
        b"+2\r\nab\r\n",
        b"0x2\r\nab\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"2.0\r\nab\r\n",
        b"2 2\r\nab\r\n",
        b"\xef\xbc\x92\r\nab\r\n",
        b";2\r\nab\r\n",
        b";\r\nab\r\n",
        b"-0\r\n\r\n",
        b"2;" + b"x" * LONGEST_SIZE,
    ],
)
def test_what_has_no_length_is_an_error(data):
    """Bytes that are no chunk are an error, and not the beginning of a long one."""
    with pytest.raises(WireError, match="no length of a chunk"):
        read_chunks(data, b"")
    with pytest.raises(WireError, match="no length of a chunk"):
        read_fresh(data)


@pytest.mark.parametrize("extension", [b";a", b";a=b", b' ; a="b;c"', b";" + b"x" * 150, b" "])
def test_an_extension_of_a_chunk_is_passed_over(extension):
    """What stands behind a length says nothing to a browser, wherever pieces end."""
    whole = b"%X%b\r\n%b\r\n" % (len(EVENT), extension, EVENT) + b"0%b\r\n\r\n" % extension
    expected = (BLOCKS[1:2], b"", b"", True)
    for place in range(len(whole)):
        assert read([whole[:place], whole[place:]]) == expected, place


@pytest.mark.parametrize("data", [STREAM, STREAM[:-1], STREAM + b"0\r\n\r\n", chunk(GREETING), b"", b"5"])
def test_fresh_bytes_are_read_alike(data):
    """What is remembered for the next stream is what reading gives."""
    assert read_fresh(data) == read_chunks(data, b"")
    assert read_fresh(data) is read_fresh(bytes(bytearray(data)))


# Blocks


@pytest.mark.parametrize(
    ("raw", "block"),
    [
        (b"", Block("message", None, None, None, None)),
        (b": keep-alive", Block("message", None, None, None, None)),
        (b": data: hidden\ndata: shown", Block("message", "shown", None, None, None)),
        (b"data: a\ndata: b\ndata:\ndata:c", Block("message", "a\nb\n\nc", None, None, None)),
        (b"data:  a: b ", Block("message", " a: b ", None, None, None)),
        (b"data", Block("message", "", None, None, None)),
        (b"event: edge-reset\ndata: {}", Block("edge-reset", "{}", None, None, None)),
        (b"id: 1-7", Block("message", None, "1-7", None, None)),
        (b"id:1-7\nid: 1-8", Block("message", None, "1-8", None, None)),
        (b"retry: 50", Block("message", None, None, 50, None)),
        (b"retry: 1.5", Block("message", None, None, None, None)),
        (b"retry: -5", Block("message", None, None, None, None)),
        (b"retry: soon", Block("message", None, None, None, None)),
        (b"retry:", Block("message", None, None, None, None)),
        (b"other: 1\nID: 1-7\nData: x", Block("message", None, None, None, None)),
        ("data: Käse".encode(), Block("message", "Käse", None, None, None)),
    ],
)
def test_blocks_are_read_as_browsers_read_them(raw, block):
    """Each field, several lines of data, comments, and what is no field."""
    assert read_block(raw) == block


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (payload("news", 7, 1.5), ("news", 7, 1.5)),
        (payload("user:ü", 1, 0.25, 500), ("user:ü", 1, 0.25)),
        ('{"channel": "news", "n": 7}', None),
        ('{"channel": "news", "n": "first", "at": 1}', None),
        ('{"channel": "news", "n": null, "at": 1}', None),
        ('{"temperature": 7}', None),
        ("[1, 2]", None),
        ("7", None),
        ("null", None),
        ('"text"', None),
        ("plain text", None),
        ("", None),
    ],
)
def test_only_our_own_events_have_a_payload(data, found):
    """Somebody else's event is an event, and nothing is made of its data."""
    assert read_block(f"data: {data}".encode()) == Block("message", data, None, None, found)
    assert read_block(f"event: tick\ndata: {data}".encode()).payload is None


@pytest.mark.parametrize("raw", [b"data: \xff", b"id: \xc3", b": \xe4", b"event: \xed\xa0\x80"])
def test_what_is_no_utf8_is_an_error(raw):
    """Bytes that are no text are named, alone and in a chunk."""
    with pytest.raises(WireError, match="no UTF-8: "):
        read_block(raw)
    with pytest.raises(WireError, match="no UTF-8: "):
        read_chunks(chunk(raw + b"\n\n"), b"")
    # A character may be in two chunks.
    assert read_chunks(chunk(b"\xa4\n\n"), b"data: \xc3").blocks == (Block("message", "ä", None, None, None),)
