import pytest

from sse_edge.admission.size import MAX_COOKIE, MAX_HEADERS, MAX_TEXT, legible, oversized
from sse_edge.asgi import Request


class Sealed:
    """Stands in for so many bytes, and lets nobody look at them."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length


def header(name, *lengths):
    """A header, repeated with values of these lengths."""
    return [(name, Sealed(length)) for length in lengths]


def asking(headers=(), *, path="/events/me", query=b""):
    """A request for a stream, with other headers of usual sizes."""
    usual = [(b"host", b"example.com"), (b"user-agent", b"x" * 120), (b"accept", b"text/event-stream")]
    return Request("GET", path, (*usual, *headers), query_string=query)


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (asking(), None),
        (asking(header(b"cookie", MAX_COOKIE)), None),
        (asking(header(b"cookie", MAX_COOKIE + 1)), "Cookie has 16385 bytes, and 16384 are"),
        (asking(header(b"cookie", *[100] * 163)), None),
        (asking(header(b"cookie", *[100] * 164)), "Cookie has 16400 bytes"),
        (asking(header(b"cookie", 20_000_000)), "Cookie has 20000000 bytes"),
        (asking(query=Sealed(MAX_TEXT)), None),
        (asking(query=Sealed(MAX_TEXT + 1)), "the query string has 8193 bytes, and 8192 are"),
        (asking(path=Sealed(MAX_TEXT + 1)), "the path has 8193 bytes"),
        (asking(header(b"last-event-id", MAX_TEXT)), None),
        (asking(header(b"last-event-id", MAX_TEXT + 1)), "Last-Event-Id has 8193 bytes, and 8192 are"),
        (asking(header(b"origin", 9000)), "Origin has 9000 bytes"),
        (asking(header(b"host", 9000)), "Host has 9011 bytes"),
        (asking(header(b"accept", 9000)), "Accept has 9017 bytes"),
        (asking(header(b"x-forwarded-for", 5000, 5000)), "X-Forwarded-For has 10000 bytes"),
        (asking(header(b"x-forwarded-proto", 9000)), "X-Forwarded-Proto has 9000 bytes"),
        (asking(header(b"sec-fetch-site", 9000)), "Sec-Fetch-Site has 9000 bytes"),
        (asking(header(b"sec-fetch-mode", 9000)), "Sec-Fetch-Mode has 9000 bytes"),
        (asking(header(b"authorization", 60_000)), None),
        (asking(header(b"cookie", 9000) + header(b"authorization", 60_000)), None),
        (asking(header(b"x", *[1] * (MAX_HEADERS - 3))), None),
        (asking(header(b"x", *[1] * (MAX_HEADERS - 2))), "513 header fields, and 512 are read at most"),
    ],
)
def test_what_is_too_large_to_be_read(request_, what):
    """More than is read is refused by its length alone, with what is too long and how long it is.

    What the edge itself does not read, such as Authorization, may be as long as the server lets it be.
    """
    refusal = oversized(request_)
    if what is None:
        assert refusal is None
    else:
        assert refusal.code == "bad-request"
        assert what in refusal.detail


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (asking(header(b"origin", 30) + header(b"cookie", 20_000)), "host accept origin"),
        (asking(header(b"origin", 30) + header(b"cookie", 9000, 9000)), "host accept origin"),
        (asking(header(b"origin", 5000, 5000)), "host accept"),
        (asking(header(b"host", 9000) + header(b"x", 9000) + header(b"origin", 30)), "accept origin"),
        (asking(header(b"x-forwarded-for", 40), query=Sealed(9000)), "host accept x-forwarded-for"),
        (asking(header(b"x", *[1] * MAX_HEADERS)), ""),
    ],
)
def test_what_an_answer_may_go_by(request_, names):
    """Of what is too large the headers remain that would be read and are short; of too many, none."""
    assert oversized(request_) is not None
    assert [name.decode() for name, _ in legible(request_).headers] == names.split()
