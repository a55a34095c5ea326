"""The doctor before what is no deployment of ours, and its command when something is given wrongly."""

import asyncio
import contextlib
import json
import resource
import socket
import ssl
import sys
import threading
import time

import pytest
from click.testing import CliRunner

from servers.doctored import codes, examined
from servers.privacy import leaks
from servers.processes import TESTS, free_port
from sse_edge.cli import main
from sse_edge.delivery.compression import Gzip, block
from sse_edge.doctor.examination import Examination
from sse_edge.doctor.fault import Level
from sse_edge.doctor.finding import found as finding
from sse_edge.doctor.wire import Answer, UnreachableError

SECRET = "a secret of the tests"


@contextlib.contextmanager
def listening(family, answer):
    """A port, where ``answer`` is called with each connection."""
    with socket.create_server(("127.0.0.1", 0), family=family) as server:
        connections = []

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept()[0])
                    answer(connections[-1])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for each in connections:
                each.close()


def nothing(connection):
    """Says nothing, and keeps the connection."""


def greeting(connection):
    """As SMTP does, before it is asked."""
    connection.sendall(b"220 mail.example.com ESMTP\r\n")


def rubbish(connection):
    """Bytes of any kind, and the end."""
    connection.sendall(bytes(range(256)))
    connection.close()


def hangs_up(connection):
    """Closes at once."""
    connection.close()


async def test_a_port_that_says_nothing():
    """It is said that no answer comes, and what that may mean; and it does not take for ever."""
    with listening(socket.AF_INET, nothing) as port:
        found = codes(await examined(f"http://127.0.0.1:{port}/events/me", patience=0.3))
    assert found.keys() == {"app-away"}
    assert "no answer within 0.3 s" in found["app-away"].seen


@pytest.mark.parametrize("answer", [greeting, rubbish])
async def test_a_port_that_is_no_http(answer):
    """Is named as that."""
    with listening(socket.AF_INET, answer) as port, pytest.raises(UnreachableError, match=r"no HTTP/1\.1"):
        await examined(f"http://127.0.0.1:{port}/events/me", patience=2.0)


async def test_a_port_that_hangs_up():
    """As a proxy whose app died, or a server that has other things in mind."""
    with listening(socket.AF_INET, hangs_up) as port:
        found = codes(await examined(f"http://127.0.0.1:{port}/events/me", patience=2.0))
    assert found.keys() == {"app-away"}


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n"
REFUSAL = b"HTTP/1.1 503 -\r\nContent-Type: application/json\r\n"
GREETING = b": stream open\nretry: 3000\n\n"
SQUEEZED = block(b"x" * (1 << 20)) * 256
GZIPPED = HEAD + b"Content-Encoding: gzip\r\n\r\n" + Gzip(GREETING).begin
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

ENDLESS = [
    (REFUSAL + b'\r\n{"error": "', b"x" * 65536, {"refused-in-front", "endless"}),
    (REFUSAL + CHUNKED, b"1\r\nx\r\n" * 9000, {"refused-in-front", "endless"}),
    (HEAD + b"\r\ndata: ", b"x" * 65536, {"not-an-edge", "endless"}),
    (HEAD + CHUNKED, b"1\r\nx\r\n" * 9000, {"not-an-edge", "endless"}),
    (b"", b"HTTP/1.1 100 Continue\r\nX: %b\r\n\r\n" % (b"x" * 9000), {"app-away", "endless"}),
    (GZIPPED.partition(b"retry")[0], b"x" * 65536, {"compressed"}),  # so it is not the edge's
    (HEAD + b"Content-Encoding: gzip\r\n\r\n" + Gzip(b": stream open ").begin, SQUEEZED, {"endless"}),
]
"""How an answer begins, what is repeated for ever, and what is found."""


@pytest.mark.parametrize(("begins", "more", "expected"), ENDLESS, ids=range(len(ENDLESS)))
async def test_an_answer_without_end(begins, more, expected):
    """Is not read to an end that never comes: what it says so far counts, and that there was more."""

    def endless(connection):
        def run():
            with contextlib.suppress(OSError):
                connection.sendall(begins)
                while True:
                    connection.sendall(more)

        threading.Thread(target=run, daemon=True).start()

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with listening(socket.AF_INET, endless) as port:
        found = codes(await examined(f"http://127.0.0.1:{port}/events/me", patience=3.0))
    assert expected <= found.keys()
    assert all(len(each.seen) < 1100 for each in found.values())
    assert time.monotonic() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_gzip_that_breaks():
    """What begins as the edge's own, and cannot be decompressed, is cut off, and somebody else's."""
    seen = Answer(200, [("content-encoding", "gzip")], 0.1)
    seen.take(0.1, Gzip(GREETING).begin)
    assert (seen.by_edge, seen.coded) == (True, "")
    seen.take(0.2, b"\xff" * 100)
    assert (seen.by_edge, seen.coded) == (False, "gzip")
    assert seen.end.value == "cut"


async def test_a_head_that_comes_slowly():
    """Byte by byte it is no answer within the time, and not another protocol."""

    def slow(connection):
        connection.sendall(HEAD[:3])

    with listening(socket.AF_INET, slow) as port:
        found = codes(await examined(f"http://127.0.0.1:{port}/events/me", patience=0.5))
    assert found.keys() == {"app-away"}


