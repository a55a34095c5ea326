"""Who is compared: how each is started, asked for a stream, and given an event to deliver.

All get the same request heads, and all put about ``WIRE`` bytes on the wire for an event of ``text``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from redis.asyncio import Redis

from sse_edge import Publisher

from ..client.counting import Streams
from ..client.reader import Reader
from ..measure.process import cpu_seconds, open_files, rss, settled
from ..site import nchan, programs
from ..site.apps import requests
from .apps import CHANNEL
from .content import Content, text

RATE = 1500.0
"""Streams opened per second."""

PUBLISHED_AT_ONCE = 200
"""Events to personal channels in one round trip."""

LEAVING = 30.0
"""Seconds for a server to let go of streams that are closed."""

PRIME = 7919
"""More than there are streams in a row that would be near each other."""


class Ground(Protocol):
    """Where contenders meet: what all of them share."""

    url: str
    """Redis."""
    runner: asyncio.Runner
    """Where they publish."""

    def users(self) -> int:
        """The number of the first of many users that nobody had before."""


class Contender:
    """A server under test, whose process ``pid`` delivers, with the streams that a reader holds on it.

    ``ready`` is what a stream has sent once it is live, ``overhead`` how many bytes of an event on the wire
    are not its data, and ``headers`` what clients ask with besides.
    """

    ready = b": open"
    overhead = 14
    headers: tuple[str, ...] = ()

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """The server on this port, until the end of the block; the id of the process that delivers.

        ``settings`` are environment variables, of which it takes those that it knows.
        """
        raise NotImplementedError
        yield 0

    def __init__(self, port: int, pid: int, reader: Reader, arena: Ground) -> None:
        self.port = port
        self.pid = pid
        self.reader = reader
        self.arena = arena
        self.content: Content = text
        # Streams of a server that was killed still count for their users.
        self.users = arena.users()
        self._number = 0

    def paths(self, first: int, count: int) -> list[str]:
        """What the next streams ask for, of which there are ``first`` already."""
        return ["/events/rooms/bench"] * count

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        return cpu_seconds(self.pid)

    def held(self) -> int:
        """Bytes that the server holds, when that does not change any more and garbage is collected."""
        self.collect()
        return settled(lambda: rss(self.pid), 40)

    def grow(self, streams: int, rate: float = RATE) -> None:
        """Open streams until there are so many."""
        first = self.reader.streams
        asked = requests(self.paths(first, streams - first), self.users + first, self.headers)
        self.reader.open(self.port, asked, self.ready, rate)

    def visit(self, asked: Sequence[bytes], at_once: int, rate: float) -> None:
        """A stream for each of these requests that leaves when it is live; see ``Streams.visit``."""
        self.reader.ask(Streams.visit, self.port, asked, self.ready, at_once, rate)

    def renew(self, streams: int) -> None:
        """So many that were never sent an event; those that were are closed."""
        self.leave()
        self.collect()
        self.grow(streams)

    def leave(self) -> None:
        """Close all streams, and wait until the server has let go of them."""
        streams = self.reader.streams
        files = open_files(self.pid)
        self.reader.drop(streams)
        deadline = time.monotonic() + LEAVING
        while open_files(self.pid) > files - streams:
            if time.monotonic() > deadline:
                raise RuntimeError("the server keeps streams whose clients are gone")
            time.sleep(0.02)

    def resume(self, streams: int, missed: int) -> float:
        """Seconds until so many clients, which come all at once, have what they missed.

        There is no stream before.
        """
        place = self.miss(missed)
        headers = [*self.headers, f"Last-Event-ID: {place}"]
        asked = requests(self.paths(0, streams), self.users, headers)
        return self.reader.herd(self.port, asked, missed)

    def data(self) -> str:
        """The next event's data."""
        self._number += 1
        return self.content(self._number, self.overhead)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """Publish an event at each of these seconds from now; the moments when each was handed over.

        Returns when all are confirmed.
        """
        raise NotImplementedError

    def publish_each(self, pace: Sequence[float]) -> list[float]:
        """The same, each to one stream alone."""
        raise NotImplementedError

    def miss(self, events: int) -> str:
        """Publish events that nobody hears; the Last-Event-ID of the moment before."""
        raise NotImplementedError

    def collect(self) -> None:
        """Have the server let go of what it does not need."""

    def end(self) -> None:
        """Close what this object opened; the server is ended by whoever started it."""


