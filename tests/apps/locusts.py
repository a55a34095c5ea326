"""Cases of a load test's clients, against servers that are played here, and of what Locust is told.

    PYTHONPATH=tests:. python -m apps.locusts [CASE [ARGUMENT...]]

Without a case it takes one a line, as JSON: its name, arguments and options.  It answers with a line each.
"""

import locust  # noqa: I001 - before all else: it has gevent replace sockets

import contextlib
import inspect
import json
import socket
import ssl
import struct
import sys
import time
import traceback
from collections import Counter

import gevent
from locust.stats import RequestStats, bucket_response_time

from loadtest.checker import payload
from loadtest.client import stream as streams
from loadtest.client import tally as tallies
from loadtest.client.swarm import NUMBERS, Swarm
from loadtest.client.stream import State
from loadtest.client.tally import Second, Tally
from loadtest.client.target import Target, TargetError
from loadtest.run import statistics
from sse_edge.asgi import Request

SECRET = "a-secret-of-the-tests-with-32-characters"

PATIENCE = 10

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

RETRY_MS = 50


# What cases are made of


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


# Streams


def request():
    """What a client asks for, the first time."""
    with serving() as server:
        stream, peer = one(server)
        found = {"line": peer.request.partition("\r\n")[0], "user": peer.user, "source": peer.source}
        found |= {name: peer.field(name) for name in ("accept", "host", "last-event-id")}
        found["port"] = server.listener.getsockname()[1]
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        return {**found, "counted": counted(server.swarm.tally)}


def resume(how, retry_ms):
    """A stream ends; the client comes back."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet(retry_ms=retry_ms)
        peer.send(event(1), event(2))
        until(lambda: stream.last_id == "2-1")
        ended = time.monotonic()
        if how == "cut in a chunk":
            peer.connection.sendall(b"20\r\nid: 3-1\ndata")
        getattr(peer, {"end": "end", "reset": "reset"}.get(how, "close"))()
        again = server.accept()
        waited = time.monotonic() - ended
        between = counted(server.swarm.tally)["streams"]
        again.greet(event(3), place="3-1", retry_ms=retry_ms)
        until(lambda: stream.state == State.LIVE and stream.last_id == "3-1")
        return {
            "place": again.field("last-event-id"),
            "same": (again.user, again.source) == (peer.user, peer.source),
            "waited": waited,
            "between": between,
            "retry_ms": stream.retry_ms,
            "connection": stream.record.connection,
            "faults": faults(server.swarm, [time.time()] * 3),
            "heard": [ear(server.swarm).high, ear(server.swarm).count],
            "counted": counted(server.swarm.tally),
        }


def defaults():
    """What nobody told a client."""
    with serving() as server:
        stream, _ = one(server)
        return {"wait": stream.wait}


def given_up(status):
    """A status that is not 200."""
    with serving() as server:
        stream, peer = one(server)
        peer.answer(status, '{"error": "not-authenticated"}')
        peer.gone()
        until(lambda: stream.state == State.OVER)
        return {
            "due": len(server.swarm.loop.due),
            "state": server.swarm.behind({}),
            "counted": counted(server.swarm.tally),
        }


def refused(how):
    """A 200 that is no stream; the client comes back."""
    with serving() as server:
        stream, peer = one(server)
        said = 'event: edge-refused\nretry: 50\ndata: {"error":"worker-full","detail":"x"}\n\n'
        if how == "proxy":  # nginx's own answer
            peer.answer(200, "retry: 50\n\n", "Content-Type: text/event-stream", "Connection: keep-alive")
        elif how == "proxy in two pieces":
            peer.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nret")
            until(lambda: stream.state == State.GREETED)
            peer.connection.sendall(b"ry: 50\n\n")
        elif how == "edge":
            peer.connection.sendall(HEAD.encode())
            peer.send(said)
            peer.end()
        elif how == "edge with a length":
            peer.answer(200, said)
        elif how == "edge without a length":
            peer.connection.sendall(f"HTTP/1.1 200 OK\r\n\r\n{said}".encode())
            peer.close()
        elif how == "empty":
            stream.retry_ms = RETRY_MS  # nothing tells it
            peer.answer(200, "")
            peer.gone()  # by itself: this side closes nothing
        began = time.monotonic()
        again = server.accept()
        waited = time.monotonic() - began
        again.greet()
        until(lambda: stream.state == State.LIVE)
        return {
            "place": again.field("last-event-id"),
            "waited": waited,
            "counted": counted(server.swarm.tally),
        }


def refused_again():
    """A client that was live is refused twice, and let in then."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        peer.end()
        ended = time.monotonic()
        for _ in range(2):
            server.accept().answer(200, "retry: 50\n\n")
        server.accept().greet()
        until(lambda: stream.state == State.LIVE)
        return {"away": time.monotonic() - ended, "counted": counted(server.swarm.tally)}


