"""``sse_edge.testing``: the bytes of a stream as events."""

import pytest

from sse_edge.testing.decoder import Decoder, Received

STREAMS = [
    (b"data: a\n\n", [Received("a")]),
    (b"\xef\xbb\xbfdata:a\r\rdata: b\r\n\r\n", [Received("a"), Received("b")]),
    (b"event: e\ndata\ndata:  b\nid: 7\n\n", [Received("\n b", "e", "7")]),
    (b": hi\nevent: lost\n\ndata: a\n\n", [Received("a")]),
    (b"id: 5\n\nid: 6\0\ndata: a\n\n", [Received("a", "message", "5")]),
    (b"data: \xc3\xa9\xff\n\ndata: half", [Received("é\ufffd")]),
    (b"retry: 12\nretry: 1x\nunknown: a\ndata: b\n\n", [Received("b")]),
]


@pytest.mark.parametrize(("stream", "events"), STREAMS, ids=range(len(STREAMS)))
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_decoder(stream, events, size):
    """Bytes in pieces of any size are the events of the specification."""
    decoder = Decoder()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == events
