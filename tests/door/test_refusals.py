"""Which refusals have a line in the log, and how the others are told."""

import asyncio
import logging
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from servers.processes import TESTS, free_port
from sse_edge.outcome import BACKEND_DOWN, CONNECT_RATE, NOT_FOUND, ORIGIN
from sse_edge.refusals import (
    KNOWN,
    LINES,
    OF_ONE,
    WINDOW,
    Failures,
    LeftOut,
    LogSample,
    RefusalLog,
    Sample,
    logger,
)


@pytest.fixture
def sample():
    return Sample()


def refuse(sample, *asked, code="origin"):
    """How many of ``(seconds, address)`` have a line."""
    return sum(sample.takes(code, address, now) for now, address in asked)


def test_the_first_have_a_line(sample):
    """So many of each code, and no more of one address than leaves room for others."""
    assert refuse(sample, *[(0.0, "a")] * 100) == OF_ONE
    assert refuse(sample, *[(0.0, f"b{n}") for n in range(100)]) == LINES - OF_ONE
    assert refuse(sample, (0.0, "a"), code="not-found") == 1


def test_the_others_are_told_once(sample):
    """How many they were, from how many addresses, and whose most of them were."""
    refuse(sample, *[(0.0, "a")] * (OF_ONE + 3), *[(1.0, "b")] * (OF_ONE + 1))
    assert sample.due == WINDOW
    assert sample.left_out(WINDOW - 0.1) == []
    assert sample.left_out(WINDOW) == [LeftOut("origin", 4, 2, "a", 3, WINDOW)]
    assert sample.left_out(WINDOW) == []
    assert sample.due is None


def test_after_that_it_begins_anew(sample):
    """The next refusals have lines again, whether something was left out or not."""
    assert refuse(sample, *[(0.0, "a")] * 9, *[(WINDOW, "a")] * 9) == OF_ONE  # not told yet
    sample.left_out(WINDOW)
    assert refuse(sample, *[(WINDOW, "a")] * 9) == OF_ONE
    assert refuse(sample, *[(0.0, "a")] * 4, *[(WINDOW, "a")] * 4, code="method") == 8


def test_early(sample):
    """At the end what is left is told at once."""
    refuse(sample, *[(0.0, "a")] * (OF_ONE + 1))
    assert sample.left_out(2.0, early=True) == [LeftOut("origin", 1, 1, "a", 1, 2.0)]


def test_memory(sample):
    """However many addresses ask, no more than so many are told apart, and all are counted."""
    refuse(sample, *[(0.0, f"a{n}") for n in range(10 * KNOWN)])
    (left,) = sample.left_out(WINDOW)
    assert (left.number, left.addresses) == (10 * KNOWN - LINES, KNOWN)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "sse_edge.access")
    return lambda: [record.getMessage() for record in caplog.records]


async def test_lines(lines):
    """Who was refused, from where, for what and why, in the form of a stream's last line."""
    log = RefusalLog(asyncio.get_running_loop())
    log.tell("GET", "/events/me", ORIGIN.because("origin 'https://x user=a' is none"), "192.0.2.1")
    log.tell("GET", '/events/x" user=admin', NOT_FOUND.of("a address=1.2.3.4"), "192.0.2.1")
    log.tell("GET", "/events/me", BACKEND_DOWN.of("u42", "Redis: no answer in time"), "unix")
    log.close()
    assert lines() == [
        "\"GET /events/me\" refused: origin (origin 'https://x user%3Da' is none), user=- address=192.0.2.1",
        '"GET /events/x%22%20user%3Dadmin" refused: not-found (there is no stream at this path), '
        "user=a%20address%3D1.2.3.4 address=192.0.2.1",
        '"GET /events/me" refused: backend-down (the event source cannot be reached at the moment: '
        "Redis: no answer in time), user=u42 address=unix",
    ]


async def test_left_out_lines(lines, monkeypatch):
    """A flood is some lines, and one that says how many there were, by itself and at the end."""
    monkeypatch.setattr("sse_edge.refusals.WINDOW", 0.05)
    log = RefusalLog(asyncio.get_running_loop())
    for _ in range(OF_ONE + 20):
        log.tell("GET", "/events/me", CONNECT_RATE, "192.0.2.1")
    async with asyncio.timeout(5):
        while len(lines()) == OF_ONE:
            await asyncio.sleep(0.01)
    assert lines()[OF_ONE:] == [
        "refused: connect-rate, 20 more in 0 s from 1 address, 20 of them address=192.0.2.1"
    ]
    for number in range(KNOWN + LINES):
        log.tell("GET", "/events/me", CONNECT_RATE, f"a{number}")
    log.close()
    told = f"{KNOWN} more in 0 s from {KNOWN} or more addresses, 1 of them address=a{LINES}"
    assert lines()[-1] == f"refused: connect-rate, {told}"
    assert len(lines()) == OF_ONE + 1 + LINES + 1


