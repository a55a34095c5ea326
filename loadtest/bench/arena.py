"""Where contenders meet: what each can be asked for, and how it is started with clients of its own.

All get the same request heads, and all put about ``WIRE`` bytes on the wire for an event of ``text``.
"""

import asyncio
import contextlib
import http.client
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Self

from redis.asyncio import Redis

from sse_edge import Publisher

from ..client.counting import MARK, Reader, Streams, reading
from ..measure import machine
from ..measure.process import cpu_seconds, open_files, rss, settled
from ..site import deployment, programs
from .apps import requests

HERE = Path(__file__).parent

WIRE = 150  # bytes of one event of ``text`` on the wire, framing and id included
PRIME = 7919  # more than there are streams in a row that would be near each other
USERS = 1_000_000  # of each contender: more than it has streams

Content = Callable[[int, int], str]
"""An event's data by its number, and by the bytes that are around it on the wire; ``MARK`` is in it once."""


def text(number: int, overhead: int) -> str:
    """As many bytes as make ``WIRE`` with what is around them."""
    head = f"event {number} "
    return head + "x" * (WIRE - overhead - len(head) - len(MARK)) + MARK.decode()


class Contender:
    """A server under test, with the streams that a reader holds on it.

    ``path`` is what a stream asks for, by its number and the port, ``ready`` what it has been sent once it is
    live, ``overhead`` how many bytes of an event on the wire are not its data, ``headers`` what clients ask
    with besides, and ``rate`` how many streams are opened per second.  ``sink`` is how an edge is to write
    (``SSE_EDGE_SINK``).
    """

    path = "/events/rooms/bench"
    ready = b": open"
    overhead = 14
    headers: tuple[str, ...] = ()
    rate = 1500.0
    sink = "auto"

    def __init__(self, arena: "Arena", reader: Reader, opened: contextlib.ExitStack) -> None:
        self.arena = arena
        self.reader = reader
        self.port = programs.free_port()
        self.program: programs.Program  # once it is started
        self.pids: list[int] = []  # the processes that deliver
        self.opened = opened  # by publishing, and closed before the server ends
        self.content: Content = text
        # Streams of a server that was killed still count for their users.
        self.users = next(arena.users)
        self._numbers = itertools.count(1)

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

    def started(self) -> bool:
        """Whether all processes are there that deliver: ``pids``."""
        self.pids = self.program.pids
        return True

    def requests(self, first: int, count: int, *headers: str) -> list[bytes]:
        """What the next streams ask with, of which there are ``first`` already, and with ``headers``."""
        paths = [self.path.format(number, port=self.port) for number in range(first, first + count)]
        return requests(paths, self.users + first, [*self.headers, *headers])

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
        asked = self.requests(first, streams - first)
        self.reader.ask(Streams.open, self.port, asked, self.ready, self.rate)

    def leave(self) -> None:
        """Close all streams, and wait until the server has let go of them."""
        wanted = sum(map(open_files, self.pids)) - self.reader.streams
        self.reader.ask(Streams.close)
        self.program.wait_for(lambda: sum(map(open_files, self.pids)) <= wanted, "let go of closed streams")

    def resume(self, streams: int, missed: int) -> float:
        """Seconds until so many clients, which come all at once, have what they missed; nobody was there."""
        place = self.place(missed)
        self.publish([0.0] * missed)
        asked = self.requests(0, streams, f"Last-Event-ID: {place}")
        return self.reader.ask(Streams.herd, self.port, asked, missed)

    def data(self) -> str:
        """The next event's data."""
        return self.content(next(self._numbers), self.overhead)

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

    def place(self, missed: int) -> str:
        """The Last-Event-ID of now, before so many events."""
        raise NotImplementedError

    def collect(self) -> None:
        """Have the server let go of what it does not need."""


@dataclass
class Arena:
    """Starts contenders, each with clients of its own: each server on the cores ``server``.

    Events are published in ``runner``, those of servers that share the Redis at ``url`` through ``events`` or
    ``redis``.
    """

    url: str
    runner: asyncio.Runner
    server: set[int]
    events: Publisher
    redis: Redis
    users: Iterator[int] = field(default_factory=lambda: itertools.count(USERS, USERS))
    """For each contender the first of so many users that nobody had before."""
    networks: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(9, 250)))
    """For each reader the last of its addresses."""

    @classmethod
    @contextlib.contextmanager
    def prepared(cls) -> Iterator[Self]:
        """One with Redis, and this process, its readers and Redis on cores of their own, until the end of the
        block."""
        server, rest = machine.cores()
        with machine.on(rest), asyncio.Runner() as runner, deployment.redis() as url:
            events, redis = Publisher(url), Redis.from_url(url)
            try:
                yield cls(url, runner, server, events, redis)
            finally:
                runner.run(events.aclose())
                runner.run(redis.aclose())

    @contextlib.contextmanager
    def contender(self, kind: type[Contender], **settings: str) -> Iterator[Contender]:
        """A server with a reader of its own, until the end of the block.

        ``settings`` are environment variables, as ``apps`` tells of them, and the edge's own.
        """
        settings = {"BACKEND": self.url, "SSE_EDGE_SINK": kind.sink, **settings}
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(reading(next(self.networks)))
            directory = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            contender = kind(self, reader, stack)
            with machine.on(self.server):
                command = contender.command(Path(directory))
                contender.program = programs.Program(command, contender.port, **settings)
                stack.callback(contender.program.close)
            contender.program.wait_for(contender.started)
            yield contender
