"""``sse-edge serve``: signals, what it logs, and apps that cannot be served."""

import contextlib
import json
import logging
import resource
import signal
import subprocess
import sys

import pytest

from parts.commands import invoke, said
from parts.ears import until
from servers.examples import SSE_EDGE
from servers.processes import TESTS
from servers.sse import StreamEndedError, get
from sse_edge.cli.serving.logs import Lines, Requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_streams_in_good_order(serve_example, connect, number):
    """An open stream gets its goodbye and its last chunk, and the exit code is 0."""
    server = serve_example()
    stream = await connect(server.url + "/events/clock")
    await stream.until(lambda event: event.event == "tick")
    server.signal(number)
    goodbye = await stream.until(lambda event: event.event == "edge-close")
    assert json.loads(goodbye.data) == {"reason": "drain"}
    assert await stream.ended()
    assert await server.exited() == 0
    assert "Traceback" not in server.log


async def test_a_signal_ends_workers_too(serve_example, connect):
    """With several workers it is the same."""
    server = serve_example("plain_asgi:app", "--workers", 2)
    streams = [await connect(server.url + "/events/clock") for _ in range(4)]
    server.signal(signal.SIGTERM)
    for stream in streams:
        await stream.until(lambda event: event.event == "edge-close")
        assert await stream.ended()
    assert await server.exited() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_signal_does_not_wait(serve_example, connect, workers):
    """A response without an end holds up the first signal, and not the second."""
    server = serve_example("apps.hello:app", "--workers", workers, app_dir=TESTS)
    stream = await connect(server.url + "/stream")
    await stream.next()
    server.signal(signal.SIGTERM)
    server.wait_for_log("Shutting down")
    server.signal(signal.SIGTERM)
    assert await server.exited(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("workers", "unix", "kept_by"),
    [(1, False, "child"), (2, False, None), (2, True, "child"), (2, False, "stuck")],
)
async def test_who_connects_during_a_stop(serve_example, connect, tmp_path, workers, unix, kept_by):
    """Nobody waits: a connection is refused or reset, whoever else still has the listening socket."""
    where = {"unix": tmp_path / "app.sock"} if unix else {}
    server = serve_example("apps.clinging:app", "--workers", workers, app_dir=TESTS, **where)
    stream = await connect(server.url + "/stream", **where)
    await stream.next()
    if kept_by:
        with contextlib.suppress(TimeoutError, AssertionError):
            await get(f"{server.url}/{kept_by}", timeout=0.5, **where)
    server.signal(signal.SIGTERM)
    refused = False
    while not refused:  # a worker that has not heard of the signal may answer
        try:
            await get(server.url + "/", timeout=3, **where)
        except ConnectionRefusedError:
            refused = True
        except (ConnectionError, StreamEndedError):
            pass
    server.signal(signal.SIGTERM)
    assert await server.exited(5) == 128 + signal.SIGTERM


async def test_a_stop_does_not_wait_for_a_restart(serve_example):
    """Workers are not replaced one by one any more when the server is to stop."""
    server = serve_example("plain_asgi:app", "--workers", 2)
    started = "Started server process"
    await until(lambda: server.log.count(started) == 2, 20)
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert await server.exited() == 0
    assert "restarting processes" in server.log
    assert server.log.count(started) < 4


async def test_what_is_logged(serve_example, connect):
    """A stream has one line, when it ends or is refused; other requests have the server's."""
    server = serve_example()
    stream = await connect(server.url + "/events/clock")
    await get(server.url + "/events/none")
    answer = await get(server.url + "/page")
    assert answer.header("server") is None
    await stream.aclose()
    server.wait_for_log("client-gone")
    lines = server.log.splitlines()
    about = [line.split(": ", 1)[1] for line in lines if '"' in line]
    assert about[0] == (
        '"GET /events/none" refused: not-found (there is no stream at this path), user=- address=127.0.0.1'
    )
    assert about[1].endswith('"GET /page HTTP/1.1" 200')
    assert about[2].startswith('"GET /events/clock" ended: client-gone after ')
    assert len(about) == 3
    assert all(line[:4].isdigit() and f"INFO    [{server.pid}]" in line for line in lines)


async def test_a_page_that_was_given_this_machines_address(serve_example, connect):
    """A stream for everyone is refused to a rebound page, whatever it forges, and open behind a proxy."""
    server = serve_example()
    url, port = server.url + "/events/clock", server.port
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}
    refused = await get(url, headers={"Host": f"evil.example:{port}", **forged})
    assert (refused.status, refused.body[:19]) == (403, b'{"error": "origin",')
    for host in (f"localhost:{port}", "app.example.com", "app.example.com:8443"):
        assert (await connect(url, headers={"Host": host})).status == 200