async def test_nobody_reads_it(caplog):
    """Where the level is above INFO nothing is counted either."""
    caplog.set_level(logging.WARNING, "sse_edge.access")
    log = RefusalLog(asyncio.get_running_loop())
    for _ in range(100):
        log.tell("GET", "/events/me", CONNECT_RATE, "192.0.2.1")
    assert log._sample.due is None


class Loop:
    """A clock that the test sets."""

    now = 0.0
    closed = False

    def time(self):
        return self.now

    def is_closed(self):
        return self.closed


def test_failures(caplog):
    """Of each kind of failure some tracebacks are in the log, and then how many more there were."""
    loop = Loop()
    failures = Failures(loop)

    def fail(times, message="authorize failed, user=%s", *args):
        for number in range(times):
            try:
                raise OSError("away")
            except OSError:
                logger.exception(message, *(args or (number,)))

    failures.begin()
    try:
        fail(OF_ONE + 20)
        fail(1, "auth failed to identify a request for %s", "/events/me")
        logger.warning("something else")
        loop.now = WINDOW
        fail(OF_ONE + 1)
    finally:
        failures.end()
    fail(OF_ONE + 1)
    said = [record.getMessage() for record in caplog.records]
    assert said[OF_ONE : OF_ONE + 4] == [
        "auth failed to identify a request for /events/me",
        "something else",
        f"authorize failed, 20 more times in {WINDOW:.0f} s",
        "authorize failed, user=0",
    ]
    assert said[2 * OF_ONE + 3] == "authorize failed, 1 more times in 0 s"
    assert len(said) == OF_ONE + 3 + OF_ONE + 1 + OF_ONE + 1


@pytest.mark.parametrize(
    ("message", "arguments", "told"),
    [
        ("handing %s to %-5.2f failed", ("a", 1), "handing * to * failed"),
        ("handing on %(what)s failed", {"what": "a"}, "handing on * failed"),
        ("%d%% of %r failed, user=%s", (1, "a", "b"), "*% of * failed"),
        ("100% of it failed", (), "100% of it failed"),
    ],
)
def test_the_kind_of_a_failure(message, arguments, told, caplog):
    """What is said of those that were left out has no placeholder of the line that each would have had."""
    failures = Failures(Loop())
    record = logging.makeLogRecord(
        {"msg": message, "args": arguments, "exc_info": (OSError, OSError(), None)}
    )
    assert [failures.filter(record) for _ in range(OF_ONE + 3)].count(True) == OF_ONE
    failures.end()
    assert caplog.messages == [f"{told}, 3 more times in 0 s"]


def test_failures_of_a_loop_that_is_gone(caplog):
    """A worker that was never stopped leaves nothing behind that would hide another one's failures."""
    loop = Loop()
    left, other = Failures(loop), Failures(Loop())
    left.begin()
    loop.closed = True
    for _ in range(2 * OF_ONE):
        logger.error("it failed", exc_info=OSError("away"))
    assert len(caplog.records) == 2 * OF_ONE
    other.begin()
    assert left not in logger.filters
    other.end()


# ---- What the server logs


def server_line(
    text, *arguments, level=logging.WARNING, name="uvicorn.error", path="protocols/http/x.py", **more
):
    """A line as uvicorn writes it."""
    made = {"msg": text, "args": arguments, "levelno": level, "name": name}
    return logging.makeLogRecord({**made, "pathname": f"/lib/uvicorn/{path}", **more})


def answered(method, status, client="192.0.2.1:5"):
    """A line of uvicorn's access log."""
    text = '%s - "%s %s HTTP/%s" %d'
    arguments = (client, method, "/a", "1.1", status)
    return server_line(text, *arguments, level=logging.INFO, name="uvicorn.access")


def raised(kind):
    """A line about an application that failed."""
    error = kind("away")
    return server_line("Exception in ASGI application\n", level=logging.ERROR, exc_info=(kind, error, None))


SOCKET_LINE = '%s - "WebSocket %s" '


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (server_line("Invalid HTTP request received."), "Invalid HTTP request received, 20 more in 0 s"),
        (server_line("Unsupported upgrade request."), "Unsupported upgrade request, 20 more in 0 s"),
        (raised(ValueError), "Exception in ASGI application (ValueError), 20 more in 0 s"),
        (
            server_line(f"{SOCKET_LINE}403", "192.0.2.1:5", "/a", level=logging.INFO),
            '* - "WebSocket *" 403, 20 more in 0 s from 1 address, 20 of them address=192.0.2.1',
        ),
        (
            answered("GET", 404),
            "answered 404, 20 more in 0 s from 1 address, 20 of them address=192.0.2.1",
        ),
        (
            answered("BREW", 500, "2001:db8::1:5"),
            "answered 500, 20 more in 0 s from 1 address, 20 of them address=2001:db8::1",
        ),
        (
            answered("OPTIONS", 204, ""),
            "OPTIONS answered 204, 20 more in 0 s from 1 address, 20 of them address=unix",
        ),
        (
            answered("HEAD", 200),
            "HEAD answered 200, 20 more in 0 s from 1 address, 20 of them address=192.0.2.1",
        ),
        (answered("GET", 200), None),
        (answered("POST", 303), None),
        (server_line(f"{SOCKET_LINE}[accepted]", "192.0.2.1:5", "/a", level=logging.INFO), None),
        (server_line("%sHTTP connection made", "192.0.2.1:5 - ", level=5), None),
        (server_line("Started server process [%d]", 7, level=logging.INFO, path="server.py"), None),
        (server_line("a line of the application's", pathname="/app/main.py"), None),
    ],
)
def test_which_of_a_servers_lines_pass(record, told, caplog):
    """Of what any client can cause some lines pass, and one says how many more; all of the rest pass."""
    caplog.set_level(logging.INFO, "uvicorn.error")
    sample = LogSample()
    passed = [sample.filter(record) for _ in range(OF_ONE + 20)]
    assert sum(passed) == (OF_ONE if told else OF_ONE + 20)
    assert sample.filter(server_line("Finished server process [%d]", 7, level=logging.INFO, path="server.py"))
    assert caplog.messages == ([told] if told else [])
    assert all(each.levelno == record.levelno for each in caplog.records)


