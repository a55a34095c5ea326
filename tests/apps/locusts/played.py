"""A server that a case plays, and the swarm that goes to it."""

import contextlib
import inspect
import socket
import struct
import time

import gevent

from loadtest.checker import payload
from loadtest.client import tally as tallies
from loadtest.client.swarm import Swarm
from loadtest.client.target import Target
from sse_edge.asgi import Request

SECRET = "a-secret-of-the-tests-with-32-characters"

PATIENCE = 10

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

RETRY_MS = 50


def chunk(text):
    """A chunk as it is sent."""
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(n, at=None, channel="news", size=0):
    """An event as it is sent."""
    return f"id: {n}-1\ndata: {payload(channel, n, time.time() if at is None else at, size)}\n\n"


def until(condition, what=""):
    """Wait for a state."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what or inspect.getsource(condition).strip()}"
        gevent.sleep(0.002)


class Peer:
    """A connection at the server's side; ``request`` is what was asked."""

    def __init__(self, connection, address):
        self.connection = connection
        self.source = address[0]
        self.request = b""
        while not self.request.endswith(b"\r\n\r\n"):
            data = connection.recv(65_536)
            assert data, f"the client has closed after {self.request!r}"
            self.request += data
        self.request = self.request.decode()

    def field(self, name):
        """A header of the request, or None."""
        for line in self.request.split("\r\n")[1:]:
            found, _, value = line.partition(": ")
            if found.lower() == name:
                return value
        return None

    @property
    def user(self):
        """Whose session it has."""
        request = Request("GET", "/", ((b"cookie", self.field("cookie").encode()),))
        return self.cookies.identify(request, time.time()).user

    def send(self, *blocks):
        """Chunks."""
        self.connection.sendall(b"".join(map(chunk, blocks)))

    def greet(self, *blocks, place="0-1", retry_ms=RETRY_MS):
        """Head, greeting, and the place in the stream, behind some blocks."""
        self.connection.sendall(HEAD.encode())
        self.send(
            f": stream open\nretry: {retry_ms}\n",
            *blocks,
            f"id: {place}\nevent: edge-position\ndata: {{}}\n\n",
        )

    def answer(self, status, body, *fields):
        """A whole response with its length."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
        self.connection.sendall("\r\n".join([*lines, "", body]).encode())

    def end(self):
        """The last chunk."""
        self.connection.sendall(b"0\r\n\r\n")
        self.close()

    def reset(self):
        """Let the kernel say that there is no connection any more."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        """Close it, whatever was sent."""
        self.connection.close()

    def gone(self):
        """Wait until the client closes."""
        with contextlib.suppress(ConnectionError):
            while self.connection.recv(65_536):
                pass


class Server:
    """A server that a case plays, and the swarm that goes to it."""

    def __init__(self, *, index=0, tls=None, authority=None, host="127.0.0.1", **options):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self._peers = []
        self._acceptors = []
        scheme = "https" if tls else "http"
        url = f"{scheme}://{host}:{self.listener.getsockname()[1]}/events/me?page=1"
        self.swarm = Swarm(Target([url], SECRET, authority=authority), index, **options)

    def accept(self):
        """The next connection, once it has asked for something."""
        connection, address = self.listener.accept()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        self._peers.append(Peer(connection, address))
        self._peers[-1].cookies = self.swarm.target.cookies
        return self._peers[-1]

    def serve(self, answer):
        """From here on ``answer(peer)`` each connection; the list that they are put in."""
        served = []

        def run():
            while True:
                peer = self.accept()
                served.append(peer)
                answer(peer)

        self._acceptors.append(gevent.spawn(run))
        return served

    def close(self):
        """Everything ends, and nothing may have gone wrong."""
        failures = [one.exception for one in self._acceptors if one.ready() and one.exception]
        gevent.killall(self._acceptors)
        failure = self.swarm.loop.failure
        self.swarm.close()
        for peer in self._peers:
            peer.close()
        self.listener.close()
        if failure is not None:
            raise failure
        assert not failures, failures


@contextlib.contextmanager
def serving(**options):
    """A server for the block."""
    server = Server(**options)
    try:
        yield server
    finally:
        server.close()


def one(server):
    """The first client, and where it is connected."""
    server.swarm.add(1)
    return server.swarm.streams[server.swarm.first], server.accept()


def counted(tally):
    """All seconds of a tally together."""
    return {**tallies.together(tally.seconds.values()).to_dict(), "streams": tally.streams}


def ear(swarm, number=0, channel="news"):
    """What a client got of a channel."""
    return swarm.checker.clients[str(number)].ears[channel]


def faults(swarm, published, channel="news"):
    """What the checker says when events 1 and so on were published at these times."""
    for at in published:
        swarm.checker.numbering(channel).next(at)
    return [str(finding) for finding in swarm.checker.report().findings]
