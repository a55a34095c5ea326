"""Child processes: started, awaited, and ended for certain."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import sse_edge
from loadtest.site.programs import take_port

from .forkserver import ForkServer
from .privacy import leaks

TESTS = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SERVING = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(TESTS), str(Path(sse_edge.__path__[0]).parent), os.environ.get("PYTHONPATH")])
    ),
    "PYTHONUNBUFFERED": "1",
}
"""The environment of servers in Python."""

PACKAGES = {
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "nginx": "nginx",
    "caddy": "caddy",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "firefox-esr": "firefox-esr",
    "apache2": "apache2",
    "varnishd": "varnish",
    "curl": "curl",
    "openssl": "openssl",
    "git": "git",
    "haproxy": "haproxy",
    "node": "nodejs",
    "npm": "npm",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "bwrap": "bubblewrap",
    "cc": "build-essential",
    "tmux": "tmux",
    "sysctl": "procps",
    "unshare": "util-linux",
    "prlimit": "util-linux",
}
"""Which Debian package a command comes from; a test holds tests/debian-packages to the same list."""


def command(name):
    """The path of an installed program; the test fails, naming the package, when it is missing."""
    # Debian keeps nginx in /usr/sbin, which is not on everybody's PATH.  What lies beside Python is another
    # version of the same, where the virtual environment is active; see ``packaged``.
    places = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/sbin"]
    path = shutil.which(name, path=os.pathsep.join(place for place in places if Path(place) != BIN))
    if path is None:
        pytest.fail(f"{name} is not installed: Debian package {PACKAGES.get(name, name)}", pytrace=False)
    return path


def packaged(name):
    """The path of a program that a Python package brought; the test fails when it is missing."""
    path = BIN / name
    if not path.exists():
        pytest.fail(f"{path} is not there: a package of the extra dev", pytrace=False)
    return path


def free_port():
    """A TCP port on 127.0.0.1 where nothing listens; no port is given out twice, nor to two processes.

    From below the range that outgoing connections take theirs from, so that no client of another
    test sits on it a moment later.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if not take_port(port):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Guard:
    """Kills the process groups it was told of when this process dies, however it dies.

    A process of its own that waits for the end of a pipe.  PR_SET_PDEATHSIG would not do: it reaches
    only direct children, and a server's workers are none.
    """

    _SCRIPT = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    sign, group = line[0], int(line[1:])
    groups.add(group) if sign == "+" else groups.discard(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

    def __init__(self):
        self._process = None

    def watch(self, group):
        """Kill this process group should the tests die."""
        if self._process is None:
            arguments = [sys.executable, "-S", "-E", "-c", self._SCRIPT]
            self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)
        self._tell("+", group)

    def forget(self, group):
        """The group is gone."""
        self._tell("-", group)

    def close(self):
        """End the guard itself; what it still watches dies with it."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(10)
            self._process = None

    def _tell(self, sign, group):
        if self._process is not None:
            self._process.stdin.write(f"{sign}{group}\n".encode())
            self._process.stdin.flush()


guard = Guard()
fork_server = ForkServer({**os.environ, **SERVING})


def kill_group(group):
    """SIGKILL for every process of a group; nothing when there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def descendants(pid):
    """The process and all that it has started, directly or not; each with the moment of its start."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(path.parent.name), fields[19]] = int(fields[1])
    found, new = set(), {pid}
    while new:
        more = {each for each in parents if each[0] == pid or parents[each] in new} - found
        found |= more
        new = {each[0] for each in more}
    return found


def still_there(processes):
    """Those of ``descendants`` that have not ended."""
    left = set()
    for pid, began in processes:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and fields[19] == began:
                left.add(pid)
    return left


class ServerProcess:
    """A child in a process group of its own, its output in a file.

    Ready when ``port`` on 127.0.0.1 (or ``unix``, a socket's path) accepts a connection; with
    neither, at once.  Unless it is to be a ``new`` one, a process that the fork server forks will do.
    """

    def __init__(self, arguments, *, port=None, unix=None, env=None, cwd=None, new=True):
        self.arguments = [str(argument) for argument in arguments]
        self.port = port
        self.unix = unix
        self._directory = tempfile.TemporaryDirectory(prefix="sse-edge-test-")
        self._log = Path(self._directory.name) / "log"
        env = {**os.environ, **(env or {})}
        with self._log.open("wb") as output:
            if not new and fork_server.forks(self.arguments, env):
                self._popen = fork_server.start(self.arguments, env=env, cwd=cwd, output=output)
            else:
                self._popen = subprocess.Popen(
                    self.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
        self._swept = False
        guard.watch(self.pid)

    @property
    def pid(self):
        return self._popen.pid

    @property
    def alive(self):
        return self._popen.poll() is None

    @property
    def returncode(self):
        return self._popen.poll()

    @property
    def log(self):
        """Everything it has written to stdout and stderr."""
        return self._log.read_text(errors="replace")

    def wait_ready(self, timeout=20):
        """Wait until it accepts connections; fails with its log when it dies or takes too long."""
        deadline = time.monotonic() + timeout
        while not self._accepts():
            if not self.alive:
                self._fail(f"ended with code {self.returncode} before it accepted a connection")
            if time.monotonic() > deadline:
                self._fail(f"accepted no connection within {timeout} s")
            time.sleep(0.02)
        return self

    def signal(self, number):
        """Send a signal to the process itself, not to its children."""
        if self.alive:
            self._popen.send_signal(number)

    def wait(self, timeout=20):
        """Block until it has ended; its exit code.  Fails with the log when it takes too long."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self._fail(f"did not end within {timeout} s")
        self._sweep()
        return self.returncode

    async def exited(self, timeout=20):
        """``wait`` for tests whose own event loop has to go on."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self.wait(0.001)

    def wait_for_log(self, text, timeout=20):
        """Block until ``text`` is in the log."""
        deadline = time.monotonic() + timeout
        while text not in self.log:
            if not self.alive or time.monotonic() > deadline:
                self._fail(f"has not written {text!r}")
            time.sleep(0.02)

    def terminate(self, timeout=20):
        """SIGTERM, then ``wait``."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL for it and its children, as when a machine goes down."""
        if self.alive:
            kill_group(self.pid)
        return self.wait()

    def close(self):
        """End whatever is left, and forget the log."""
        self.kill()
        self._directory.cleanup()

    def _sweep(self):
        # Right after the process ended, while its group's number cannot have been given to another.
        if not self._swept:
            self._swept = True
            kill_group(self.pid)
            guard.forget(self.pid)

    def _accepts(self):
        if self.port is None and self.unix is None:
            return True
        family = socket.AF_INET if self.unix is None else socket.AF_UNIX
        address = ("127.0.0.1", self.port) if self.unix is None else str(self.unix)
        with socket.socket(family) as probe:
            probe.settimeout(1)
            return probe.connect_ex(address) == 0

    def _fail(self, what):
        pytest.fail(f"{' '.join(self.arguments)}: {what}\n{self.log[-8000:]}", pytrace=False)


class Processes:
    """Starts processes and ends them all; what the ``serve`` and ``serve_app`` fixtures are made of."""

    def __init__(self):
        self.started = []

    def serve(self, arguments, *, port=None, unix=None, env=None, cwd=None, timeout=20, new=True):
        """Start a command (its first word is looked up) and wait until it accepts connections."""
        program, *rest = arguments
        process = ServerProcess([command(program), *rest], port=port, unix=unix, env=env, cwd=cwd, new=new)
        self.started.append(process)
        return process.wait_ready(timeout)

    def serve_app(
        self,
        app,
        *,
        server="uvicorn",
        workers=1,
        port=None,
        unix=None,
        env=None,
        options=(),
        python=None,
        new=False,
    ):
        """Run ``module:attribute`` (tests/ is on the path) in a server; the process has ``.url``.

        ``unix`` is a socket's path to listen on instead of a port; ``options`` go to the server's
        command line as they are.  ``python`` is another environment's.  Most tests do not mind where
        uvicorn or ``sse-edge serve`` with one worker comes from, and it is forked, see forkserver; with
        ``new`` Python is started for it, as always where tests start a command themselves.
        """
        if unix is None:
            port = port or free_port()
        python = python or sys.executable
        ours = server == "sse-edge serve"
        command = [Path(python).with_name("sse-edge"), "serve"] if ours else [python, "-m", server]
        arguments = [*command, app, *_options(server, port, unix, workers), *options]
        env = {**SERVING, **(env or {})}
        process = self.serve(arguments, port=port, unix=unix, env=env, new=new or workers > 1)
        process.url = "http://localhost" if unix else f"http://127.0.0.1:{port}"
        return process

    def close(self):
        """End every process, the last first, and print the logs: pytest shows them when a test failed."""
        with contextlib.ExitStack() as stack:
            for process in self.started:
                stack.callback(_end, process)
        self.started.clear()


def _end(process):
    process.kill()
    log = process.log
    print(f"--- {' '.join(process.arguments)} (exit code {process.returncode})\n{log[-8000:]}")
    process.close()
    assert leaks(log) == [], "it has written what nobody may read"


def _options(server, port, unix, workers):
    if server in ("uvicorn", "sse-edge serve"):
        listen = ["--uds", unix] if unix else ["--host", "127.0.0.1", "--port", port]
        return [*listen, "--workers", workers]
    if server == "hypercorn":
        return ["--bind", f"unix:{unix}" if unix else f"127.0.0.1:{port}", "--workers", workers]
    if server == "granian":
        listen = ["--uds", unix] if unix else ["--host", "127.0.0.1", "--port", port]
        return ["--interface", "asgi", *listen, "--workers", workers]
    if server == "gunicorn":  # which worker is an option of its own
        return ["--bind", f"unix:{unix}" if unix else f"127.0.0.1:{port}", "--workers", workers]
    if server == "daphne" and workers == 1:
        return ["-u", unix] if unix else ["-b", "127.0.0.1", "-p", port]
    raise ValueError(f"no such server: {server}")
