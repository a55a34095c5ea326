"""Clients that mean harm, over real sockets: what each does to a front, and what it expects to come of it.

An attack is ``await attack(front, count)``.  It returns when all of its connections are gone, and fails
only where the server should have ended them and did not.
"""

import asyncio
import contextlib
import itertools
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from .sse import ResponseReader

PATIENCE = 20
"""Seconds within which a server must have ended what it should."""

TOGETHER = 50
"""Connections that are open at the same time, where that is not the point."""

numbers = itertools.count()


@dataclass(frozen=True)
class Front:
    """A place where clients connect: a worker itself, or a proxy before it, which speaks TLS.

    ``address`` is where attacks come from.  ``cookie(user)`` is a session of the worker's, ``slow()`` how
    many of its streams have ended as slow, and ``publish(channel, data)`` publishes; of events of
    ``piece`` bytes too many soon wait for a client.  ``authority`` is the proxy's, None for the worker
    itself.  Whoever says more on an open stream is let go of at once, if ``hears``.  A connection that
    sends no whole head within ``head_seconds`` is closed.
    """

    port: int
    address: str
    cookie: Callable
    slow: Callable
    publish: Callable
    piece: int
    authority: Path | None
    hears: bool
    head_seconds: float = 10

    @property
    def url(self):
        return f"{'https' if self.authority else 'http'}://localhost:{self.port}"

    @cached_property
    def ssl(self):
        """What trusts the proxy; None where there is none."""
        return self.authority and ssl.create_default_context(cafile=self.authority)

    @cached_property
    def h2(self):
        """The same, for HTTP/2."""
        context = ssl.create_default_context(cafile=self.authority)
        context.set_alpn_protocols(["h2"])
        return context

    def head(self, path="/", *, method="GET", extra=b""):
        """A request of a user of its own."""
        user = f"abuser{next(numbers) % 100}"
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: localhost:{self.port}",
            "Accept: text/event-stream",
            f"Cookie: session={self.cookie(user)}",
            "",
        ]
        return "\r\n".join(lines).encode() + extra + b"\r\n"

    def plain(self, receive_buffer=None):
        """A socket, not connected, that will come from the attacker's address."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((self.address, 0))
        return sock

    async def connect(self, receive_buffer=None, *, h2=False):
        """A connection, through TLS where the front has it."""
        sock = self.plain(receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            options = {}
            if self.ssl is not None:
                options = {
                    "ssl": self.h2 if h2 else self.ssl,
                    "server_hostname": "localhost",
                    "ssl_shutdown_timeout": 0.05,
                }
            reader, writer = await asyncio.open_connection(sock=sock, limit=1_000_000, **options)
        except BaseException:
            sock.close()
            raise
        return Connection(reader, writer)


class Connection:
    """One connection of an attacker."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.raw = writer.get_extra_info("socket")
        """The TCP socket below, also where TLS is spoken over it."""

    async def send(self, data):
        """Send it, or find that the other side is gone."""
        with contextlib.suppress(OSError):
            self.writer.write(data)
            await self.writer.drain()

    async def until(self, end):
        """Read up to and including ``end``."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def rest(self, timeout=PATIENCE):
        """Read until the other side ends the connection, by whatever means; TimeoutError if it does not."""
        found = b""
        async with asyncio.timeout(timeout):
            with contextlib.suppress(OSError):
                while data := await self.reader.read(65536):
                    found += data
        return found

    def close(self):
        """Close it in good order."""
        self.writer.close()

    def reset(self):
        """Leave without a goodbye."""
        with contextlib.suppress(OSError):
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def connections(front, count, **options):
    """So many at once, all of them gone in the end."""
    opened = []
    try:
        for _ in range(count):
            opened.append(await front.connect(**options))
        yield opened
    finally:
        for one in opened:
            one.reset()
        for one in opened:
            with contextlib.suppress(OSError):
                await one.writer.wait_closed()


async def streams(front, opened, path):
    """Let each of them have a stream that has begun."""
    for one in opened:
        await one.send(front.head(path))
    for one in opened:
        await one.until(b"retry: ")
        await one.until(b"\n\n")


async def connects_and_closes(front, count):
    """Connections on which nothing is ever said, closed in good order or not."""
    loop = asyncio.get_running_loop()

    async def some(share):
        for number in range(share):
            with front.plain() as sock:
                await loop.sock_connect(sock, ("127.0.0.1", front.port))
                if number % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await asyncio.gather(*(some(count // TOGETHER) for _ in range(TOGETHER)))


async def asks_and_leaves(front, count):
    """Streams that are asked for and left at once: before the answer, or within its first bytes."""

    async def some(share):
        for number in range(share):
            async with connections(front, 1) as (one,):
                await one.send(front.head("/events/attacked"))
                if number % 2:
                    with contextlib.suppress(OSError):
                        await asyncio.wait_for(one.reader.read(1), PATIENCE)

    await asyncio.gather(*(some(count // 10) for _ in range(10)))


async def asks_for_nothing(front, count):
    """HEAD, OPTIONS and refused requests one after the other, each of which is answered."""
    asked = [
        front.head("/events/attacked", method="HEAD"),
        front.head("/events/attacked", method="OPTIONS", extra=b"Origin: http://localhost\r\n"),
        front.head("/events/attacked", method="DELETE"),
        front.head("/events/", method="HEAD"),
    ]

    async def some(share):
        async with connections(front, 1) as (one,):
            for number in range(share):
                method = "HEAD" if number % 4 in (0, 3) else "GET"
                await one.send(asked[number % 4])
                answer = ResponseReader(method)
                while not answer.complete:
                    async with asyncio.timeout(PATIENCE):
                        data = await one.reader.read(65536)
                    assert data, f"the connection ended before an answer: {answer.status}"
                    answer.feed(data)

    await asyncio.gather(*(some(count // 10) for _ in range(10)))


async def says_more(front, count):
    """A second request behind the one of an open stream.

    Where it is not heard (by a proxy, or a server that keeps it for later) the stream goes on until its
    client leaves.
    """
    async with connections(front, count) as opened:
        await streams(front, opened, "/events/attacked")
        for one in opened:
            await one.send(front.head("/events/attacked"))
        for one in opened:
            if front.hears:
                await one.rest()
        if not front.hears:
            id = await front.publish("attacked", "x")
            for one in opened:
                await one.until(id.encode())


async def closes_its_side(front, count):
    """The client sends its FIN and goes on reading: it has left, and is told so by the connection's end."""
    async with connections(front, count) as opened:
        await streams(front, opened, "/events/attacked")
        for one in opened:
            one.raw.shutdown(socket.SHUT_WR)
        for one in opened:
            await one.rest()


