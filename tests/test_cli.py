"""The command line, run as its users run it."""

import asyncio
import contextlib
import grp
import json
import logging
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from ears import until
from servers.processes import TESTS, free_port
from servers.proxies import wait_until
from servers.sse import StreamEndedError, get
from sse_edge import Identity, Publisher, PublishToken, SignedCookie
from sse_edge.asgi import Request
from sse_edge.cli import main
from sse_edge.cli.serving.logs import Lines, Requests

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
EXAMPLES = TESTS.parent / "examples"
SECRET = "a secret of the tests"
NOBODY = "redis://:s3cret@127.0.0.1:1/0"  # the port of tcpmux, where nothing listens


def invoke(*arguments, **options):
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def said(result, exit_code):
    """The one line of an error, when that is all a command wrote."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0].removeprefix("Error: ")


@pytest.fixture
def serve_example(serve):
    """``serve_example("plain_asgi:app", …)`` runs an example with ``sse-edge serve``."""

    def start(app="plain_asgi:app", *options, app_dir=EXAMPLES, unix=None):
        port = None if unix else free_port()
        where = ["--uds", unix] if unix else ["--port", port]
        process = serve(
            [SSE_EDGE, "serve", app, "--app-dir", app_dir, *where, *options], port=port, unix=unix
        )
        process.url = "http://localhost" if unix else f"http://127.0.0.1:{port}"
        return process

    return start


# ---- in general


def test_help_and_version():
    """Every command explains itself, with examples and its environment variables."""
    assert invoke("--version").stdout == f"sse-edge, version {version('sse_edge')}\n"
    assert "sse-edge demo" in invoke("--help").stdout
    for name, command in main.commands.items():
        text = invoke(name, "--help").stdout
        assert f"\n  sse-edge {name}" in text
        for option in command.params:
            if option.param_type_name == "option":
                variable = option.opts[0].removeprefix("--").replace("-", "_").upper()
                assert f"SSE_EDGE_{name.upper()}_{variable}" in "".join(text.split()), option.opts


# ---- token


def identify(value, secret, name="session"):
    """Who a cookie signs in."""
    request = Request("GET", "/", ((b"cookie", f"{name}={value}".encode()),))
    return SignedCookie(secret, name=name).identify(request, time.time())


def test_a_token_signs_its_user_in():
    """What `token` prints is what SignedCookie takes, with the channels that were given."""
    result = invoke("token", "u42", "--secret", SECRET, "--channel", "order:*", "--channel", "news")
    identity = identify(result.stdout.strip(), SECRET)
    assert (identity.user, identity.channels) == ("u42", ("order:*", "news"))
    assert identify(result.stdout.strip(), "another secret of the tests") is None


def test_a_token_has_an_end():
    """It is valid for --max-age seconds, and no longer than an application with a shorter max_age says."""
    value = invoke("token", "u42", "--secret", SECRET, "--max-age", "60").stdout.strip()
    assert 50 < identify(value, SECRET).expires - time.time() <= 61
    value = invoke("token", "u42", "--secret", SECRET, "--max-age", "1e6").stdout.strip()
    assert 86_000 < identify(value, SECRET).expires - time.time() <= 86_401


@pytest.mark.parametrize(("arguments", "name"), [([], None), (["billing"], "billing")])
def test_a_token_to_publish_with(arguments, name):
    """With --publish it is one for PublishToken and no cookie; it has no end unless one is given."""
    options = ["--publish", "--channel", "order:*", "--channel", "news"]
    value = invoke("token", *arguments, *options, env={"SSE_EDGE_SECRET": SECRET}).stdout.strip()
    now = time.time()
    assert PublishToken(SECRET).verify(value, now + 1e9) == Identity(name, ("order:*", "news"))
    assert identify(value, SECRET) is None
    value = invoke("token", *options, "--secret", SECRET, "--max-age", "60").stdout.strip()
    assert 50 < PublishToken(SECRET).verify(value, now).expires - now <= 61


@pytest.mark.parametrize("variable", ["SSE_EDGE_SECRET", "SSE_EDGE_TOKEN_SECRET"])
def test_the_secret_comes_from_the_environment(variable):
    """Where the list of processes does not show it."""
    result = invoke("token", "u42", env={variable: "from the environment"})
    assert identify(result.stdout.strip(), "from the environment").user == "u42"


def test_a_weak_secret_is_said_aloud():
    """For an application that lets its weak secret pass, so does the command."""
    value = invoke("token", "u42", "--secret", "hunter2", "--weak-secret").stdout.strip()
    request = Request("GET", "/", ((b"cookie", f"session={value}".encode()),))
    assert SignedCookie("hunter2", weak_secret=True).identify(request, time.time()).user == "u42"


def test_the_name_comes_from_the_environment():
    """One variable says it to all commands, as with the secret."""
    result = invoke("token", "u42", "--secret", SECRET, env={"SSE_EDGE_COOKIE_NAME": "__Host-session"})
    assert identify(result.stdout.strip(), SECRET, "__Host-session").user == "u42"
    assert identify(result.stdout.strip(), SECRET) is None


def test_a_whole_header():
    """--header prints the value of Set-Cookie, attributes included."""
    result = invoke("token", "u42", "--secret", SECRET, "--name", "sid", "--max-age", "60", "--header")
    pair, *attributes = result.stdout.strip().split("; ")
    assert identify(pair.removeprefix("sid="), SECRET, "sid").user == "u42"
    assert attributes == ["Max-Age=60", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["u42"], "no secret: give --secret, or set SSE_EDGE_SECRET"),
        (["", "--secret", SECRET], "user: must be text of 1 to 256"),
        (["u", "--secret", SECRET, "--channel", ""], "channels: must be text of 1 to 256"),
        (["u", "--secret", "hunter2"], "secret: has fewer than 16 bytes; make one with openssl"),
        (["u", "--secret", "change-me-in-production"], "secret: is a placeholder"),
        (["u", "--secret", SECRET, "--name", "a b"], "name: must be a cookie name"),
        (["u", "--secret", SECRET, "--max-age", "0"], "max_age: must be a positive number of seconds"),
        (["--secret", SECRET], "no USER: say who is to be signed in"),
        (["--publish"], "no secret: give --secret, or set SSE_EDGE_SECRET"),
        (["--publish", "--secret", SECRET], "channels: must be one pattern at least, such as order:*"),
        (["--publish", "--secret", SECRET, "--channel", "a\\b"], "channels: a backslash stands before"),
        (["--publish", "--secret", "hunter2", "--channel", "*"], "secret: has fewer than 16 bytes"),
        (
            ["--publish", "--secret", SECRET, "--channel", "*", "--max-age", "0"],
            "max_age: must be a positive",
        ),
        (["--publish", "--secret", SECRET, "--channel", "*", "--header"], "--header: is for cookies"),
    ],
)
def test_a_token_that_cannot_be_made(arguments, error):
    """Whatever is wrong is said in one line, with exit code 2."""
    env = {"SSE_EDGE_SECRET": None, "SSE_EDGE_TOKEN_SECRET": None}
    assert said(invoke("token", *arguments, env=env), 2).startswith(error)


# ---- publish


async def test_what_is_published_can_be_heard(redis_url, serve_example, connect, tmp_path):
    """`token` opens the stream, `publish` is heard on it, and prints the id that the event has there."""
    (tmp_path / "shop.py").write_text(
        "from sse_edge import SSEMiddleware, SignedCookie\n"
        f"app = SSEMiddleware(backend={redis_url!r}, auth=SignedCookie({SECRET!r}),\n"
        "                    channels={'/events/me': ['user:{user}', 'news']})\n"
    )
    server = serve_example("shop:app", app_dir=tmp_path)
    cookie = invoke("token", "u42", "--secret", SECRET).stdout.strip()
    stream = await connect(server.url + "/events/me", cookies={"session": cookie})

    async def publish(*arguments, **options):
        result = await asyncio.to_thread(invoke, "publish", "--redis", redis_url, *arguments, **options)
        assert result.exit_code == 0, result.output
        event = await stream.next()
        assert result.stdout == f"{event.id}\n"
        return event.event, event.data

    assert await publish("news", "hello") == ("message", "hello")
    assert await publish("user:u42", '{"a": [1, 2]}', "--json", "--event", "json") == ("json", '{"a":[1,2]}')
    assert await publish("news", "-", input="two\nlines\n") == ("message", "two\nlines")
    assert await publish("--event", "dash", "news", "--", "--data") == ("dash", "--data")
    unheard = await asyncio.to_thread(
        invoke, "publish", "--redis", redis_url, "news", "x", "--except-user", "u42"
    )
    assert unheard.exit_code == 0, unheard.output
    assert await publish("news", "next", "--except-user", "u43") == ("message", "next")


def test_the_address_and_prefix_of_redis(redis_server, redis_url):
    """The URL may come from the environment; prefix, history and dedupe key reach Redis."""
    arguments = ["publish", "news", "x", "--prefix", "app:", "--history", "7", "--dedupe-key", "once"]
    first = invoke(*arguments, env={"SSE_EDGE_REDIS": redis_url})
    again = invoke(*arguments, env={"SSE_EDGE_REDIS": NOBODY, "SSE_EDGE_PUBLISH_REDIS": redis_url})
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    assert redis_server.client().xlen("app:history:news") == 1


def test_a_channel_s_last_event(redis_url):
    """With --finish nothing follows, and whoever tries is told why in one line."""
    finished = invoke("publish", "job", "100 %", "--finish", "--redis", redis_url)
    assert finished.exit_code == 0
    line = said(invoke("publish", "job", "more", "--redis", redis_url), 1)
    assert line.endswith("channel 'job' has had its last event; nothing was published")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["news", "x", "--redis", "memory://"], "memory:// lives inside one process"),
        (["news", "x", "--redis", "http://h"], "backend: "),
        (["news", "x", "--redis", "redis://h:port"], "backend: "),
        (["news", "{", "--json"], "DATA is not JSON: "),
        (["news", "NaN", "--json"], "json: cannot be written as JSON"),
        (["", "x"], "channel: must be a non-empty string"),
        (["news", "x", "--event", "open"], "event: error and open are EventSource's own events"),
        (["news", "x", "--prefix", ""], "prefix: must be text"),
        (["news", "x", "--history", "-1"], "history: must be a whole number"),
        (["news", "x", "--dedupe-key", "k" * 300], "dedupe_key: "),
        (["news", "x", "--except-user", ""], "except_user: must be text"),
        (["news", "x", "--except-user", "u1", "--finish"], "--finish is for everybody"),
    ],
)
def test_what_cannot_be_published(arguments, error):
    """Whatever is wrong is said in one line, with exit code 2, before Redis is asked."""
    assert said(invoke("publish", *arguments, env={"SSE_EDGE_REDIS": None}), 2).startswith(error)


def test_bytes_that_are_no_text():
    """Standard input has to be UTF-8."""
    assert said(invoke("publish", "news", "-", input=b"\xff"), 2).startswith("standard input is not UTF-8")


def test_redis_is_not_there():
    """The error names the address, never the password, and says what became of the event."""
    line = said(invoke("publish", "news", "x", "--redis", NOBODY), 1)
    assert line.startswith("redis://:***@127.0.0.1:1/0: ")
    assert line.endswith("nothing was published")
    assert "s3cret" not in line


# ---- serve


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


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_unix_socket(serve_example, tmp_path, workers):
    """A socket that a dead server left behind is replaced, and removed at the end."""
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = serve_example("plain_asgi:app", "--workers", workers, unix=path)
    assert stat.filemode(path.stat().st_mode) == "srw-rw----"
    answer = await get(server.url + "/", unix=path)
    assert answer.body.startswith(b"Listen at /events/clock")
    wait_until(lambda: ': unix - "GET / HTTP/1.1" 200' in server.log, "the request is logged")
    assert said(invoke("serve", "os:getcwd", "--uds", path), 1) == f"{path} is in use by another server"
    server.signal(signal.SIGTERM)
    assert await server.exited() == 0
    assert not path.exists()


async def test_who_may_connect_to_a_unix_socket(serve_example, tmp_path):
    """Its mode and its group are what was said, whatever the umask and the process's own group."""
    path, group = tmp_path / "app.sock", grp.getgrgid(os.getegid())
    if os.geteuid() == 0:  # who may give it to any
        group = grp.getgrall()[-1]
    options = ["--uds-mode", "0606", "--uds-group", group.gr_name]
    server = serve_example("plain_asgi:app", *options, unix=path)
    assert stat.filemode(path.stat().st_mode) == "srw----rw-"
    assert path.stat().st_gid == group.gr_gid
    assert (await get(server.url + "/", unix=path)).status == 200


