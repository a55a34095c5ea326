"""The fixtures that run programs: a real server, its end, and ports."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from servers.processes import PACKAGES, TESTS, ServerProcess, command, free_port
from servers.sse import get

HELLO = "apps.hello:app"


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
    code = f"from loadtest.site.programs import take_port; print(take_port({free_port()}))"
    asked = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, check=True)
    assert asked.stdout == b"False\n"


def test_a_process_that_was_paused_ends_too():
    """SIGKILL reaches a stopped process."""
    process = ServerProcess(["sleep", "60"])
    process.signal(signal.SIGSTOP)
    process.close()
    assert not process.alive
