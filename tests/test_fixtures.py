"""The fixtures themselves: what every other test stands on."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from servers.asgi import ASGIClient
from servers.browser import wait_for
from servers.processes import PACKAGES, TESTS, ServerProcess, command, free_port
from servers.sse import Decoder, Received, ResponseReader, StreamClient, StreamEndedError, get

HELLO = "apps.hello:app"


def _message(data, event="message", id=""):
    return Received(event, data, id)


# ---- Decoder


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [_message("a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [_message("a"), _message("b"), _message("c")]),
        (b"\xef\xbb\xbfdata: a\n\n", [_message("a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [_message("b")]),
        (b"data:a\n\ndata:  a\n\ndata: \n\ndata\n\n", [_message(d) for d in ("a", " a", "", "")]),
        (b"data: a\ndata\ndata: b\n\n", [_message("a\n\nb")]),
        (b"event: x\n\ndata: a\n\n", [_message("a")]),
        (b"event: x\ndata: a\n\n", [_message("a", "x")]),
        (
            b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [_message("a", id="7"), _message("b", id="7"), _message("c")],
        ),
        (b"id: 7\0\ndata: a\n\n", [_message("a")]),
        (b": note\n:x\ndata: a\nunknown: 1\n\n", [_message("a")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: \xc3\xa9 \xff\xe2\n\n", [_message("é \ufffd\ufffd")]),
        (b"data: \xe2\x80\xa8 \x0b \xc2\x85\n\n", [_message("\u2028 \x0b \x85")]),
        (b" data: a\nDATA: b\n\n", []),
    ],
)
def test_the_decoder_reads_a_stream_cut_anywhere(stream, events):
    """Every cut of the stream into two, and one byte at a time, gives the same events."""
    for cut in range(len(stream) + 1):
        decoder = Decoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == events
    decoder = Decoder()
    assert [event for i in range(len(stream)) for event in decoder.feed(stream[i : i + 1])] == events


def test_the_decoder_keeps_comments_and_retry():
    """Comments are recorded without the colon and one space; a retry counts if it is all digits."""
    decoder = Decoder()
    decoder.feed(b": one\n:two\n:\nretry: 10\nretry: 1x\nretry:\nretry: -5\nretry: \xd9\xa1\n\n")
    assert decoder.comments == ["one", "two", ""]
    assert decoder.retry == 10


def test_the_decoder_commits_an_id_without_data():
    """An id takes effect at the blank line, whether or not there is an event."""
    decoder = Decoder("1")
    assert decoder.feed(b"id: 2\n") == []
    assert (decoder.last_event_id, decoder.commits, decoder.pending) == ("1", [], True)
    assert decoder.feed(b"\n") == []
    assert (decoder.last_event_id, decoder.commits, decoder.pending) == ("2", ["2"], False)


# ---- ResponseReader and StreamClient

CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"e;note=1\r\nid: 1\ndata: a\r\r\n4\r\n\n\r\n:\r\n8\r\n\ndata: b\r\n0A\r\n\n\n: bye\nok"
    b"\r\n0\r\nTrailer: 1\r\n\r\n"
)


def test_the_reader_joins_chunks_cut_anywhere():
    """Status, headers and body come out the same wherever the bytes are cut."""
    for cut in range(len(CHUNKED) + 1):
        reader = ResponseReader()
        body = reader.feed(CHUNKED[:cut]) + reader.feed(CHUNKED[cut:])
        assert body == b"id: 1\ndata: a\r\n\r\n:\ndata: b\n\n: bye\nok"
        assert reader.status == 200
        assert reader.header("Content-Type") == "text/event-stream"
        assert reader.complete
        assert reader.chunked_end


@pytest.mark.parametrize(
    ("method", "head", "body", "complete"),
    [
        ("GET", b"200 OK\r\nContent-Length: 2\r\n", b"ok", True),
        ("GET", b"200 OK\r\nContent-Length: 3\r\n", b"ok", False),
        ("GET", b"200 OK\r\nContent-Length: 0\r\n", b"", True),
        ("GET", b"204 No Content\r\n", b"", True),
        ("HEAD", b"200 OK\r\nContent-Length: 3\r\n", b"", True),
        ("GET", b"200 OK\r\n", b"until the end", False),
    ],
)
def test_the_reader_knows_when_a_response_is_over(method, head, body, complete):
    """Content-Length, a status without a body and HEAD end a response without a chunk."""
    reader = ResponseReader(method)
    assert reader.feed(b"HTTP/1.1 " + head + b"\r\n" + body) == body
    assert (reader.complete, reader.chunked_end) == (complete, False)


FIRST_EVENT = CHUNKED[: CHUNKED.index(b"\ndata: b")]


@pytest.fixture
async def raw_server():
    """``await raw_server(handle)``: a server of ``handle(reader, writer)``, whose end is awaited."""
    servers, tasks = [], []

    async def start(handle, **options):
        async def serve(reader, writer):
            tasks.append(asyncio.current_task())
            try:
                await handle(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0, **options))
        return servers[-1].sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)


def _send(*pieces, requests=None, hold=False):
    """A handler that reads a request and sends the pieces one by one."""

    async def handle(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        with contextlib.suppress(ConnectionError):
            while hold and await reader.read(1):
                pass

    return handle


async def test_a_client_reads_a_stream_that_arrives_in_pieces(raw_server, connect):
    """Events, comments, ids and the clean end are seen although each piece is cut short."""
    requests = []
    pieces = (CHUNKED[i : i + 7] for i in range(0, len(CHUNKED), 7))
    url = f"http://127.0.0.1:{await raw_server(_send(*pieces, requests=requests))}/events/x?y=1"
    headers = {"Origin": "http://a.test"}
    client = await connect(url, cookies={"session": "s"}, last_event_id="0", headers=headers)
    assert client.status == 200
    assert await client.next() == _message("a", id="1")
    assert await client.until(lambda event: event.data == "b") == _message("b", id="1")
    assert await client.ended()
    assert client.clean_end
    assert client.comments == ["", "bye"]
    assert client.last_event_id == "1"
    with pytest.raises(StreamEndedError, match="2 events"):
        await client.next()
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /events/x?y=1 HTTP/1.1"
    assert "Cookie: session=s" in lines
    assert "Last-Event-ID: 0" in lines
    assert "Origin: http://a.test" in lines


async def test_a_client_tells_a_cut_from_an_end(raw_server, connect):
    """Without the final chunk a stream has ended, and not cleanly."""
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(CHUNKED[:-9]))}/")
    assert not await client.ended()
    assert not client.clean_end


async def test_a_client_times_out_on_silence(raw_server, connect):
    """Waiting has an end, and silence can be asserted."""
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(FIRST_EVENT, hold=True))}/")
    await client.next()
    await client.quiet(0.05)
    with pytest.raises(TimeoutError, match="1 events, 1 taken"):
        await client.next(0.05)
    with pytest.raises(TimeoutError, match="the end of the stream"):
        await client.ended(0.05)


async def test_a_client_refuses_broken_chunks(raw_server, connect):
    """A chunk that is longer than it says is noticed."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(broken))}/")
    await client.ended()
    assert "longer than its size" in str(client.error)


