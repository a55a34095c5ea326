"""Where those who are compared are started, each with clients of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from ..client.reader import reading
from ..measure import machine
from ..site import nchan, programs
from .contenders import (
    App,
    Bare,
    Contender,
    Edge,
    Floor,
    GzipEdge,
    Nchan,
    PersonalEdge,
    PersonalNchan,
    Starlette,
)

APPS: dict[str, tuple[str, type[App]]] = {
    "bare": ("bare_app", Bare),
    "sse_edge": ("edge_app", Edge),
    "TaskSink": ("task_app", Edge),
    "sse_edge, own channels": ("edge_app", PersonalEdge),
    "gzip": ("edge_app", GzipEdge),
    "sse-starlette": ("starlette_app", Starlette),
}
"""What runs under uvicorn: a factory in ``apps``, and its contender."""

OTHERS: dict[str, type[Contender]] = {"floor": Floor, "nchan": Nchan, "nchan, own channels": PersonalNchan}

CONTENDERS = ("floor", "sse_edge", "TaskSink", "nchan", "sse-starlette")
"""Who is compared in delivering."""


USERS = 1_000_000
"""Of each contender: more than it has streams."""


class Arena:
    """Starts contenders: each server on the cores ``server``.

    This process, readers and Redis are to run on the ``rest``, which whoever makes it sees to.  ``floor`` is
    the floor's program, if not the one in Python.
    """

    def __init__(
        self,
        url: str,
        runner: asyncio.Runner,
        server: set[int],
        rest: set[int],
        floor: Path | None = None,
    ) -> None:
        self._floor = floor
        self.url = url
        self.runner = runner
        self.cores = server | rest
        self._server = server
        self._networks = itertools.cycle(range(10, 250))
        self._users = itertools.count(USERS, USERS)

    def users(self) -> int:
        """The number of the first of so many users that nobody had before."""
        return next(self._users)

    @contextlib.contextmanager
    def contender(self, name: str, **env: str) -> Iterator[Contender]:
        """A server with a reader of its own, until the end of the block."""
        kind = OTHERS.get(name) or APPS[name][1]
        port = programs.free_port()
        with reading(next(self._networks)) as reader, self._server_of(name, port, env) as pid:
            contender = kind(port, pid, reader, self)
            try:
                yield contender
            finally:
                contender.end()

    @contextlib.contextmanager
    def _server_of(self, name: str, port: int, env: dict[str, str]) -> Iterator[int]:
        """It on this port, until the end of the block; its process id."""
        with contextlib.ExitStack() as stack:
            with machine.on(self._server):
                if issubclass(OTHERS.get(name, App), Nchan):
                    pid = stack.enter_context(nchan.running(port))
                else:
                    env = {"BACKEND": self.url, "SSE_EDGE_SINK": "auto", **env}
                    pid = stack.enter_context(programs.running(self._command(name, port), port, **env)).pid
            yield pid

    def _command(self, name: str, port: int) -> list[str]:
        if name in APPS:
            return uvicorn_command(APPS[name][0], port)
        if self._floor is not None:
            return [str(self._floor), str(port)]
        return [sys.executable, "-m", f"{__package__}.floor", str(port)]


def uvicorn_command(factory: str, port: int) -> list[str]:
    """One plain process, without logs of requests."""
    app = [f"{__package__}.apps:{factory}", "--factory", "--interface", "asgi3"]
    kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *app, *kind, "--host", "127.0.0.1", "--port", str(port)]
