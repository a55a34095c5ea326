"""The edge's processes, each on a port of its own that outlives it."""

import json
import os
import signal
import sys
from pathlib import Path

import sse_edge
from servers.processes import TESTS, ServerProcess, free_port
from servers.sse import get

from .jobs import KEEP

DRAIN = 10.0
"""Seconds for a worker to end after SIGTERM."""


class Worker:
    """One uvicorn with apps.chaos; ``started`` counts its lives, ``logs`` are those of its past ones.

    Everything but ``introspect`` blocks.
    """

    def __init__(self, number, url, plan):
        self.name = f"w{number}"
        self.port = free_port()
        self.started = 0
        self.logs = []
        self._process = None
        settings = plan.settings
        backend = {
            "partitions": settings.partitions,
            "history": settings.history,
            "history_ttl": settings.history_ttl,
            "retention": KEEP,
            "durable": settings.durable,
            "timeout": settings.timeout,
        }
        edge = {
            "keep_alive": 1.0,
            "max_duration": 25.0,
            "reauthorize_every": 5.0,
            "retry": 0.1,
            "drain_window": 0.5,
            "on_backend_down": "accept" if settings.accepts_blindly else "refuse",
        }
        path = [str(TESTS), str(Path(sse_edge.__path__[0]).parent), os.environ.get("PYTHONPATH", "")]
        self._env = {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONUNBUFFERED": "1",
            "CHAOS": json.dumps({"url": url, "backend": backend, "edge": edge}),
        }

    @property
    def url(self):
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self):
        """Whether its process is there."""
        return self._process is not None and self._process.alive

    def start(self):
        """Start it, and wait until it accepts connections."""
        arguments = [sys.executable, "-m", "uvicorn", "apps.chaos:edge", "--host", "127.0.0.1"]
        arguments += ["--port", str(self.port), "--log-level", "warning"]
        self._process = ServerProcess(arguments, port=self.port, env=self._env)
        self._process.wait_ready(60)
        self.started += 1

    def kill(self):
        """SIGKILL."""
        self._process.kill()
        self._bury()

    def drain(self):
        """SIGTERM, and its end."""
        self._process.terminate(DRAIN + 20)
        self._bury()

    def pause(self):
        """SIGSTOP."""
        self._process.signal(signal.SIGSTOP)

    def resume(self):
        """SIGCONT."""
        self._process.signal(signal.SIGCONT)

    def close(self):
        """End whatever is left."""
        if self._process is not None:
            self._process.kill()
            self._bury()

    async def introspect(self):
        """What is in it: see apps.chaos."""
        return json.loads((await get(f"{self.url}/introspect")).body)

    def _bury(self):
        self.logs.append(f"exit code {self._process.returncode}\n{self._process.log}")
        self._process.close()
        self._process = None
