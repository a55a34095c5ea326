"""The sinks on a real uvicorn in the test's own process, on both event loops, with a client on raw sockets.

A HandoverSink takes the connection over from uvicorn, with httptools as well as h11; see KINDS.  What holds
for one sink only by its nature says so in the test.
"""

import asyncio
import contextlib
import fcntl
import gc
import inspect
import logging
import logging.handlers
import socket
import ssl
import struct
import termios
import time
import weakref
from types import SimpleNamespace

import pytest
import uvicorn
import uvloop

from sse_edge import Anonymous, ConfigError, SSEMiddleware
from sse_edge.delivery import transport
from sse_edge.delivery.sink import TaskSink
from sse_edge.delivery.transport import HandoverSink, open_sink, takes_over

HEADERS = [(b"content-type", b"text/event-stream")]
FIRST = b": hello\n\n"
LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
SINKS = {"handover": HandoverSink, "h11": HandoverSink, "task": TaskSink}
"""Of each kind of run: connections taken over from httptools, those taken over from h11, and others."""

PATIENCE = 15
LARGE = 4_000_000
"""Bytes that no kernel takes from a server whose client does not read."""


def chunk(data):
    """``data`` as a chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


END = b"0\r\n\r\n"


async def eventually(condition, what=""):
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


class Tap:
    """A connection's transport that keeps what passes."""

    def __init__(self, inner):
        self._inner = inner
        self.pieces = []

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def write(self, data):
        self.pieces.append(bytes(data))
        self._inner.write(data)


class Exchange:
    """One request at the server: its sink, what was written to the connection, and how it ended.

    ``pieces`` are what the transport was given, where it is ``tapped``.
    """

    def __init__(self, receive, send, headers, *, handover, tapped, wrapped):
        self.cycle = getattr(send, "__self__", None)
        self.transport = self.cycle.transport
        self.protocol = weakref.ref(self.transport.get_protocol())
        if tapped:
            self.cycle.transport = Tap(self.transport)
            self.pieces = self.cycle.transport.pieces

        async def through(message):
            await send(message)

        self.sink = open_sink(through if wrapped else send, receive, headers, handover=handover or wrapped)
        self.started = asyncio.Event()
        self.returned = asyncio.Event()
        self.over = asyncio.Event()
        self.error = None

    def closed(self):
        """See Owner."""
        assert not self.over.is_set(), "closed twice"
        self.over.set()

    def failed(self, error):
        """The app has ended with an error."""
        self.error = error
        self.over.set()

    async def ended(self):
        """Wait until the response is over and the app has returned; raises what it raised."""
        async with asyncio.timeout(PATIENCE):
            await self.over.wait()
            await self.returned.wait()
        if self.error is not None:
            raise self.error


class Server:
    """A uvicorn whose every request becomes an Exchange; it serves one test after the other.

    ``gate`` holds requests up before their start; ``at_once`` is written right after it.  ``wrapped`` is
    whether something stands before the server's ``send``.
    """

    def __init__(self, *, unix=None, certificate=None, http="httptools"):
        self.begin()
        self.ssl = None
        options = {}
        if certificate is not None:
            options = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
            self.ssl = ssl.create_default_context(cafile=str(certificate[0]))
        self._listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._listener.bind(str(unix / f"{id(self)}.sock") if unix else ("127.0.0.1", 0))
        options |= {"http": http, "ws": "none", "interface": "asgi3", "lifespan": "off", "date_header": False}
        config = uvicorn.Config(self._app, log_config=None, **options)
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # Ctrl-C is for the tests
        self.state = self._server.server_state

    def begin(self, *, handover=True, tapped=False):
        """A test begins."""
        self.handover = handover
        self.tapped = tapped
        self.wrapped = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = []
        self.headers = HEADERS
        self.clients = []
        self._arrived = []
        self._exchanges = asyncio.Queue()

    async def end(self):
        """A test is over: nothing of it is left."""
        for client in self.clients:
            client.reset()
        self.gate.set()
        for exchange in self._arrived:
            exchange.sink.abort()
        await eventually(lambda: all(each.over.is_set() and each.returned.is_set() for each in self._arrived))
        await eventually(lambda: not self.state.connections and not self.state.tasks)

    async def _app(self, scope, receive, send):
        if scope["path"] == "/page":
            head = [(b"content-length", b"%d" % LARGE)]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"p" * LARGE})
            return
        how = {"handover": self.handover, "tapped": self.tapped, "wrapped": self.wrapped}
        exchange = Exchange(receive, send, self.headers, **how)
        self._exchanges.put_nowait(exchange)
        self._arrived.append(exchange)
        try:
            await self.gate.wait()
            await exchange.sink.start(FIRST, exchange)
            for data in self.at_once:
                exchange.sink.write(data)
            exchange.started.set()
            await exchange.sink.run()
        except BaseException as error:
            exchange.failed(error)
            exchange.sink.abort()
            raise
        finally:
            exchange.returned.set()

    async def start(self):
        """Begin to listen."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await eventually(lambda: self._server.started)

    async def stop(self):
        """Let go of everything."""
        self._server.should_exit = self._server.force_exit = True
        await self._task
        self._listener.close()

    async def exchange(self):
        """The next request that arrived."""
        async with asyncio.timeout(PATIENCE):
            return await self._exchanges.get()

    async def client(self, receive_buffer=None):
        """A connection; ``receive_buffer`` is its SO_RCVBUF."""
        sock = socket.socket(self._listener.family)
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, self._listener.getsockname())
        self.clients.append(Client(sock))
        return self.clients[-1]

    async def stream(self, request=b"", **options):
        """A client that has sent a request, and the exchange, started."""
        client = await self.client(**options)
        await client.send(request or get())
        exchange = await self.exchange()
        async with asyncio.timeout(PATIENCE):
            await exchange.started.wait()
        return client, exchange


def get(path="/", method="GET", version="1.1", extra=""):
    """A request's bytes."""
    return f"{method} {path} HTTP/{version}\r\nhost: localhost\r\n{extra}\r\n".encode()


