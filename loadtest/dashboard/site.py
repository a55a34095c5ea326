"""The servers and the Redis that are recorded."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from ..site import programs
from ..site.deployment import EXIT, Site

ROOT = Path(__file__).parents[2]


class Servers(Site):
    """So many of ``sse-edge serve``, with ``processes`` each, and a Redis that keeps what it has."""

    gently = ("worker", "Redis")

    def __init__(self, directory: Path, servers: int, processes: int = 1) -> None:
        super().__init__(directory)
        self.ports = [programs.free_port() for _ in range(servers)]
        self._processes = processes

    @property
    def targets(self) -> dict[str, int]:
        """What Prometheus scrapes: name → port."""
        return {f"web-{number}": port for number, port in enumerate(self.ports, 1)}

    def begin(self) -> None:
        """Redis, and a server on each port."""
        self.start_redis("--appendonly", "yes", "--save", "")
        options = ["--workers", str(self._processes), "--grace", "10", "--app-dir", str(ROOT)]
        for port in self.ports:
            arguments = programs.edge_server(f"{__package__}.app:edge", port, *options)
            self.start("worker", arguments, port, BACKEND=self.redis)

    def drain(self, number: int) -> None:
        """Let a server send its streams away while it still answers, as a hook before a stop does."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number]}/drain", b"", EXIT).close()

    def stop_redis(self) -> None:
        """As when its machine is restarted."""
        self.programs["Redis"][0].stop()

    def start_redis_again(self) -> None:
        """With what it had before."""
        self.programs["Redis"][0].start()