async def test_how_many_a_server_left_out_is_said_by_itself(caplog, monkeypatch):
    """Without another line to come."""
    monkeypatch.setattr("sse_edge.refusals.WINDOW", 0.05)
    caplog.set_level(logging.INFO, "uvicorn.error")
    sample = LogSample()
    for count in (20, 30):
        caplog.clear()
        for _ in range(OF_ONE + count):
            sample.filter(answered("GET", 404))
        async with asyncio.timeout(5):
            while not caplog.messages:
                await asyncio.sleep(0.01)
        assert f"answered 404, {count} more in 0 s" in caplog.messages[0]


def requests(count, text, *, closes=False):
    """A flood: ``count`` times the same, each after the answer to the one before."""

    def send(port):
        sock = None
        for _ in range(count):
            if sock is None:
                sock = socket.create_connection(("127.0.0.1", port), timeout=30)
            sock.sendall(text)
            answer = b""
            while b"\r\n\r\n" not in answer:
                data = sock.recv(65_536)
                assert data, answer
                answer += data
            length = re.search(rb"content-length: ([0-9]+)", answer)
            missing = (
                0
                if length is None or text[:4] == b"HEAD"
                else int(length[1]) - len(answer.partition(b"\r\n\r\n")[2])
            )
            while missing > 0:
                missing -= len(sock.recv(65_536))
            if closes:
                sock.close()
                sock = None
        if sock is not None:
            sock.close()

    return send


WEBSOCKET = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FLOODS = {
    "Unsupported upgrade request": requests(
        2000, b"OPTIONS /events/me HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    ),
    "OPTIONS answered 204": requests(2000, b"OPTIONS /events/me HTTP/1.1\r\nHost: a\r\n\r\n"),
    "answered 404": requests(2000, b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"),
    "Invalid HTTP request received": requests(500, b"no request\r\n\r\n", closes=True),
    "Exception in ASGI application": requests(200, WEBSOCKET, closes=True),
}


@pytest.fixture(params=["serve", "uvicorn"])
def flooded(request, serve, tmp_path):
    """apps.edge in `sse-edge serve`, and in uvicorn with what deploy/TUNING.md says."""
    port = free_port()
    if request.param == "serve":
        command = [Path(sys.executable).with_name("sse-edge"), "serve", "apps.edge:edge", "--app-dir", TESTS]
    else:
        guide = (TESTS.parent / "deploy" / "TUNING.md").read_text()
        (block,) = [
            code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "LogSample" in code
        ]
        path = f"import sys\nsys.path.append({str(TESTS)!r})\n"
        (tmp_path / "app.py").write_text(f"{path}from apps.edge import edge\n{block}")
        command = [sys.executable, "-m", "uvicorn", "app:edge", "--app-dir", tmp_path]
    return serve([*command, "--port", port], port=port)


async def test_a_flood_of_the_servers_lines(flooded):
    """Thousands of requests that get nothing are a few lines of log, and all that were left out are told."""
    for flood in FLOODS.values():
        await asyncio.to_thread(flood, flooded.port)
    flooded.signal(signal.SIGTERM)
    await flooded.exited()
    told = dict.fromkeys(FLOODS, 0)
    for kind, number in re.findall(r"([\w ]+?)(?: \([.\w]+\))?, ([0-9]+) more in ", flooded.log):
        told[next(each for each in FLOODS if kind.endswith(each))] += int(number)
    assert told["Unsupported upgrade request"] >= 1900
    assert told["OPTIONS answered 204"] >= 3900
    assert told["answered 404"] >= 1900
    assert told["Invalid HTTP request received"] >= 400
    assert told["Exception in ASGI application"] >= 150
    lines = [line for line in flooded.log.splitlines() if not line.startswith((" ", "Traceback"))]
    assert len(lines) < 150
    assert len(flooded.log) < 300_000