def unmeasured():
    """A stream without chunks and without a length: each block is read when it is there."""
    with serving() as server:
        stream, peer = one(server)
        peer.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        until(lambda: stream.state == State.GREETED)
        peer.connection.sendall(b"retry: 50\n\nid: 0-1\n\n")
        until(lambda: stream.state == State.LIVE)
        whole = event(1).encode()
        for part in (whole[:5], whole[5:-1], whole[-1:] + event(2).encode() + b"data: not the wh"):
            before = stream.last_id
            peer.connection.sendall(part)
            gevent.sleep(0.02)
        until(lambda: stream.last_id == "2-1")
        peer.close()
        again = server.accept()
        again.greet()
        until(lambda: stream.state == State.LIVE)
        return {
            "before": before,
            "place": again.field("last-event-id"),
            "retry_ms": stream.retry_ms,
            "heard": [ear(server.swarm).high, ear(server.swarm).count],
            "counted": counted(server.swarm.tally),
        }


def malformed(block, fails):
    """One of two clients is sent a block that makes no sense, and then an event, as the other is."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(2)
        until(lambda: server.swarm.behind({})["live"] == 2)
        one, other = server.swarm.streams.values()
        data = block.encode("latin-1") + b"\n\n"
        (peer,) = (peer for peer in served if peer.user == one.user)
        peer.connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        until(lambda: len(served) == 2 + fails and server.swarm.behind({})["live"] == 2)
        for peer in served:
            with contextlib.suppress(OSError):  # what failed is closed
                peer.send(event(9))
        until(lambda: one.last_id == other.last_id == "9-1")
        return {
            "resets": [str(seen) for seen in ear(server.swarm).resets],
            "counted": counted(server.swarm.tally),
        }


def goodbye(reason):
    """The edge says why a stream ends."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet()
        peer.send(f'event: edge-close\nid: 7-1\nretry: 60\ndata: {{"reason": "{reason}"}}\n\n')
        peer.end()
        again = server.accept()
        again.greet()
        until(lambda: stream.state == State.LIVE)
        again.close()
        until(lambda: stream.state != State.LIVE)
        return {
            "place": again.field("last-event-id"),
            "counted": counted(server.swarm.tally),
        }


def unbegun(how):
    """A connection that never becomes a stream; the client tries again."""
    streams.RETRY_MS = 20
    try:
        with serving() as server:
            stream, peer = one(server)
            if how == "closed":
                pass
            elif how == "closed after the head":
                peer.connection.sendall(HEAD.encode())
            elif how == "no HTTP":
                peer.connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
            elif how == "no chunk":
                peer.connection.sendall(HEAD.encode() + b"<html>\r\n")
            elif how == "no chunk while live":
                peer.greet(retry_ms=20)
                until(lambda: stream.state == State.LIVE)
                peer.connection.sendall(b"<html>\r\n")
                peer.gone()
            peer.close()
            server.accept().greet()
            until(lambda: stream.state == State.LIVE)
            return counted(server.swarm.tally)
    finally:
        streams.RETRY_MS = 3000


def unreachable():
    """Nobody listens, and later somebody does."""
    streams.RETRY_MS = 20
    port = socket.socket()
    try:
        port.bind(("127.0.0.1", 0))  # taken, and not listened at
        with serving() as server:
            server.swarm.target.addresses = [port.getsockname()]
            server.swarm.add(2)
            until(lambda: counted(server.swarm.tally)["attempts"] >= 5)
            before = counted(server.swarm.tally)
            server.listener.close()
            server.listener = port
            port.listen()
            server.serve(Peer.greet)
            until(lambda: server.swarm.behind({})["live"] == 2)
            return {"before": before, "after": counted(server.swarm.tally)}
    finally:
        streams.RETRY_MS = 3000
        port.close()


