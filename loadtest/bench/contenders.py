"""Who is compared: how each is started, asked for a stream, and given an event to deliver."""

import contextlib
import functools
import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

from ..measure import machine
from ..site import programs
from .apps import CHANNEL
from .arena import HERE, Contender

PUBLISHED_AT_ONCE = 200  # events to personal channels in one round trip
KEY = "what signs a token to publish in the load tests"
MERCURE_VERSION = "v0.24.2"
SINKS = {"auto": "HandoverSink", "task": "TaskSink"}  # by what SSE_EDGE_SINK says
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
JSON = "Content-Type: application/json"


class Poster(Contender):
    """Takes events as bodies of POST requests, one after the other on one connection.

    No answer is waited for before the next request.  An event for one stream goes to ``own``.
    """

    own = "/one"
    sent = 0  # requests that are not answered

    @functools.cached_property
    def connection(self) -> socket.socket:
        """No contender closes it as idle."""
        connection = self.opened.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def publish(self, pace: Sequence[float], *, each: bool = False) -> list[float]:
        moments = super().publish(pace, each=each)
        self.confirm()
        return moments

    async def send(self, stream: int | None) -> None:
        self.post("/publish" if stream is None else self.own.format(stream))

    def post(self, path: str) -> None:
        """The next event, to this path."""
        self.connection.sendall(self.request(path, self.data()))
        self.sent += 1

    def confirm(self) -> None:
        """Read all answers."""
        confirmed(self.connection, self.sent)
        self.sent = 0

    def request(self, path: str, data: str) -> bytes:
        """What publishes this."""
        return request(path, data)


def request(path: str, body: str, *headers: str) -> bytes:
    """A POST request with this body."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def confirmed(connection: socket.socket, requests: int) -> None:
    """Read the answers to so many requests; RuntimeError if one says no."""
    with connection.makefile("rb") as answers:
        for _ in range(requests):
            status = answers.readline().split()[1]
            answers.read(int(http.client.parse_headers(answers).get("Content-Length", 0)))
            if not status.startswith(b"2"):
                raise RuntimeError(f"publishing was answered with {status!r}")


class Floor(Poster):
    """A loop of ``send()``: ``floor.c``, compiled for it; an event for one goes to the next in turn."""

    def command(self, directory: Path) -> list[str]:
        return [built("floor", directory, "cc", "-O2", "-o", "floor", str(HERE / "floor.c")), str(self.port)]

    def place(self, missed: int) -> str:
        """It has no ids, and is told how many."""
        return str(missed)


def built(name: str, directory: Path, *command: str) -> str:
    """The path of a program that this command makes there; RuntimeError with what it says if it does not."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{name} could not be built:\n{done.stderr}")
    return str(directory / name)


class Nchan(Poster):
    """nginx with the nchan module, as ``nchan.conf`` says: one worker process."""

    ready = b": hi"
    overhead = 25

    def command(self, directory: Path) -> list[str]:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        user = "user root;" if os.getuid() == 0 else ""
        numbers = {"descriptors": descriptors, "connections": descriptors - 100}
        path = self.configured(directory, "nchan.conf", module=NCHAN, user=user, **numbers)
        return [programs.command("nginx"), "-e", "stderr", "-p", str(directory), "-c", path]

    def started(self) -> bool:
        return super().started() and len(self.pids) > 1

    def place(self, missed: int) -> str:
        return str(self.ask("/publish", "POST", "~", Accept="text/json")["last_message_id"])


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

    async def send(self, stream: int | None) -> None:
        await self.arena.redis.publish(CHANNEL, self.data())


class Edge(App):
    """The edge on Redis: with history, ids and leases, as it comes."""

    factory = "edge_app"
    path = "/events/rooms/{port}"  # the edges of one run share a Redis, and each has a channel of its own
    ready = b"\nid: "
    overhead = 40

    async def send(self, stream: int | None) -> None:
        await self.arena.events.publish(f"room:{self.port}", self.data())

    def place(self, missed: int) -> str:
        return self.arena.runner.run(self.arena.events.cursor())

    def check_sink(self) -> str:
        """What its streams are written through; RuntimeError unless all are alike, and as they should."""
        wanted, found = SINKS[self.sink], self.ask("/bench/sinks")
        if found != {wanted: self.reader.streams}:
            raise RuntimeError(f"{self.reader.streams} streams should have a {wanted} each: {found}")
        return wanted


class TaskEdge(Edge):
    """The edge where each stream is written by a task, as on every server but uvicorn."""

    sink = "task"


class PersonalEdge(Edge):
    """The edge where every stream hears a channel of its own, its user's; events to all go out in batches."""

    path = "/events/me"

    async def send(self, stream: int | None) -> None:
        data, publisher = self.data(), self.arena.events
        if stream is not None:
            await publisher.publish(f"user:u{self.users + stream}", data)
            return
        everybody = [(f"user:u{self.users + number}", data) for number in range(self.reader.streams)]
        for first in range(0, len(everybody), PUBLISHED_AT_ONCE):
            await publisher.publish_many(everybody[first : first + PUBLISHED_AT_ONCE])


