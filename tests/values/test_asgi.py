import asyncio

import pytest

from sse_edge import Anonymous, SSEMiddleware, asgi
from sse_edge.asgi import Request, lingering, mounted_path, reading_on, respond, route_path


def scope(**changes):
    """A scope with as little as a server may give."""
    return {"type": "http", "method": "GET", "path": "/events/a", "headers": [], **changes}


def test_request_of_a_scope():
    """A request is what its scope says."""
    request = Request.of(
        scope(
            method="HEAD",
            scheme="https",
            client=("192.0.2.1", 5000),
            server=["192.0.2.2", 443],
            query_string=b"a=1",
            headers=[(b"host", b"example.com")],
        )
    )
    assert (request.method, request.path, request.scheme) == ("HEAD", "/events/a", "https")
    assert (request.peer, request.query_string) == ("192.0.2.1", b"a=1")
    assert request.server == ("192.0.2.2", 443)
    assert request.headers == ((b"host", b"example.com"),)


def test_request_of_a_bare_scope():
    """What a server may leave out has the default of the ASGI specification."""
    request = Request.of(scope())
    assert (request.scheme, request.peer, request.query_string) == ("http", None, b"")
    assert request.server is None
    assert request.query == {}


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "/events", "/events"),
        ("/api", "/api/events", "/events"),
        ("/api/", "/api/events", "/events"),
        ("/api", "/api", "/"),
        ("/api", "/apievents", "/apievents"),
        ("/api", "/events", "/events"),
        ("/", "/events", "/events"),
    ],
)
def test_route_path(root, path, expected):
    """The path is taken below the mount point, whether or not the server left the prefix on."""
    assert route_path(scope(root_path=root, path=path)) == expected


@pytest.mark.parametrize(
    ("own", "root", "path", "raw", "expected"),
    [
        # Starlette and FastAPI: below a mount point, which is in both, or which the server left off
        ("/events", "/events", "/events/me", None, "/events/me"),
        ("/events", "/api/events", "/api/events/me", b"/api/events/me", "/events/me"),
        ("/events", "/proxy/events", "/events/me", b"/events/me", "/events/me"),
        ("/events", "/api", "/api/events/me", None, "/events/me"),
        ("/events", "", "/events/me", None, "/events/me"),
        ("/events", "/events", "/events/me/", b"/events/me/", "/events/me/"),
        ("/events", "/events", "/events/", b"/events/", "/events/"),
        ("/events", "/events", "/events/events", b"/events/events", "/events/events"),
        ("/events", "/live", "/live/me", b"/live/me", "/me"),
        ("/events", "/my-events", "/my-events/me", b"/my-events/me", "/me"),
        ("/", "/events", "/events/me", b"/events/me", "/me"),
        # Litestar: the mount point is gone, and a slash is there that nobody sent
        ("/events", "", "/me/", b"/events/me", "/events/me"),
        ("/events", "", "/me/", b"/api/events/me", "/events/me"),
        ("/events", "", "/a b/", b"/events/a%20b", "/events/a b"),
        ("/events", "", "/\xfc/", b"/events/%C3%BC", "/events/\xfc"),
        ("/events", "/proxy", "/me/", b"/proxy/events/me", "/events/me"),
        ("/events", "", "/me/", b"/live/me", "/me"),
        ("/events", "", "/me/", b"/live/events/other/me", "/me"),
        ("/events", "", "events/me/", b"/events/me", "/events/me"),
        ("/", "", "/me/", b"/events/me", "/me"),
        # ... and one that somebody sent
        ("/events", "", "/me/", b"/events/me/", "/events/me/"),
        ("/events", "", "/me/", b"/events/me%2F", "/events/me/"),
        ("/events", "", "/", b"/events", "/"),
        ("/events", "", "/me/", None, "/me/"),
    ],
)
def test_mounted_path(own, root, path, raw, expected):
    """What is mounted at its own path has the paths that it has outside; elsewhere they are below."""
    assert mounted_path(scope(root_path=root, path=path, raw_path=raw), own) == expected


