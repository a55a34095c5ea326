"""Who is compared: how each is started, asked for a stream, and given an event to deliver.

All get the same request heads, and all put about ``WIRE`` bytes on the wire for an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from sse_edge import Publisher

from .. import programs
from ..apps import requests
from . import machine
from .apps import CHANNEL
from .reader import MARK, Reader, reading

WIRE = 150
"""Bytes of one event on the wire, framing and id included."""

RATE = 1500.0
"""Streams opened per second."""

PUBLISHED_AT_ONCE = 200
"""Events to personal channels in one round trip."""

NGINX = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {directory}/pid;
error_log stderr error;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 128M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /publish {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 10; }}
        location /events/ {{
            nchan_subscriber eventsource;
            nchan_subscriber_first_message newest;
            nchan_channel_id bench;
        }}
    }}
}}
"""


POST = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}"


def text(number: int, overhead: int) -> str:
    """An event's data: its number, and as many bytes as make ``WIRE`` with what is around it."""
    head = f"event {number} "
    return head + "x" * (WIRE - overhead - len(head) - len(MARK)) + MARK.decode()


class Contender:
    """A server under test with the streams that a reader holds on it.

    ``path`` is what every stream asks for, ``ready`` what it has sent once it is live, and
    ``overhead`` how many bytes of an event on the wire are not its data.
    """

    ready = b": open"
    overhead = 14

    def __init__(self, program: programs.Program, reader: Reader, arena: Arena) -> None:
        self.program = program
        self.reader = reader
        self.arena = arena
        self._number = 0

    @property
    def path(self) -> str:
        """Where all streams are."""
        return "/events/rooms/bench"

    @property
    def pid(self) -> int:
        """The process that delivers."""
        return self.program.pid

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        return programs.cpu_seconds(self.pid)

    def grow(self, streams: int, rate: float = RATE) -> None:
        """Open streams until there are so many."""
        paths = [self.path] * (streams - self.reader.streams)
        self.reader.open(self.program.port, requests(paths, self.reader.streams), self.ready, rate)

    def data(self) -> str:
        """The next event's data."""
        self._number += 1
        return text(self._number, self.overhead)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """Publish an event at each of these seconds from now; the moments when each was handed over.

        Returns when all are confirmed.
        """
        raise NotImplementedError

    def collect(self) -> None:
        """Have the server let go of what it does not need."""

    def end(self) -> None:
        """Close what this object opened; the server is ended by whoever started it."""