async def reads_nothing(front, count):
    """Streams that are not read, or of which a byte is read now and then, until all have ended as slow."""
    already = await front.slow()
    async with connections(front, count, receive_buffer=4096) as opened:
        await streams(front, opened, "/events/heavy")
        for one in opened:
            one.writer.transport.pause_reading()
        sips = [asyncio.create_task(_sip(one.raw)) for one in opened[::2]]
        try:
            async with asyncio.timeout(2 * PATIENCE):
                while await front.slow() < already + count:
                    for _ in range(10):
                        await front.publish("heavy", "x" * front.piece)
                        await asyncio.sleep(0.02)
        finally:
            for sip in sips:
                sip.cancel()
            await asyncio.wait(sips)
        for one in opened if front.authority is None else []:
            one.writer.transport.resume_reading()
            await one.rest()  # what is left for those who read again is the end


async def _sip(raw):
    """A byte a second.  Where TLS is spoken nobody will understand the rest."""
    with socket.socket(fileno=os.dup(raw.fileno())) as copy, contextlib.suppress(OSError):
        copy.setblocking(False)
        while await asyncio.get_running_loop().sock_recv(copy, 1):
            await asyncio.sleep(1)


async def never_sends(front, count):
    """Connections that send nothing, stop before or after TLS, or send a head a byte a second."""
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    async with connections(front, count) as opened:
        silent = [front.plain() for _ in range(count)]
        drips = [asyncio.create_task(_drip(one, front.head())) for one in opened[::2]]
        try:
            for sock in silent:
                await loop.sock_connect(sock, ("127.0.0.1", front.port))
            for one in opened:
                await one.rest(front.head_seconds + PATIENCE)
            for sock in silent:
                async with asyncio.timeout(PATIENCE):
                    with contextlib.suppress(OSError):
                        while await loop.sock_recv(sock, 65536):
                            pass
        finally:
            for sock in silent:
                sock.close()
            for drip in drips:
                drip.cancel()
            await asyncio.wait(drips)
    assert time.monotonic() - began < front.head_seconds + PATIENCE / 2, "they were kept for too long"


