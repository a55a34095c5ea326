"""The edge beside other servers that deliver Server-Sent Events, as their own documentation sets them up.

    python -m loadtest.bench.rivals [--save]

Those that ``python -m loadtest.bench`` has, and with them Mercure, Centrifugo, Pushpin and
django-eventstream, as far as they are installed: of any other it says what is missing, and goes on without.
All have the same clients and the same events, and whoever keeps events keeps 100 of a channel; plain HTTP, no
proxy, one core for the server, keep-alives far apart where that can be set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

import jwt

from ..measure import machine
from ..measure.process import children, cpu_seconds, rss, settled
from ..report.progress import Progress
from ..site import programs
from . import plot, table
from .arena import KINDS, Arena
from .contenders import Poster, confirmed
from .groups import fan_out, memory
from .plan import Plan
from .run import Run

if TYPE_CHECKING:
    from sse_edge.asgi import ASGIApp

RESULTS = Path(__file__).parents[1] / "results"

KEY = "what signs a token to publish in the load tests"

STARTING = 20.0
"""Seconds for a server to have all its processes."""

STOPPING = 10.0
"""Seconds for a server to end its processes."""


class Rival(Poster):
    """One of those that are compared here alone.  ``needs`` is what has to be installed."""

    needs: ClassVar[str]

    @classmethod
    def version(cls) -> str | None:
        """The one that is installed; None if none is."""
        raise NotImplementedError

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``; on a new connection if the server has closed the one before as idle."""
        if select.select([self.connection], [], [], 0)[0]:
            self.end()
            self.connect(self.port)
        return super().publish(pace)


def post(path: str, body: str, *headers: str) -> bytes:
    """A request with this body."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


MERCURE_VERSION = "v0.24.2"

MERCURE_PROGRAM = """
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/dunglas/mercure"
)