class Poster(Contender):
    """Takes events as bodies of POST requests, one after the other on one connection."""

    def __init__(self, program: programs.Program, reader: Reader, arena: Arena) -> None:
        super().__init__(program, reader, arena)
        self._connection = socket.create_connection(("127.0.0.1", program.port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``; does not wait for one answer before the next request."""
        began, moments = time.monotonic(), []
        for due in pace:
            body = self.data()
            request = (
                f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            )
            time.sleep(max(0.0, began + due - time.monotonic()))
            moments.append(time.monotonic())
            self._connection.sendall(request.encode())
        answers = self._connection.makefile("rb")
        for _ in pace:
            status = answers.readline().split()[1]
            length = 0
            while (line := answers.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            answers.read(length)
            if not status.startswith(b"2"):
                raise RuntimeError(f"publishing was answered with {status!r}")
        answers.close()
        return moments

    def end(self) -> None:
        """See ``Contender.end``."""
        self._connection.close()


class Floor(Poster):
    """A loop of ``send()``."""


class Nchan(Poster):
    """nginx with the nchan module: one worker process."""

    ready = b": hi"
    overhead = 25

    @property
    def pid(self) -> int:
        """The worker, not the master."""
        (worker,) = machine.children(self.program.pid)
        return worker

    def end(self) -> None:
        """See ``Contender.end``; the master ends its worker, which a SIGKILL would leave behind."""
        super().end()
        self.program.terminate()
        deadline = time.monotonic() + 10
        while self.program.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.02)


class App(Contender):
    """An app in one plain uvicorn process: uvloop, httptools."""

    def ask(self, path: str) -> dict[str, Any]:
        """What the app says at a path of the benchmark's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.program.port, timeout=30)
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

    ready = b"\nid: "


class Starlette(App):
    """sse-starlette, with a plain Redis PUBLISH."""

    overhead = 16

    def __init__(self, program: programs.Program, reader: Reader, arena: Arena) -> None:
        super().__init__(program, reader, arena)
        self._redis = Redis.from_url(arena.url)

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``."""
        return self.arena.runner.run(paced(pace, lambda: self._redis.publish(CHANNEL, self.data())))

    def end(self) -> None:
        """See ``Contender.end``."""
        self.arena.runner.run(self._redis.aclose())


class Edge(App):
    """The edge on Redis: with history, ids and leases, as it comes."""

    ready = b"\nid: "
    overhead = 40

    def __init__(self, program: programs.Program, reader: Reader, arena: Arena) -> None:
        super().__init__(program, reader, arena)
        self.events = Publisher(arena.url)
        # The edges of one run share a Redis, and each has a channel of its own.
        self._room = str(program.port)

    @property
    def path(self) -> str:
        """See ``Contender``."""
        return f"/events/rooms/{self._room}"

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``."""
        channel = f"room:{self._room}"
        return self.arena.runner.run(paced(pace, lambda: self.events.publish(channel, self.data())))

    def end(self) -> None:
        """See ``Contender.end``."""
        self.arena.runner.run(self.events.aclose())

    def check_sink(self, sink: str) -> None:
        """RuntimeError unless every stream has this kind of sink."""
        found = self.ask("sinks")
        if found != {sink: self.reader.streams}:
            raise RuntimeError(f"{self.reader.streams} streams should have a {sink} each: {found}")


class PersonalEdge(Edge):
    """The edge where every stream hears a channel of its own, its user's."""

    @property
    def path(self) -> str:
        """See ``Contender``."""
        return "/events/me"

    def publish(self, pace: Sequence[float]) -> list[float]:
        """An event to every stream, in batches, at each of these seconds."""
        return self.arena.runner.run(paced(pace, self._publish_all))

    async def _publish_all(self) -> None:
        data = self.data()
        everybody = [(f"user:u{number}", data) for number in range(self.reader.streams)]
        for first in range(0, len(everybody), PUBLISHED_AT_ONCE):
            await self.events.publish_many(everybody[first : first + PUBLISHED_AT_ONCE])


async def paced(pace: Sequence[float], publish: Callable[[], Awaitable[Any]]) -> list[float]:
    """Publish at each of these seconds from now, one after the other; the moments."""
    began, moments = time.monotonic(), []
    for due in pace:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        moments.append(time.monotonic())
        await publish()
    return moments


# Starting them


APPS: dict[str, tuple[str, type[App]]] = {
    "bare": ("bare_app", Bare),
    "HandoverSink": ("edge_app", Edge),
    "TaskSink": ("task_app", Edge),
    "personal": ("edge_app", PersonalEdge),
    "sse-starlette": ("starlette_app", Starlette),
}
"""What runs under uvicorn: a factory in ``apps``, and its contender."""

CONTENDERS = ("floor", "HandoverSink", "TaskSink", "nchan", "sse-starlette")
"""Who is compared in delivering."""


class Arena:
    """Where contenders are started: each server on the cores ``server``.

    This process, readers and Redis are to run on the ``rest``, which whoever makes it sees to.
    """

    def __init__(self, url: str, runner: asyncio.Runner, server: set[int], rest: set[int]) -> None:
        self.url = url
        self.runner = runner
        self.cores = server | rest
        self._server = server
        self._networks = itertools.cycle(range(10, 250))

    @contextlib.contextmanager
    def contender(self, name: str, **env: str) -> Iterator[Contender]:
        """A server with a reader of its own, until the end of the block."""
        kind = {"floor": Floor, "nchan": Nchan}.get(name) or APPS[name][1]
        with reading(next(self._networks)) as reader, self._program(name, env) as program:
            contender = kind(program, reader, self)
            try:
                yield contender
            finally:
                contender.end()

    @contextlib.contextmanager
    def _program(self, name: str, env: dict[str, str]) -> Iterator[programs.Program]:
        port = programs.free_port()
        with contextlib.ExitStack() as stack:
            if name == "floor":
                arguments = [sys.executable, "-m", f"{__package__}.floor", str(port)]
            elif name == "nchan":
                directory = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
                arguments = nginx_command(Path(directory), port)
            else:
                arguments = uvicorn_command(APPS[name][0], port)
            with machine.on(self._server):
                program = stack.enter_context(
                    programs.running(arguments, port, BACKEND=self.url, SSE_EDGE_SINK="auto", **env)
                )
            yield program


def uvicorn_command(factory: str, port: int) -> list[str]:
    """One plain process, without logs of requests."""
    app = [f"{__package__}.apps:{factory}", "--factory", "--interface", "asgi3"]
    kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *app, *kind, "--host", "127.0.0.1", "--port", str(port)]


def nginx_command(directory: Path, port: int) -> list[str]:
    """nginx with nchan in a directory of its own."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        NGINX.format(
            module=machine.NCHAN,
            directory=directory,
            port=port,
            descriptors=descriptors,
            connections=descriptors - 100,
            user="user root;" if os.getuid() == 0 else "",
        )
    )
    return [machine.nginx() or "nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
