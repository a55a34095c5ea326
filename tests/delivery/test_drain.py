"""Hearing that the process is to stop: the chain of handlers, and real servers with open streams."""

import asyncio
import json
import signal
import threading
import time

import pytest

from apps.edge import AUTH
from servers.browser import wait_for
from servers.sse import ResponseReader, get
from sse_edge.signals import SignalChain

COOKIES = {"session": AUTH.issue("u42")}


@pytest.fixture
def handlers():
    """Notes which handlers are called; puts those from before back."""
    calls = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: calls.append(("server", number)))
    yield calls
    for number, handler in before.items():
        signal.signal(number, handler)


def current():
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_chain(handlers, number):
    """A signal is heard on the event loop, and by the handler that was there before."""
    heard = asyncio.Event()
    chain = SignalChain(asyncio.get_running_loop(), heard.set)
    before = current()
    chain.install()
    signal.raise_signal(number)
    assert handlers == [("server", number)]
    assert not heard.is_set()  # not inside the handler, which interrupts anything
    await asyncio.wait_for(heard.wait(), 5)
    chain.remove()
    assert current() == before


async def test_removed(handlers):
    """After the removal only the server's handler is called."""
    chain = SignalChain(asyncio.get_running_loop(), lambda: handlers.append("ours"))
    chain.install()
    chain.remove()
    chain.remove()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)
    assert handlers == [("server", signal.SIGTERM)]


async def test_someone_in_front(handlers):
    """A handler that came in front of ours stays at the removal, and can go on calling the one behind."""
    chain = SignalChain(asyncio.get_running_loop(), lambda: handlers.append("ours"))
    chain.install()
    ours = signal.getsignal(signal.SIGTERM)

    def front(number, frame):
        handlers.append("front")
        ours(number, frame)

    signal.signal(signal.SIGTERM, front)
    chain.remove()
    assert signal.getsignal(signal.SIGTERM) is front
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)
    assert handlers == ["front", ("server", signal.SIGTERM)]


async def test_two_chains(handlers):
    """Two apps in one process both hear the signal, and the server once."""
    first, second = (SignalChain(asyncio.get_running_loop(), lambda n=n: handlers.append(n)) for n in (1, 2))
    before = current()
    first.install()
    second.install()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)
    assert handlers in ([("server", signal.SIGTERM), 2, 1], [("server", signal.SIGTERM), 1, 2])
    second.remove()
    first.remove()
    assert current() == before


async def test_default_action(handlers):
    """Where no server set a handler, none is put in front: the signal does what it always did."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chain = SignalChain(asyncio.get_running_loop(), lambda: None)
    chain.install()
    assert current() == (signal.SIG_DFL, signal.SIG_IGN)


async def test_held(handlers):
    """A server that would cut streams hears of the signal when they are over, and once."""
    heard = asyncio.Event()
    chain = SignalChain(asyncio.get_running_loop(), heard.set, holds=True)
    chain.install()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(heard.wait(), 5)
    assert handlers == []
    chain.release()
    chain.release()
    chain.remove()
    assert handlers == [("server", signal.SIGTERM)]


async def test_held_no_longer(handlers):
    """It hears of a second signal at once, and of one that is held when the edge is stopped."""
    chain = SignalChain(asyncio.get_running_loop(), lambda: None, holds=True)
    chain.install()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert handlers == [("server", signal.SIGINT)]
    signal.raise_signal(signal.SIGTERM)
    assert handlers == [("server", signal.SIGINT)]
    chain.remove()
    assert handlers == [("server", signal.SIGINT), ("server", signal.SIGTERM)]


async def test_a_server_without_handlers(handlers):
    """Where the signal would kill a server that can be made to stop, it is; an ignored one stays ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chain = SignalChain(
        asyncio.get_running_loop(), lambda: None, otherwise=lambda: handlers.append("stopped")
    )
    chain.install()
    assert current()[1] == signal.SIG_IGN
    signal.raise_signal(signal.SIGTERM)
    assert handlers == ["stopped"]
    chain.remove()
    assert current() == (signal.SIG_DFL, signal.SIG_IGN)


async def test_other_thread(handlers):
    """In another thread, where Python allows no handlers, nothing is installed and nothing raises."""
    loop = asyncio.get_running_loop()
    before = current()
    threads = []

    def work():
        chain = SignalChain(loop, lambda: None)
        chain.install()
        threads.append((threading.current_thread(), current()))
        chain.remove()

    await asyncio.to_thread(work)
    assert threads[0][0] is not threading.main_thread()
    assert threads[0][1] == before


