"""The edge beside other servers that deliver Server-Sent Events, as their own documentation sets them up.

    python -m loadtest.bench.rivals [--save]

Those that ``python -m loadtest.bench`` has, and with them Mercure, Centrifugo, Pushpin and
django-eventstream, as far as they are installed: of any other it says what is missing, and goes on without.
All have the same clients and the same events, and whoever keeps events keeps 100 of a channel; plain HTTP, no
proxy, one core for the server, keep-alives far apart where that can be set.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import jwt

from ..client.reader import Reader
from ..measure import machine
from ..measure.process import children
from ..report.files import RESULTS
from ..report.progress import Progress
from ..site import programs
from . import plot, table
from .contenders import HERE, KINDS, App, Arena, Contender, Poster, confirmed, request
from .groups import measure
from .plan import Plan
from .run import Run
from .targets import TABLES

KEY = "what signs a token to publish in the load tests"
MERCURE_VERSION = "v0.24.2"
BESIDE = ("single_cpu", "single_last", "burst_rate", "burst_cpu", "memory")  # what is divided by the edge's
JSON = "Content-Type: application/json"


class Mercure(Poster):
    """The hub with its store on disk, in Go's own HTTP server; anybody may listen."""

    path = "/.well-known/mercure?topic=bench"
    ready = b"\r\n:\n"
    overhead = 64
    token = jwt.encode({"mercure": {"publish": ["*"]}}, KEY, "HS256")

    def command(self, directory: Path) -> list[str]:
        shutil.copy(HERE / "mercure.go", directory)
        module = f"module bench\n\ngo 1.26\n\nrequire github.com/dunglas/mercure {MERCURE_VERSION}\n"
        (directory / "go.mod").write_text(module)
        command = [shutil.which("go") or "go", "build", "-mod=mod", "-o", "mercure", "."]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"Mercure could not be built:\n{done.stderr}")
        return [str(directory / "mercure"), str(self.port), str(directory / "events.db"), KEY]

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
        return [str(centrifugo()), "-c", self.configured(directory, "centrifugo.json", key=KEY)]

    def request(self, path: str, data: str) -> bytes:
        body = json.dumps({"channel": "bench", "data": data})
        return request("/api/publish", body, JSON, f"X-API-Key: {KEY}")


def centrifugo() -> str | None:
    """Where it is, also if ``go install`` has put it there."""
    go = os.environ.get("GOBIN") or Path.home() / "go" / "bin"
    return shutil.which("centrifugo", path=os.pathsep.join([os.environ.get("PATH", ""), str(go)]))


class Pushpin(Contender):
    """All its processes; its own test handler answers requests, so that no application costs anything.

    It takes one event from a connection.
    """

    path = "/stream?channel=bench"
    ready = b"[stream opened]"
    rate = 250.0  # when more come at once, it refuses some
    forks = True

    def __init__(self, arena: Arena, reader: Reader) -> None:
        super().__init__(arena, reader)
        self._publish_port = programs.free_port()
        self._connections: Iterator[socket.socket] = iter(())

    def command(self, directory: Path) -> list[str]:
        (directory / "routes").write_text("* test\n")
        return ["pushpin", "--config", self.configured(directory, "pushpin.conf", publish=self._publish_port)]

    def delivering(self, pid: int) -> list[int]:
        found = children(pid)
        if len(found) < 3:
            return []
        with socket.create_connection(("127.0.0.1", self.port)) as probe:
            probe.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # They have found each other.
            return [pid, *found] if probe.recv(1024).startswith(b"HTTP/1.1 200 ") else []

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
        """What publishes this."""
        item = {"channel": "bench", "formats": {"http-stream": {"content": f"data: {data}\n\n"}}}
        return request("/publish/", json.dumps({"items": [item]}), JSON)


class Eventstream(Poster, App):
    """django-eventstream under uvicorn, with Redis for its store; published to in the same process."""

    factory = "eventstream_app"
    path = "/events/"
    ready = b"stream-open"
    overhead = 43


RIVALS: dict[str, type[Mercure | Centrifugo | Pushpin | Eventstream]] = {
    "mercure": Mercure,
    "centrifugo": Centrifugo,
    "pushpin": Pushpin,
    "django-eventstream": Eventstream,
}
"""Those that are compared here alone."""