class Poster(Contender):
    """Takes events as bodies of POST requests, one after the other on one connection."""

    def __init__(self, port: int, pid: int, reader: Reader, arena: Ground) -> None:
        super().__init__(port, pid, reader, arena)
        self.connect(port)

    def connect(self, port: int) -> None:
        """Publish there."""
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``; does not wait for one answer before the next request."""
        return self._post(("/publish" for _ in pace), pace)

    def request(self, path: str, data: str) -> bytes:
        """What publishes this."""
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n{data}".encode()
        )

    def _post(self, paths: Iterable[str], pace: Sequence[float]) -> list[float]:
        began, moments = time.monotonic(), []
        for path, due in zip(paths, pace, strict=True):
            request = self.request(path, self.data())
            time.sleep(max(0.0, began + due - time.monotonic()))
            moments.append(time.monotonic())
            self.connection.sendall(request)
        confirmed(self.connection, len(moments))
        return moments

    def end(self) -> None:
        """See ``Contender.end``."""
        self.connection.close()


def confirmed(connection: socket.socket, requests: int) -> None:
    """Read the answers to so many requests; RuntimeError if one says no."""
    with connection.makefile("rb") as answers:
        for _ in range(requests):
            status = answers.readline().split()[1]
            length = 0
            while (line := answers.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            answers.read(length)
            if not status.startswith(b"2"):
                raise RuntimeError(f"publishing was answered with {status!r}")


class Floor(Poster):
    """A loop of ``send()``: ``floor.c``, which is compiled for it."""

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``."""
        with tempfile.TemporaryDirectory() as directory:
            program, source = f"{directory}/floor", str(Path(__file__).with_name("floor.c"))
            command = ["cc", "-O2", "-o", program, source]
            if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own
                raise RuntimeError("floor.c could not be compiled")
            with programs.running([program, str(port)], port) as running:
                yield running.pid

    def publish_each(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish_each``; whose turn it is."""
        return self._post(("/one" for _ in pace), pace)

    def miss(self, events: int) -> str:
        """See ``Contender.miss``; it has no ids, and is told how many."""
        self.publish([0.0] * events)
        return str(events)


class Nchan(Poster):
    """nginx with the nchan module: one worker process."""

    ready = b": hi"
    overhead = 25

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``."""
        with nchan.running(port) as worker:
            yield worker

    def miss(self, events: int) -> str:
        """See ``Contender.miss``; nchan tells a place in an event only."""
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.settimeout(10)
            client.sendall(requests(self.paths(0, 1))[0])
            said = b""
            while self.ready not in said:
                said += client.recv(65536)
            self.publish([0.0])
            while (found := re.search(rb"\nid: (\S+)\n", said)) is None:
                said += client.recv(65536)
        self.publish([0.0] * events)
        return found[1].decode()


class PersonalNchan(Nchan):
    """nchan where every stream hears a channel of its own."""

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return [f"/events/own/u{number}" for number in range(first, first + count)]

    def publish(self, pace: Sequence[float]) -> list[float]:
        """An event to every stream, in batches, at each of these seconds."""
        began, moments = time.monotonic(), []
        for due in pace:
            time.sleep(max(0.0, began + due - time.monotonic()))
            moments.append(time.monotonic())
            numbers = range(self.reader.streams)
            for first in range(0, len(numbers), PUBLISHED_AT_ONCE):
                batch = numbers[first : first + PUBLISHED_AT_ONCE]
                self._post((f"/publish/u{number}" for number in batch), [0.0] * len(batch))
        return moments

    def publish_each(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish_each``."""
        return self._post((f"/publish/u{number}" for number in some(self.reader.streams, pace)), pace)


class App(Contender):
    """An app in one plain uvicorn process, which ``factory`` in ``apps`` makes: uvloop, httptools."""

    factory: ClassVar[str]

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``; ``settings`` are what ``site.apps`` tells of, and the edge's own."""
        with programs.running(uvicorn_command(cls.factory, port), port, **settings) as running:
            yield running.pid

    def ask(self, path: str) -> dict[str, Any]:
        """What the app says at a path of the benchmark's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", f"/bench/{path}")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def collect(self) -> None:
        """See ``Contender.collect``."""
        self.ask("collect")


class Bare(App):
    """An app that only streams."""

    factory = "bare_app"
    ready = b"\nid: "


class Starlette(App):
    """sse-starlette, with a plain Redis PUBLISH."""

    factory = "starlette_app"
    overhead = 16

    def __init__(self, port: int, pid: int, reader: Reader, arena: Ground) -> None:
        super().__init__(port, pid, reader, arena)
        self._redis = Redis.from_url(arena.url)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``."""
        return self.arena.runner.run(paced(pace, lambda: self._redis.publish(CHANNEL, self.data())))

    def end(self) -> None:
        """See ``Contender.end``."""
        self.arena.runner.run(self._redis.aclose())


class Edge(App):
    """The edge on Redis: with history, ids and leases, as it comes."""

    factory = "edge_app"
    ready = b"\nid: "
    overhead = 40
    task = False
    """Whether its streams are to be written through a task."""

    def __init__(self, port: int, pid: int, reader: Reader, arena: Ground) -> None:
        super().__init__(port, pid, reader, arena)
        self.events = Publisher(arena.url)
        # The edges of one run share a Redis, and each has a channel of its own.
        self.room = str(self.port)

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return [f"/events/rooms/{self.room}"] * count

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``."""
        channel = f"room:{self.room}"
        return self.arena.runner.run(paced(pace, lambda: self.events.publish(channel, self.data())))

    def end(self) -> None:
        """See ``Contender.end``."""
        self.arena.runner.run(self.events.aclose())

    def miss(self, events: int) -> str:
        """See ``Contender.miss``."""
        place = self.arena.runner.run(self.events.cursor())
        self.publish([0.0] * events)
        return place

    def check_sink(self) -> str:
        """What its streams are written through; RuntimeError unless all are alike, and as they should."""
        found = self.ask("sinks")
        kind = next(iter(found), "")
        if found != {kind: self.reader.streams} or (kind == "TaskSink") != self.task:
            wanted = "TaskSink" if self.task else "sink that is none"
            raise RuntimeError(f"{self.reader.streams} streams should have a {wanted} each: {found}")
        return kind


class TaskEdge(Edge):
    """The edge behind a middleware that wraps ``send``."""

    factory = "task_app"
    task = True


class GzipEdge(Edge):
    """The edge with clients that take gzip."""

    headers = ("Accept-Encoding: gzip",)


class PersonalEdge(Edge):
    """The edge where every stream hears a channel of its own, its user's."""

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return ["/events/me"] * count

    def publish(self, pace: Sequence[float]) -> list[float]:
        """An event to every stream, in batches, at each of these seconds."""
        return self.arena.runner.run(paced(pace, self._publish_all))

    async def _publish_all(self) -> None:
        data = self.data()
        users = range(self.users, self.users + self.reader.streams)
        everybody = [(f"user:u{user}", data) for user in users]
        for first in range(0, len(everybody), PUBLISHED_AT_ONCE):
            await self.events.publish_many(everybody[first : first + PUBLISHED_AT_ONCE])

    def publish_each(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish_each``."""
        numbers = iter(some(self.reader.streams, pace))
        return self.arena.runner.run(
            paced(pace, lambda: self.events.publish(f"user:u{self.users + next(numbers)}", self.data()))
        )


def some(streams: int, pace: Sequence[float]) -> list[int]:
    """A stream for each of these moments, from here and there among all."""
    return [number * PRIME % streams for number in range(len(pace))]


async def paced(pace: Sequence[float], publish: Callable[[], Awaitable[Any]]) -> list[float]:
    """Publish at each of these seconds from now, one after the other; the moments."""
    began, moments = time.monotonic(), []
    for due in pace:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        moments.append(time.monotonic())
        await publish()
    return moments


def uvicorn_command(factory: str, port: int) -> list[str]:
    """One plain process, without logs of requests."""
    app = [f"{__package__}.apps:{factory}", "--factory", "--interface", "asgi3"]
    kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *app, *kind, "--host", "127.0.0.1", "--port", str(port)]