async def test_a_front_of_http2_alone(certificate):
    """It cannot be examined, and is not called away."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2"])

    def hangs_up_after_tls(connection):
        with contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with (
        listening(socket.AF_INET, hangs_up_after_tls) as port,
        pytest.raises(UnreachableError, match="HTTP/2 alone"),
    ):
        await examined(f"https://localhost:{port}/events/me", cacert=certificate[0], patience=2.0)


async def test_ipv6_and_a_query(serve):
    """An address in brackets, and a path with a query, are asked for as they are."""
    port = free_port()
    options = ["--host", "::1", "--port", port, "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", "apps.planted:edge", *options]
    serve(command, cwd=TESTS)
    await until_open("::1", port)
    findings = await examined(f"http://[::1]:{port}/events/me?theme=dark")
    assert codes(findings) == {}
    said = {each.check: each for each in findings}
    assert said["own origin"].seen == f"http://[::1]:{port} is known as its own"
    assert said["cursor"].level is said["replay"].level is Level.OK


async def until_open(host, port):
    """Wait until something listens there."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return await writer.wait_closed()
            await asyncio.sleep(0.02)


# ---- the command


def invoke(*arguments, **options):
    """``sse-edge doctor`` in this process."""
    result = CliRunner().invoke(main, ["doctor", *map(str, arguments)], **options)
    assert leaks(result.output) == []
    return result


def test_one_long_word_keeps_to_the_columns(monkeypatch):
    """Whatever the other end says, no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")

    async def finds(self):
        yield finding("status", "redirected", f"status 302 to http://{'a' * 500}/")

    monkeypatch.setattr(Examination, "findings", finds)
    result = invoke(URL)
    assert "[redirected]" in result.output
    assert result.output.count("a") > 500
    assert max(map(len, result.output.splitlines())) <= 80


URL = "http://127.0.0.1:1/events/me"
WRONG = [
    (["127.0.0.1/events"], 2, "URL: must be http(s)://host[:port]/path (got '127.0.0.1/events')"),
    ([], 2, "Missing argument 'URL'"),
    ([URL, "--nosuch"], 2, "No such option"),
    ([URL, "--streams", "0"], 2, "0 is not in the range"),
    ([URL, "--host", "x:y"], 2, "--host: must be a host name"),
    ([URL, "--host", "x:0"], 2, "--host: must be a host name"),
    *(([URL, "--host", host], 2, "--host: must be a host name") for host in ("a/b", "a?b", "a#b", "u@a", "")),
    ([URL, "--channel", ""], 2, "--channel: must be 1 to 256 printable characters (got '')"),
    ([URL, "--channel", "a\nb"], 2, r"(got 'a\nb')"),
    ([URL, "--secret", "a", "--cookie", "b=c"], 2, "only one"),
    ([URL, "--redis", "memory://"], 2, "cannot be reached from another"),
    ([URL, "--redis", "redis://127.0.0.1", "--partitions", "0"], 2, "partitions: must be"),
    ([URL], 1, "Connection refused"),
    (["http://no.such.invalid/"], 1, "no.such.invalid"),
]


@pytest.mark.parametrize(("arguments", "exit_code", "says"), WRONG)
def test_what_cannot_be_examined(arguments, exit_code, says):
    """Named by field and value: 2 for what was given wrongly, 1 for what cannot be reached; in JSON, if that
    is wanted, on stdout, with the same code.
    """
    result = invoke(*arguments)
    assert result.exit_code == exit_code
    assert says in result.stderr
    result = invoke(*arguments, "--json")
    assert result.exit_code == exit_code
    told = json.loads(result.stdout)
    assert told.keys() == {"error"}
    assert says in told["error"]
    assert result.stderr == ""


def test_json_that_the_environment_asks_for():
    """It goes for what is not understood, too."""
    result = invoke(URL, "--nosuch", env={"SSE_EDGE_DOCTOR_JSON": "1"})
    assert "error" in json.loads(result.stdout)


def test_json_without_the_extra(monkeypatch):
    """What is missing is named, and how to get it."""
    for name in [each for each in sys.modules if each.startswith("sse_edge.doctor")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "h11", None)
    result = invoke(URL, "--json")
    assert result.exit_code == 1
    assert "pip install" in json.loads(result.stdout)["error"]


def test_no_secret_is_repeated():
    """Not in JSON either."""
    result = invoke("http://user:hunter2@127.0.0.1/", "--json", "--secret", SECRET)
    assert result.exit_code == 2
    assert "hunter2" not in result.stdout
    assert SECRET not in result.stdout


@pytest.mark.parametrize("error", [MemoryError(), ValueError("of a kind that nobody knows")])
def test_json_for_what_nobody_thought_of(monkeypatch, error):
    """A fault of the examination itself is told, too, and is no finding."""

    async def fails(self):
        raise error
        yield

    monkeypatch.setattr(Examination, "findings", fails)
    result = invoke(URL, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)["error"]
    assert type(error).__name__ in told
    assert str(error) in told
    assert json.loads(invoke("http://a..b/", "--json").stdout).keys() == {"error"}
    assert invoke("--help", "--json").exit_code == 0
