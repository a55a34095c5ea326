"""A server that was forked is as the same command is in a new process."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servers.processes import SERVING, free_port
from servers.proxies import wait_until
from servers.sse import get

SEEN = """
import gc, json, os, random, signal, sys, threading
from asyncio import get_running_loop

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    print("chance", random.random())
    files = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    body = json.dumps({
        "command line": [sys.argv, sys.orig_argv[-len(sys.argv) + 1 :], sys.flags],
        "imports": [sys.path, sys.modules["__main__"].__name__],
        "surroundings": [dict(os.environ), os.getcwd(), files[0], files[1] == files[2], os.umask(0)],
        "collector": [gc.isenabled(), gc.get_threshold()],
        "group": [os.getpid() == os.getpgid(0) == os.getsid(0)],
        "threads": [threading.current_thread() is threading.main_thread(), threading.active_count()],
        "signals": [str(signal.getsignal(each)) for each in (signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD)],
        "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "loop": type(get_running_loop()).__module__,
        "parent": os.getppid(),
    }).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def start(tmp_path, serve_app, monkeypatch):
    """``start(new=…)``: a server of an app that tells what it sees, elsewhere and without a home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    (tmp_path / "seen.py").write_text(SEEN)
    port = free_port()

    def start(server="uvicorn", **settings):
        env = {"SECRET": "a secret of the tests", **settings.pop("env", {})}
        options = ["--app-dir", tmp_path]
        return serve_app("seen:app", server=server, port=port, options=options, env=env, **settings)

    return start


async def seen(process):
    """What the app sees, its parent apart."""
    found = json.loads((await get(process.url)).body)
    return found.pop("parent"), found


@pytest.mark.parametrize("server", ["uvicorn", "sse-edge serve"])
async def test_it_sees_the_same(start, server):
    """Command line, imports, surroundings, signals and loop: an app sees no difference."""
    process = start(server, new=True)
    parent, new = await seen(process)
    process.terminate()
    process = start(server)
    another, forked = await seen(process)
    assert forked == new
    assert (parent, another == parent) == (os.getpid(), False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_ends_the_same(start, number):
    """A signal has the same effect, the same exit code, and what is written to the end is in the log."""
    ends = []
    for new in (True, False):
        process = start(new=new)
        process.wait_for_log("running on")
        process.signal(number)
        ends.append((process.wait(), re.sub(r"\[\d+\]", "", process.log)))
    assert ends[0] == ends[1]


async def test_chance(start):
    """No two have the same numbers by chance."""
    processes = []
    for _ in range(2):
        processes.append(start())
        await seen(processes[-1])
        processes[-1].terminate()
    assert len({re.search(r"chance (.*)", each.log)[1] for each in processes}) == 2


async def test_another_python_is_a_new_process(start):
    """A setting that Python reads when it starts is for a new process."""
    parent, found = await seen(start(env={"PYTHONDEVMODE": "1"}))
    assert parent == os.getpid()
    assert found["surroundings"][0]["PYTHONDEVMODE"] == "1"


_TESTS = """
import time
from servers.processes import Processes
process = Processes().serve_app("apps.hello:app")
parent = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[1]
print(process.pid, parent, flush=True)
time.sleep(60)
"""


def test_it_outlives_no_tests(tmp_path):
    """When tests are killed, what was forked for them dies, and what forked it ends."""
    env = {**os.environ, **SERVING, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _TESTS], env=env, stdout=subprocess.PIPE) as process:
        there = [Path("/proc", pid, "cmdline") for pid in process.stdout.readline().decode().split()]
        assert all(each.read_bytes() for each in there)
        process.kill()
    wait_until(lambda: not any(map(_runs, there)), "both have ended")


def _runs(path):
    """Whether there is a process, which has not ended."""
    try:
        return bool(path.read_bytes())
    except OSError:
        return False
