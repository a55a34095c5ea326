"""What a client is put into: an edge under uvicorn with several settings, and lines to it that are cut."""

import asyncio
import contextlib
import json
import mimetypes
import socket
import struct
from collections import Counter
from pathlib import Path

import uvicorn

from parts.hostile import nasty_events
from servers.sse import Decoder
from sse_edge import Event, Identity, Limits, Publisher, Retention, SSEMiddleware
from sse_edge.asgi import respond
from sse_edge.backends.memory import MemoryBackend
from sse_edge.streams.outlet import STREAM_HEADERS

HERE = Path(__file__).parent
KEEP_ALIVE = 0.3
RETRY = 0.2
MAX_DURATION = 1.0
NOBODY, FORBIDDEN = "nobody", "forbidden"
"""Whom nothing proves, and what nobody may read."""
THE_END = "the end of what is nasty"
LONG = 60_000
"""Bytes of a line that some clients cannot read: Go's ``bufio.Scanner`` has 64 KiB, unless it is told."""

IMPORTS = {
    "@microsoft/fetch-event-source": "@microsoft/fetch-event-source/lib/esm/index.js",
    "reconnecting-eventsource": "reconnecting-eventsource/build/esm/reconnecting-eventsource.js",
    "sse.js": "sse.js/lib/sse.js",
    "eventsource-parser": "eventsource-parser/dist/index.js",
    "eventsource-client": "eventsource-client/dist/default.esm.js",
}
"""What a page's drivers import by its name, and where that is in node_modules."""


class ByPath:
    """The user is the last part of the path, so that no two columns share a cap; nothing proves NOBODY."""

    def identify(self, request, now):
        """See ``Authenticator``."""
        user = request.path.rpartition("/")[2]
        return None if user == NOBODY else Identity(user)


def _edge(path, **settings):
    backend = MemoryBackend(history=1000, retention={"short*": Retention(3, 300)})
    return SSEMiddleware(
        None,
        backend=backend,
        auth=ByPath(),
        path=path,
        channels={f"{path}/{{name}}": "{name}"},
        authorize=lambda identity, channel: channel != FORBIDDEN,
        limits=Limits(per_user=1, per_ip=None, connects_per_ip=None),
        **{"retry": RETRY, "keep_alive": KEEP_ALIVE, "max_duration": None, **settings},
    )


def nasty(longest=None):
    """The nasty events in the bytes of a stream; only those without a longer line than ``longest`` bytes.

    None is named ``__proto__``: nobody does that, and every EventSource that is written in JavaScript trips.
    """
    encoded = [Event(**case).encode() for case in nasty_events() if case.get("event") != "__proto__"]
    short = [each for each in encoded if longest is None or max(map(len, each.split(b"\n"))) <= longest]
    return b"".join([*short, Event(THE_END).encode()])


class Scene:
    """``async with Scene() as scene``: one worker, whose edges differ by a setting each.

    ``calm`` says little, ``quiet`` nothing, ``brief`` ends streams after MAX_DURATION, ``status`` and
    ``stream`` say refusals as such.  The worker also has the drivers' pages: ``/page/DRIVER#ARGUMENT``.
    """

    def __init__(self):
        self.edges = {
            "calm": _edge("/calm"),
            "quiet": _edge("/quiet", keep_alive=None),
            "brief": _edge("/brief", max_duration=MAX_DURATION),
            "status": _edge("/status", refusals="status"),
            "stream": _edge("/stream", refusals="stream"),
        }
        self.asked = Counter()
        """Requests so far, by path."""
        self._publishers = {name: Publisher(edge.backend) for name, edge in self.edges.items()}
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        config = uvicorn.Config(self._app, log_config=None, interface="asgi3", lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # Ctrl-C is for the tests

    async def __aenter__(self):
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc):
        self._server.should_exit = True
        for edge in self.edges.values():
            await edge.stop()
        self._server.force_exit = True
        await self._serving
        self._listener.close()

    async def publish(self, edge, channel, data, **more):
        """One event; see ``Publisher.publish``."""
        return await self._publishers[edge].publish(channel, data, **more)

    async def finish(self, edge, channel, data):
        """The last event; see ``Publisher.finish``."""
        return await self._publishers[edge].finish(channel, data)

    async def place(self, edge):
        """Where its streams are now; see ``Publisher.cursor``."""
        return await self._publishers[edge].cursor()

    @contextlib.asynccontextmanager
    async def line(self):
        """A Line to this worker."""
        line = Line(self.port)
        await line.start()
        try:
            yield line
        finally:
            await line.close()

    async def _app(self, scope, receive, send):
        path = scope["path"]
        self.asked[path] += 1
        first, _, rest = path[1:].partition("/")
        if first in self.edges:
            await self.edges[first](scope, receive, send)
        elif first == "nasty":
            await _stream(receive, send, nasty(LONG if rest == "short" else None))
        elif first == "page":
            await respond(send, 200, [(b"content-type", b"text/html; charset=utf-8")], _page(rest))
        else:
            await _file(path, send)