async def _drip(one, data):
    for byte in data:
        await one.send(bytes([byte]))
        await asyncio.sleep(1)


async def floods_heads(front, count):
    """Heads that do not end: they are refused, or cut off, after little of them was taken."""
    line = b"x-flood: " + b"x" * 1000 + b"\r\n"
    floods = [
        front.head()[:-2] + line * 3000,
        front.head()[:-2] + b"x-flood: " + b"x" * 3_000_000,
        # As much as servers written in Go let through, unless they are told otherwise.
        front.head(extra=b"Cookie: a=" + b"x;" * 450_000 + b"\r\n"),
        front.head("/events/attacked?" + "a=b&" * 300_000),
    ]
    for number in range(count):
        flood = floods[number % len(floods)]
        async with connections(front, 1) as (one,):
            await _refused(one, flood)


async def _refused(one, data):
    """Send it and be told that it will not do, or find the connection closed: a reset may overtake that."""
    sending = asyncio.create_task(one.send(data))
    found = b""
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            found = await one.until(b"\r\n\r\n")
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    status = re.match(rb"HTTP/1.1 (\d+)", found)
    assert status is None or status[1] in (b"400", b"405", b"413", b"414", b"431"), found[:200]


async def sends_bodies(front, count):
    """Requests for streams with a body, which has no end or is far too large, however it is announced."""
    heads = [
        front.head("/events/attacked", extra=b"Content-Length: 100000000\r\n"),
        front.head("/events/attacked", extra=b"Transfer-Encoding: chunked\r\n"),
        front.head("/events/attacked", method="POST", extra=b"Content-Length: 100000000\r\n"),
        front.head("/events/attacked", method="NONSENSE", extra=b"Content-Length: 100000000\r\n"),
    ]
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    async def some(share):
        for number in range(share):
            async with connections(front, 1) as (one,):
                await _refused(one, heads[number % 4] + 80 * piece)

    await asyncio.gather(*(some(count // 4) for _ in range(4)))


async def resets_rapidly(front, count):
    """HTTP/2 streams that are asked for and reset in the same breath (CVE-2023-44487)."""
    left = count
    while left > 0:
        async with connections(front, 1, h2=True) as (one,):
            left -= await _reset_streams(front, one, min(left, 200))


async def _reset_streams(front, one, count):
    """Reset so many streams of one connection, or as many as it lasts; how many that were."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    head = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", f"localhost:{front.port}"),
        (":path", "/events/attacked"),
        ("accept", "text/event-stream"),
        ("cookie", f"session={front.cookie('abuser')}"),
    ]
    done = 0
    try:
        for done in range(1, count + 1):
            stream = client.get_next_available_stream_id()
            client.send_headers(stream, head, end_stream=True)
            client.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            if done % 10 == 0:
                one.writer.write(client.data_to_send())
                await one.writer.drain()
        # All of it was taken, or the connection is over: this asks, and the answer comes after the rest.
        client.ping(b"all done")
        one.writer.write(client.data_to_send())
        async with asyncio.timeout(PATIENCE):
            while data := await one.reader.read(65536):
                for event in client.receive_data(data):
                    if isinstance(event, (h2.events.PingAckReceived, h2.events.ConnectionTerminated)):
                        return done
    except (OSError, h2.exceptions.ProtocolError):
        pass  # it was thrown out, which is well
    return done
