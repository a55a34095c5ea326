"""What one client on raw sockets can take from `sse-edge serve`, and from uvicorn as it comes."""

import asyncio
import contextlib
import json
import socket
import sys
import time
from pathlib import Path

import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from websockets.sync.client import connect as connect_websocket

from apps.edge import AUTH
from servers.processes import TESTS, Processes, free_port
from servers.sse import StreamClient, get
from sse_edge.cli.serving.protocol import Debtors

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
HEAD_LIMIT = 65_536
HEAD_TIMEOUT = 2
MUCH = 200_000_000
LITTLE = 12_000_000
"""Bytes: more than the limits and what the kernels of both ends hold at most (10 MB); little beside MUCH."""

PATIENCE = 30
COOKIE = f"Cookie: session={AUTH.issue('u42')}\r\n".encode()
STREAM = b"GET /events/me HTTP/1.1\r\nHost: localhost\r\n" + COOKIE

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def served():
    """apps.bodies in `sse-edge serve`, for all attacks: it has to be there afterwards."""
    processes = Processes()
    try:
        port = free_port()
        options = ["--app-dir", TESTS, "--port", port, "--head-timeout", HEAD_TIMEOUT]
        yield processes.serve([SSE_EDGE, "serve", "apps.bodies:app", *options], port=port)
    finally:
        processes.close()


@pytest.fixture(scope="module")
def plain():
    """The same app in uvicorn as it comes."""
    processes = Processes()
    try:
        yield processes.serve_app("apps.bodies:app")
    finally:
        processes.close()


@pytest.fixture(params=["serve", "uvicorn"])
def either(request):
    """Each of them."""
    return request.getfixturevalue({"serve": "served", "uvicorn": "plain"}[request.param])