def resets():
    """The edge says that something is missing, and somebody else says something like it."""
    with serving(personal=True) as server:
        stream, peer = one(server)
        reset = 'event: edge-reset\ndata: {{"channel": "{}", "reason": "trimmed"}}\n\n'
        peer.greet(reset.format("news"))  # before its first place nothing is owed to it
        until(lambda: stream.state == State.LIVE)
        first = time.time()
        peer.send(event(1))
        until(lambda: stream.last_id == "1-1")
        peer.end()
        again = server.accept()
        last = time.time()
        again.greet(reset.format("news"), event(4, last), place="4-1")
        again.send(
            reset.format("another"), "event: edge-dropped\ndata: no JSON\n\n", "event: tick\ndata: []\n\n"
        )
        again.send(reset.format("user:u0"), event(5, last))
        until(lambda: stream.last_id == "5-1")
        heard = {name: [str(seen) for seen in each.resets] for name, each in stream.record.ears.items()}
        return {"resets": heard, "faults": faults(server.swarm, [first, first, first, last, last])}


def absence():
    """Events of before the connection, and of after it."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        peer.end()
        until(lambda: stream.state == State.WAITING)
        while_away = time.time()
        again = server.accept()
        again.greet(event(1, while_away), event(2, while_away), place="2-1")
        until(lambda: stream.last_id == "2-1")
        before = counted(server.swarm.tally)
        again.send(event(3))
        until(lambda: stream.last_id == "3-1")
        return {
            "before": before,
            "after": counted(server.swarm.tally),
            "faults": faults(server.swarm, [while_away, while_away, time.time()]),
            "heard": [ear(server.swarm).high, ear(server.swarm).count],
        }


def others():
    """Events of nobody's, or of a channel that the client was not to hear, and a personal one."""
    with serving(personal=True) as server:
        stream, peer = one(server)
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        peer.send('id: 1-1\ndata: {"temperature": 7}\n\n', event(2, channel="weather"), ": keep-alive\n")
        peer.send(event(3, channel="user:u0"))
        until(lambda: stream.last_id == "3-1")
        return {
            "ears": {name: each.high for name, each in stream.record.ears.items()},
            "counted": counted(server.swarm.tally),
        }


# Swarms


def leave():
    """The newest go for good, while events come."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        now = time.time()
        for peer in served:
            peer.send(event(1, now), *([event(3, now)] if peer.user == "u2" else []))
        until(lambda: all(stream.last_id for stream in streams) and streams[2].last_id == "3-1")
        server.swarm.remove(2)
        for peer in served:
            if peer.user != "u0":
                peer.gone()
            else:
                peer.send(event(2, now))
        until(lambda: streams[0].last_id == "2-1")
        return {
            "states": [stream.state.name for stream in streams],
            "left": list(server.swarm.streams),
            "behind": server.swarm.behind({"news": (3, now)}),
            "due": len(server.swarm.loop.due),
            "faults": faults(server.swarm, [now] * 3),
            "counted": counted(server.swarm.tally),
        }


def leave_early():
    """More come than may open at once, of two processes' 200, and some go before their turn."""
    with serving(processes=2) as server:
        server.swarm.add(150)
        server.swarm.remove(30)
        asked = counted(server.swarm.tally)["attempts"]
        served = server.serve(Peer.greet)
        until(lambda: server.swarm.behind({})["live"] == 120)
        return {
            "at_once": asked,
            "users": len({peer.user for peer in served}),
            "sources": Counter(Counter(peer.source for peer in served).values()),
            "state": server.swarm.behind({}),
            "counted": counted(server.swarm.tally),
        }


def wait_and_leave():
    """A client leaves while it waits to come back."""
    with serving() as server:
        stream, peer = one(server)
        peer.greet(retry_ms=20)
        until(lambda: stream.state == State.LIVE)
        peer.close()
        until(lambda: stream.state == State.WAITING)
        server.swarm.remove(1)
        until(lambda: not server.swarm.loop.due)  # its turn has come
        return {"state": stream.state.name, "counted": counted(server.swarm.tally)}


