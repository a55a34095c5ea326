"""The log as JSON: every line of real servers, and of those that do not start."""

import asyncio
import re
import sys
from collections import Counter
from pathlib import Path

import click
import pytest

from parts.logged import DEPLOY, read
from servers.processes import TESTS, ServerProcess, free_port
from servers.sse import get
from sse_edge.cli.failure import ENDS, ended


def lines(process):
    """Every line of its log, each valid."""
    return [read(line) for line in process.log.splitlines()]


async def flood(port, text, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(count):
            writer.write(text)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: ([0-9]+)", head)[1])
            await reader.readexactly(length)
    finally:
        writer.close()


WEBSOCKET = (
    b"GET /socket?token=abc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.heavy), 2])
async def test_a_server_of_which_every_line_is_valid(serve_app, connect, redis_url, workers):
    """Streams, refusals, floods, probes, an application that fails and logs what cannot be written, and a
    drain: each line is as the schema says, and each request has its one."""
    options = ["--log-format", "json", "--status-path", "/probe"]
    env = {"BACKEND": redis_url}
    server = serve_app("apps.logged:edge", server="sse-edge serve", workers=workers, env=env, options=options)
    server.wait_for_log("startup complete")
    url = server.url
    streams = [await connect(f"{url}/events/me?user=u{n}") for n in range(3)]
    await streams[0].aclose()
    server.wait_for_log("client-gone")
    await flood(server.port, b"GET /events/none?token=abc HTTP/1.1\r\nHost: a\r\n\r\n", 50)
    await flood(server.port, b"GET /page?token=abc HTTP/1.1\r\nHost: a\r\n\r\n", 40)
    await get(f"{url}/events/room/a?user=Zo%C3%AB%20x%3D%0A")
    for path in ("/say?token=abc", "/fail", "/thread", "/warn"):
        await get(url + path)
    for probe in ("live", "ready", "metrics", "metrics?by=worker"):
        for method in ("GET", "HEAD"):
            await get(f"{url}/probe/{probe}", method=method)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(WEBSOCKET)
    server.wait_for_log("[accepted]")
    writer.close()
    server.signal(15)
    assert await server.exited() == 0
    said = lines(server)
    by = Counter(each["event"] for each in said)
    ended = [each for each in said if each["event"] == "stream-ended"]
    assert sorted((each["reason"], each["user"]) for each in ended) == [
        ("client-gone", "u0"),
        ("drain", "u1"),
        ("drain", "u2"),
    ]
    assert all(each["path"] == "/events/me" and each["bytes"] > 0 for each in ended)
    refused = [each for each in said if each["event"] == "refused" and each["code"] == "not-found"]
    more = [each for each in said if each["event"] == "refusals-left-out"]
    assert len(refused) + sum(each["count"] for each in more) == 50
    answered = [each for each in said if each["event"] == "request" and each["path"] == "/page"]
    left = [each for each in said if each["event"] == "lines-left-out" and each["kind"] == "answered 404"]
    assert 5 <= len(answered) < 40
    assert sum(each["count"] for each in left) >= 40 - len(answered)
    (failed,) = [each for each in said if each["event"] == "callback-failed"]
    assert (failed["function"], failed["user"], failed["channel"]) == ("authorize", "Zoë x=\\n", "room:a")
    assert failed["exception"] == "OSError"
    assert [each["level"] for each in said if each.get("exception") == "ExceptionGroup"] == ["error"]
    (thread,) = [each for each in said if each["event"] == "uncaught"]
    assert thread["traceback"].endswith("RuntimeError: a thread\nfailed")
    assert [each["message"] for each in said if each["logger"] == "shop"][:2] == [
        "two\\nlines\\x1b[2J \\ud800",
        "no %d number ('so',)",
    ]
    assert any(each["logger"] == "py.warnings" and "this is\\nold" in each["message"] for each in said)
    assert by["drain"] == by["drained"] == workers
    assert len({each["pid"] for each in said}) == (1 if workers == 1 else 3)
    for hidden in ("abc", "s3cret", "hunter2", "/probe", "token="):
        assert hidden not in server.log, hidden


ENDINGS = {
    "nothing": (None, 2, "APP 'nothing:app': Could not import module \"nothing\"."),
    "says": ("import sys\nsys.exit('bye\x1b[1m\\nforged')", 1, "SystemExit: bye\\x1b[1m forged"),
    "interrupts": ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
}


def serving(tmp_path, name, *options):
    program = [Path(sys.executable).with_name("sse-edge"), "serve", f"{name}:app", "--app-dir", tmp_path]
    return ServerProcess([*program, *options], env={"PYTHONPATH": str(DEPLOY.parent)})


def test_a_server_that_does_not_start(tmp_path):
    """Why not is a line like any other; as text it is one, too, and moves no cursor."""
    for name, (text, *_) in ENDINGS.items():
        if text is not None:
            (tmp_path / f"{name}.py").write_text(text)
    text = serving(tmp_path, "says")
    started = {name: serving(tmp_path, name, "--log-format", "json") for name in ENDINGS}
    try:
        for name, (_, code, why) in ENDINGS.items():
            assert started[name].wait() == code, name
            (line,) = lines(started[name])
            assert (line["event"], line["level"]) == ("failed", "critical")
            assert line["detail"] == (why if code == 2 else f"APP '{name}:app': ended with {why}")
        assert text.wait() == 1
        assert text.log == "Error: APP 'says:app': ended with SystemExit: bye\\x1b[1m forged\n"
    finally:
        for process in (text, *started.values()):
            process.close()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SystemExit("by\x1be"), 1, "SystemExit: by\\x1be"),
        (SystemExit(3), 3, "SystemExit: 3"),
        (SystemExit(), 0, "SystemExit"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt"),
        (EOFError("EOF when reading a line"), 1, "EOFError: EOF when reading a line"),
        (click.UsageError("no\nURL"), 2, "UsageError: no URL"),
        (click.Abort(), 1, "Abort"),
        (click.exceptions.Exit(4), 4, "Exit: 4"),
    ],
    ids=repr,
)
def test_an_application_that_ends_the_command(error, code, said):
    """Has the exit code that it says, and one line."""
    assert isinstance(error, ENDS)
    failure = ended("APP", error)
    assert (failure.format_message(), failure.exit_code) == (f"APP: ended with {said}", code)