class Client:
    """A raw socket."""

    def __init__(self, sock):
        self.sock = sock
        self.got = b""

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def until(self, end):
        """Everything up to and including ``end``."""
        async with asyncio.timeout(PATIENCE):
            while end not in self.got:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
                assert data, f"the connection ended before {end!r}: {self.got[-300:]!r}"
                self.got += data
        before, _, self.got = self.got.partition(end)
        return before + end

    async def bytes(self, count):
        """So many bytes."""
        parts, missing = [self.got[:count]], count - len(self.got)
        self.got = self.got[count:]
        async with asyncio.timeout(PATIENCE):
            while missing > 0:
                data = await asyncio.get_running_loop().sock_recv(self.sock, min(missing, 65536))
                assert data, f"the connection ended {missing} bytes early"
                parts.append(data)
                missing -= len(data)
        return b"".join(parts)

    async def rest(self):
        """Everything until the server ends the connection.  Raises ConnectionResetError."""
        async with asyncio.timeout(PATIENCE):
            while data := await asyncio.get_running_loop().sock_recv(self.sock, 65536):
                self.got += data
        rest, self.got = self.got, b""
        return rest

    @property
    def unread(self):
        """Bytes that its kernel has for it."""
        return struct.unpack("i", fcntl.ioctl(self.sock.fileno(), termios.FIONREAD, bytes(4)))[0]

    def reset(self):
        """Leave without a goodbye."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Loops:
    """Both event loops, each with the servers that tests asked for."""

    def __init__(self):
        self._runners = {}
        self._servers = {}

    def server(self, loop, **options):
        """The loop's runner, and a server on it."""
        if loop not in self._runners:
            self._runners[loop] = asyncio.Runner(loop_factory=LOOPS[loop])
        runner = self._runners[loop]
        key = (loop, *options.items())
        if key not in self._servers:
            self._servers[key] = runner.run(self._start(options))
        return runner, self._servers[key]

    @staticmethod
    async def _start(options):
        server = Server(**options)
        await server.start()
        return server

    def close(self):
        """Stop all."""
        for (loop, *_), server in self._servers.items():
            self._runners[loop].run(server.stop())
        for runner in self._runners.values():
            runner.close()


@pytest.fixture(scope="module")
def loops():
    loops = Loops()
    yield loops
    loops.close()


def served(*, kinds=tuple(SINKS), on=("asyncio", "uvloop"), tapped=False, **options):
    """Run a test on each kind of sink and event loop, giving it a Server on the same loop as ``server``."""

    def decorate(test):
        def run(loops, loop, kind, **fixtures):
            async def whole():
                unseen = []
                asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
                server.begin(handover=kind != "task", tapped=tapped)
                try:
                    have = {"server": server, "kind": kind, "loop": loop, **fixtures}
                    await test(**{name: have[name] for name in wanted})
                finally:
                    await server.end()
                assert unseen == []

            wanting = {name: fixtures[name] for name in ("unix", "certificate") if name in fixtures}
            http = "h11" if kind == "h11" else "httptools"
            runner, server = loops.server(loop, http=http, **options, **wanting)
            runner.run(whole())

        wanted = list(inspect.signature(test).parameters)
        fixtures = [name for name in wanted if name not in ("server", "kind", "loop")]
        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(
            [inspect.Parameter(name, keyword) for name in ("loops", "loop", "kind", *fixtures)]
        )
        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return pytest.mark.parametrize("kind", kinds)(pytest.mark.parametrize("loop", on)(run))

    return decorate


@pytest.fixture(scope="module")
def unix(tmp_path_factory):
    return tmp_path_factory.mktemp("unix")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """No sink makes uvicorn complain, unless a test says so by taking its complaints."""
    yield
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert complaints == []


def complaints(caplog):
    """uvicorn's complaints so far, which are accepted."""
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return said


# What leaves, and in which pieces


@served()
async def test_bytes(server, kind):
    """Each write is one chunk of the response, byte for byte."""
    client, exchange = await server.stream()
    assert type(exchange.sink) is SINKS[kind]
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/event-stream\r\n" in head
    assert head.lower().count(b"transfer-encoding: chunked\r\n") == 1
    assert b"content-length" not in head.lower()
    assert await client.until(b"\n\n\r\n") == chunk(FIRST)
    for data in (b"id: 1\ndata: a\n\n", "data: ü~\r\n\n".encode(), bytes(range(256)) * 300):
        exchange.sink.write(data)
        expected = chunk(data)
        assert await client.bytes(len(expected)) == expected
    exchange.sink.finish(b"bye\n\n")
    assert await client.until(END) == chunk(b"bye\n\n") + END
    await exchange.ended()