def drop():
    """All lose their connections."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        dropped = server.swarm.drop()
        away = server.swarm.behind({})["live"]
        until(lambda: len(served) == 6 and server.swarm.behind({})["live"] == 3)
        return {
            "dropped": dropped,
            "away": away,
            "places": [peer.field("last-event-id") for peer in served],
            "counted": counted(server.swarm.tally),
        }


def drop_early():
    """A client loses its connection before the head, before its place, and while it waits."""
    with serving() as server:
        stream, _ = one(server)
        stream.retry_ms = 20
        states = [stream.state.name]
        server.swarm.drop()
        again = server.accept()
        again.connection.sendall(HEAD.encode())
        until(lambda: stream.state == State.GREETED)
        states.append(stream.state.name)
        server.swarm.drop()
        states.append(stream.state.name)
        server.swarm.drop()
        last = server.accept()
        last.greet()
        until(lambda: stream.state == State.LIVE)
        return {"states": states, "counted": counted(server.swarm.tally)}


def remove_too_many():
    """More shall leave than there are."""
    with serving() as server:
        server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        server.swarm.remove(4)
        return {"states": [stream.state.name for stream in streams], "left": list(server.swarm.streams)}


def newcomers():
    """Who is behind: one that joined before an event, after it, has it, was told, or was told before it."""
    with serving(personal=True) as server:
        served = server.serve(Peer.greet)
        server.swarm.add(2)
        until(lambda: server.swarm.behind({})["live"] == 2)
        at = time.time()
        server.swarm.add(1)  # joins after the event
        until(lambda: server.swarm.behind({})["live"] == 3)
        streams = list(server.swarm.streams.values())
        by_user = {peer.user: peer for peer in served}
        reset = 'event: edge-reset\nid: {}-1\ndata: {{"channel": "news", "reason": "trimmed"}}\n\n'

        def behind(at):
            return server.swarm.behind({"news": (1, at), "weather": (5, at)})["behind"]

        found = {"all": behind(time.time()), "none": server.swarm.behind({})["behind"], "joined": behind(at)}
        by_user["u0"].send(reset.format(1))
        until(lambda: streams[0].last_id == "1-1")
        found["told"] = behind(at)
        found["told before"] = behind(time.time())
        by_user["u1"].send(event(1, at))
        until(lambda: streams[1].last_id == "1-1")
        found["heard"] = behind(at)
        found["two"] = server.swarm.behind({"news": (2, time.time()), "user:u1": (1, time.time())})["behind"]
        server.swarm.remove(2)
        found["left"] = behind(time.time())
        return found


def prompt():
    """How long something that is due at once waits while nothing happens."""
    with serving() as server:
        waited = []
        for number in range(6):
            if number % 2:
                gevent.sleep(0.01)  # the loop has just begun to wait
            began = time.monotonic()
            server.swarm.loop.after(0.0, lambda began=began: waited.append(time.monotonic() - began))
            until(lambda number=number: len(waited) > number)
        return {"waited": min(waited[1::2])}


def stall():
    """One of two stops reading, and reads again."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(2)
        until(lambda: server.swarm.behind({})["live"] == 2)
        stalled = server.swarm.stall(0.5)
        (stuck,) = (stream for stream in server.swarm.streams.values() if stream.stuck)
        (other,) = (stream for stream in server.swarm.streams.values() if not stream.stuck)
        began = time.time()
        for n in (1, 2, 3):
            for peer in sorted(served, key=lambda peer: peer.user != stuck.user):
                peer.send(event(n, began))
            # What came to the stuck one before would have been read by now.
            until(lambda n=n: other.last_id == f"{n}-1")
        during = [stuck.last_id, server.swarm.behind({"news": (3, began)})]
        heard = sum(counted(server.swarm.tally)["latency"].values())
        woken = server.swarm.wake()
        until(lambda: stuck.last_id == "3-1")
        late = sum(counted(server.swarm.tally)["latency"].values()) - heard
        for peer in served:
            peer.send(event(4))
        until(lambda: stuck.last_id == other.last_id == "4-1")
        return {
            "stalled": stalled,
            "during": during,
            "heard": heard,
            "woken": woken,
            "late": late,
            "again": server.swarm.wake(),
            "behind": server.swarm.behind({"news": (4, time.time())}),
            "faults": faults(server.swarm, [began] * 3 + [time.time()]),
            "counted": counted(server.swarm.tally),
        }