@pytest.mark.parametrize("holds", [False, True])
def test_closed_loop(handlers, holds):
    """A signal after the event loop was closed goes to the server's handler alone, and at once."""
    loop = asyncio.new_event_loop()
    chain = SignalChain(loop, lambda: handlers.append("ours"), holds=holds)
    chain.install()
    loop.close()
    signal.raise_signal(signal.SIGTERM)
    assert handlers == [("server", signal.SIGTERM)]
    chain.remove()
    assert handlers == [("server", signal.SIGTERM)]


SERVERS = [
    pytest.param({"server": "uvicorn"}, id="uvicorn"),
    pytest.param({"server": "uvicorn", "options": ["--http", "h11", "--loop", "asyncio"]}, id="h11"),
    pytest.param({"server": "uvicorn", "options": ["--lifespan", "off"]}, id="no lifespan"),
    pytest.param({"server": "uvicorn", "workers": 3}, id="3 workers"),
    pytest.param({"server": "granian"}, id="granian"),
    pytest.param({"server": "hypercorn"}, id="hypercorn"),
    pytest.param({"server": "hypercorn", "workers": 2}, id="hypercorn, 2 workers"),
    pytest.param({"server": "daphne"}, id="daphne"),
]


@pytest.mark.parametrize("server", SERVERS)
async def test_sigterm(serve_app, connect, server):
    """At SIGTERM a server's streams end with a goodbye and the final chunk, and it exits soon and quietly."""
    process = serve_app("apps.edge:edge", **server)
    clients = [await connect(f"{process.url}/events/me", cookies=COOKIES) for _ in range(8)]
    for client in clients:
        await client.comment() if not client.comments else None
    process.signal(signal.SIGTERM)
    started = time.monotonic()
    for client in clients:
        goodbye = await client.next()
        assert (goodbye.event, goodbye.data) == ("edge-close", '{"reason": "drain"}')
        assert await client.ended()
        assert 1500 <= client.retry <= 4500
    await process.exited(10)
    assert time.monotonic() - started < 3
    assert "Traceback" not in process.log
    assert "ERROR" not in process.log


@pytest.mark.parametrize(
    ("worker", "number"),
    [
        ("uvicorn_worker.UvicornWorker", signal.SIGINT),
        ("uvicorn_worker.UvicornWorker", signal.SIGQUIT),
        ("asgi", signal.SIGQUIT),
    ],
)
async def test_gunicorn_is_to_stop_at_once(serve_app, connect, worker, number):
    """At SIGINT and SIGQUIT gunicorn sends its workers SIGQUIT, which uvicorn never hears of: they drain."""
    process = serve_app("apps.edge:edge", server="gunicorn", options=["-k", worker])
    client = await connect(f"{process.url}/events/me", cookies=COOKIES)
    process.signal(number)
    began = time.monotonic()
    goodbye = await client.until(lambda event: event.event == "edge-close")
    assert goodbye.data == '{"reason": "drain"}'
    assert await client.ended()
    assert await process.exited(10) == 0
    assert time.monotonic() - began < 5
    assert "SIGKILL" not in process.log


async def test_sigterm_with_less_time_than_the_drain_takes(serve_app, connect):
    """Streams that were taken over end in good order too when uvicorn waits no longer, and are counted."""
    options = ["--timeout-graceful-shutdown", "1"]
    process = serve_app("apps.edge:edge", server="uvicorn", options=options, env={"SSE_EDGE_SINK": "auto"})
    clients = await asyncio.gather(
        *(connect(f"{process.url}/events/me", cookies=COOKIES, timeout=30) for _ in range(250))
    )
    process.signal(signal.SIGTERM)
    began = time.monotonic()
    for client in clients:  # over the whole window they would take longer
        goodbye = await client.until(lambda event: event.event == "edge-close")
        assert goodbye.data == '{"reason": "drain"}'
        assert await client.ended()
    await process.exited(10)
    assert time.monotonic() - began < 2.3
    assert process.log.count("ended: drain after") == 250
    assert "Traceback" not in process.log


@pytest.mark.parametrize("server", SERVERS[:2])
async def test_a_server_that_stops_by_itself(serve_app, connect, server):
    """Where uvicorn has had as many requests as it may, and stops without a signal, it does not wait for
    streams that were taken over: they are drained."""
    options = [*server.get("options", ()), "--limit-max-requests", "12"]
    process = serve_app("apps.edge:edge", options=options, env={"SSE_EDGE_SINK": "auto"})
    clients = [await connect(f"{process.url}/events/me", cookies=COOKIES) for _ in range(8)]
    for _ in range(12):
        await get(f"{process.url}/figures")
    for client in clients:
        goodbye = await client.until(lambda event: event.event == "edge-close")
        assert goodbye.data == '{"reason": "drain"}'
        assert await client.ended()
    await process.exited(5)
    assert process.log.count("ended: drain after") == 8
    assert "Traceback" not in process.log