@pytest.mark.parametrize(("way", "gone"), [("abort", ConnectionResetError), ("close", None)])
async def test_a_client_resets_or_closes(raw_server, way, gone):
    """The server sees a reset after abort and an orderly end after close."""
    seen = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(FIRST_EVENT)
        try:
            seen.set_result(await reader.read())
        except ConnectionResetError as error:
            seen.set_result(error)

    client = await StreamClient.connect(f"http://127.0.0.1:{await raw_server(handle)}/")
    getattr(client, way)()
    async with asyncio.timeout(5):
        result = await seen
    await client.aclose()
    assert isinstance(result, gone) if gone else result == b""


async def test_a_client_stops_reading(raw_server, connect):
    """What the client leaves unread fills the sockets until the server's writes stall."""
    stalled = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(500):
                writer.write(b":" + b"x" * 100_000 + b"\n")
                async with asyncio.timeout(0.3):
                    await writer.drain()
        except TimeoutError:
            stalled.set()
        writer.transport.abort()

    client = await connect(f"http://127.0.0.1:{await raw_server(handle)}/", receive_buffer=4096)
    client.stop_reading()
    async with asyncio.timeout(10):
        await stalled.wait()
    client.resume_reading()
    await client.ended()


async def test_a_client_speaks_tls(raw_server, connect, certificate):
    """The same client works over TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    port = await raw_server(_send(CHUNKED, hold=True), ssl=context)
    trusting = ssl.create_default_context(cafile=certificate[0])
    client = await connect(f"https://localhost:{port}/", ssl=trusting)
    assert await client.ended()
    assert [event.data for event in client.events] == ["a", "b"]


# ---- the ASGI driver


async def _stream_app(scope, receive, send):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]}
    )
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two ", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": b"late"})


async def test_a_request_step_by_step(asgi):
    """Head, body, disconnect and return are each seen when they happen."""
    client = asgi(_stream_app, "/here", root_path="/app", headers={"Cookie": "a=b"}, query="q=1")
    assert await client.start() == (200, [(b"x-path", b"/app/here")])
    assert client.header("X-Path") == "/app/here"
    assert await client.wait_for(b"two ") == b"one two "
    assert not client.task.done()
    client.disconnect()
    await client.ended()
    assert client.body() == b"one two "
    assert client.sends_after_disconnect == 1
    assert client.scope["headers"] == [(b"host", b"testserver"), (b"cookie", b"a=b")]


async def test_a_send_can_be_held_up(asgi):
    """A blocked send suspends the app until it is unblocked, or the client goes away."""
    client = asgi(_stream_app)
    client.block_send()
    with pytest.raises(TimeoutError):
        await client.start(0.02)
    assert client.waiting_sends == 1
    client.unblock_send()
    await client.wait_for(b"two")
    client.block_send()
    client.disconnect()
    await client.ended()


async def test_a_request_can_be_cancelled(asgi):
    """Cancelling ends the app's task."""
    client = asgi(_stream_app)
    await client.wait_for(b"two")
    await client.cancel()
    assert client.task.cancelled()


