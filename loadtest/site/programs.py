"""The programs under load, started on loopback and ended for certain."""

import contextlib
import fcntl
import functools
import logging
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TypeVar

from ..measure import machine
from ..measure.process import children

READY = 30.0  # seconds for a program to begin, or for whatever it is waited for
STOPPING = 40.0  # seconds for a program to end by itself, with what it started; a shipped unit gives it 30
INTERRUPTED = 130  # what a command exits with after Ctrl-C or SIGTERM

Found = TypeVar("Found")

_taken: set[int] = set()


@functools.cache
def _register() -> int:
    """A file in which each port is a byte.  It is never closed: that would give up every lock."""
    name = Path(tempfile.gettempdir(), f"sse-edge-ports-{os.getuid()}")
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def take_port(port: int) -> bool:
    """Whether no other process has it that asks here too, nor this one before; it is kept until this dies."""
    if port in _taken:
        return False
    try:
        fcntl.lockf(_register(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _taken.add(port)
    return True


def free_port() -> int:
    """A port where nothing listens; none is given out twice.

    From below the range that outgoing connections take theirs from (32768 and above, as Linux comes):
    thousands of streams would soon sit on it.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if not take_port(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                return port


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Processes that are started within never hear Ctrl-C, not even while they begin: this one does,
    afterwards, and ends them."""
    resource_tracker.ensure_running()  # or the first process would start it, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruptible(main: Callable[[], int | None]) -> int | None:
    """What a command exits with: as ``main`` says, or ``INTERRUPTED``.

    Ctrl-C and SIGTERM raise KeyboardInterrupt in it, wherever it is, so that it ends whatever it has started;
    once, since ``timeout`` sends its signal twice, and the second would interrupt the ending.
    """

    def interrupt(number: int, frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        # Of a task that it is raised in asyncio would say that nobody has retrieved it.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    # Not Python's own: ``asyncio.Runner`` would cancel what runs in it, and that may end in time and go on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted; everything it started is stopped", file=sys.stderr)
        return INTERRUPTED


class Program:
    """A child, its output in a file; one with a ``port`` accepts connections there once it is started."""

    def __init__(self, arguments: Sequence[str], port: int | None, **env: str) -> None:
        self._arguments, self._port, self._env = arguments, port, {**os.environ, **env}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed together with the child
        with contextlib.ExitStack() as failing:
            failing.enter_context(self._output)
            self.start()
            failing.pop_all()

    def start(self) -> None:
        """Start it, also when it has ended.  Raises RuntimeError, with its log, when it does not begin."""
        self._child = subprocess.Popen(  # noqa: S603 - our own arguments
            self._arguments,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=self._env,
            start_new_session=True,  # Ctrl-C is for whoever runs the load, which then ends its programs
        )
        try:
            self.wait_for(self._accepts)
        except BaseException:
            self.end()
            raise

    def wait_for(self, ready: Callable[[], Found], what: str = "start") -> Found:
        """Look until it is there.  Raises RuntimeError, with its log, when it ends before or takes long."""
        deadline = time.monotonic() + READY
        while not (found := ready()):
            if self.exit_code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{shlex.join(self._arguments)} did not {what}:\n{self.log}")
            time.sleep(0.02)
        return found

    def _accepts(self) -> bool:
        if self._port is None:
            return True
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    @property
    def pids(self) -> list[int]:
        """Its process id, and those of all it has started; nothing once it has ended."""
        return [] if self.exit_code is not None else [self._child.pid, *children(self._child.pid)]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    @property
    def log(self) -> str:
        """What it has written."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def stop(self) -> bool:
        """SIGTERM; whether it has ended within ``STOPPING`` seconds, and all it has started with it."""
        self._child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(STOPPING)
        return self.exit_code is not None

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()
        self._child.wait()

    def end(self) -> None:
        """SIGKILL, if it still runs; SIGTERM before where it has started others, which only it can end."""
        if len(self.pids) > 1:
            self.stop()
        self.kill()

    def close(self) -> None:
        """End it; its log is gone then."""
        self.end()
        self._output.close()


def command(name: str) -> str:
    """Where a program is.  Raises RuntimeError when it is not installed."""
    path = machine.program(name)
    if path is None:
        raise RuntimeError(f"not installed: {machine.lacking(name)[0]}")
    return path


def edge_server(app: str, port: int, *options: str) -> list[str]:
    """An app under ``sse-edge serve``, its log at warnings."""
    edge = str(Path(sys.executable).with_name("sse-edge"))
    return [edge, "serve", app, "--port", str(port), "--log-level", "warning", *options]