@contextlib.contextmanager
def dial(server, *, timeout=PATIENCE):
    """A connection whose own kernel holds little."""
    with socket.socket() as sock:
        sock.settimeout(timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        sock.connect(("127.0.0.1", server.port))
        yield sock


def flood(sock, piece):
    """Send ``piece`` again and again; how many bytes were taken until the connection broke or stood still."""
    data = piece * (65_536 // len(piece))
    taken = 0
    with contextlib.suppress(OSError):
        while taken < MUCH:
            sock.sendall(data)
            taken += len(data)
    return taken


def rest(sock):
    """What comes until the connection is closed; fails when it is not."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65_536):
            answer += data
    return answer


def until(sock, text):
    """What comes up to ``text``."""
    answer = b""
    while text not in answer:
        data = sock.recv(65_536)
        assert data, answer
        answer += data
    return answer


# ---- Heads


HEADS = {
    "request line": (b"GET /", b"a"),
    "header": (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ", b"a"),
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n"),
    "empty lines": (b"", b"\r\n"),
    "trailers": (b"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "trailers unread": (
        b"POST /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"a: b\r\n",
    ),
    "chunk extension": (b"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: ", b"a"),
    "head after a request": (b"GET /page HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: ", b"a"),
    "head behind a stream": (STREAM + b"\r\nGET / HTTP/1.1\r\nX: ", b"a"),
    "empty lines behind a stream": (STREAM + b"\r\n", b"\r\n"),
    "body after the answer": (b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n", b"a"),
    "nonsense behind a stream": (STREAM + b"\r\n", b"\0"),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_is_no_body_has_an_end(served, name):
    """Whatever a client goes on sending that is no body for the application, its connection is closed."""
    begin, piece = HEADS[name]
    with dial(served) as sock:
        sock.sendall(begin)
        assert flood(sock, piece) < LITTLE
        rest(sock)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("split", [1, 2, 3000])
def test_the_largest_head(served, more, split):
    """A head of the limit is taken, and one with a byte more refused, however it comes."""
    begin, end = b"GET /page HTTP/1.1\r\nHost: x\r\nX: ", b"\r\nConnection: close\r\n\r\n"
    head = begin + b"a" * (HEAD_LIMIT + more - len(begin + end)) + end
    with dial(served) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = len(head) // split + 1
        for at in range(0, len(head), size):
            sock.sendall(head[at : at + size])
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 431 " if more else b"HTTP/1.1 200 ")
    assert answer.lower().count(b"connection: close") == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /page HTTP/9\r\n\r\n",
    ],
    ids=["another encoding", "a chunk of no size", "another version"],
)
def test_what_cannot_be_read_is_answered(served, sent):
    """As long as the application has not begun to answer, the client is told that its request is none."""
    with dial(served) as sock:
        sock.sendall(sent)
        assert rest(sock).startswith(b"HTTP/1.1 400 ")


def test_no_trailer_becomes_a_header(served):
    """A proxy that overwrites X-Forwarded-For need not look at trailers: they are dropped."""
    head = b"POST /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dial(served) as sock:
        sock.sendall(head + b"2\r\nhi\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: a=b\r\n\r\n")
        body = json.loads(rest(sock).partition(b"\r\n\r\n")[2])
    assert body == {"headers": ["host", "connection", "transfer-encoding"], "length": 2}


def test_requests_behind_one_that_lasts(served):
    """Requests may wait for the answer to the one before, but not thousands of them."""
    with dial(served) as sock:
        sock.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 20:
            answers += sock.recv(65_536)
    with dial(served) as sock:
        sock.sendall(b"GET /asleep HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert rest(sock) == b""


def test_many_header_fields(served):
    """A head has up to 512 fields, and so has all that waits behind a request: each costs memory."""
    field, end = b"a:b\r\n", b"Connection: close\r\n\r\n"
    for count, status in ((509, b"200"), (512, b"400")):
        with dial(served) as sock:
            sock.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n" + field * count + end)
            assert rest(sock).startswith(b"HTTP/1.1 %s " % status)
    with dial(served) as sock:
        sock.sendall(b"GET /asleep HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.sendall((b"GET /page HTTP/1.1\r\nHost: x\r\n" + field * 300 + b"\r\n") * 2)
        assert rest(sock) == b""


async def test_time_for_a_head(served):
    """Who sends no head, or a byte now and then, is cut off; who is served, or idle after that, is not."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        websocket = stack.enter_context(connect_websocket(f"ws://127.0.0.1:{served.port}/"))
        idle, stream = stack.enter_context(dial(served)), stack.enter_context(dial(served))
        idle.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        until(idle, b"length")
        stream.sendall(STREAM + b"\r\n")
        until(stream, b"\nid: ")
        upload = stack.enter_context(dial(served))
        upload.sendall(b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        slow = {}
        for name, begin in {
            "silent": b"",
            "line": b"GET /",
            "headers": b"GET / HTTP/1.1\r\n",
            "second": b"GET /page HTTP/1.1\r\nHost: x\r\n\r\nGET /",
            "empty lines": b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n",
            "leftover": b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
        }.items():
            slow[name] = stack.enter_context(dial(served))
            slow[name].sendall(begin)
            slow[name].setblocking(False)
        while slow:
            assert time.monotonic() < began + PATIENCE, list(slow)
            for name, sock in list(slow.items()):
                try:
                    gone = sock.recv(65_536) == b""
                    if name != "silent":
                        sock.send(b"\r\n" if name == "empty lines" else b"a")
                except BlockingIOError:
                    gone = False
                except ConnectionError:
                    gone = True
                if gone:
                    del slow[name]
            upload.sendall(b"a")
            await asyncio.sleep(0.05)
        assert time.monotonic() - began > HEAD_TIMEOUT
        websocket.send("still there")
        assert websocket.recv(PATIENCE) == "still there"
        idle.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        until(idle, b"length")
        stream.setblocking(False)
        with pytest.raises(BlockingIOError):
            stream.recv(1)
        upload.setblocking(False)
        with pytest.raises(BlockingIOError):
            upload.recv(1)


class Clock:
    """An event loop's clock that a test sets; it calls what is due."""

    def __init__(self):
        self.now = 0.0
        self.due = []

    def time(self):
        return self.now

    def call_at(self, when, call, *arguments):
        self.due.append((when, call, arguments))
        return object()

    def call_later(self, seconds, call, *arguments):
        return self.call_at(self.now + seconds, call, *arguments)

    def turn(self, now):
        """One turn of the loop at this time."""
        self.now = now
        ready = [each for each in self.due if each[0] <= now]
        self.due = [each for each in self.due if each[0] > now]
        for _, call, arguments in ready:
            call(*arguments)


class Connection:
    """Notes that it was cut off."""

    def __init__(self, loop):
        self.loop, self.transport, self.there = loop, self, True

    def abort(self):
        self.there = False


def test_many_that_send_no_head():
    """One timer cuts each of them off when its own time is over, a hundred in a turn, and nobody else."""
    clock, debtors = Clock(), Debtors(10)
    early, late = ([Connection(clock) for _ in range(150)] for _ in range(2))
    for each in early:
        debtors.add(each)
    clock.turn(4)
    for each in late:
        debtors.add(each)
    sent = early.pop(), late.pop()
    for each in sent:
        debtors.discard(each)
    assert len(clock.due) == 1
    left = []
    for now in (9.9, 10, 10, 13.9, 14, 14, 14, 30):
        clock.turn(now)
        left.append((sum(each.there for each in early), sum(each.there for each in late)))
    assert left == [(149, 149), (49, 149), (0, 149), (0, 149), (0, 49), (0, 0), (0, 0), (0, 0)]
    assert all(each.there for each in sent)
    assert clock.due == []
    debtors.add(sent[0])
    assert len(clock.due) == 1


# ---- Bodies


@pytest.mark.parametrize("framing", [b"Content-Length: 9000000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_the_body_of_a_streams_request(either, method, framing):
    """Under any uvicorn it is refused with its head, and the connection closed: next to nothing is read."""
    with dial(either) as sock:
        sock.sendall(STREAM.replace(b"GET", method) + framing + b"\r\n\r\n")
        answer = until(sock, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405 " if method == b"POST" else b"HTTP/1.1 400 ")
        assert b"connection: close" in answer.lower()
        assert flood(sock, b"1000\r\n" + b"a" * 4096 + b"\r\n") < LITTLE


def test_a_body_that_the_application_does_not_read(either):
    """It waits in the kernel, and the connection stays."""
    with dial(either, timeout=1) as sock:
        sock.sendall(b"POST /asleep HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        assert flood(sock, b"a") < LITTLE
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_body_that_the_application_reads(either):
    """A large one arrives whole."""
    with dial(either) as sock:
        sock.sendall(b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
        sock.sendall(b"a" * 20_000_000)
        assert json.loads(until(sock, b"}").partition(b"\r\n\r\n")[2])["length"] == 20_000_000


def test_a_body_over_http2(serve_app):
    """HTTP/2 need not tell of it beforehand: on an open stream it ends the stream."""
    server = serve_app("apps.bodies:app", server="hypercorn")
    link = H2Connection()
    link.initiate_connection()
    head = [(":method", "GET"), (":path", "/events/me"), (":scheme", "http"), (":authority", "localhost")]
    link.send_headers(1, [*head, ("cookie", f"session={AUTH.issue('u42')}")])
    got, ended = b"", False
    with dial(server) as sock:
        while not ended:
            sock.sendall(link.data_to_send())
            for event in link.receive_data(sock.recv(65_536)):
                ended = ended or isinstance(event, StreamEnded)
                if isinstance(event, DataReceived):
                    got += event.data
                    if b"\nid: " in got and b"\nid: " not in got.removesuffix(event.data):
                        link.send_data(1, b"a" * 1000)
    assert b"\nid: " in got


async def test_a_long_body_over_http2_frees_the_slot(serve_app):
    """However much of it is under way when the stream ends, a user's only slot is free."""
    env = {"PER_USER": "1", "REFUSALS": "status"}
    server = serve_app("apps.edge:edge", server="hypercorn", env=env)
    link = H2Connection()
    link.initiate_connection()
    cookie = {"session": AUTH.issue("u42")}
    head = [(":method", "GET"), (":path", "/events/me"), (":scheme", "http"), (":authority", "localhost")]
    link.send_headers(1, [*head, ("cookie", f"session={cookie['session']}")])
    for _ in range(30):
        link.send_data(1, b"a" * 1000)
    with dial(server) as sock:
        sock.sendall(link.data_to_send())
        await asyncio.to_thread(until, sock, b"\nid: ")
        async with asyncio.timeout(PATIENCE):
            while (await opened(server, cookie)) != 200:
                await asyncio.sleep(0.05)


async def opened(server, cookies):
    """The status of one more stream, which is left at once."""
    async with await StreamClient.connect(f"{server.url}/events/me", cookies=cookies) as client:
        return client.status


# ---- What is parsed


def test_cookies_of_a_megabyte(plain):
    """Where the server takes such a head, the edge does not read it."""
    with dial(plain) as sock:
        sock.sendall(STREAM + b"Cookie: " + b"a=b; " * 200_000 + b"\r\n\r\n")
        assert b"Cookie has 1000" in until(sock, b"}")


# ---- Afterwards


async def test_nothing_is_left_of_it(served):
    """After all attacks on this server it has no stream left, and answers."""
    deadline = time.monotonic() + PATIENCE
    url = f"http://127.0.0.1:{served.port}/status/metrics"
    while b"\nsse_edge_streams 0.0\n" not in (await get(url)).body:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert "Traceback" not in served.log