def test_repeated_headers_are_kept():
    """Every value of a repeated header is seen, in order."""
    request = Request("GET", "/", headers=((b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")))
    assert request.all(b"x-a") == ["1", "3"]
    assert request.first(b"x-a") == "1"
    assert request.all(b"x-c") == []
    assert request.first(b"x-c") is None


def test_header_bytes_are_latin_1():
    """A header with any byte at all can be read."""
    assert Request("GET", "/", headers=((b"x", bytes(range(256))),)).first(b"x") is not None


@pytest.mark.parametrize(
    ("headers", "has_body"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"00 ")], False),
        ([(b"content-length", b"")], False),
        ([(b"content-length", b"1")], True),
        ([(b"content-length", b"010")], True),
        ([(b"content-length", b"0"), (b"content-length", b"5")], True),
        ([(b"content-length", b"junk")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"transfer-encoding", b"")], True),
        ([(b"content-length", b"0"), (b"transfer-encoding", b"identity")], True),
    ],
)
def test_has_body(headers, has_body):
    """A head that tells of a body, in whatever way, is seen without reading it."""
    assert Request("GET", "/", headers=tuple(headers)).has_body is has_body


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a=1&a=2&b=", {"a": ["1", "2"], "b": [""]}),
        (b"a=%C3%A9", {"a": ["é"]}),
        (b"a=%FF", {"a": ["\ufffd"]}),
    ],
)
def test_query(raw, expected):
    """The query is decoded, with repeated and empty values kept."""
    assert Request("GET", "/", query_string=raw).query == expected


def test_query_has_a_bound():
    """Thousands of parameters are refused as a ValueError instead of being stored."""
    with pytest.raises(ValueError, match="fields"):
        _ = Request("GET", "/", query_string=b"a=1&" * 200).query


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([b"s=1"], ["1"]),
        ([b"a=0; s=1; b=2"], ["1"]),
        ([b"s=1; s=2"], ["1", "2"]),
        ([b"s=1", b"s=2"], ["1", "2"]),
        ([b's="1"'], ['"1"']),
        ([b"s=1\xa0"], ["1\xa0"]),
        ([b"\x85s=1"], []),
        ([b"s=\t1 \t"], ["1"]),
        ([b"s=a=b"], ["a=b"]),
        ([b" s = 1 "], ["1"]),
        ([b"s="], [""]),
        ([b"s"], []),
        ([b"xs=1; sx=2; S=3"], []),
        ([b";;=;\xff=\xfe"], []),
        ([], []),
    ],
)
def test_cookies(headers, expected):
    """Every cookie of the name is found, in every header, and odd ones do no harm."""
    request = Request("GET", "/", headers=tuple((b"cookie", value) for value in headers))
    assert request.cookies("s") == expected


async def sent(*args):
    """The messages that ``respond`` sends."""
    messages = []

    async def send(message):
        messages.append(message)

    await respond(send, *args)
    return messages


async def test_respond():
    """A response is a start with its length, and one body that ends it."""
    assert await sent(403, [(b"vary", b"Origin")], b"no") == [
        {
            "type": "http.response.start",
            "status": 403,
            "headers": [(b"vary", b"Origin"), (b"content-length", b"2")],
        },
        {"type": "http.response.body", "body": b"no", "more_body": False},
    ]


async def test_respond_204_has_no_length():
    """A 204 has no Content-Length (RFC 9110, section 8.6)."""
    start, _ = await sent(204, [])
    assert start["headers"] == []


class Queued:
    """A server, like hypercorn: pieces of a body and the response's end wait in one queue for ``receive``."""

    def __init__(self, pieces):
        self.queue = asyncio.Queue(pieces)
        for _ in range(pieces):
            self.queue.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
        self.sent = []

    async def receive(self):
        return await self.queue.get()

    async def send(self, message):
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await self.queue.put({"type": "http.disconnect"})


@pytest.mark.parametrize("wrapped", [reading_on, lingering])
@pytest.mark.parametrize("pieces", [1, 10])
async def test_an_answer_to_an_unread_body_ends(wrapped, pieces, monkeypatch):
    """The end of an answer does not wait for somebody to read the request's body."""
    monkeypatch.setattr(asgi, "LINGER", 0.05)
    monkeypatch.setattr(asgi, "LEFTOVER", 0)
    server = Queued(pieces)
    async with asyncio.timeout(5):
        await respond(wrapped(server.send, server.receive), 400, [], b"no")
    assert b"".join(message.get("body", b"") for message in server.sent) == b"no"
    assert not server.sent[-1].get("more_body")


async def test_an_unread_body_over_http2():
    """HTTP/2 need not tell of a body beforehand: none keeps a refused request."""
    server = Queued(10)
    edge = SSEMiddleware(auth=Anonymous(), channels={"/events/all": "news"})
    head = {"http_version": "2", "method": "POST", "path": "/events/all", "headers": [(b"host", b"x")]}
    async with edge, asyncio.timeout(5):
        await edge(scope(**head), server.receive, server.send)
    assert server.sent[0]["status"] == 405
