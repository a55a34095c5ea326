"""Streams over TLS, and what is none."""

import ssl
import time

from loadtest.client import stream as streams
from loadtest.client.stream import State

from .played import Server, chunk, counted, event, faults, one, serving, until


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