func main() {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	subscribers := mercure.NewSubscriberList(mercure.DefaultSubscriberListCacheSize)
	store, err := mercure.NewBoltTransport(subscribers, quiet, os.Args[2], "", 100,
		mercure.BoltDefaultCleanupFrequency)
	if err != nil {
		log.Fatal(err)
	}
	hub, err := mercure.NewHub(context.Background(), mercure.WithTransport(store), mercure.WithLogger(quiet),
		mercure.WithPublisherJWT([]byte(os.Getenv("KEY")), "HS256"), mercure.WithAnonymous(),
		mercure.WithWriteTimeout(0), mercure.WithHeartbeat(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/.well-known/mercure", hub)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
"""
"""Mercure is a library, and around that a build of Caddy; this is the library's own example, with a store."""


def mercure_program(directory: Path) -> Path:
    """It, built by Go from the module of that version, once; RuntimeError if that cannot be."""
    if (directory / "mercure").exists():
        return directory / "mercure"
    (directory / "main.go").write_text(MERCURE_PROGRAM)
    (directory / "go.mod").write_text(
        f"module bench\n\ngo 1.26\n\nrequire github.com/dunglas/mercure {MERCURE_VERSION}\n"
    )
    command = [shutil.which("go") or "go", "build", "-mod=mod", "-o", "mercure", "."]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"Mercure could not be built:\n{done.stderr}")
    return directory / "mercure"


class Mercure(Rival):
    """The hub with its store on disk, in Go's own HTTP server; anybody may listen."""

    needs = "Go 1.26, which builds it"
    ready = b"\r\n:\n"
    overhead = 64

    @classmethod
    def version(cls) -> str | None:
        """See ``Rival``."""
        return MERCURE_VERSION if shutil.which("go") else None

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``."""
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            command = [str(mercure_program(directory)), str(port), str(directory / "events.db")]
            with programs.running(command, port, KEY=KEY) as running:
                yield running.pid

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return ["/.well-known/mercure?topic=bench"] * count

    def request(self, path: str, data: str) -> bytes:
        """See ``Poster``."""
        token = jwt.encode({"mercure": {"publish": ["*"]}}, KEY, "HS256")
        form = "Content-Type: application/x-www-form-urlencoded"
        body = urlencode({"topic": "bench", "data": data})
        return post("/.well-known/mercure", body, form, f"Authorization: Bearer {token}")


class Centrifugo(Rival):
    """Its one-way SSE transport, with the memory engine; anybody may listen."""

    needs = "centrifugo: go install github.com/centrifugal/centrifugo/v6@v6.9.1"
    ready = b'"connect"'
    overhead = 64

    @classmethod
    def version(cls) -> str | None:
        """See ``Rival``."""
        program = go_program("centrifugo")
        return program and says("go", "version", "-m", program, pattern=r"mod\s+\S+centrifugo/v6\s+(\S+)")

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``."""
        channel = {"history_size": 100, "history_ttl": "300s", "allow_subscribe_for_anonymous": True}
        configuration = {
            "http_server": {"address": "127.0.0.1", "port": str(port)},
            "http_api": {"key": KEY},
            "log": {"level": "error"},
            "uni_sse": {"enabled": True},
            "client": {"allow_anonymous_connect_without_token": True, "ping_interval": "1h"},
            "channel": {"without_namespace": {**channel, "allow_subscribe_for_client": True}},
        }
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "config.json")
            path.write_text(json.dumps(configuration))
            with programs.running([str(go_program("centrifugo")), "-c", str(path)], port) as running:
                yield running.pid

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return ["/connection/uni_sse?cf_connect=" + quote('{"subs":{"bench":{}}}')] * count

    def request(self, path: str, data: str) -> bytes:
        """See ``Poster``."""
        body = json.dumps({"channel": "bench", "data": data})
        return post("/api/publish", body, "Content-Type: application/json", f"X-API-Key: {KEY}")


PUSHPIN_SETTINGS = """
[global]
include={{libdir}}/internal.conf
rundir={directory}
ipc_prefix=bench-
port_offset=0

[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port={port}
logdir={directory}
log_level=1
client_buffer_size=8192
client_maxconn=50000

[proxy]
routesfile=routes
updates_check=off

[handler]
push_in_spec=ipc://{{rundir}}/push
push_in_sub_specs=ipc://{{rundir}}/sub
command_spec=ipc://{{rundir}}/command
stats_spec=ipc://{{rundir}}/stats
push_in_http_addr=127.0.0.1
push_in_http_port={publish_port}
# No pace of its own, as nobody else has one.
message_rate=10000000
message_hwm=10000000
"""


class Pushpin(Rival):
    """All its processes; its own test handler answers requests, so that no application costs anything."""

    needs = "pushpin (Debian package pushpin)"
    ready = b"[stream opened]"
    published_at: ClassVar[dict[int, int]] = {}
    """By the process that was started: the port where it takes events."""

    @classmethod
    def version(cls) -> str | None:
        """See ``Rival``."""
        return shutil.which("pushpin") and says("pushpin", "--version", pattern=r"pushpin (\S+)")

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``; the process that started the others."""
        publish_port = programs.free_port()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            path = Path(directory, "pushpin.conf")
            path.write_text(
                PUSHPIN_SETTINGS.format(directory=directory, port=port, publish_port=publish_port)
            )
            path.with_name("routes").write_text("* test\n")
            with programs.running(["pushpin", "--config", str(path)], port) as running:
                try:
                    deadline = time.monotonic() + STARTING
                    while len(children(running.pid)) < 3 or not streams(port):
                        if running.exit_code is not None or time.monotonic() > deadline:
                            raise RuntimeError(f"pushpin did not start:\n{running.log}")
                        time.sleep(0.02)
                    cls.published_at[running.pid] = publish_port
                    yield running.pid
                finally:
                    # A SIGKILL would leave its children behind.
                    running.terminate()
                    deadline = time.monotonic() + STOPPING
                    while running.exit_code is None and time.monotonic() < deadline:
                        time.sleep(0.02)

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return [self.pid, *children(self.pid)]

    def cpu(self) -> float:
        """See ``Contender.cpu``."""
        return sum(map(cpu_seconds, self.pids))

    def held(self) -> int:
        """See ``Contender.held``."""
        return settled(lambda: sum(map(rss, self.pids)))

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return ["/stream?channel=bench"] * count

    def grow(self, streams: int, rate: float = 250.0) -> None:
        """See ``Contender``; when more come at once, it refuses some."""
        super().grow(streams, rate)

    def request(self, path: str, data: str) -> bytes:
        """See ``Poster``."""
        item = {"channel": "bench", "formats": {"http-stream": {"content": f"data: {data}\n\n"}}}
        return post("/publish/", json.dumps({"items": [item]}), "Content-Type: application/json")

    def publish(self, pace: Sequence[float]) -> list[float]:
        """See ``Contender.publish``; it takes one request from a connection."""
        address, moments = ("127.0.0.1", self.published_at[self.pid]), []
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(socket.create_connection(address)) for _ in pace]
            began = time.monotonic()
            for connection, due in zip(connections, pace, strict=True):
                request = self.request("", self.data())
                time.sleep(max(0.0, began + due - time.monotonic()))
                moments.append(time.monotonic())
                connection.sendall(request)
            for connection in connections:
                confirmed(connection, 1)
        return moments


class Eventstream(Rival):
    """django-eventstream under uvicorn, with Redis for its store; published to in the same process."""

    needs = "django-eventstream (pip install django-eventstream)"
    ready = b"stream-open"
    overhead = 43

    @classmethod
    def version(cls) -> str | None:
        """See ``Rival``."""
        there = importlib.util.find_spec("django_eventstream") is not None
        return importlib.metadata.version("django-eventstream") if there else None

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int, settings: Mapping[str, str]) -> Iterator[int]:
        """See ``Contender.serve``."""
        app = [f"{__package__}.rivals:eventstream_app", "--factory", "--interface", "asgi3"]
        kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        command = [sys.executable, "-m", "uvicorn", *app, *kind, "--port", str(port)]
        with programs.running(command, port, **settings) as running:
            yield running.pid

    def paths(self, first: int, count: int) -> list[str]:
        """See ``Contender``."""
        return ["/events/"] * count


def eventstream_app() -> ASGIApp:
    """A Django project of one page that streams, and one that publishes."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    import django  # noqa: PLC0415 - nobody else needs it
    from django.conf import settings  # noqa: PLC0415

    redis = urlsplit(os.environ["BACKEND"])
    settings.configure(
        SECRET_KEY=KEY,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="bench_urls",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_eventstream"],
        EVENTSTREAM_STORAGE_CLASS="django_eventstream.storage.RedisStorage",
        EVENTSTREAM_STORAGE_CONNECTION={"host": redis.hostname, "port": redis.port},
    )
    django.setup()
    from django.core.asgi import get_asgi_application  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.urls import include, path  # noqa: PLC0415
    from django_eventstream import send_event  # noqa: PLC0415

    def publish(request: HttpRequest) -> HttpResponse:
        send_event("bench", "message", request.body.decode(), json_encode=False)
        return HttpResponse(headers={"Content-Length": "0"})

    urls: Any = type(sys)("bench_urls")
    urls.urlpatterns = [
        path("publish", publish),
        path("events/", include("django_eventstream.urls"), {"channels": ["bench"]}),
    ]
    sys.modules[urls.__name__] = urls
    app: ASGIApp = get_asgi_application()
    return app


def streams(port: int) -> bool:
    """Whether Pushpin's processes have found each other."""
    with socket.create_connection(("127.0.0.1", port)) as probe:
        probe.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return probe.recv(1024).startswith(b"HTTP/1.1 200 ")


def go_program(name: str) -> str | None:
    """Its path, also where ``go install`` puts it."""
    go = os.environ.get("GOBIN") or Path.home() / "go" / "bin"
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), str(go)]))