async def test_a_newer_server_raises_after_the_disconnect(asgi):
    """From ASGI 2.4 on a send after the disconnect raises OSError."""
    client = asgi(_stream_app, spec_version="2.4")
    await client.wait_for(b"two")
    client.disconnect()
    with pytest.raises(OSError, match="disconnected"):
        await client.ended()


SHARED = {"type": "http.response.body", "body": b"x", "more_body": True}


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"type": "http.response.body"}], "before http.response.start"),
        ([{"type": "http.response.start", "status": 200, "headers": []} for _ in range(2)], "twice"),
        ([{"type": "http.response.start", "status": "200"}], "status is"),
        ([{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}], "a header is"),
        ([{"type": "http.response.start", "status": 200, "headers": [(b"A", b"b")]}], "a header is"),
        ([{"type": "http.response.start", "status": 200}, SHARED, SHARED], "sent before"),
        (
            [
                {"type": "http.response.start", "status": 200},
                *({"type": "http.response.body"} for _ in range(2)),
            ],
            "after the last",
        ),
        ([{"type": "websocket.accept"}], "unexpected message"),
    ],
)
async def test_the_driver_notices_what_asgi_forbids(messages, why):
    """A fault is raised in the test even if the app swallows it."""

    async def app(scope, receive, send):
        try:
            for one in messages:
                await send(one)
        except AssertionError:
            pass

    client = ASGIClient(app).open()
    with pytest.raises(AssertionError, match=why):
        await client.ended()


async def test_two_requests_must_not_get_one_message(asgi):
    """A message or a header list shared between connections is a fault."""
    headers = [(b"a", b"b")]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    clients = ASGIClient(app), ASGIClient(app)
    clients[1]._ledger = clients[0]._ledger
    await clients[0].open().ended()
    with pytest.raises(AssertionError, match="this header list was sent before"):
        await clients[1].open().ended()


async def test_the_driver_notices_a_receive_loop(asgi):
    """An app that spins on receive after the disconnect is stopped."""

    async def app(scope, receive, send):
        while True:
            await receive()

    client = ASGIClient(app).open()
    client.disconnect()
    with pytest.raises(AssertionError, match="in a loop"):
        await client.ended()


