"""A uvicorn in the test's own process whose every request is a sink, on both event loops; raw clients."""

import asyncio
import contextlib
import fcntl
import inspect
import logging
import logging.handlers
import socket
import ssl
import struct
import termios
import time
import weakref

import pytest
import uvicorn
import uvloop

from sse_edge.delivery.sink import TaskSink
from sse_edge.delivery.transport import HandoverSink, open_sink

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


def complaints(caplog):
    """uvicorn's complaints so far, which are accepted."""
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return said


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