def says(*command: str, pattern: str) -> str:
    """What a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


RIVALS: dict[str, type[Rival]] = {
    "mercure": Mercure,
    "centrifugo": Centrifugo,
    "pushpin": Pushpin,
    "django-eventstream": Eventstream,
}

TOGETHER = ("floor", "sse_edge", "nchan", "mercure", "centrifugo", "sse-starlette")
"""Who takes turns with all others."""

APART = ("pushpin", "django-eventstream")
"""Who takes turns with the edge alone, with a third of the streams at most.

Pushpin ended some while 15,000 were opened, 250 a second.  django-eventstream writes to each every 20
seconds, which cannot be set and which the others would pay for, and a burst takes it minutes.
"""


def beside(samples: table.Samples, what: str, size: int) -> dict[str, float]:
    """By contender: its figure divided by the edge's, round by round; the median."""
    series = samples.get(what, {})
    edge = series.get("sse_edge", {}).get(size, [])
    ratios = {
        name: [one / other for one, other in zip(found.get(size, []), edge, strict=False) if other]
        for name, found in series.items()
        if name != "sse_edge"
    }
    return {name: median(each) for name, each in ratios.items() if each}


SHOWN = {
    "single_cpu": "CPU per event",
    "single_last": "last stream after",
    "burst_rate": "burst, events/s",
    "burst_cpu": "burst CPU per event",
    "memory": "memory per stream",
}
"""What is divided by the edge's."""