@pytest.mark.parametrize("logged", [True, False], ids=["logged", ""])
@served()
async def test_heads_of_one_second(server, monkeypatch, logged):
    """Streams that begin together have the head that each would have alone: its headers, and the server's.

    Those are others in the next second.  And the server logs each stream, if it logs requests.
    """
    # Not the log of the whole run: what other tests have set up for it is still there.
    access, written = logging.getLogger("uvicorn.access"), logging.handlers.BufferingHandler(1000)
    monkeypatch.setattr(access, "handlers", [written] if logged else [])
    monkeypatch.setattr(access, "propagate", False)
    access.setLevel(logging.INFO)
    own, state = (b"access-control-allow-origin", b"https://a.example"), server.state
    lines = []
    for headers, of_the_server in (
        (HEADERS, []),
        (HEADERS, []),
        ([*HEADERS, own], []),
        (HEADERS, []),
        (HEADERS, [(b"date", b"now")]),
        (HEADERS, [(b"date", b"now")]),
        (HEADERS, [(b"date", b"later")]),
    ):
        if of_the_server != state.default_headers:
            monkeypatch.setattr(state, "default_headers", of_the_server)
        server.headers = headers
        client, _ = await server.stream()
        lines.append(set((await client.until(b"\r\n\r\n")).lower().split(b"\r\n")))
    assert lines[0] == lines[1] == lines[3]
    assert lines[2] == lines[0] | {b"access-control-allow-origin: https://a.example"}
    assert lines[4] == lines[5] == lines[0] | {b"date: now"}
    assert lines[6] == lines[0] | {b"date: later"}
    assert len(written.buffer) == (len(lines) if logged else 0)


@served(tapped=True)
async def test_written_in_the_first_turn(server, kind):
    """The head, the first bytes and what is written in the same turn leave in one piece.

    TaskSink has to hand the server the head and the first bytes as two messages, and writes the rest
    when it runs.
    """
    server.at_once = [b"one\n\n", b"two\n\n"]
    client, exchange = await server.stream()
    await client.until(b"two\n\n\r\n")
    *_, last = exchange.pieces
    if kind == "task":
        assert last == chunk(b"one\n\ntwo\n\n")
        assert len(exchange.pieces) == 3
    else:
        (whole,) = exchange.pieces
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body == chunk(FIRST) + chunk(b"one\n\n") + chunk(b"two\n\n")


@served()
async def test_order(server):
    """What was written before the response began comes before what was written later."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    server.at_once = [b"0;"]
    server.gate.set()
    await exchange.started.wait()
    for number in range(1, 300):
        exchange.sink.write(b"%d;" % number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    exchange.sink.finish(b"end")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"".join(b"%d;" % number for number in range(300)) + b"end"


def dechunked(data):
    """The body that a chunked response carries, up to its end."""
    parts = []
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n"
        if not length:
            return b"".join(parts)
        parts.append(data[:length])
        data = data[length + 2 :]


@served()
async def test_shared_bytes(server):
    """Streams that are written the same bytes get the same, also when others are written in between."""
    pairs = [await server.stream() for _ in range(3)]
    for data in (b"a", b"bb", b"a"):
        for _, exchange in pairs:
            exchange.sink.write(data)
    for client, exchange in pairs:
        exchange.sink.finish(b"bye")
        body = (await client.until(END)).partition(b"\r\n\r\n")[2]
        assert dechunked(body) == FIRST + b"abbabye"


@served()
async def test_empty_write(server):
    """A write of nothing does not end the response, as an empty chunk would."""
    client, exchange = await server.stream()
    exchange.sink.write(b"")
    exchange.sink.write(b"x")
    exchange.sink.finish(b"")
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    assert body == chunk(FIRST) + chunk(b"x") + END
    await exchange.ended()
    assert client.unread == 0


# Endings


@served(kinds=["task"])
async def test_keep_alive(server):
    """A finished response ends with the last chunk, and the connection serves the next request."""
    client, exchange = await server.stream()
    for _ in range(3):
        exchange.sink.write(b"x")
        exchange.sink.finish(b"bye")
        exchange.sink.write(b"too late")
        body = (await client.until(END)).partition(b"\r\n\r\n")[2]
        assert dechunked(body) == FIRST + b"xbye"
        await exchange.ended()
        assert exchange.sink.unsent == 0
        await client.send(get())
        exchange = await server.exchange()
        await exchange.started.wait()


@served(kinds=["handover", "h11"])
async def test_the_connection_ends_with_the_stream(server):
    """Where the connection was taken over nothing can follow on it: that is said, and it is closed."""
    client, exchange = await server.stream()
    requests = server.state.total_requests
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    exchange.sink.write(b"too late")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.lower().count(b"\r\nconnection: close") == 1
    assert body.endswith(END)
    assert dechunked(body) == FIRST + b"xbye"
    await exchange.ended()
    assert exchange.sink.unsent == 0
    assert server.state.total_requests == requests + 1


@served()
async def test_finish_before_anything_left(server):
    """A stream that ends in the turn of its start still comes whole."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    exchange.sink.write(b"early")
    exchange.sink.finish(b"bye")
    server.gate.set()
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    # TaskSink sends its first bytes itself, HandoverSink puts them before what is there.
    assert dechunked(body) == FIRST + b"earlybye"
    await exchange.ended()


