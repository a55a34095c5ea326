"""One stream: what it asks for, how it ends, and how it comes back."""

import contextlib
import socket
import time

import gevent

from loadtest.client import stream as streams
from loadtest.client.stream import State

from .played import HEAD, RETRY_MS, Peer, counted, ear, event, faults, one, serving, until


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
