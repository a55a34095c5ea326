"""Where those who are compared are started, each with clients of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Mapping

from ..client.reader import reading
from ..measure import machine
from ..site import programs
from .contenders import (
    Bare,
    Contender,
    Edge,
    Floor,
    GzipEdge,
    Nchan,
    PersonalEdge,
    PersonalNchan,
    Starlette,
    TaskEdge,
)

KINDS: dict[str, type[Contender]] = {
    "floor": Floor,
    "bare": Bare,
    "sse_edge": Edge,
    "TaskSink": TaskEdge,
    "sse_edge, own channels": PersonalEdge,
    "gzip": GzipEdge,
    "nchan": Nchan,
    "nchan, own channels": PersonalNchan,
    "sse-starlette": Starlette,
}
"""All that can be started, by name."""

CONTENDERS = ("floor", "sse_edge", "TaskSink", "nchan", "sse-starlette")
"""Who is compared in delivering."""

OPTIONAL = ("nchan", "sse-starlette", "TaskSink")
"""What a run may be without."""

USERS = 1_000_000
"""Of each contender: more than it has streams."""


class Arena:
    """Starts contenders: each server on the cores ``server``.

    This process, readers and Redis, at ``url``, are to run on the others, which whoever makes it sees to.
    ``kinds`` are those that can be started, by name.
    """

    def __init__(
        self,
        url: str,
        runner: asyncio.Runner,
        server: set[int],
        kinds: Mapping[str, type[Contender]] = KINDS,
    ) -> None:
        self._kinds = kinds
        self.url = url
        self.runner = runner
        self.server = server
        self._networks = itertools.cycle(range(9, 250))
        self._users = itertools.count(USERS, USERS)

    def users(self) -> int:
        """The number of the first of so many users that nobody had before."""
        return next(self._users)

    def network(self) -> int:
        """The last of a reader's addresses that nobody has."""
        return next(self._networks)

    @contextlib.contextmanager
    def contender(self, name: str, **settings: str) -> Iterator[Contender]:
        """A server with a reader of its own, until the end of the block; see ``Contender.serve``."""
        kind, port = self._kinds[name], programs.free_port()
        settings = {"BACKEND": self.url, "SSE_EDGE_SINK": "auto", **settings}
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(reading(self.network()))
            with machine.on(self.server):
                pid = stack.enter_context(kind.serve(port, settings))
            contender = kind(port, pid, reader, self)
            stack.callback(contender.end)
            yield contender