@served()
async def test_abort_of_a_stuck_client(server):
    """An abort resets the connection and frees what was held for a client that does not read."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    held = exchange.transport.get_write_buffer_size()
    exchange.sink.abort()
    assert exchange.sink.unsent == 0
    exchange.sink.write(b"too late")
    await exchange.ended()
    assert held > 0
    assert exchange.transport.get_write_buffer_size() == 0
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_abort_of_an_idle_stream(server):
    """An aborted stream has no last chunk."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    exchange.sink.abort()
    exchange.sink.abort()
    await exchange.ended()
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_abort_after_finish(server):
    """A goodbye that is never read can be cut short."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    exchange.sink.finish(b"bye")
    await asyncio.sleep(0.02)
    assert not exchange.over.is_set()
    exchange.sink.abort()
    await exchange.ended()
    assert exchange.sink.unsent == 0
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_client_leaves(server):
    """``run`` returns when the client leaves, with a goodbye or without, and forgets what is unsent."""
    for leave in (Client.reset, lambda client: client.sock.close()):
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        leave(client)
        await exchange.ended()
        assert exchange.sink.write(b"x") == 0
        exchange.sink.finish(b"bye")
        exchange.sink.abort()
        assert exchange.sink.unsent == 0


@served()
async def test_client_leaves_unread(server):
    """The same for a client that leaves while much waits for it."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    client.reset()
    await exchange.ended()
    assert exchange.sink.unsent == 0


@served(tapped=True)
async def test_client_gone_before_the_start(server):
    """A client that left before its response began is no error, and nothing is written."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    client.reset()
    await eventually(lambda: exchange.cycle.disconnected)
    server.gate.set()
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    exchange.sink.abort()


def request_tasks():
    """uvicorn's tasks for requests."""
    return [one for one in asyncio.all_tasks() if "run_asgi" in one.get_coro().__qualname__]


@served(kinds=["task"])
async def test_cancelled(server, caplog):
    """Cancelling the request cancels ``run``; uvicorn, whose task it is, says so."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    (task,) = request_tasks()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()
    assert await client.rest() == b""
    await asyncio.wait([task])
    complaints(caplog)


@served()
async def test_cancelled_before_the_start(server, caplog):
    """A request that is cancelled while its response waits behind another leaves nothing behind."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    for task in request_tasks():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()
    assert exchange.sink._owner is None
    complaints(caplog)


@served(kinds=["handover", "h11"])
async def test_aborted_before_the_start(server):
    """A stream that is ended before it began says so when it begins, and writes nothing."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    exchange.sink.abort()
    server.gate.set()
    await exchange.ended()
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served(kinds=["task"])
async def test_abort_of_what_is_over(server):
    """An abort that comes after the response has ended leaves the connection to the next request."""
    client, exchange = await server.stream()
    exchange.sink.finish(b"bye")
    await client.until(END)
    await exchange.ended()
    await client.send(get())
    following = await server.exchange()
    exchange.sink.abort()
    exchange.sink.write(b"x")
    following.sink.finish(b"bye")
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    assert dechunked(body) == FIRST + b"bye"
    await following.ended()


# What is left of the request


@served(kinds=["handover", "h11"])
async def test_nothing_of_the_request_is_left(server):
    """Of an open stream uvicorn has a connection in its books, and no task, cycle or protocol any more."""
    gc.collect()
    gc.disable()
    try:
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        await exchange.returned.wait()
        cycle, exchange.cycle = weakref.ref(exchange.cycle), None
        await eventually(lambda: not request_tasks() and cycle() is exchange.protocol() is None)
        assert server.state.connections == {exchange.sink}
        assert exchange.transport.get_protocol() is exchange.sink
        there = id(exchange.sink)
        client.reset()
        await exchange.over.wait()
        exchange.sink = TaskSink(None, None, [])  # another for the end of the test
        await eventually(
            lambda: (
                not [each for each in gc.get_objects() if id(each) == there and type(each) is HandoverSink]
            )
        )
        assert not server.state.connections
    finally:
        gc.enable()


@served(kinds=["handover", "h11"])
async def test_a_stream_counts_as_a_connection(server):
    """``limit_concurrency`` counts open streams, as it does where a request's task holds them."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    other = await server.client()
    await other.send(get("/page"))
    await other.until(b"\r\n\r\n")
    assert len(server.state.connections) == 2
    client.reset()
    await exchange.ended()
    await eventually(lambda: len(server.state.connections) == 1)


@served(kinds=["handover", "h11"])
async def test_gone_between_two_writes(server):
    """A write that finds out that the client has left ends the stream, and what follows is not sent."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    client.reset()
    while not exchange.sink._over:  # without a turn of the loop, in which it would hear of it
        exchange.sink.write(b"x" * 1000)
    assert exchange.sink.unsent == 0
    exchange.sink.finish(b"bye")
    await exchange.ended()


@served(kinds=["handover", "h11"])
async def test_refused_after_all(server, monkeypatch):
    """A connection that cannot be taken over although its kind can is cut, without a byte of the stream."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()

    class Refuses(Tap):
        def set_protocol(self, protocol):
            raise NotImplementedError

    exchange.sink._transport = exchange.cycle.transport = tap = Refuses(exchange.transport)
    server.gate.set()
    await exchange.ended()
    assert tap.pieces == []
    with pytest.raises(ConnectionResetError):
        await client.rest()


# What the server makes of requests


