"""A joint response as its client reads it: each strand's bytes by themselves."""

import asyncio
import contextlib
import json
import re
import socket
from urllib.parse import quote

import uvicorn

from parts.door import eventually
from servers.asgi import ASGIClient
from servers.sse import Decoder, StreamClient
from sse_edge import Channel, SignedCookie, Source

_LINE = re.compile(rb"^: strand (\d+)\n", re.MULTILINE)


def also(*urls):
    """The query that asks for these URLs besides."""
    return "&".join(f"also={quote(url, safe='')}" for url in urls)


def strands(body):
    """``{number: bytes}``; fails where a line stands within a block, or turns to who is speaking already."""
    before, *rest = _LINE.split(bytes(body))
    assert before == b""
    found, speaking, ended = {}, None, True
    for number, piece in zip(map(int, rest[::2]), rest[1::2], strict=True):
        assert number != speaking
        assert ended, f"a block of {speaking} was not over"
        found[number] = found.get(number, b"") + piece
        speaking, ended = number, piece.endswith(b"\n\n")
    return found


def heard(body, number):
    """The events of one strand, as a browser would dispatch them."""
    return Decoder().feed(strands(body).get(number, b""))


def place(body, number):
    """Where the client of one strand comes back from."""
    decoder = Decoder()
    decoder.feed(strands(body)[number])
    return decoder.last_event_id


AUTH = SignedCookie("a secret of the tests", secure=False)


async def ticks(request, identity, after):
    """Says what it was asked, and goes on until it is closed."""
    yield f"{request.path} {request.query} after {after}"
    await asyncio.Event().wait()


async def hello(request, identity):
    return f"hello {identity.user}"


CHANNELS = {
    "/events/me": ["user:{user}", "news"],
    "/events/orders/{order_id}": "order:{order_id}",
    "/events/clock": Source(ticks),
    "/events/hello": Channel("user:{user}", greeting=hello),
    "/events/packed": Channel("user:{user}", compress=True),
}


def cookie(user="u42", channels=("order:*", "news"), **options):
    """Headers with a cookie that lets ``user`` in."""
    return {"cookie": f"session={AUTH.issue(user, channels, **options)}"}


class Task:
    """A client within this process, whose server takes what it is sent."""

    def __init__(self, edge, closing):
        self.client = None
        self._edge, self._closing = edge, closing

    async def ask(self, path, query, headers):
        self.client = ASGIClient(self._edge, path, query=query, headers=headers)
        self._closing.append(self.client.close)
        await self.client.start()
        return self

    def body(self):
        return self.client.body()

    def leave(self):
        self.client.disconnect()

    @property
    def status(self):
        return self.client.status

    @property
    def complete(self):
        return self.client.complete


class Handover:
    """A client of a uvicorn, whose connection the edge takes over."""

    def __init__(self, edge, closing):
        self.client = None
        self._edge, self._closing = edge, closing

    async def ask(self, path, query, headers):
        if not hasattr(self._edge, "port"):
            self._edge.port = await _serve(self._edge, self._closing)
        url = f"http://127.0.0.1:{self._edge.port}{path}?{query}"
        self.client = await StreamClient.connect(url, headers=headers)
        self._closing.insert(0, self.client.aclose)
        return self

    def body(self):
        return bytes(self.client.raw)

    def leave(self):
        self.client.abort()

    @property
    def status(self):
        return self.client.status

    @property
    def complete(self):
        return self.client.response.complete


async def _serve(edge, closing):
    server = uvicorn.Server(uvicorn.Config(edge, ws="none", lifespan="off", log_config=None))
    server.capture_signals = contextlib.nullcontext
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started, "the server")

    async def stop():
        server.should_exit = True
        await task

    closing.append(stop)
    return listener.getsockname()[1]


@contextlib.asynccontextmanager
async def asking(kind):
    """``await ask(edge, path, *also, headers=…)`` is such a client with its first bytes."""
    closing = []

    async def ask(edge, path, *urls, headers=None, query=""):
        query = "&".join(filter(None, [query, also(*urls)]))
        return await kind(edge, closing).ask(path, query, headers or cookie())

    yield ask
    for close in closing:
        await close()


async def live(client, count):
    """Wait until so many strands have their place."""
    await eventually(
        lambda: len([1 for piece in strands(client.body()).values() if b"\nid: " in piece]) == count,
        "all strands' places",
    )


async def until(client, number, text):
    """Wait until a strand says so."""
    await eventually(lambda: text in strands(client.body()).get(number, b""), f"{text} on {number}")


def told(client, number, name):
    """What the last event of a strand says, which has that name and a time to come back after."""
    event = heard(client.body(), number)[-1]
    assert event.event == name
    assert b"\nretry: " in strands(client.body())[number].rpartition(b"event: ")[2]
    return json.loads(event.data)