async def test_an_exception_that_nobody_asked_for():
    """What the app raises reaches the test at the end of the request, once."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("broken app")

    client = ASGIClient(app)
    await client.start()
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="broken app"):
        await client.close()
    await client.close()


async def test_a_lifespan(lifespan):
    """Startup returns the state, shutdown returns after the app has."""
    steps = []

    async def app(scope, receive, send):
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            scope["state"][step] = True
            steps.append(step)
            await send({"type": f"lifespan.{step}.complete"})
        steps.append("returned")

    driver = lifespan(app)
    assert await driver.startup() == {"startup": True}
    assert steps == ["startup"]
    await driver.shutdown()
    assert steps == ["startup", "shutdown", "returned"]


async def test_a_lifespan_that_fails(lifespan):
    """A failed startup, an app that raises and one that just returns are told apart."""

    async def fails(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no secret"})

    async def raises(scope, receive, send):
        raise ValueError("no lifespan here")

    async def returns(scope, receive, send):
        pass

    with pytest.raises(RuntimeError, match="no secret"):
        await lifespan(fails).startup()
    with pytest.raises(ValueError, match="no lifespan here"):
        await lifespan(raises).startup()
    with pytest.raises(AssertionError, match="returned without completing startup"):
        await lifespan(returns).startup()


# ---- processes


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
async def test_an_app_in_a_real_server(serve_app, connect, server):
    """Each server answers, streams, and ends on SIGTERM."""
    process = serve_app(HELLO, server=server, env={"HELLO": server})
    answer = await get(process.url + "/")
    assert (answer.status, answer.body) == (200, server.encode())
    assert answer.header("content-type") == "text/plain"
    assert (await get(process.url + "/none")).status == 404
    client = await connect(process.url + "/stream")
    assert [event.id for event in await client.take(3)] == ["1", "2", "3"]
    await client.aclose()
    process.signal(signal.SIGTERM)
    await process.exited()
    assert not process.alive
    assert process.log


async def test_an_app_on_a_unix_socket(serve_app, tmp_path):
    """A server can listen on a unix socket, and the client reach it there."""
    path = tmp_path / "app.sock"
    process = serve_app(HELLO, unix=path)
    assert (await get(process.url + "/", unix=path)).body == b"hello"


async def test_two_workers(serve_app, connect):
    """Killing a server takes its workers with it."""
    process = serve_app(HELLO, workers=2)
    client = await connect(process.url + "/stream")
    worker = int((await client.next()).data)
    assert worker != process.pid
    process.kill()
    assert process.returncode == -signal.SIGKILL
    path = Path(f"/proc/{worker}/stat")
    _wait_gone(lambda: (_stat(path) or "Z")[0] == "Z")


def test_a_server_that_dies_shows_its_log(serve_app):
    """A server that cannot start fails the test at once, with its own words."""
    with pytest.raises(pytest.fail.Exception, match=r"(?s)ended with code 3.*no_such_app"):
        serve_app("apps.no_such_app:app")


def test_a_server_that_never_listens_times_out(serve):
    """Waiting for a port has an end."""
    with pytest.raises(pytest.fail.Exception, match=r"no connection within 0\.1 s"):
        serve([sys.executable, "-c", "import time; time.sleep(60)"], port=free_port(), timeout=0.1)


def test_a_missing_program_names_its_package(monkeypatch):
    """A missing program is a failure that says what to install, and not a skip."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(
        pytest.fail.Exception, match="chromedriver is not installed: Debian package chromium-driver"
    ):
        command("chromedriver")


def test_the_script_installs_what_the_tests_name():
    """tests/debian-packages and the fixtures agree on commands and packages."""
    listed = subprocess.run([TESTS / "debian-packages", "--list"], capture_output=True, text=True, check=True)
    assert dict(line.split() for line in listed.stdout.splitlines()) == PACKAGES
    source = "".join(path.read_text() for path in TESTS.rglob("*.py"))
    assert set(re.findall(r'(?<![\w.])command\("([\w-]+)"', source)) <= {"sh", *PACKAGES}


_CHILD = """
import os, subprocess, time
subprocess.Popen(["sleep", "60"])
print(os.getpgid(0), flush=True)
time.sleep(60)
"""

_TESTS = f"""
import sys, time
from servers.processes import ServerProcess
process = ServerProcess([sys.executable, "-c", {_CHILD!r}])
process.wait_for_log("\\n")
print(process.log, flush=True)
time.sleep(60)
"""


def test_nothing_outlives_the_tests(tmp_path):
    """A server and its children die with the tests, even when those are killed."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _TESTS], env=environ, stdout=subprocess.PIPE) as process:
        group = int(process.stdout.readline())
        assert _running(group)
        process.kill()
    _wait_gone(lambda: not _running(group))


def _running(group):
    """Whether a process of a group runs; one that nobody has reaped yet does not."""
    stats = [stat for path in Path("/proc").glob("[0-9]*/stat") if (stat := _stat(path))]
    return any(int(stat[2]) == group and stat[0] != "Z" for stat in stats)


def _stat(path):
    """State, parent, group, … of a process (proc(5)); None when it is gone."""
    try:
        return path.read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _wait_gone(gone):
    deadline = time.monotonic() + 10
    while not gone():
        assert time.monotonic() < deadline, "the process still runs"
        time.sleep(0.02)


def test_ports_are_given_out_once():
    """A free port can be bound, and is not offered again."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", ports[0]))