async def test_forwarded_addresses_are_left_to_the_middleware(serve_example):
    """The server believes no X-Forwarded-For, whoever sends it."""
    server = serve_example()
    await get(server.url + "/page", headers={"X-Forwarded-For": "192.0.2.1"})
    assert "192.0.2.1" not in server.log


@pytest.mark.parametrize(
    ("method", "target", "status", "logged"),
    [
        ("GET", "/events", 200, None),
        ("GET", "/events/me?last_event_id=1", 200, None),
        ("GET", "/%65vents/me", 200, None),
        ("POST", "/events/me", 405, None),
        ("OPTIONS", "/events/me", 204, "/events/me"),
        ("HEAD", "/events/me?token=abc", 200, "/events/me?***"),
        ("GET", "/eventsource.js", 200, "/eventsource.js"),
        ("GET", "/?/events/me", 200, "/?***"),
        ("GET", "/status/ready", 200, None),
        ("GET", "/status/ready", 503, None),
        ("HEAD", "/status/live", 200, None),
        ("GET", "/status/metrics", 404, "/status/metrics"),  # somebody who may not
        ("GET", "/status", 404, "/status"),
    ],
)
def test_which_requests_are_logged_by_the_server(method, target, status, logged):
    """What the middleware logs itself and probes are left out of the server's log, and what is asked for."""
    for client, named in (("1.2.3.4:5", "1.2.3.4:5"), ("", "unix")):  # "": on a unix socket
        record = logging.makeLogRecord({"args": (client, method, target, "1.1", status)})
        assert Requests("/events", "/status").filter(record) is (logged is not None)
        if logged is not None:
            assert record.args == (named, method, logged, "1.1", status)


def test_one_message_is_one_line():
    """Neither a message nor an exception begins a line that looks like one of its own."""
    try:
        raise ValueError("a\r\n2026-01-01 forged\u2028b\x9bc")
    except ValueError:
        record = logging.makeLogRecord({"msg": "x\ny: é\x85\x1b[2J\n", "exc_info": sys.exc_info()})
    first, *rest = Lines("%(message)s").format(record).splitlines()
    assert first == "x\\ny: é\\x85\\x1b[2J"
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1].endswith("b\\x9bc")


def test_open_files(serve_example):
    """The soft limit is raised to the hard one, and told."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = serve_example()
    server.wait_for_log(f"Open files are limited to {hard}: room for about {hard - 200} streams")
    assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (hard, hard)


BROKEN = {
    "config": ("from sse_edge import SSEMiddleware\napp = SSEMiddleware()\n", "auth: must be SignedCookie"),
    "weak": (
        "from sse_edge import SignedCookie\nSignedCookie('changeme')\n",
        "secret: has fewer than 16 bytes; make one with openssl rand -hex 32 (weak_secret=True lets",
    ),
    "package": ("import no_such_package\n", "No module named 'no_such_package' (imported by package)"),
    "text": ("app = 'text'\n", "is no ASGI app, but str"),
    "attribute": ("", 'Attribute "app" not found in module "attribute"'),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("workers", [1, 2])
def test_an_app_that_cannot_be_served(tmp_path, name, workers):
    """The user's mistake is said in one line, however many workers were to run it."""
    text, error = BROKEN[name]
    (tmp_path / f"{name}.py").write_text(text)
    arguments = [SSE_EDGE, "serve", f"{name}:app", "--app-dir", tmp_path, "--workers", str(workers)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("no_such_module:app", 'Could not import module "no_such_module"'),
        ("no_such.package:app", "No module named 'no_such'"),
        ("hello", 'must be in format "<module>:<attribute>"'),
    ],
)
def test_an_app_that_is_not_there(app, error):
    """A wrong name is said in one line."""
    line = said(invoke("serve", app), 2)
    assert line.startswith(f"APP {app!r}: ")
    assert error in line


@pytest.mark.parametrize("workers", [1, 2])
def test_an_app_that_fails_to_start(tmp_path, workers):
    """A failed start-up ends the server with exit code 1, and says so last."""
    (tmp_path / "late.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    arguments = [
        SSE_EDGE,
        "serve",
        "late:app",
        "--app-dir",
        tmp_path,
        "--port",
        "0",
        "--workers",
        str(workers),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "no database" in done.stderr
    assert done.stderr.endswith("Error: the application did not start\n")
    assert "Traceback" not in done.stderr
