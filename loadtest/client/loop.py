"""One ``epoll`` and one clock for all streams of a process, in gevent's event loop."""

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

TICK = 0.02  # seconds between two looks at what is due

# Locust has gevent replace these; thousands of streams on one ``epoll`` take the kernel's own.
epoll: Any = monkey.get_original("select", "epoll")
Socket: Any = monkey.get_original("socket", "socket")
EPOLLIN, EPOLLOUT = 1, 4

Call = Callable[[], None]


class Loop:
    """Calls back when a descriptor is ready, or a time has come."""

    def __init__(self) -> None:
        self.failure: Exception | None = None  # of a call, where nothing should go wrong
        self.due: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._poll = epoll()
        self._watched: dict[int, Call] = {}
        # One watcher for good: to add an epoll to another, as a wait for each turn would, the kernel looks
        # at all that are in it.
        hub = gevent.get_hub().loop
        self._watchers = hub.io(self._poll.fileno(), 1), hub.timer(TICK, TICK)
        for watcher in self._watchers:
            watcher.start(self._turn)

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
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._poll.close()
