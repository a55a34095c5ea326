"""What an idle stream takes of a worker's memory, and for what.

    python -m loadtest.footprint --streams 5000 --save

Each case is run twice in plain uvicorn processes.  The first is weighed by what the kernel says that the
process holds.  The second runs under tracemalloc, which knows the line of Python that asked for each byte;
lines are summed by what they are for.  What lies between the two is what allocators round up and keep.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import json
import os
import socket
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sse_edge.asgi import Receive, Scope, Send

from .measure.process import rss
from .site import apps, programs

RESULTS = Path(__file__).parent / "results"

PLACE = b"\nid: "
"""In the first bytes of a stream once it is live."""

WARM = 500
"""Streams before the first look, so that what is there once for all of them is not counted."""

AT_ONCE = 200
"""Streams that are opened before the first of them is read."""

TRACED = "FOOTPRINT_TRACED"

PARTS = {
    "the server's connection (uvloop, libuv)": ("asyncio/runners.py", "/weakref.py"),
    "its two addresses, which uvicorn asks for": ("protocols/utils.py",),
    "the stream": (
        "delivery/hub.py",
        "delivery/audience.py",
        "delivery/stream.py",
        "delivery/lifetime.py",
        "/event.py",
        "<string>",
    ),
    "its sink": ("delivery/transport.py",),
    "its channel": ("delivery/feed.py", "admission/routes.py"),
    "who is here, and the clock": ("delivery/roster.py", "delivery/few.py", "delivery/wheel.py"),
    "leases": ("memory/leases.py", "redis/leases.py", "admission/gate.py"),
    "the channel's subscription and log": ("backends/",),
    "its cookie, in a cache of bounded size": ("admission/", "/asgi.py", "itsdangerous/", "json/"),
}
"""What a line is for, by a part of its file's name; the first that fits counts."""

OTHER = "other"


class Case(NamedTuple):
    """Which backend, and whether each stream has a channel of its own."""

    backend: str
    own: bool

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.backend}, {'a channel each' if self.own else 'one channel'}"


CASES = [Case(backend, own) for backend in ("memory", "redis") for own in (False, True)]


class Footprint(NamedTuple):
    """Bytes for each stream: what the process holds, and what was asked for, by what it is for."""

    resident: float
    parts: dict[str, float]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The edge, and at /footprint what this process holds."""
    if scope["type"] != "http" or scope["path"] != "/footprint":
        await apps.edge(scope, receive, send)
        return
    body = json.dumps({"resident": rss(os.getpid()), "parts": _parts()}).encode()
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _parts() -> dict[str, int]:
    gc.collect()
    parts: Counter[str] = Counter()
    if tracemalloc.is_tracing():
        for each in tracemalloc.take_snapshot().statistics("filename"):
            parts[_part(each.traceback[0].filename)] += each.size
    return parts


def _part(filename: str) -> str:
    return next((part for part, names in PARTS.items() if any(name in filename for name in names)), OTHER)


def measure(case: Case, streams: int) -> Footprint:
    """Weigh so many streams."""
    with programs.redis() if case.backend == "redis" else contextlib.nullcontext("memory://") as url:
        held, _ = _grown(url, case, streams, traced=False)
        _, parts = _grown(url, case, streams, traced=True)
    return Footprint(held, parts)


def _grown(url: str, case: Case, streams: int, *, traced: bool) -> tuple[float, dict[str, float]]:
    """By how much a worker grows for each stream."""
    with _worker(url, traced=traced) as program, contextlib.ExitStack() as stack:
        path = "/events/me" if case.own else "/events/rooms/1"
        heads = apps.requests([path] * (WARM + streams))
        _open(program, heads[:WARM], stack)
        _look(program)  # the first look makes what looking needs
        before = _look(program)
        _open(program, heads[WARM:], stack)
        after = _look(program)
    parts = {part: (size - before["parts"].get(part, 0)) / streams for part, size in after["parts"].items()}
    return (after["resident"] - before["resident"]) / streams, parts


def _worker(url: str, *, traced: bool) -> contextlib.AbstractContextManager[programs.Program]:
    port = programs.free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    arguments = [sys.executable, "-m", "uvicorn", f"{__package__}.footprint:app", *options]
    return programs.running(arguments, port, BACKEND=url, **({TRACED: "1"} if traced else {}))


def _look(program: programs.Program) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/footprint")
        looked: dict[str, Any] = json.loads(connection.getresponse().read())
        return looked


def _open(program: programs.Program, heads: Sequence[bytes], stack: contextlib.ExitStack) -> None:
    """Open streams, and keep them until the end of ``stack``."""
    for first in range(0, len(heads), AT_ONCE):
        some = heads[first : first + AT_ONCE]
        for sock in [stack.enter_context(_asked(program, head)) for head in some]:
            _await_place(sock)


@contextlib.contextmanager
def _asked(program: programs.Program, head: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", program.port), timeout=60) as sock:
        sock.sendall(head)
        yield sock


def _await_place(sock: socket.socket) -> None:
    got = b""
    while PLACE not in got:
        data = sock.recv(65536)
        if not data:
            raise RuntimeError(f"no stream: {got!r}")
        got += data


def table(footprints: dict[Case, Footprint]) -> str:
    """For people: a column for each case, in bytes."""
    rows = [["bytes for each idle stream", *(case.title for case in footprints)]]
    for part in [*PARTS, OTHER]:
        sizes = [each.parts.get(part, 0.0) for each in footprints.values()]
        if any(round(size) for size in sizes):
            rows.append([part, *(f"{size:,.0f}" for size in sizes)])
    rows.append(["asked for", *(f"{sum(each.parts.values()):,.0f}" for each in footprints.values())])
    rows.append(["held by the process", *(f"{each.resident:,.0f}" for each in footprints.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def main() -> None:
    """Measure all cases, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.footprint", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--streams", type=int, default=5000, help="how many are weighed (default: 5000)")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/footprint.txt")
    given = parser.parse_args()
    text = table({case: measure(case, given.streams) for case in CASES})
    command = f"python -m loadtest.footprint --streams {given.streams}"
    text = f"{text}\n\n{given.streams:,} streams, Python {sys.version.split()[0]}; command: {command}"
    print(text)
    if given.save:
        (RESULTS / "footprint.txt").write_text(text + "\n")


if os.environ.get(TRACED):
    tracemalloc.start(1)

if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
