"""One ``epoll`` and one clock for all streams of a process, in whatever event loop they are put."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
from gevent import monkey

TICK = 0.02
"""Seconds between two looks at what is due."""

# Locust has gevent replace it; thousands of streams on one ``epoll`` take the kernel's own.
epoll: Any = monkey.get_original("select", "epoll")
EPOLLIN, EPOLLOUT = 1, 4

Call = Callable[[], None]


class Loop:
    """Calls back when a descriptor is ready, or a time has come."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        """What has gone wrong in a call, where nothing should."""
        self.due: list[tuple[float, int, Call]] = []
        self._turns = 0
        self._poll = epoll()
        self._watched: dict[int, Call] = {}

    def fileno(self) -> int:
        """What is readable when a descriptor is ready."""
        return cast(int, self._poll.fileno())

    def watch(self, fd: int, call: Call, *, writing: bool = False) -> None:
        """Call when it can be read, or written."""
        wanted = EPOLLOUT if writing else EPOLLIN
        if fd in self._watched:
            self._poll.modify(fd, wanted)
        else:
            self._watched[fd] = call
            self._poll.register(fd, wanted)

    def forget(self, fd: int) -> None:
        """Call no more."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, call: Call) -> None:
        """Call in so many seconds."""
        self._turns += 1
        heapq.heappush(self.due, (time.monotonic() + seconds, self._turns, call))

    def turn(self) -> None:
        """Call for what is ready."""
        with self._kept():
            for fd, _ in self._poll.poll(0, 256):  # then other tasks have a turn
                call = self._watched.get(fd)
                if call is not None:
                    call()

    def tick(self) -> None:
        """Call for what is due."""
        with self._kept():
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2]()

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - an event loop would print it, and go on
            self.failure = error

    def close(self) -> None:
        """No more calls."""
        self.due.clear()
        self._watched.clear()
        self._poll.close()


def in_gevent(loop: Loop) -> Call:
    """Let gevent turn it; what ends that."""
    # One watcher for good: to add an epoll to another, as a wait for each turn would, the kernel looks at
    # all that are in it.
    hub = gevent.get_hub().loop
    ready, clock = hub.io(loop.fileno(), 1), hub.timer(TICK, TICK)
    ready.start(loop.turn)
    clock.start(loop.tick)

    def end() -> None:
        for watcher in (ready, clock):
            watcher.stop()
            watcher.close()

    return end


def in_asyncio(loop: Loop) -> Call:
    """Let the running event loop of asyncio turn it; what ends that."""
    running = asyncio.get_running_loop()
    running.add_reader(loop.fileno(), loop.turn)

    async def tick() -> None:
        while True:
            loop.tick()
            await asyncio.sleep(TICK)

    ticking = asyncio.ensure_future(tick())

    def end() -> None:
        running.remove_reader(loop.fileno())
        ticking.cancel()

    return end
