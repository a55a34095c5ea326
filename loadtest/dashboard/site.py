"""The servers and the Redis that are recorded; each can be stopped, and started again where it was."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..site import programs

PATIENCE = 30.0
"""Seconds for a server to drain and end."""


class Site:
    """``servers`` of ``sse-edge serve``, with so many workers each, and a Redis that keeps what it has."""

    def __init__(self, servers: int, workers: int = 1) -> None:
        self._workers = workers
        self._directory = tempfile.TemporaryDirectory(prefix="sse-edge-recorded-")
        self._redis = programs.free_port()
        self.ports = [programs.free_port() for _ in range(servers)]
        self._programs: dict[int, programs.Program] = {}

    @property
    def redis(self) -> str:
        """The URL of Redis."""
        return f"redis://127.0.0.1:{self._redis}/0"

    @property
    def targets(self) -> dict[str, int]:
        """What Prometheus scrapes: name → port."""
        return {f"web-{number}": port for number, port in enumerate(self.ports, 1)}

    def __enter__(self) -> Site:
        try:
            self.start_redis()
            for port in self.ports:
                self.start(port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for port in list(self._programs):
            self.stop(port)
        self._directory.cleanup()

    def start(self, port: int) -> None:
        """A server on this port."""
        command = str(Path(sys.executable).with_name("sse-edge"))
        options = ["--port", str(port), "--workers", str(self._workers), "--log-level", "warning"]
        options += ["--grace", "10", "--app-dir", str(Path(__file__).parents[2])]
        self._start(port, [command, "serve", f"{__package__}.app:edge", *options])

    def drain(self, port: int) -> None:
        """Let it send its streams away while it still answers, as a hook before a stop does."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", "/drain")
            connection.getresponse().read()

    def stop(self, port: int) -> None:
        """As a deploy does, by SIGTERM."""
        program = self._programs[port]
        program.terminate()
        deadline = time.monotonic() + PATIENCE
        while program.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.05)
        program.end()

    def start_redis(self) -> None:
        """With what it had before."""
        server = shutil.which("redis-server")
        if server is None:
            raise RuntimeError("redis-server is not installed (Debian package redis-server)")
        options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--dir", self._directory.name]
        self._start(self._redis, [server, "--port", str(self._redis), *options])

    def stop_redis(self) -> None:
        """As when its machine is restarted."""
        self.stop(self._redis)

    def _start(self, port: int, arguments: Sequence[str]) -> None:
        self._programs[port] = programs.Program(arguments, port, {"BACKEND": self.redis})
