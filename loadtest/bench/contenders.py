"""Who is compared: how each is started, asked for a stream, and given an event to deliver.

All get the same request heads, and all put about ``WIRE`` bytes on the wire for an event of ``text``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, ClassVar

from redis.asyncio import Redis

from sse_edge import Publisher

from ..client.reader import Reader, reading
from ..measure import machine
from ..measure.process import children, cpu_seconds, open_files, rss, settled
from ..site import programs
from ..site.apps import requests
from .apps import CHANNEL
from .content import Content, text

HERE = Path(__file__).parent

PUBLISHED_AT_ONCE = 200  # events to personal channels in one round trip
STARTING = 20.0  # seconds for a server to have all its processes
LEAVING = 30.0  # seconds for a server to let go of streams that are closed
PRIME = 7919  # more than there are streams in a row that would be near each other
USERS = 1_000_000  # of each contender: more than it has streams


class Contender:
    """A server under test, with the streams that a reader holds on it.

    ``path`` is what a stream asks for, by its number and the port, ``ready`` what it has been sent once it is
    live, ``overhead`` how many bytes of an event on the wire are not its data, ``headers`` what clients ask
    with besides, and ``rate`` how many streams are opened per second.  ``forks`` if the process that is
    started starts others, which only it can end.
    """

    path = "/events/rooms/bench"
    ready = b": open"
    overhead = 14
    headers: tuple[str, ...] = ()
    rate = 1500.0
    forks = False

    def __init__(self, arena: Arena, reader: Reader) -> None:
        self.arena = arena
        self.reader = reader
        self.port = programs.free_port()
        self.pids: list[int] = []
        """The processes that deliver."""
        self.content: Content = text
        # Streams of a server that was killed still count for their users.
        self.users = next(arena.users)
        self._number = 0

    def command(self, directory: Path) -> list[str]:
        """What starts it, with its files in this directory.  RuntimeError if they cannot be made."""
        raise NotImplementedError

    def configured(self, directory: Path, name: str, **values: object) -> str:
        """The path of the configuration of that name, filled in with the port, the directory and these."""
        text = Template((HERE / name).read_text())
        path = directory / name
        path.write_text(text.substitute(values, port=self.port, directory=directory))
        return str(path)

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Any:
        """The JSON that it answers."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            return json.loads(connection.getresponse().read())

    def delivering(self, pid: int) -> list[int]:
        """The processes that deliver, of the one that was started; none before all of them are there."""
        return [pid]

    def paths(self, first: int, count: int) -> list[str]:
        """What the next streams ask for, of which there are ``first`` already."""
        return [self.path.format(number, port=self.port) for number in range(first, first + count)]

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        return sum(map(cpu_seconds, self.pids))

    def memory(self) -> int:
        """Bytes that the server holds now."""
        return sum(map(rss, self.pids))

    def held(self) -> int:
        """Bytes that the server holds, when that does not change any more and garbage is collected."""
        self.collect()
        return settled(self.memory, 40)

    def grow(self, streams: int) -> None:
        """Open streams until there are so many."""
        first = self.reader.streams
        asked = requests(self.paths(first, streams - first), self.users + first, self.headers)
        self.reader.open(self.port, asked, self.ready, self.rate)

    def leave(self) -> None:
        """Close all streams, and wait until the server has let go of them."""
        wanted = sum(map(open_files, self.pids)) - self.reader.streams
        self.reader.drop(self.reader.streams)
        deadline = time.monotonic() + LEAVING
        while sum(map(open_files, self.pids)) > wanted:
            if time.monotonic() > deadline:
                raise RuntimeError("the server keeps streams whose clients are gone")
            time.sleep(0.02)

    def resume(self, streams: int, missed: int) -> float:
        """Seconds until so many clients, which come all at once, have what they missed; nobody was there."""
        place = self.miss(missed)
        headers = [*self.headers, f"Last-Event-ID: {place}"]
        return self.reader.herd(self.port, requests(self.paths(0, streams), self.users, headers), missed)

    def data(self) -> str:
        """The next event's data."""
        self._number += 1
        return self.content(self._number, self.overhead)

    def publish(self, pace: Sequence[float], *, each: bool = False) -> list[float]:
        """Publish an event at each of these seconds from now, and wait for the answers; when each was sent.

        It goes to all streams, or ``each`` to one alone, from here and there.
        """

        async def paced() -> list[float]:
            began, moments = time.monotonic(), []
            for number, due in enumerate(pace):
                await asyncio.sleep(max(0.0, began + due - time.monotonic()))
                moments.append(time.monotonic())
                await self.send(number * PRIME % self.reader.streams if each else None)
            return moments

        return self.arena.runner.run(paced())

    async def send(self, stream: int | None) -> None:
        """Publish an event to this stream, or to all."""
        raise NotImplementedError

    def miss(self, events: int) -> str:
        """Publish events that nobody hears; the Last-Event-ID of the moment before."""
        raise NotImplementedError

    def collect(self) -> None:
        """Have the server let go of what it does not need."""

    def end(self) -> None:
        """Close what this object opened; the server is ended by whoever started it."""