def report(samples: table.Samples, wire: Mapping[str, float]) -> str:
    """The medians, how many times the edge's they are, and how large an event was."""
    rows = [["streams", "", *SHOWN.values()]]
    for size in sorted({size for series in samples.values() for found in series.values() for size in found}):
        ratios = {what: beside(samples, what, size) for what in SHOWN}
        for name in sorted(set().union(*ratios.values())):
            cells = [f"{ratios[what][name]:.3g}" if name in ratios[what] else "-" for what in SHOWN]
            rows.append([f"{size:,}", name, *cells])
    heading = "Divided by sse_edge's, round by round: medians"
    sizes = ", ".join(f"{name} {size:.0f}" for name, size in wire.items())
    figures = table.medians(samples, [*fan_out.GROUP.figures, *memory.GROUP.figures])
    return f"{figures}\n\n{heading}\n{table.columns(rows)}\n\nbytes per event: {sizes}\n"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench.rivals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=15_000, metavar="N", help="at most (default: 15000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each measurement (default: 3)")
    others = [name for name in (*TOGETHER, *APART) if name not in ("floor", "sse_edge")]
    parser.add_argument("--without", action="append", default=[], choices=others, help="leave one out")
    parser.add_argument("--save", action="store_true", help="write comparison.json, .txt and .svg")
    return parser.parse_args(given)


def present(without: Sequence[str]) -> list[str]:
    """Who takes part; says of each that cannot what it lacks."""
    names = [name for name in (*TOGETHER, *APART) if name not in without]
    lacking = [name for name in names if name in RIVALS and RIVALS[name].version() is None]
    for name in lacking:
        print(f"without {name}: it takes {RIVALS[name].needs}", file=sys.stderr)
    return [name for name in names if name not in lacking]


def bouts(plan: Plan, names: Sequence[str], progress: Progress) -> Iterator[Run]:
    """All together, then each of the others with the edge, and at last most streams, one event at a time."""
    together = [name for name in names if name in TOGETHER]
    fewer = replace(plan, sizes=plan.sizes[:2])
    yield bout(fewer, together, progress)
    for name in names:
        if name in APART:
            yield bout(fewer, ["sse_edge", name], progress)
    yield bout(replace(plan, sizes=plan.sizes[2:]), together, progress, most=True)


def bout(plan: Plan, names: Sequence[str], progress: Progress, *, most: bool = False) -> Run:
    """What is measured of these contenders, by turns."""
    server, rest = machine.cores()
    with machine.on(rest), asyncio.Runner() as runner, programs.redis() as url:
        run = Run(plan, Arena(url, runner, server, KINDS | RIVALS), names, progress)
        if not most:
            memory.measure(run, ("memory",))
        fan_out.measure(run, ("single",) if most else ("single", "burst"))
        return run


def save(found: Sequence[Run], text: str, facts: dict[str, str], command: str) -> None:
    """Write what there is so far."""
    whole = {"command": command, "machine": facts, "runs": [run.samples for run in found]}
    (RESULTS / "comparison.txt").write_text(text + "\n")
    (RESULTS / "comparison.json").write_text(json.dumps(whole, indent=1) + "\n")
    drawn: table.Samples = {}
    for run in reversed(found):  # what all were measured in together counts
        for what, series in run.samples.items():
            for name, sizes in series.items():
                drawn.setdefault(what, {}).setdefault(name, {}).update(sizes)
    plot.draw(drawn, RESULTS / "comparison.svg", f"{facts['cpu']}, Linux {facts['kernel']}")


def main() -> int:
    """Run it; 2 when it cannot begin or go on."""
    given = arguments()
    names = present(given.without)
    lacks = machine.missing(set(names), plot=given.save)
    if lacks:
        print("missing: " + "; ".join(lacks), file=sys.stderr)
        return 2
    machine.raise_descriptors(given.streams)
    plan = replace(Plan.of(given.streams, quick=False), rounds=given.rounds, bursts=1)
    versions = {name: RIVALS[name].version() or "" for name in names if name in RIVALS}
    facts = machine.facts() | versions
    command = shlex.join(["python", "-m", "loadtest.bench.rivals", *sys.argv[1:]])
    said = [*(f"{what}: {value}" for what, value in facts.items()), f"command: {command}"]
    progress, text = Progress(), ""
    found: list[Run] = []
    try:
        for run in bouts(plan, names, progress):
            found.append(run)
            text = "\n".join([*(report(each.samples, each.wire_bytes) for each in found), *said])
            if given.save:
                save(found, text, facts, command)
    except (RuntimeError, OSError) as error:
        print(f"the comparison could not be finished: {progress.last}: {error!r}", file=sys.stderr)
        return 2
    finally:
        progress.clear()
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