class Mercure(Poster):
    """The hub with its store on disk, in Go's own HTTP server; anybody may listen."""

    path = "/.well-known/mercure?topic=bench"
    ready = b"\r\n:\n"
    overhead = 64

    def command(self, directory: Path) -> list[str]:
        shutil.copy(HERE / "mercure.go", directory)
        module = f"module bench\n\ngo 1.26\n\nrequire github.com/dunglas/mercure {MERCURE_VERSION}\n"
        (directory / "go.mod").write_text(module)
        program = built("mercure", directory, "go", "build", "-mod=mod", "-o", "mercure", ".")
        return [program, str(self.port), str(directory / "events.db"), KEY]

    @functools.cached_property
    def token(self) -> str:
        """Allows to publish everything."""
        import jwt  # noqa: PLC0415 - an extra

        return jwt.encode({"mercure": {"publish": ["*"]}}, KEY, "HS256")

    def request(self, path: str, data: str) -> bytes:
        form = "Content-Type: application/x-www-form-urlencoded"
        body = urlencode({"topic": "bench", "data": data})
        return request("/.well-known/mercure", body, form, f"Authorization: Bearer {self.token}")


class Centrifugo(Poster):
    """Its one-way SSE transport, with the memory engine; anybody may listen."""

    path = "/connection/uni_sse?cf_connect=" + quote('{"subs":{"bench":{}}}')
    ready = b'"connect"'
    overhead = 64

    def command(self, directory: Path) -> list[str]:
        return [programs.command("centrifugo"), "-c", self.configured(directory, "centrifugo.json", key=KEY)]

    def request(self, path: str, data: str) -> bytes:
        body = json.dumps({"channel": "bench", "data": data})
        return request("/api/publish", body, JSON, f"X-API-Key: {KEY}")


class Pushpin(Contender):
    """All its processes; its own test handler answers requests, so that no application costs anything.

    It takes one event from a connection.
    """

    path = "/stream?channel=bench"
    ready = b"[stream opened]"
    rate = 250.0  # when more come at once, it refuses some

    def command(self, directory: Path) -> list[str]:
        (directory / "routes").write_text("* test\n")
        self._publish_port = programs.free_port()
        return ["pushpin", "--config", self.configured(directory, "pushpin.conf", publish=self._publish_port)]

    def started(self) -> bool:
        if not super().started() or len(self.pids) < 4:
            return False
        # Until they have found each other, an answer may be lost: one that is late is not waited for.
        address = ("127.0.0.1", self.port)
        with contextlib.suppress(TimeoutError), socket.create_connection(address, timeout=0.5) as probe:
            probe.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return probe.recv(1024).startswith(b"HTTP/1.1 200 ")
        return False

    def publish(self, pace: Sequence[float], *, each: bool = False) -> list[float]:
        address = ("127.0.0.1", self._publish_port)
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(socket.create_connection(address)) for _ in pace]
            self._connections = iter(connections)
            moments = super().publish(pace, each=each)
            for connection in connections:
                confirmed(connection, 1)
        return moments

    async def send(self, stream: int | None) -> None:
        next(self._connections).sendall(self.request("", self.data()))

    def request(self, path: str, data: str) -> bytes:
        item = {"channel": "bench", "formats": {"http-stream": {"content": f"data: {data}\n\n"}}}
        return request("/publish/", json.dumps({"items": [item]}), JSON)


class Eventstream(Poster, App):
    """django-eventstream under uvicorn, with Redis for its store; published to in the same process."""

    factory = "eventstream_app"
    path = "/events/"
    ready = b"stream-open"
    overhead = 43

    def command(self, directory: Path) -> list[str]:
        return [*super().command(directory), "--timeout-keep-alive", "3600"]


KINDS: dict[str, type[Contender]] = {
    "floor": Floor,
    "bare": Bare,
    "sse_edge": Edge,
    "TaskSink": TaskEdge,
    "sse_edge, own channels": PersonalEdge,
    "nchan": Nchan,
    "nchan, own channels": PersonalNchan,
    "sse-starlette": Starlette,
    "mercure": Mercure,
    "centrifugo": Centrifugo,
    "pushpin": Pushpin,
    "django-eventstream": Eventstream,
}
"""All that can be started, by name."""

CONTENDERS = ("floor", "sse_edge", "TaskSink", "nchan", "sse-starlette")  # who is compared in delivering
OPTIONAL = ("nchan", "sse-starlette", "TaskSink")  # what a run may be without

NEEDS = {
    "nchan": "nchan (Debian package libnginx-mod-nchan)",
    "sse-starlette": "sse-starlette (pip install -e '.[bench]')",
    "mercure": "Go 1.26, which builds it",
    "centrifugo": "centrifugo: go install github.com/centrifugal/centrifugo/v6@v6.9.1",
    "pushpin": "pushpin (Debian package pushpin)",
    "django-eventstream": "django-eventstream (pip install django-eventstream)",
}
"""What has to be installed for whom."""


def versions() -> dict[str, str]:
    """Of those that need something, and have it, the version."""
    centrifugo, facts = machine.program("centrifugo") or "", machine.facts()
    found = {
        "nchan": facts["nchan"] if machine.program("nginx") and NCHAN.exists() else machine.ABSENT,
        "sse-starlette": facts["sse-starlette"],
        "mercure": MERCURE_VERSION if machine.program("go") else machine.ABSENT,
        "centrifugo": machine.says("go", "version", "-m", centrifugo, pattern=r"mod\s+\S+/v6\s+(\S+)"),
        "pushpin": machine.says("pushpin", "--version", pattern=r"pushpin (\S+)"),
        "django-eventstream": machine.package("django-eventstream"),
    }
    return {name: version for name, version in found.items() if version != machine.ABSENT}


def absent(names: Iterable[str]) -> dict[str, str]:
    """What has to be installed for those of them that cannot take part."""
    there = versions()
    return {name: NEEDS[name] for name in names if name in NEEDS and name not in there}