async def _stream(receive, send, data):
    await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
    at, size = 0, 1
    while at < len(data):
        await send({"type": "http.response.body", "body": data[at : at + size], "more_body": True})
        at, size = at + size, size * 7919 % 2003 + 1 if at < 50_000 else 65_536
    gone = asyncio.create_task(_gone(receive))
    while not gone.done():  # some give up a connection that is silent for a few seconds
        await send({"type": "http.response.body", "body": b": keep-alive\n", "more_body": True})
        await asyncio.wait([gone], timeout=KEEP_ALIVE)


async def _gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def _page(driver):
    imports = json.dumps({"imports": {name: f"/node_modules/{file}" for name, file in IMPORTS.items()}})
    html = f"""<!doctype html><meta charset="utf-8"><title>{driver}</title><body>
<script type="importmap">{imports}</script>
<script type="module" src="/javascript/{driver}"></script>"""
    return html.encode()


async def _file(path, send):
    file = (HERE / path[1:]).resolve()
    if not file.is_file():
        file = file.with_name(f"{file.name}.js")  # as bundlers take an import
    if not file.is_file() or HERE not in file.parents:
        await respond(send, 404, [], b"")
        return
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    await respond(send, 200, [(b"content-type", kind.encode())], file.read_bytes())


class Line:
    """A TCP proxy in front of the worker.

    ``cuts`` say where the answers to the next requests for a stream are cut in turn: so many bytes behind the
    first that are such.  ``heard`` is all that went to the client.
    """

    def __init__(self, port):
        self._to = port
        self.cuts = []
        self.heard = bytearray()
        self._pairs = {}

    async def start(self):
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def close(self):
        """Cut what is left, and stop."""
        self._server.close()
        while self._pairs:
            self.cut()
            await asyncio.wait(self._pairs, timeout=5)

    def cut(self):
        """Reset every open connection."""
        for writers in self._pairs.values():
            for writer in writers:
                _reset(writer)

    @property
    def comments(self):
        """How many the client was sent: one at the beginning of a stream, and then keep-alives."""
        return self.heard.count(b"\n: ")

    async def placed(self, streams=1, timeout=10):
        """Wait until the last of so many streams has told the client where it is; whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self.placed_in(streams):
                    await asyncio.sleep(0.01)
                return True
        return False

    def placed_in(self, streams):
        """Whether the last of so many streams has told the client where it is."""
        _, *opened = self.heard.split(b": stream open")
        return len(opened) >= streams and b"\nid: " in opened[-1]

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._pairs[task] = [writer]
        asking = None
        try:
            answers, worker = await asyncio.open_connection("127.0.0.1", self._to)
            self._pairs[task].append(worker)
            asking = asyncio.create_task(self._ask(reader, worker))
            await self._answer(answers, writer)
        except OSError:
            pass  # one of both is gone, as the other soon will be
        finally:
            if asking is not None:
                asking.cancel()
            for each in self._pairs.pop(task):
                each.close()

    async def _ask(self, reader, worker):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                worker.write(data)
        worker.close()

    async def _answer(self, answers, writer):
        answer, cut = bytearray(), None
        while data := await answers.read(65_536):
            if cut is None and self.cuts and b"text/event-stream" in data:
                cut = self.cuts.pop(0)
                answer.clear()
            end = _end_at(answer, data, cut)
            self.heard += data[:end]
            writer.write(data[:end])
            await writer.drain()
            if end is not None:
                await asyncio.sleep(0.2)  # a reset drops what has not been read
                for each in self._pairs[asyncio.current_task()]:
                    _reset(each)
                return


def _end_at(answer, data, cut):
    """How much of some more bytes of an answer comes before its cut; None if all does."""
    before = len(answer)
    answer += data
    at = -1 if cut is None else answer.find(cut[0])
    return None if at < 0 or at + cut[1] > len(answer) else max(0, at + cut[1] - before)


def _reset(writer):
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def as_written(stream):
    """What the specification makes of a stream: events, each with the last id so far."""
    return Decoder().feed(stream)