NEEDS = {
    "mercure": "Go 1.26, which builds it",
    "centrifugo": "centrifugo: go install github.com/centrifugal/centrifugo/v6@v6.9.1",
    "pushpin": "pushpin (Debian package pushpin)",
    "django-eventstream": "django-eventstream (pip install django-eventstream)",
}
"""What has to be installed for each."""


def versions() -> dict[str, str]:
    """Of those that are installed the version."""
    found = {
        "mercure": MERCURE_VERSION if shutil.which("go") else machine.ABSENT,
        "centrifugo": machine.says("go", "version", "-m", str(centrifugo()), pattern=r"mod\s+\S+/v6\s+(\S+)"),
        "pushpin": machine.says("pushpin", "--version", pattern=r"pushpin (\S+)"),
        "django-eventstream": machine.package("django-eventstream"),
    }
    return {name: version for name, version in found.items() if version != machine.ABSENT}


TOGETHER = ("floor", "sse_edge", "nchan", "mercure", "centrifugo", "sse-starlette")
"""Who takes turns with all others."""

APART = ("pushpin", "django-eventstream")
"""Who takes turns with the edge alone, with a third of the streams at most.

Pushpin ended some while 15,000 were opened, 250 a second.  django-eventstream writes to each every 20
seconds, which cannot be set and which the others would pay for, and a burst takes it minutes.
"""


def beside(samples: table.Samples) -> table.Samples:
    """Everybody's figures divided by the edge's, round by round."""
    return {
        what: {
            name: {
                size: [one / other for one, other in zip(found, edge[size], strict=False) if other]
                for size, found in sizes.items()
                if size in edge
            }
            for name, sizes in series.items()
            if name != "sse_edge"
        }
        for what, series in samples.items()
        if (edge := series.get("sse_edge"))
    }


def report(run: Run) -> str:
    """The medians, how many times the edge's they are, and how large an event was."""
    figures = TABLES["Many streams, one channel"]
    ratios = table.medians(beside(run.samples), {name: figures[name]._replace(unit="") for name in BESIDE})
    sizes = ", ".join(f"{name} {size:.0f}" for name, size in run.wire_bytes.items())
    heading = "Divided by sse_edge's, round by round: medians"
    return f"{table.medians(run.samples, figures)}\n\n{heading}\n{ratios}\n\nbytes per event: {sizes}\n"


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
    lacking = [name for name in names if name in RIVALS.keys() - versions().keys()]
    for name in lacking:
        print(f"without {name}: it takes {NEEDS[name]}", file=sys.stderr)
    return [name for name in names if name not in lacking]


def bouts(plan: Plan, names: Sequence[str], progress: Progress) -> Iterator[Run]:
    """All together, then each of the others with the edge, and at last most streams, one event at a time."""
    together = [name for name in names if name in TOGETHER]
    fewer, most = replace(plan, sizes=plan.sizes[:2]), replace(plan, sizes=plan.sizes[2:])
    for numbers, contenders, parts in (
        (fewer, together, {"memory", "single", "burst"}),
        *((fewer, ["sse_edge", name], {"memory", "single", "burst"}) for name in names if name in APART),
        (most, together, {"single"}),
    ):
        with Arena.prepared(KINDS | RIVALS) as arena:
            run = Run(numbers, arena, contenders, parts, progress)
            measure(run)
        yield run


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
    plot.draw(drawn, RESULTS / "comparison.svg", facts)


def main() -> int:
    """Run it; 2 when it cannot begin or go on."""
    given = arguments()
    names = present(given.without)
    if lacks := machine.missing(set(names), plot=given.save):
        print("missing: " + "; ".join(lacks), file=sys.stderr)
        return 2
    machine.raise_descriptors(given.streams)
    plan = replace(Plan.of(given.streams, quick=False), rounds=given.rounds, few_rounds=1)
    facts = machine.facts() | {name: version for name, version in versions().items() if name in names}
    command = shlex.join(["python", "-m", "loadtest.bench.rivals", *sys.argv[1:]])
    said = [*(f"{what}: {value}" for what, value in facts.items()), f"command: {command}"]
    progress, text = Progress(), ""
    found: list[Run] = []
    try:
        for run in bouts(plan, names, progress):
            found.append(run)
            text = "\n".join([*map(report, found), *said])
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