@served()
async def test_http_1_0(server, kind):
    """A request of HTTP/1.0 is answered by uvicorn itself, and then the connection closes."""
    client, exchange = await server.stream(get(version="1.0"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    body = (await client.rest()).partition(b"\r\n\r\n")[2]
    assert type(exchange.sink) is TaskSink
    assert (body if kind == "h11" else dechunked(body)) == FIRST + b"xbye"
    await exchange.ended()


@served()
async def test_connection_close(server):
    """A client that asked for the end of the connection gets it after the last chunk."""
    client, exchange = await server.stream(get(extra="connection: close\r\n"))
    exchange.sink.finish(b"bye")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.lower().count(b"\r\nconnection: close") == 1
    assert dechunked(body) == FIRST + b"bye"


@served()
async def test_expect_100_continue(server):
    """A client that waits to be asked for its body is not asked, and gets one response, not two heads."""
    client, exchange = await server.stream(get(extra="expect: 100-continue\r\ncontent-length: 3\r\n"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    answer = await client.until(END)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert dechunked(answer.partition(b"\r\n\r\n")[2]) == FIRST + b"xbye"


@served()
async def test_head(server):
    """HEAD, which is answered without a sink, would get no body from one either: it is left to uvicorn."""
    client, exchange = await server.stream(get(method="HEAD"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    await exchange.ended()
    assert type(exchange.sink) is TaskSink
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert client.unread == 0


MORE = [get("/second"), get("/second")[:9], b"x", b"\r\n"]
"""What may come behind the request of a stream: another, a part of one, anything."""


async def more(server):
    """Whoever sends any of it is let go of at once, as if it had left."""
    for data in MORE:
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        await client.send(data)
        await exchange.ended()
        assert exchange.sink.write(b"x") == 0
        assert exchange.sink.unsent == 0
        with pytest.raises(ConnectionResetError):
            await client.rest()
    await at_once(server)


async def at_once(server):
    """The same for what comes in one piece with the request: not a byte of the stream is written."""
    for second in (get("/second"), b"GET /second HTTP/1.1\r\nHost: x\r\na: b\r\n", b"G"):
        client, exchange = await server.stream(get() + second)
        await exchange.ended()
        with pytest.raises(ConnectionResetError):
            assert await client.rest() == b""
        assert server._exchanges.empty()


@served(kinds=["handover", "h11"])
async def test_more_than_a_request(server):
    """Whatever a client sends on the connection of its open stream ends it."""
    await more(server)


@served(kinds=["handover", "h11"])
async def test_more_than_a_request_through_tls(server, certificate):
    """The same through TLS."""
    address = server._listener.getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
    try:
        writer.write(get())
        exchange = await server.exchange()
        await exchange.started.wait()
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(chunk(FIRST))
            writer.write(b"x")
            await exchange.ended()
            with contextlib.suppress(OSError):  # there is no goodbye
                assert await reader.read() == b""
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@served()
async def test_request_body(server, kind):
    """A body ends the stream with its first byte; where it is heard the connection is cut as well."""
    client, exchange = await server.stream(get(extra="content-length: 200000\r\n"))
    exchange.sink.write(b"x")
    await client.until(chunk(b"x"))
    await client.send(b"y")
    await exchange.ended()
    if kind == "task":
        await client.until(END)
    else:
        with pytest.raises(ConnectionResetError):
            await client.rest()


@served(kinds=["handover", "h11"])
async def test_after_a_page(server):
    """A connection that has answered requests before may be taken over as well."""
    client = await server.client()
    for _ in range(2):
        await client.send(get("/page"))
        await client.until(b"\r\n\r\n")
        await client.bytes(LARGE)
    await client.send(get())
    exchange = await server.exchange()
    await client.until(chunk(FIRST))
    await client.send(b"x")
    await exchange.ended()


@served(kinds=["handover", "h11"])
async def test_closes_its_side(server):
    """A client that closes its side has left, however it goes on reading: the connection ends in order."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    client.sock.shutdown(socket.SHUT_WR)
    await exchange.ended()
    assert await client.rest() == b""


@served(kinds=["handover", "h11"])
async def test_closes_its_side_unread(server):
    """One that does not read what waits for it is not waited for."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    client.sock.shutdown(socket.SHUT_WR)
    await exchange.ended()
    assert exchange.sink.unsent == 0
    await eventually(lambda: exchange.transport.get_write_buffer_size() == 0)
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served(kinds=["task"])
async def test_pipelined(server):
    """A second request is answered when the stream is over, where uvicorn's connection is left alone."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    exchange.sink.write(b"x")
    await client.until(chunk(b"x"))
    exchange.sink.finish(b"bye")
    assert await client.until(END) == chunk(b"bye") + END
    second = await server.exchange()
    await second.started.wait()
    second.sink.finish(b"bye")
    assert dechunked((await client.until(END)).partition(b"\r\n\r\n")[2]) == FIRST + b"bye"


@served(kinds=["task"])
async def test_leaves_behind_a_pipelined_request(server, caplog):
    """There uvicorn does not tell a stream with a request behind it that its client left; a write shows it.

    On uvloop a write to a closed connection raises.  On asyncio's loop it does nothing, and the connection
    is looked at.
    """
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    await eventually(lambda: exchange.cycle.flow.read_paused)
    client.reset()
    await written_until_over(exchange)
    complaints(caplog)


@served(kinds=["task"])
async def test_leaves_behind_a_pipelined_request_inside_an_app(server, caplog):
    """The same where ``send`` is wrapped, as it is in front of whatever ``add_middleware`` adds."""
    server.wrapped = True
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    await eventually(lambda: exchange.cycle.flow.read_paused)
    client.reset()
    await written_until_over(exchange)
    complaints(caplog)


async def written_until_over(exchange):
    """Write to a stream until its sink has found that its client left."""
    deadline = time.monotonic() + PATIENCE
    while not exchange.over.is_set():
        assert time.monotonic() < deadline
        exchange.sink.write(b"x")
        await asyncio.sleep(0.01)
    await exchange.ended()
    assert exchange.sink.unsent == 0


@served(tapped=True)
async def test_start_behind_an_unread_response(server, kind, caplog):
    """A response behind one that its client does not read waits, and can be aborted meanwhile."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    assert exchange.cycle.flow.write_paused
    exchange.sink.write(b"early")
    await asyncio.sleep(0.02)
    assert not exchange.started.is_set()
    exchange.sink.abort()
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    if kind == "task":
        assert complaints(caplog)


@served()
async def test_start_behind_a_response_that_is_read_later(server):
    """The same response goes out in order once the client reads."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    exchange.sink.write(b"early")
    page = await client.until(b"\r\n\r\n") + await client.bytes(LARGE)
    assert page.endswith(b"p" * 1000)
    exchange.sink.finish(b"bye")
    head, _, body = (await client.until(END)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert dechunked(body) == FIRST + b"earlybye"
    await exchange.ended()


@served()
async def test_unix(server, unix):
    """The same over a unix socket, where no kernel is asked and no reset is possible."""
    client, exchange = await server.stream()
    exchange.sink.write(b"x")
    await client.until(chunk(FIRST) + chunk(b"x"))
    assert exchange.sink.unsent == 0
    exchange.sink.finish(b"bye")
    assert await client.until(END) == chunk(b"bye") + END
    await exchange.ended()


@served()
async def test_tls(server, certificate):
    """The same through TLS, where the connection's socket is not what is written to."""
    address = server._listener.getsockname()
    for leave in ("finish", "abort"):
        reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
        try:
            writer.write(get())
            exchange = await server.exchange()
            await exchange.started.wait()
            data = b"y" * 500_000
            exchange.sink.write(data)
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(b"\r\n\r\n")
                expected = chunk(FIRST) + chunk(data)
                assert await reader.readexactly(len(expected)) == expected
                await eventually(lambda exchange=exchange: exchange.sink.unsent == 0)
                if leave == "finish":
                    exchange.sink.finish(b"bye")
                    assert await reader.readuntil(END) == chunk(b"bye") + END
                else:
                    writer.transport.abort()
            await exchange.ended()
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@served(kinds=["handover", "h11"])
async def test_tls_abort_of_a_stuck_client(server, certificate):
    """What waits for a TLS client that does not read is seen, and an abort frees it."""
    address = server._listener.getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
    try:
        writer.transport.pause_reading()
        writer.write(get())
        exchange = await server.exchange()
        await exchange.started.wait()
        for _ in range(8):
            exchange.sink.write(b"y" * LARGE)
            await asyncio.sleep(0.01)
        # The first write passes the TLS layer, and waits in the connection below it.
        assert exchange.sink.unsent >= 2 * LARGE
        exchange.sink.abort()
        await exchange.ended()
        assert exchange.sink.unsent == 0
        writer.transport.resume_reading()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionResetError):
                await reader.read()
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# What waits


@served(kinds=["handover", "h11"])
async def test_unsent(server):
    """HandoverSink counts what has not reached the client's machine, in the server and in the kernel."""
    client, exchange = await server.stream(receive_buffer=4096)
    await client.until(chunk(FIRST))
    total = 0

    def all_accounted():
        return client.unread + exchange.sink.unsent == total

    for _ in range(40):
        exchange.sink.write(b"x" * 100_000)
        total += len(chunk(b"x" * 100_000))
        await eventually(all_accounted)
    assert exchange.sink.unsent > total - 100_000
    assert exchange.transport.get_write_buffer_size() < exchange.sink.unsent
    waits = exchange.sink.write(b"y")
    assert 0 < waits <= exchange.sink.unsent
    await client.bytes(total + len(chunk(b"y")))
    await eventually(lambda: exchange.sink.unsent == 0)
    assert exchange.sink.write(b"z") == 0


@served(kinds=["handover", "h11"])
async def test_unsent_in_the_kernel(server):
    """A few bytes that the client has no room for are seen, although the server got rid of them."""
    client, exchange = await server.stream(receive_buffer=4096)
    await client.until(chunk(FIRST))
    written = 0
    while not exchange.sink.unsent:
        assert exchange.sink.write(b"x" * 1000) == 0
        written += len(chunk(b"x" * 1000))
        await asyncio.sleep(0.001)
    assert exchange.transport.get_write_buffer_size() == 0
    await client.bytes(written)
    await eventually(lambda: exchange.sink.unsent == 0)


@served(kinds=["task"])
async def test_unsent_as_far_as_send_tells(server):
    """TaskSink counts what the server's ``send`` has not taken; what the server holds it cannot see."""
    client, exchange = await server.stream(receive_buffer=4096)
    written = 0
    while not exchange.sink.unsent:
        exchange.sink.write(b"x" * 200_000)
        written += 200_000
        await asyncio.sleep(0.005)
    assert exchange.sink.write(b"y") == exchange.sink.unsent == 200_001
    rest = b"x" * written + b"y"
    await client.until(chunk(FIRST))
    body = b""
    while len(body) < len(rest):
        size = int(await client.until(b"\r\n"), 16)
        body += (await client.bytes(size + 2))[:-2]
    assert body == rest
    await eventually(lambda: exchange.sink.unsent == 0)


@served()
async def test_unsent_before_the_first_bytes(server, kind):
    """What is written before anything could leave counts as waiting, so that a large replay is known."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    framing = len(chunk(b"x" * 1000)) - 1000 if kind != "task" else 0
    assert exchange.sink.write(b"x" * 1000) == 1000 + framing
    assert exchange.sink.write(b"x" * 1000) == 2 * (1000 + framing)
    assert exchange.sink.unsent >= 2000
    server.gate.set()
    await client.until(b"x\r\n")
    await eventually(lambda: exchange.sink.unsent == 0)


@served()
async def test_reads_again(server):
    """A client that was stuck and reads again gets everything, in order, and the stream goes on."""
    client, exchange = await server.stream(receive_buffer=65536)
    for number in range(100):
        exchange.sink.write(b"%d;" % number + b"x" * 50_000)
        await asyncio.sleep(0)
    exchange.sink.finish(b"bye")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"".join(b"%d;" % number + b"x" * 50_000 for number in range(100)) + b"bye"
    await exchange.ended()


@served()
async def test_ready_as_the_client_reads(server):
    """What is written in pieces, each when the sink is ready for it, flows as fast as the client reads."""
    client, exchange = await server.stream(receive_buffer=65536)
    piece, count, written = b"x" * 250_000, 40, 0

    def more():
        nonlocal written
        written += 1
        exchange.sink.write(piece)
        if written < count:
            exchange.sink.when_ready(more)
        else:
            exchange.sink.finish(b"bye")

    exchange.sink.when_ready(more)
    assert written == 0
    await eventually(lambda: written)
    for _ in range(50):  # nobody reads: it asks for no more than fits
        await asyncio.sleep(0.002)
    assert written < 20
    stood = written
    await asyncio.sleep(0.05)
    assert written == stood
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + piece * count + b"bye"
    await exchange.ended()


@served()
async def test_finished_when_it_is_ready(server):
    """A response may be finished at the very moment when everything has left: it ends once."""
    client, exchange = await server.stream(receive_buffer=65536)
    exchange.sink.write(b"x" * LARGE)
    exchange.sink.when_ready(lambda: exchange.sink.finish(b"bye"))
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"x" * LARGE + b"bye"
    await exchange.ended()


@served()
async def test_never_ready_when_it_is_over(server, caplog):
    """When a response is aborted while it waits for its client nothing is called, and nothing is left."""
    _, exchange = await server.stream(receive_buffer=65536)
    before = asyncio.all_tasks()
    called = []
    for _ in range(20):
        exchange.sink.write(b"x" * 250_000)
        await asyncio.sleep(0)
    exchange.sink.when_ready(lambda: called.append(1))
    exchange.sink.abort()
    await exchange.ended()
    exchange.sink.when_ready(lambda: called.append(2))
    await eventually(lambda: asyncio.all_tasks() <= before)
    assert called == []


@served(kinds=["handover", "h11"])
async def test_default_timeout(server):
    """A default timeout that an app sets for its own sockets makes no write wait, and cuts nobody off."""
    socket.setdefaulttimeout(0.2)
    try:
        client, exchange = await server.stream(receive_buffer=65536)
    finally:
        socket.setdefaulttimeout(None)
    for _ in range(LARGE // 1000):  # until the kernel takes no more; on this thread the client reads too
        exchange.sink.write(b"x" * 1000)
    exchange.sink.finish(b"bye")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"x" * LARGE + b"bye"
    await exchange.ended()


@served(tapped=True)
async def test_refused_start(server, kind, caplog):
    """A head that the server refuses ends the stream without an error, and without a byte of it.

    HandoverSink cuts the connection; behind TaskSink uvicorn closes it and complains.
    """
    server.headers = [(b"content-type", b"bad\r\nvalue")]
    client, exchange = await server.stream()
    exchange.sink.write(b"x")
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    if kind == "task":
        assert await client.rest() == b""
        assert len(complaints(caplog)) == 1
    else:
        with pytest.raises(ConnectionResetError):
            await client.rest()


# Which sink


class StandIn:
    """What HandoverSink needs of a transport."""

    protocol = None

    def write(self, data):
        """See asyncio."""

    def close(self):
        """See asyncio."""

    def abort(self):
        """See asyncio."""

    def is_closing(self):
        """See asyncio."""
        return False

    def get_write_buffer_size(self):
        """See asyncio."""
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        """See asyncio."""

    def get_extra_info(self, name):
        """See asyncio."""

    def get_protocol(self):
        """See asyncio."""
        return self.protocol

    def set_protocol(self, protocol):
        """See asyncio."""
        self.protocol = protocol


def cycle(*, module="uvicorn.protocols.http.other", name="Cycle", without=(), blunt=(), **methods):
    """An object with the features of uvicorn's request cycle, some of its parts ``without`` features.

    Its transport is without the ``blunt`` ones, and has other ``methods``.
    """

    async def send(self, message):
        """See ASGI."""

    async def receive(self):
        """See ASGI."""

    made = type(name, (), {"__module__": module, "send": send, "receive": receive})()
    inherited = {key: value for key, value in vars(StandIn).items() if key not in blunt and key[0] != "_"}
    made.transport = type("Transport", (), {**inherited, **methods})()
    made.flow = SimpleNamespace(read_paused=False, write_paused=False, drain=None)
    made.scope = {"http_version": "1.1", "method": "GET"}
    made.chunked_encoding = None
    made.disconnected, made.access_log, made.default_headers = False, False, []
    state = SimpleNamespace(connections=set(), total_requests=0)
    parts = {
        "cycle": made,
        "scope": made.scope,
        "server_state": state,
        "connection_lost": print,
        "loop": None,
    }
    made.transport.protocol = type("Protocol", (), {})()
    vars(made.transport.protocol).update(parts)
    for feature in without:
        part, _, name = feature.rpartition(".")
        delattr(
            {"": made, "flow": made.flow, "protocol": made.transport.protocol, "state": state}[part], name
        )
    return made


@pytest.fixture
def sayings(caplog, monkeypatch):
    """What the edge's log says, none of these kinds being known yet."""
    monkeypatch.setattr(transport, "_judged", {})
    caplog.set_level(logging.INFO, "sse_edge")
    return lambda: [record.getMessage() for record in caplog.records]


LEFT = "the connections of this uvicorn are not taken over (uvicorn.protocols.http.other)"


def test_recognised_by_feature(sayings):
    """Whatever of uvicorn has the features is taken over, by whatever name it goes."""
    for name in ("RequestResponseCycle", "Renamed"):
        one = cycle(name=name)
        assert type(open_sink(one.send, one.receive, HEADERS)) is HandoverSink
        assert type(open_sink(one.send, one.receive, HEADERS, handover=False)) is TaskSink
    assert sayings() == []


FEATURES = [
    *transport._CYCLE,
    *(f"flow.{name}" for name in transport._FLOW),
    *(f"protocol.{name}" for name in transport._PROTOCOL),
    *(f"state.{name}" for name in transport._STATE),
]


@pytest.mark.parametrize("feature", FEATURES)
def test_without_a_feature(sayings, feature):
    """A uvicorn that lacks anything inside keeps its connections, and that is said once."""
    kinds = None
    for _ in range(3):
        one = cycle(without=[feature])
        kinds = kinds or (type(one), type(one.transport), type(one.transport.protocol))
        one.__class__, one.transport.__class__, one.transport.protocol.__class__ = kinds
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


@pytest.mark.parametrize("feature", transport._TRANSPORT)
def test_transport_without_a_feature(sayings, feature):
    """The same where the connection's transport is another."""
    one = cycle(blunt=[feature])
    for _ in range(3):
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


def refuses(self, protocol):
    """A ``set_protocol`` that says so."""
    raise NotImplementedError


def ignores(self, protocol):
    """One that does as if."""
    self.protocol = None


@pytest.mark.parametrize("set_protocol", [refuses, ignores])
def test_transport_that_keeps_its_protocol(sayings, set_protocol):
    """The same where it does not take another protocol: found out with the first request, for all."""
    one = cycle(set_protocol=set_protocol)
    protocol = one.transport.protocol
    for _ in range(3):
        one.transport.protocol = protocol
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


def test_client_that_has_left(sayings):
    """A connection that is gone says nothing about the others of its kind."""
    one = cycle()
    one.transport.protocol = None
    assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_each_kind_is_said_once(sayings):
    """Two that differ are said of separately."""
    ones = [cycle(module=f"uvicorn.{name}", without=["flow"]) for name in ("a", "b")]
    for _ in range(2):
        for one in ones:
            open_sink(one.send, one.receive, HEADERS)
    text = "the connections of this uvicorn are not taken over (uvicorn.{})"
    assert sayings() == [text.format(name) for name in ("a", "b")]


def test_not_uvicorn(sayings):
    """The same features outside uvicorn mean nothing."""
    for module in ("uvicornlike.http", "hypercorn.protocol", "myapp"):
        one = cycle(module=module)
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_not_the_servers_own(sayings):
    """A ``send`` or ``receive`` that something wraps, or that belong to two requests, are not bypassed."""
    one, other = cycle(), cycle()

    async def wrapped(*message):
        """Whatever a middleware does."""

    for send, receive in ((wrapped, one.receive), (one.send, wrapped), (one.send, other.receive)):
        assert type(open_sink(send, receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_said_by_the_environment(monkeypatch):
    """SSE_EDGE_SINK is auto, handover or task; anything else is refused when the edge is made, by name."""
    assert takes_over("auto")
    assert takes_over("handover")
    assert not takes_over("task")
    for said in ("", "Task", "uvicorn"):
        monkeypatch.setenv("SSE_EDGE_SINK", said)
        with pytest.raises(ConfigError, match="SSE_EDGE_SINK") as caught:
            SSEMiddleware(auth=Anonymous(), channels={"/events/news": "news"})
        assert repr(said) in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind"), [("auto", HandoverSink), ("handover", HandoverSink), ("task", TaskSink)]
)
async def test_environment_decides(monkeypatch, said, kind):
    """With SSE_EDGE_SINK=task no connection is taken over."""
    monkeypatch.setenv("SSE_EDGE_SINK", said)
    opened = []
    monkeypatch.setattr(
        "sse_edge.outlet.open_sink",
        lambda *given, **options: opened.append(open_sink(*given, **options)) or opened[-1],
    )
    edge = SSEMiddleware(auth=Anonymous(), channels={"/events/news": "news"})
    config = uvicorn.Config(edge, http="httptools", ws="none", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(get("/events/news"))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"retry")
        writer.close()
        await writer.wait_closed()
        server.should_exit = True
        await task
    assert [type(sink) for sink in opened] == [kind]