RAISED = {"OSError('no\\nfile')": "OSError: no\nfile", "SystemExit('by\x1be')": "SystemExit: by\\x1be"}


def test_a_worker_that_does_not_start(tmp_path):
    """Nor does multiprocessing write why not, in lines of its own."""
    options, started = ["--log-format", "json", "--workers", "2"], []
    for number, raised in enumerate(RAISED):
        fails = f"import multiprocessing\nif multiprocessing.parent_process(): raise {raised}\napp = print"
        (tmp_path / f"app{number}.py").write_text(fails)
        started.append(serving(tmp_path, f"app{number}", "--port", free_port(), *options))
    try:
        for process, ends in zip(started, RAISED.values(), strict=True):
            process.wait_for_log(ends.partition(":")[0])
            process.kill()
            said = [read(line) for line in process.log.splitlines(keepends=True) if line.endswith("\n")]
            failed = [line for line in said if line["event"] == "uncaught"]
            assert failed[0]["traceback"].endswith(ends)
    finally:
        for process in started:
            process.close()


PLACE = "127.0.0.1:{port}"


@pytest.mark.heavy
async def test_other_servers(serve, connect, redis_url, tmp_path):
    """With the page's configuration every line of each is the same."""
    (block,) = re.findall(r"```json\n(\{\n.*?)```", (DEPLOY / "LOGS.md").read_text(), re.DOTALL)
    config = tmp_path / "logging.json"
    config.write_text(block)
    env = {"BACKEND": redis_url, "PYTHONPATH": f"{DEPLOY.parent}:{TESTS}"}
    options = {
        "uvicorn": ["--port", "{port}", "--log-config", config],
        "hypercorn": [
            "--bind",
            "127.0.0.1:{port}",
            "--log-config",
            f"json:{config}",
            "--access-logfile",
            "-",
        ],
        "gunicorn": ["--bind", PLACE, "-k", "asgi", "--log-config-json", config],
    }

    async def visit(server):
        port = free_port()
        given = [str(option).format(port=port) for option in options[server]]
        command = [sys.executable, "-m", server, "apps.logged:edge", *given]
        process = await asyncio.to_thread(serve, command, port=port, env=env)
        url = f"http://127.0.0.1:{port}"
        await get(f"{url}/events/none?token=abc")
        await get(f"{url}/page?token=abc")
        stream = await connect(f"{url}/events/me?user=u42")
        await stream.aclose()
        await asyncio.to_thread(process.wait_for_log, "client-gone")
        await asyncio.to_thread(process.wait_for_log, '"/page"')
        process.signal(15)
        await process.exited()
        return process

    for process in await asyncio.gather(*map(visit, options)):
        assert {"refused", "request", "stream-ended", "server"} <= {each["event"] for each in lines(process)}
        assert "abc" not in process.log