def stall_until_full():
    """What a stuck client does not take stays with the server; an end is seen when it reads again."""
    with serving() as server:
        server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        stream, peer = one(server)
        peer.greet()
        until(lambda: stream.state == State.LIVE)
        assert server.swarm.stall(1.0) == 1
        peer.connection.setblocking(False)
        sent, whole = 0, chunk(event(1, size=8000)) * 2000
        try:
            while sent < len(whole):
                sent += peer.connection.send(whole[sent : sent + 65_536])
        except BlockingIOError:
            pass
        peer.close()
        state = stream.state.name
        server.swarm.wake()
        again = server.accept()
        again.greet()
        until(lambda: stream.state == State.LIVE)
        return {
            "sent": sent / len(whole),
            "state": state,
            "repeated": len(ear(server.swarm).repeated),
            "counted": counted(server.swarm.tally),
        }


def churn():
    """Clients go and others come, until there is enough of it."""
    with serving() as server:
        served = server.serve(Peer.greet)
        swarm = server.swarm
        swarm.add(3)
        until(lambda: swarm.behind({})["live"] == 3)
        swarm.churn(0.05)
        until(lambda: len(served) >= 12)
        swarm.churn(None)
        until(lambda: swarm.behind({})["live"] == 3 and not swarm.loop.due)
        first, count = swarm.range()
        records = swarm.checker.clients
        return {
            "range": [first, count],
            "served": len(served),
            "users": len({peer.user for peer in served}),
            "places": sum(peer.field("last-event-id") is not None for peer in served),
            "here": list(swarm.streams),
            "gone": sorted(
                int(name) for name, each in records.items() if each.ears["news"].until is not None
            ),
            "behind": swarm.behind({"news": (1, time.time())}),
            "before": swarm.behind({"news": (1, 0.0)})["behind"],
            "counted": counted(swarm.tally),
        }


def abuse(index, processes):
    """One address and one user come far too often; some get in."""
    with serving(index=index) as server:
        held = Counter()

        def answer(peer):
            kind = "user" if peer.user == "intruder" else "address"
            if peer.source != "127.99.99.99" and kind == "address":
                peer.greet()
            elif held[kind] < 2 - (kind == "user"):
                held[kind] += 1
                peer.greet()
                peer.send(event(1))
            else:
                peer.connection.sendall(HEAD.encode())
                # Whatever it is told, it does not wait so long.
                peer.send('event: edge-refused\nretry: 60000\ndata: {"error":"ip-limit"}\n\n')
                peer.end()

        served = server.serve(answer)
        swarm = server.swarm
        swarm.add(2)
        until(lambda: swarm.behind({})["live"] == 2)
        swarm.abuse(address=5, user=3, pause=0.05, processes=processes)
        expected = 5 * (index == 0) + 3 * (index == processes - 1)
        wanted = 2 * (index == 0) + (index == processes - 1)
        until(lambda: counted(swarm.abused)["attempts"] >= 3 * expected and swarm.abused.streams == wanted)
        until(lambda: counted(swarm.abused)["events"] == wanted)
        abused = counted(swarm.abused)
        retreat = swarm.retreat()
        intruders = [peer for peer in served if peer.user not in (f"u{swarm.first}", f"u{swarm.first + 1}")]
        user = [peer for peer in intruders if peer.user == "intruder"]
        address = [peer for peer in intruders if peer.user != "intruder"]
        return {
            "abused": abused,
            "after": counted(swarm.abused)["streams"],
            "retreat": retreat,
            "address": {
                "count": len({peer.user for peer in address}),
                "sources": sorted({peer.source for peer in address}),
            },
            "user": {
                "count": len({peer.source for peer in user}),
                "near": any(peer.source == "127.99.99.99" for peer in user),
            },
            "clients": list(swarm.checker.clients),
            "behind": swarm.behind({}),
            "counted": counted(swarm.tally),
        }


def numbers():
    """Which numbers and addresses the processes have."""
    with serving(index=0) as one, serving(index=3) as other:
        for server in (one, other):
            server.serve(Peer.greet)
            server.swarm.add(60)
            until(lambda server=server: server.swarm.behind({})["live"] == 60)
        return {
            "ranges": [one.swarm.range(), other.swarm.range()],
            "apart": NUMBERS,
            "sources": [
                sorted({server.swarm.target.source(number) for number in server.swarm.streams})
                for server in (one, other)
            ],
        }