async def test_sigterm_after_a_client_that_did_not_read(serve_app, connect):
    """A client that was let go of as slow does not keep the process from exiting.

    That takes a sink that resets connections: otherwise uvicorn waits for the client to read what it holds.
    """
    process = serve_app("apps.edge:edge", env={"SSE_EDGE_SINK": "auto"})
    stuck = await connect(f"{process.url}/events/me", cookies=COOKIES, receive_buffer=4096)
    stuck.stop_reading()
    figures = {"endings": {}}
    while not figures["endings"]:
        await get(f"{process.url}/publish/news", method="POST", body=b"x" * 200_000)
        figures = json.loads((await get(f"{process.url}/figures")).body)
    assert figures["endings"] == {"slow": 1}
    process.signal(signal.SIGTERM)
    await process.exited(4)


class KeptAlive:
    """A connection for one request after the other."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def get(self, path):
        """The body of the answer."""
        cookie = f"session={COOKIES['session']}"
        head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nCookie: {cookie}\r\n\r\n"
        )
        self.writer.write(head.encode())
        response, body = ResponseReader(), b""
        async with asyncio.timeout(5):
            while not response.complete:
                data = await self.reader.read(65536)
                assert data, "the connection was closed"
                body += response.feed(data)
        return body.decode()


@pytest.fixture
async def kept_alive():
    """``await kept_alive(process)``: a connection of its own that is closed at the end."""
    opened = []

    async def connect(process):
        opened.append(KeptAlive(*await asyncio.open_connection("127.0.0.1", process.port)))
        return opened[-1]

    yield connect
    for one in opened:
        one.writer.close()
        await one.writer.wait_closed()


@pytest.mark.parametrize("server", ["uvicorn", "granian", "hypercorn"])
async def test_drained_by_a_hook(serve_app, connect, kept_alive, server):
    """On any server ``edge.drain`` ends streams in good order, is not ready at once, and refuses new ones."""
    process = serve_app("apps.draining:app", server=server)
    clients = [await connect(f"{process.url}/events/me", cookies=COOKIES) for _ in range(30)]
    connection = await kept_alive(process)
    assert json.loads(await connection.get("/figures"))["ready"] is True
    await connection.get("/drain")
    assert json.loads(await connection.get("/figures"))["ready"] is False
    refused = await connection.get("/events/me")
    assert "event: edge-refused" in refused
    assert '"error": "draining"' in refused
    for client in clients:
        goodbye = await client.until(lambda event: event.event == "edge-close")
        assert goodbye.data == '{"reason": "drain"}'
        assert await client.ended()
    async with asyncio.timeout(5):  # a client sees the end a moment before the worker counts it
        while (figures := json.loads(await connection.get("/figures")))["streams"]:
            pass
    assert figures["endings"] == {"drain": 30}
    assert "Traceback" not in process.log


def test_a_tab_outlives_a_draining_worker(serve_app, page):
    """A native EventSource whose worker drains asks again, is refused, and stays: the next worker has it."""
    process = serve_app("apps.draining:app", env={"RETRY": "0.2"})
    page.get(process.url)
    page.add_cookie({"name": "session", "value": COOKIES["session"]})
    page.execute_script(
        """
        window.refused = 0; window.states = new Set(); window.opened = 0
        window.source = new EventSource("/events/me")
        source.addEventListener("edge-refused", () => refused++)
        source.onopen = () => opened++
        source.onerror = () => states.add(source.readyState)
        """
    )
    wait_for(page, "opened === 1")
    page.execute_script("fetch('/drain')")
    wait_for(page, "refused >= 2")
    process.kill()
    other = serve_app("apps.edge:edge", port=process.port, env={"RETRY": "0.2"})
    while json.loads(page.execute_async_script(FIGURES))["streams"] == 0:
        assert other.alive
    assert page.execute_script("return [...states]") == [0]  # CONNECTING, never CLOSED


FIGURES = """
const done = arguments[0]
fetch("/figures").then(answer => answer.text()).then(done, () => done('{"streams": 0}'))
"""


@pytest.mark.parametrize(
    ("server", "code"),
    [
        ({"server": "uvicorn"}, -signal.SIGTERM),
        ({"server": "uvicorn", "workers": 3}, 0),
        ({"server": "granian"}, 0),
        ({"server": "hypercorn"}, 0),
        ({"server": "daphne"}, 0),
    ],
)
async def test_exit_codes(serve_app, connect, server, code):
    """uvicorn dies of the signal after its clean exit; its supervisor, and granian, exit with 0."""
    process = serve_app("apps.edge:edge", **server)
    client = await connect(f"{process.url}/events/me", cookies=COOKIES)
    process.signal(signal.SIGTERM)
    assert await client.ended()
    assert await process.exited(10) == code
    assert "Traceback" not in process.log