class Poster(Contender):
    """Takes events as bodies of POST requests, one after the other on one connection.

    No answer is waited for before the next request.  An event for one stream goes to ``own``.
    """

    own = "/one"
    connection: socket.socket | None = None
    sent = 0
    """Requests that are not answered."""

    def publish(self, pace: Sequence[float], *, each: bool = False) -> list[float]:
        # A server may have closed the one before as idle.
        if self.connection is None or select.select([self.connection], [], [], 0)[0]:
            self.end()
            self.connection = socket.create_connection(("127.0.0.1", self.port))
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        moments = super().publish(pace, each=each)
        self.confirm()
        return moments

    async def send(self, stream: int | None) -> None:
        self.post("/publish" if stream is None else self.own.format(stream))

    def post(self, path: str) -> None:
        """The next event, to this path."""
        assert self.connection is not None
        self.connection.sendall(self.request(path, self.data()))
        self.sent += 1

    def confirm(self) -> None:
        """Read all answers."""
        assert self.connection is not None
        confirmed(self.connection, self.sent)
        self.sent = 0

    def request(self, path: str, data: str) -> bytes:
        """What publishes this."""
        return request(path, data)

    def end(self) -> None:
        if self.connection is not None:
            self.connection.close()


def request(path: str, body: str, *headers: str) -> bytes:
    """A POST request with this body."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


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
    """A loop of ``send()``: ``floor.c``, compiled for it; an event for one goes to the next in turn."""

    def command(self, directory: Path) -> list[str]:
        program = str(directory / "floor")
        compiler = ["cc", "-O2", "-o", program, str(HERE / "floor.c")]
        if subprocess.run(compiler, check=False).returncode:  # noqa: S603 - our own
            raise RuntimeError("floor.c could not be compiled")
        return [program, str(self.port)]

    def miss(self, events: int) -> str:
        """It has no ids, and is told how many."""
        self.publish([0.0] * events)
        return str(events)


class Nchan(Poster):
    """nginx with the nchan module, as ``nchan.conf`` says: one worker process."""

    ready = b": hi"
    overhead = 25
    forks = True

    def command(self, directory: Path) -> list[str]:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        user = "user root;" if os.getuid() == 0 else ""
        numbers = {"descriptors": descriptors, "connections": descriptors - 100}
        path = self.configured(directory, "nchan.conf", module=machine.NCHAN, user=user, **numbers)
        return [machine.program("nginx") or "nginx", "-e", "stderr", "-p", str(directory), "-c", path]

    def delivering(self, pid: int) -> list[int]:
        return children(pid)

    def miss(self, events: int) -> str:
        place: str = self.ask("/publish", "POST", "~", Accept="text/json")["last_message_id"]
        self.publish([0.0] * events)
        return place


class PersonalNchan(Nchan):
    """nchan where every stream hears a channel of its own; events to all go out in batches."""

    path = "/events/own/u{}"
    own = "/publish/u{}"

    async def send(self, stream: int | None) -> None:
        for number in range(self.reader.streams) if stream is None else [stream]:
            self.post(self.own.format(number))
            if self.sent == PUBLISHED_AT_ONCE and stream is None:
                self.confirm()


class App(Contender):
    """An app in one plain uvicorn process, which ``factory`` in ``apps`` makes: uvloop, httptools, no log."""

    factory: ClassVar[str]

    def command(self, directory: Path) -> list[str]:
        app = [f"{__package__}.apps:{self.factory}", "--factory", "--interface", "asgi3"]
        kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", *app, *kind, "--host", "127.0.0.1", "--port", str(self.port)]

    def collect(self) -> None:
        self.ask("/bench/collect")


class Bare(App):
    """An app that only streams."""

    factory = "bare_app"
    ready = b"\nid: "


class Starlette(App):
    """sse-starlette, with a plain Redis PUBLISH."""

    factory = "starlette_app"
    overhead = 16

    def __init__(self, arena: Arena, reader: Reader) -> None:
        super().__init__(arena, reader)
        self._redis = Redis.from_url(arena.url)

    async def send(self, stream: int | None) -> None:
        await self._redis.publish(CHANNEL, self.data())

    def end(self) -> None:
        self.arena.runner.run(self._redis.aclose())


class Edge(App):
    """The edge on Redis: with history, ids and leases, as it comes."""

    factory = "edge_app"
    path = "/events/rooms/{port}"  # the edges of one run share a Redis, and each has a channel of its own
    ready = b"\nid: "
    overhead = 40
    task = False
    """Whether its streams are to be written through a task."""

    def __init__(self, arena: Arena, reader: Reader) -> None:
        super().__init__(arena, reader)
        self.events = Publisher(arena.url)

    async def send(self, stream: int | None) -> None:
        await self.events.publish(f"room:{self.port}", self.data())

    def end(self) -> None:
        self.arena.runner.run(self.events.aclose())

    def miss(self, events: int) -> str:
        place = self.arena.runner.run(self.events.cursor())
        self.publish([0.0] * events)
        return place

    def check_sink(self) -> str:
        """What its streams are written through; RuntimeError unless all are alike, and as they should."""
        found = self.ask("/bench/sinks")
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
    """The edge where every stream hears a channel of its own, its user's; events to all go out in batches."""

    path = "/events/me"

    async def send(self, stream: int | None) -> None:
        data = self.data()
        if stream is not None:
            await self.events.publish(f"user:u{self.users + stream}", data)
            return
        everybody = [(f"user:u{self.users + number}", data) for number in range(self.reader.streams)]
        for first in range(0, len(everybody), PUBLISHED_AT_ONCE):
            await self.events.publish_many(everybody[first : first + PUBLISHED_AT_ONCE])