def kept_open():
    """A closed swarm leaves no connection behind."""
    with serving() as server:
        served = server.serve(Peer.greet)
        server.swarm.add(3)
        until(lambda: server.swarm.behind({})["live"] == 3)
        server.swarm.close()
        for peer in served:
            peer.gone()
        return {"streams": len(server.swarm.streams), "failure": server.swarm.loop.failure is not None}


# TLS


def context(certificate, key):
    """A server's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def secured(certificate, key, host):
    """A stream over TLS, large events in it, and coming back."""
    with serving(tls=context(certificate, key), authority=certificate, host=host) as server:
        stream, peer = one(server)
        peer.greet()
        now = time.time()
        for n in (1, 2):
            peer.send(event(n, now, size=50_000))
        until(lambda: stream.last_id == "2-1")
        peer.send(*[event(n, now) for n in range(3, 203)])
        until(lambda: stream.last_id == "202-1")
        peer.close()
        again = server.accept()
        again.greet()
        until(lambda: stream.state == State.LIVE)
        server.swarm.stall(1.0)
        again.connection.sendall(chunk(event(203, now)))
        server.swarm.wake()
        until(lambda: stream.last_id == "203-1")
        return {
            "place": again.field("last-event-id"),
            "faults": faults(server.swarm, [now] * 203),
            "counted": counted(server.swarm.tally),
        }


def distrusted(certificate, key, authority, host):
    """A server whose certificate is nobody's that the client trusts, or another's."""
    streams.RETRY_MS = 20
    try:
        with serving(tls=context(certificate, key), authority=authority, host=host) as server:
            server.swarm.add(1)
            stream = server.swarm.streams[0]
            for _ in range(2):
                try:
                    server.accept()
                except (ssl.SSLError, OSError):
                    pass
                else:
                    raise AssertionError("the client has asked for something")
            until(lambda: sum(counted(server.swarm.tally)["errors"].values()) >= 2)
            return {"state": stream.state.name, "counted": counted(server.swarm.tally)}
    finally:
        streams.RETRY_MS = 3000


def plain():
    """A server that does not speak TLS."""
    streams.RETRY_MS = 20
    try:
        with serving() as server:
            secure = Server(tls=True)
            try:
                secure.swarm.target.addresses = [server.listener.getsockname()]
                secure.swarm.add(1)
                connection, _ = server.listener.accept()
                connection.recv(10)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()
                server.listener.accept()[0].close()
                until(lambda: sum(counted(secure.swarm.tally)["errors"].values()) >= 2)
                return counted(secure.swarm.tally)
            finally:
                secure.close()
    finally:
        streams.RETRY_MS = 3000


# What Locust is told


def rounding():
    """Milliseconds that are not rounded as Locust rounds them."""
    values = [*range(20_500), *range(20_500, 400_000, 37), 999_499, 999_500, 3_600_000]
    return {
        "checked": len(values),
        # Half a millisecond more, so that no float is just below.
        "wrong": [ms for ms in values if tallies.rounded((ms + 0.5) / 1000) != bucket_response_time(ms)],
        "table": [ms for ms, known in enumerate(tallies.ROUNDED) if known != bucket_response_time(ms)],
        "negative": [tallies.rounded(seconds) for seconds in (-0.0001, -0.5, -100.0)],
    }


def take(script):
    """What ``take`` gives; a step is [moment, what]: "event", "open" or "take"."""
    tally, stats, given = Tally(), RequestStats(), []
    for at, what in script:
        if what == "event":
            second = tally.second(at)
            second.events += 1
            second.latency[5] += 1
        elif what == "open":
            tally.streams += 1
        else:
            taken = tally.take(at)
            for second, one in taken.items():
                statistics.tell(stats, one, second)
            given.append([[second, one.events, one.streams] for second, one in taken.items()])
    entry = stats.get("event", statistics.KIND)
    return {"given": given, "kept": sorted(tally.seconds), "told": entry.num_requests}


def tell(latencies, counts):
    """Seconds that Locust is told of as a whole, beside what it says when told of each thing by itself.

    ``latencies`` are milliseconds by second, ``counts`` [kind, code, number] by second.
    """
    tally, told, single = Tally(), RequestStats(), RequestStats()
    kind = statistics.KIND
    for at, values in enumerate(latencies, 1_000_000):
        for ms in values:
            tally.second(at).latency[tallies.rounded((ms + 0.5) / 1000)] += 1
            single.log_request(kind, "event", tallies.rounded((ms + 0.5) / 1000), 0)
    for at, rows in enumerate(counts, 1_000_000):
        for what, code, number in rows:
            getattr(tally.second(at), what)[code] += number
            for _ in range(number):
                single.log_request(kind, f"{what.removesuffix('s')} {code}", None, 0)
                if what == "errors":
                    single.log_error(kind, f"error {code}", code)
    for at in sorted(tally.seconds):
        statistics.tell(told, tally.seconds[at], at)

    def said(stats):
        entries = {
            f"{method} {name}": entry
            for (name, method), entry in sorted(stats.entries.items())
            if entry.num_requests
        }
        return {
            "entries": {
                name: {
                    "requests": entry.num_requests,
                    "none": entry.num_none_requests,
                    "failures": entry.num_failures,
                    "median": entry.median_response_time,
                    "mean": entry.avg_response_time,
                    "least": entry.min_response_time,
                    "most": entry.max_response_time,
                    "percentiles": [entry.get_response_time_percentile(part) for part in (0.5, 0.9, 0.99, 1)],
                    "ratio": entry.fail_ratio,
                }
                for name, entry in {**entries, "all": stats.total}.items()
            },
            "errors": {
                key: [each.method, each.name, each.error, each.occurrences]
                for key, each in sorted(stats.errors.items())
            },
        }

    entry = told.get("event", kind)
    per_second = {at: number for at, number in sorted(entry.num_reqs_per_sec.items()) if number}
    shown = [each.to_dict()["occurrences"] for each in told.errors.values()]
    return {"told": said(told), "single": said(single), "per_second": per_second, "shown": shown}


def percentiles(histogram, part):
    """A percentile, the spread, and both of the histogram in two parts put together."""
    whole = {int(ms): count for ms, count in histogram.items()}
    pieces = [Second(latency=Counter({ms: count // 2 for ms, count in whole.items()}))]
    pieces.append(Second(latency=Counter({ms: count - count // 2 for ms, count in whole.items()})))
    return {
        "percentile": tallies.percentile(whole, part),
        "spread": tallies.spread(whole),
        "together": dict(tallies.together(pieces).latency) == whole,
    }


def add():
    """The same second, seen by two processes."""
    one, other = Second(), Second()
    for second, times in ((one, 1), (other, 2)):
        for name in ("attempts", "reconnects", "opened", "events", "streams"):
            setattr(second, name, 10 * times)
        second.latency[5] += times
        second.latency[5 + times] += 1
        second.endings["cut"] += times
        second.refusals[f"status {times}"] += 1
    before = json.dumps(other.to_dict())
    one.add(other.to_dict())
    return {"both": one.to_dict(), "untouched": json.dumps(other.to_dict()) == before}


# Targets


def target(url):
    """What a target makes of a URL, or why it makes nothing."""
    try:
        made = Target(url.split(","), SECRET)
    except TargetError as error:
        return {"error": str(error)}
    line, *fields = made.request(1, "u1", "5-1").decode().split("\r\n")
    return {
        "addresses": made.addresses,
        "tls": made.context is not None,
        "here": made.here,
        "line": line,
        "host": [field for field in fields if field.startswith("Host")],
        "place": [field for field in fields if field.startswith("Last")],
        "turns": [made.address(number)[1] for number in range(4)],
    }


# The process


def patched():
    """Whether this process is what Locust makes of one."""
    return {
        "gevent": socket.socket is not gevent.monkey.get_original("socket", "socket"),
        "by": locust.__name__,
    }


def play(case, args, options):
    """What a case found, or how it failed."""
    try:
        with gevent.Timeout(20):
            return {"found": globals()[case](*args, **options)}
    except (Exception, gevent.Timeout):  # noqa: BLE001 - the test is told
        return {"error": traceback.format_exc()}


def main():
    """One case, or those that lines name."""
    if len(sys.argv) > 1:
        print(json.dumps(play(sys.argv[1], [json.loads(each) for each in sys.argv[2:]], {}), indent=1))
        return
    for line in sys.stdin:
        print(json.dumps(play(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
