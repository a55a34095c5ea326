"""Thousands of clients in one process, each as patient as a browser: no task and no queue per stream.

Like an EventSource a client waits what ``retry:`` told it, comes back with its Last-Event-ID, and gives
up for good on any status but 200.  What it gets goes into a ``Checker``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from .checker import Checker, read_payload

Address = tuple[str, int]

RETRY_MS = 3000
"""What browsers wait that were told nothing."""


class Block(NamedTuple):
    """What stands between two blank lines of an event stream; None: no such line."""

    event: str
    data: str | None
    id: str | None
    retry_ms: int | None


@lru_cache(maxsize=4096)
def read_block(raw: bytes) -> Block:
    """Read a block; one that many clients get is read once."""
    event, id, retry_ms = "message", None, None
    data: list[str] = []
    for line in raw.decode().split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            id = value
        elif field == "retry":
            retry_ms = int(value)
    return Block(event, "\n".join(data) if data else None, id, retry_ms)


class Crowd:
    """Clients, and what happened to them.

    ``choose`` says where the next connection goes, as a balancer does.  ``connects`` are the moments of
    the attempts (``time.monotonic()``, which all processes of a machine share); ``seen`` counts what
    ended or refused streams.
    """

    def __init__(self, checker: Checker, choose: Callable[[], Address]) -> None:
        self.checker = checker
        self.choose = choose
        self.clients: list[Client] = []
        self.connects = array("d")
        self.seen: Counter[str] = Counter()
        self.over = False

    def add(
        self,
        name: str,
        path: str,
        channels: Sequence[str],
        *,
        cookie: str = "",
        source: str = "127.0.0.1",
    ) -> Client:
        """One more client, which hears ``channels`` at ``path``; not connected yet."""
        client = Client(self, name, path, channels, cookie, source)
        self.clients.append(client)
        return client

    async def open(self, *, at_once: int = 100, seconds: float = 120.0) -> None:
        """Connect all, so many at a time, until each knows its place in the stream."""
        async with asyncio.timeout(seconds):
            waiting: set[Client] = set()
            for client in self.clients:
                client.connect()
                waiting.add(client)
                while len(waiting) >= at_once:
                    await asyncio.sleep(0.005)
                    waiting = {one for one in waiting if not one.last_id}
            while not all(client.last_id for client in self.clients):  # noqa: ASYNC110 - thousands of them
                await asyncio.sleep(0.01)

    def streaming(self, address: Address | None = None) -> int:
        """How many have an open stream, at this address or any."""
        return sum(client.streaming and address in (None, client.connections[-1]) for client in self.clients)

    @property
    def given_up(self) -> int:
        """How many will not come back."""
        return sum(client.given_up for client in self.clients)

    def behind(self, newest: Mapping[str, int]) -> int:
        """How many lack the event numbered so on one of their channels."""
        ears = (client.record.ears for client in self.clients)
        return sum(any(ear.high < newest.get(name, 0) for name, ear in own.items()) for own in ears)

    def close(self) -> None:
        """End every connection."""
        self.over = True
        for client in self.clients:
            client.close()


class Client(asyncio.Protocol):
    """One client over all of its connections."""

    __slots__ = (
        "_address",
        "_body",
        "_buffer",
        "_left",
        "_request",
        "_retry_ms",
        "_source",
        "_task",
        "_timer",
        "_transport",
        "channels",
        "complete",
        "connections",
        "crowd",
        "given_up",
        "last_id",
        "record",
        "streaming",
    )

    def __init__(
        self, crowd: Crowd, name: str, path: str, channels: Sequence[str], cookie: str, source: str
    ) -> None:
        self.crowd = crowd
        self.channels = channels
        self.record = crowd.checker.client(name)
        self.last_id = ""
        self.connections: list[Address] = []
        self.streaming = self.complete = self.given_up = False
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        if cookie:
            self._request += f"Cookie: {cookie}\r\n"
        self._source = source
        self._retry_ms = RETRY_MS
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = b""
        self._body = b""
        self._left: int | None = None

    def connect(self) -> None:
        """Begin the next connection."""
        self._timer = None
        self._address = self.crowd.choose()
        self.crowd.connects.append(time.monotonic())
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.bind((self._source, 0))
            await loop.sock_connect(sock, self._address)
            await loop.create_connection(lambda: self, sock=sock)
        except OSError as error:
            sock.close()
            self.crowd.seen[f"connect: {type(error).__name__}"] += 1
            self._come_back()
        except asyncio.CancelledError:
            sock.close()
            raise

    def close(self) -> None:
        """Leave, and stay away."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        elif self._task is not None:
            self._task.cancel()

    def _come_back(self) -> None:
        if not (self.crowd.over or self.given_up):
            self._timer = asyncio.get_running_loop().call_later(self._retry_ms / 1000, self.connect)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = self._body = b""
        self._left = None
        self.complete = False
        self.connections.append(self._address)
        place = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        transport.write(f"{self._request}{place}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._buffer += data
        if not self.streaming and not self._read_head():
            return
        self._read_chunks()
        *blocks, self._body = self._body.split(b"\n\n")
        for raw in blocks:
            self._take(read_block(raw))
        if self.complete and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if not self.complete and not self.crowd.over:
            self.crowd.seen["cut"] += 1
        if self._body:
            self.crowd.seen["cut inside an event"] += 1
        self._transport = None
        self.streaming = False
        self.record.reconnected()
        self._come_back()

    # HTTP

    def _read_head(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        lines = head.decode("latin-1").lower().split("\r\n")
        status = lines[0].split()[1]
        if status != "200":
            self.given_up = self.complete = True
            self.crowd.seen[f"status {status}"] += 1
            self._buffer = b""
            return True
        self._buffer = rest
        self.streaming = True
        if "transfer-encoding: chunked" not in lines:  # a refusal: whole, and not streamed
            self._left = int(next(line for line in lines if line.startswith("content-length")).split()[1])
        return True

    def _read_chunks(self) -> None:
        while not self.complete and self._buffer:
            if self._left is not None:
                self._body, self._buffer = self._body + self._buffer, b""
                self.complete = len(self._body) >= self._left
                return
            size, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            length = int(size, 16)
            if len(rest) < length + 2:
                return
            self._body += rest[:length]
            self._buffer = rest[length + 2 :]
            self.complete = length == 0

    # Events

    def _take(self, block: Block) -> None:
        if block.retry_ms is not None:
            self._retry_ms = block.retry_ms
        if block.id:
            if not self.last_id:
                now = time.monotonic()
                for channel in self.channels:
                    self.record.listen(channel, since=now)
            self.last_id = block.id
        if block.data is None:
            return
        if block.event == "message":
            channel, n, _ = read_payload(block.data)
            self.record.event(channel, n, self.last_id)
            return
        told = json.loads(block.data)
        if block.event == "edge-reset":
            self.record.reset(told["channel"], told["reason"], time.monotonic())
        else:
            self.crowd.seen[f"{block.event} {told.get('reason') or told.get('error')}"] += 1