KINDS: dict[str, type[Contender]] = {
    "floor": Floor,
    "bare": Bare,
    "sse_edge": Edge,
    "TaskSink": TaskEdge,
    "sse_edge, own channels": PersonalEdge,
    "gzip": GzipEdge,
    "nchan": Nchan,
    "nchan, own channels": PersonalNchan,
    "sse-starlette": Starlette,
}
"""All that can be started, by name."""

CONTENDERS = ("floor", "sse_edge", "TaskSink", "nchan", "sse-starlette")  # who is compared in delivering
OPTIONAL = ("nchan", "sse-starlette", "TaskSink")  # what a run may be without


@dataclass
class Arena:
    """Starts contenders, each with clients of its own: each server on the cores ``server``.

    This process, readers and Redis, at ``url``, are to run on the others, which ``prepared`` sees to.  Events
    are published in ``runner``, and ``kinds`` are those that can be started, by name.
    """

    url: str
    runner: asyncio.Runner
    server: set[int]
    kinds: Mapping[str, type[Contender]] = field(default_factory=lambda: KINDS)
    users: Iterator[int] = field(default_factory=lambda: itertools.count(USERS, USERS))
    """For each contender the first of so many users that nobody had before."""
    networks: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(9, 250)))
    """For each reader the last of its addresses."""

    @classmethod
    @contextlib.contextmanager
    def prepared(cls, kinds: Mapping[str, type[Contender]] = KINDS) -> Iterator[Arena]:
        """One with Redis, and everything on its core, until the end of the block."""
        server, rest = machine.cores()
        with machine.on(rest), asyncio.Runner() as runner, programs.redis() as url:
            yield cls(url, runner, server, kinds)

    @contextlib.contextmanager
    def contender(self, name: str, **settings: str) -> Iterator[Contender]:
        """A server with a reader of its own, until the end of the block.

        ``settings`` are environment variables, as ``site.apps`` tells of them, and the edge's own.
        """
        settings = {"BACKEND": self.url, "SSE_EDGE_SINK": "auto", **settings}
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(reading(next(self.networks)))
            directory = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            contender = self.kinds[name](self, reader)
            with machine.on(self.server):
                command = contender.command(Path(directory))
                program = stack.enter_context(programs.running(command, contender.port, **settings))
            if contender.forks:
                stack.callback(program.stop)  # a SIGKILL would leave its children behind
            stack.callback(contender.end)
            deadline = time.monotonic() + STARTING
            while not (pids := contender.delivering(program.pid)):
                if program.exit_code is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start:\n{program.log}")
                time.sleep(0.02)
            contender.pids = pids
            yield contender