@pytest.mark.parametrize(
    ("options", "exit_code", "error"),
    [
        (["--uds-mode", "rw"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got 'rw')"),
        (["--uds-mode", "0680"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got '0680')"),
        (["--uds-mode", "1777"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got '1777')"),
        (["--uds-group", "nobodys"], 2, "--uds-group: there is no group 'nobodys' on this machine"),
        (["--uds-group", "0"], 1, "--uds-group: {} cannot be given to it, unless its owner is in it: No"),
    ],
)
def test_a_unix_socket_that_nobody_gets(tmp_path, monkeypatch, options, exit_code, error):
    """A mode or a group that cannot be is said in one line, and no socket is left behind."""

    def refuse(*arguments):
        raise PermissionError(1, "No such right")

    monkeypatch.setattr(os, "chown", refuse)
    path = tmp_path / "app.sock"
    line = said(invoke("serve", "os:getcwd", "--uds", path, *options), exit_code)
    assert line.startswith(error.format(path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "env", "error"),
    [
        (["--uds-mode", "0600"], {}, "--uds-mode: is of no use without --uds (got 0600)"),
        (["--uds-mode", "0660"], {}, "--uds-mode: is of no use without --uds (got 0660)"),
        (["--uds-group", "www-data"], {}, "--uds-group: is of no use without --uds (got www-data)"),
        (["--uds", "a.sock", "--port", 8000], {}, "--port: is of no use with --uds a.sock (got 8000)"),
        (["--uds", "a.sock", "--host", "::1"], {}, "--host: is of no use with --uds a.sock (got ::1)"),
        (
            ["--uds", "a.sock"],
            {"SSE_EDGE_SERVE_PORT": "80"},
            "--port: is of no use with --uds a.sock (got 80, from SSE_EDGE_SERVE_PORT)",
        ),
        (
            ["--port", "80"],
            {"SSE_EDGE_SERVE_UDS_MODE": "0666"},
            "--uds-mode: is of no use without --uds (got 0666, from SSE_EDGE_SERVE_UDS_MODE)",
        ),
    ],
)
def test_two_places_to_listen_at(options, env, error, tmp_path, monkeypatch):
    """What is said of a place that is not listened at is a mistake; nothing listens elsewhere instead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sse_edge.cli.serving.server.run_one", lambda *arguments: None)
    assert said(invoke("serve", "os:getcwd", *options, env=env), 2) == error


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


@pytest.mark.parametrize("command", [["serve", "os:getcwd"], ["demo"]])
def test_where_one_cannot_listen(command, tmp_path):
    """The error names the port, the address or the file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = said(invoke(*command, "--port", port), 1)
        assert line == f"port {port} on 127.0.0.1 is in use; choose another with --port"
    assert said(invoke(*command, "--host", "192.0.2.1"), 1).startswith(
        "cannot listen on 192.0.2.1 port 8000: "
    )
    assert said(invoke(*command, "--host", "no.such.invalid"), 1).startswith(
        "--host no.such.invalid is no addr"
    )
    if command[0] == "serve":
        file = tmp_path / "file"
        file.touch()
        assert said(invoke(*command, "--uds", file), 1) == f"{file} exists and is not a socket"
        assert "No such file" in said(invoke(*command, "--uds", tmp_path / "none" / "x"), 1)


# ---- demo


async def test_the_demo_begins_and_ends(serve):
    """It says where it is, answers there, and Ctrl-C ends it at once without a complaint."""
    port = free_port()
    demo = serve([SSE_EDGE, "demo", "--port", port], port=port)
    demo.wait_for_log("Ctrl-C")
    assert (await get(f"http://127.0.0.1:{port}/")).status == 200
    demo.signal(signal.SIGINT)
    assert await demo.exited(3) == 0
    words = [line.split() for line in demo.log.splitlines() if line]
    assert words[0][-1] == f"http://127.0.0.1:{port}"
    assert words[1][-1] == "memory"
    assert words[-1] == ["Stopped."]
    assert len(words) == 4


async def test_the_demo_on_redis(serve, redis_url, connect):
    """It says how to publish from another terminal; that is heard; its cookies may be made by `token`."""
    port = free_port()
    demo = serve([SSE_EDGE, "demo", "--port", port, "--redis", redis_url, "--secret", SECRET], port=port)
    demo.wait_for_log(f"sse-edge publish shop 'Hello' --redis {redis_url}")
    cookie = invoke("token", "alice", "--secret", SECRET).stdout.strip()
    stream = await connect(f"http://127.0.0.1:{port}/events/me", cookies={"session": cookie})
    async with Publisher(redis_url) as events:
        await events.publish("shop", "Hello")
    assert (await stream.until(lambda event: event.event == "message")).data == "Hello"
    demo.signal(signal.SIGINT)
    assert await stream.ended()
    assert await demo.exited(3) == 0


def test_the_demo_without_its_redis():
    """A Redis that is not there is an error at the start and not later."""
    line = said(invoke("demo", "--port", free_port(), "--redis", NOBODY), 1)
    assert line.startswith("cannot use redis://:***@127.0.0.1:1/0: ")


def test_without_uvicorn(monkeypatch):
    """Commands that serve say what to install; the others work without it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "sse_edge.cli.serving.server", raising=False)
    assert "pip install 'sse_edge[server]'" in said(invoke("demo"), 1)
    assert invoke("token", "u42", "--secret", SECRET).exit_code == 0
