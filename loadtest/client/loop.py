"""One ``epoll`` and one clock for all streams of a process, in whatever event loop they are put."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

TICK = 0.02  # seconds between two looks at what is due

# Locust has gevent replace it; thousands of streams on one ``epoll`` take the kernel's own.
epoll: Any = monkey.get_original("select", "epoll")
EPOLLIN, EPOLLOUT = 1, 4

Call = Callable[[], None]

Put = Callable[[int, Call], Call]
"""Has an event loop call when this descriptor is ready, and at each tick; what ends that."""


def in_gevent(fd: int, call: Call) -> Call:
    """In gevent's."""
    # One watcher for good: to add an epoll to another, as a wait for each turn would, the kernel looks at
    # all that are in it.
    hub = gevent.get_hub().loop
    watchers = hub.io(fd, 1), hub.timer(TICK, TICK)
    for watcher in watchers:
        watcher.start(call)

    def end() -> None:
        for watcher in watchers:
            watcher.stop()
            watcher.close()

    return end


def in_asyncio(fd: int, call: Call) -> Call:
    """In the one of asyncio that is running."""
    running = asyncio.get_running_loop()
    running.add_reader(fd, call)

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK)
            call()

    ticking = running.create_task(tick())

    def end() -> None:
        running.remove_reader(fd)
        ticking.cancel()

    return end


class Loop:
    """Calls back when a descriptor is ready, or a time has come; ``put`` has an event loop turn it."""

    def __init__(self, put: Put) -> None:
        self.failure: Exception | None = None  # of a call, where nothing should go wrong
        self.due: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._poll = epoll()
        self._watched: dict[int, Call] = {}
        self._end = put(self._poll.fileno(), self._turn)

    def watch(self, fd: int, call: Call, *, writing: bool = False) -> None:
        """Call when it can be read, or written."""
        self.forget(fd)
        self._watched[fd] = call
        self._poll.register(fd, EPOLLOUT if writing else EPOLLIN)

    def forget(self, fd: int) -> None:
        """Call no more."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, call: Call) -> None:
        """Call in so many seconds."""
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self._order), call))

    def _turn(self) -> None:
        try:
            for fd, _ in self._poll.poll(0, 256):  # then other tasks have a turn
                call = self._watched.get(fd)
                if call is not None:
                    call()
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2]()
        except Exception as error:  # noqa: BLE001 - an event loop would print it, and go on
            self.failure = error

    def close(self) -> None:
        """No more calls."""
        self._end()
        self._poll.close()