def test_no_port_is_given_to_two_processes():
    """Where tests run in several processes, a port that one has waits for it also while nothing listens."""
    code = f"from loadtest.site.programs import ports; print(ports.take({free_port()}))"
    asked = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, check=True)
    assert asked.stdout == b"False\n"


# ---- Redis


@pytest.mark.parametrize("number", [1, 2])
def test_the_shared_redis_is_empty_for_each_test(redis_url, redis_server, number):
    """What one test leaves behind is gone in the next."""
    client = redis_server.client()
    assert client.dbsize() == 0
    client.set("left", number)
    assert redis_url == f"redis://127.0.0.1:{redis_server.port}/0"


@pytest.mark.parametrize("options", [{}, {"appendonly": True, "appendfsync": "always"}])
def test_a_restart_keeps_or_loses_the_data(private_redis, options):
    """A restart comes back on the same port with everything, or with nothing."""
    server = private_redis(**options)
    port = server.port
    client = server.client()
    client.set("key", "value")
    server.restart(keep_data=True)
    assert server.port == port
    assert client.get("key") == "value"
    server.restart(keep_data=False)
    assert client.get("key") is None


def test_a_crash_loses_what_is_not_on_disk(private_redis):
    """Without persistence a killed Redis comes back empty, also after a restart that kept its data."""
    server = private_redis()
    server.client().set("key", "value")
    server.restart(keep_data=True)
    server.kill()
    assert not server.alive
    server.start()
    assert server.client().get("key") is None


def test_a_crash_keeps_what_is_on_disk(private_redis):
    """With the append-only file written at once, a killed Redis comes back with its data."""
    server = private_redis(appendonly=True, appendfsync="always")
    server.client().set("key", "value")
    server.kill()
    server.start()
    assert server.client().get("key") == "value"


def test_a_paused_redis_answers_nothing(private_redis):
    """A paused Redis accepts and stays silent; afterwards it goes on."""
    server = private_redis()
    server.pause()
    with pytest.raises(redis.TimeoutError):
        server.client(socket_timeout=0.1).ping()
    server.resume()
    assert server.client().ping()


def test_a_redis_with_a_password_and_a_unix_socket(private_redis):
    """Password, unix socket, further configuration and redis-cli work together."""
    server = private_redis(password="p@ss/word", unixsocket=True, config=["maxmemory 50mb"])
    for url in (server.url, server.unix_url):
        with redis.Redis.from_url(url) as client:
            assert client.ping()
    with pytest.raises(redis.AuthenticationError):
        server.client(password=None).ping()
    assert server.cli("CONFIG", "GET", "maxmemory") == "maxmemory\n52428800"


def test_a_redis_ends_with_its_fixture(private_redis):
    """Stopping twice, or pausing before the end, harms nothing."""
    server = private_redis()
    server.stop()
    server.stop()
    assert not server.alive
    private_redis().pause()


def test_a_process_that_was_paused_ends_too():
    """SIGKILL reaches a stopped process."""
    process = ServerProcess(["sleep", "60"])
    process.signal(signal.SIGSTOP)
    process.close()
    assert not process.alive


# ---- the browser


def test_a_page_in_the_browser(serve_app, page):
    """The browser opens a page of a local server, under any name below .test."""
    process = serve_app(HELLO)
    page.get(process.url + "/")
    assert wait_for(page, "document.body.innerText") == "hello"
    page.add_cookie({"name": "left", "value": "1"})
    page.get(f"http://app.example.test:{process.port}/")
    assert wait_for(page, "location.hostname") == "app.example.test"
    assert page.execute_script("return document.body.innerText") == "hello"


def test_a_page_has_no_cookies_of_another_test(serve_app, page):
    """Cookies are gone with the test that set them; EventSource works."""
    process = serve_app(HELLO)
    page.get(process.url + "/")
    assert page.get_cookies() == []
    page.execute_script(
        "window.ids = []; new EventSource('/stream').onmessage = event => ids.push(event.lastEventId)"
    )
    assert wait_for(page, "ids.length >= 3 && ids.slice(0, 3)") == ["1", "2", "3"]


def test_the_browser_reaches_nothing_but_loopback(page):
    """A name outside is not resolved."""
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.get("http://example.com/")
