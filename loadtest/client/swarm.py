"""The streams of one process on one ``epoll``, which gevent's loop waits for as for any descriptor."""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from ..checker import Checker, Client
from .secured import context
from .stream import Intruder, State, Stream
from .tally import Tally
from .target import Target

AT_ONCE = 200
"""Streams that all processes open for the first time at once: more would only wait for each other, and a
server closes who waits for long.  Who comes back does not wait for others."""

BATCH = 256
"""Descriptors that are served before Locust's own tasks have a turn."""

TICK = 0.02
"""Seconds between two looks at who comes back."""

NUMBERS = 1_000_000
"""Streams that a process may ever have; numbers of the next process begin after them."""

epoll: Any = monkey.get_original("select", "epoll")
EPOLLIN, EPOLLOUT = 1, 4


class Swarm:
    """All streams of a process; ``personal`` says that each hears its user's own channel too."""

    def __init__(self, target: Target, index: int, *, processes: int = 1, personal: bool = False) -> None:
        self.target = target
        self.first = index * NUMBERS
        self.tally = Tally()
        self.abused = Tally()
        self.checker = Checker()
        self.streams: dict[int, Stream] = {}
        self._intruders: list[Intruder] = []
        self.wanted = 0
        """How many there shall be; those that left for good count no more."""
        self.tls = context(target.authority) if target.tls else None
        self._personal = personal
        self._at_once = max(5, AT_ONCE // processes)
        self._next = self.first
        self._poll = epoll()
        self._watched: dict[int, Stream] = {}
        self._queue: deque[Stream] = deque()
        self._opening: set[Stream] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._turns = 0
        self._lifetime: float | None = None
        self.failure: Exception | None = None
        """What has gone wrong in the loop, where nothing should."""
        # One watcher for good: to add an epoll to another, as a wait for each turn would, the kernel looks at
        # all that are in it.
        loop = gevent.get_hub().loop
        self._ready = loop.io(self._poll.fileno(), 1)
        self._ready.start(self._guarded, self._turn)
        self._clock = loop.timer(TICK, TICK)
        self._clock.start(self._guarded, self._pass_time)

    # Coming and going

    def add(self, count: int) -> None:
        """So many more clients, each a user of its own."""
        for _ in range(count):
            self._new()
        self.wanted += count
        self._open()

    def remove(self, count: int) -> None:
        """The newest leave for good."""
        self.wanted -= count
        for number in list(self.streams)[max(0, len(self.streams) - count) :]:
            self.streams.pop(number).leave()

    def _new(self) -> Stream:
        stream = Stream(self, self._next)
        self._next += 1
        self.streams[stream.number] = stream
        self._queue.append(stream)
        return stream

    def _open(self) -> None:
        while self._queue and len(self._opening) < self._at_once:
            stream = self._queue.popleft()
            if stream.state == State.OVER:
                continue  # it left before its turn
            self._opening.add(stream)
            stream.connect()

    def close(self) -> None:
        """Everything ends here."""
        for watcher in (self._ready, self._clock):
            watcher.stop()
            watcher.close()
        self.streams.clear()
        self._queue.clear()
        self._due.clear()
        for stream in list(self._watched.values()):
            if stream.socket is not None:
                stream.socket.close()
        self._watched.clear()
        self._poll.close()

    # What a stream asks for

    def watch(self, stream: Stream, *, writing: bool = False) -> None:
        """Say when its socket can be read, or written."""
        fd = stream.socket.fileno()
        wanted = EPOLLOUT if writing else EPOLLIN
        if fd in self._watched:
            self._poll.modify(fd, wanted)
        else:
            self._watched[fd] = stream
            self._poll.register(fd, wanted)

    def forget(self, stream: Stream) -> None:
        """Say no more."""
        fd = stream.socket.fileno()
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, stream: Stream, seconds: float) -> None:
        """Let it connect again after so many seconds."""

        def again() -> None:
            if stream.state == State.WAITING:
                stream.connect()

        self._after(seconds, again)

    def opened(self, stream: Stream) -> None:
        """It is live."""
        self._opening.discard(stream)
        if self._lifetime is not None and not isinstance(stream, Intruder):
            self._expire(stream, self._lifetime)
        self._open()

    def closed(self, stream: Stream) -> None:
        """Its connection is over; whether it comes back or not, another may have its turn."""
        self._opening.discard(stream)
        if self._queue:
            self._after(0.0, self._open)

    def record(self, number: int) -> Client:
        """Where what it gets is written down."""
        return self.checker.client(str(number))

    def channels(self, number: int) -> list[str]:
        """What it hears."""
        own = [self.target.personal(number)] if self._personal else []
        return [self.target.shared, *own]

    # What the run orders

    def drop(self, share: float = 1.0) -> int:
        """Let this share of the streams lose its connection; how many."""
        chosen = [stream for stream in self.streams.values() if random.random() < share]
        for stream in chosen:
            stream.drop()
        return len(chosen)

    def stall(self, share: float) -> int:
        """Let this share of the streams stop reading; how many."""
        live = [stream for stream in self.streams.values() if stream.state == State.LIVE]
        chosen = random.sample(live, round(len(live) * share))
        for stream in chosen:
            stream.stall()
        return len(chosen)

    def wake(self) -> int:
        """Let all read again; how many did not."""
        stuck = [stream for stream in self.streams.values() if stream.stuck]
        for stream in stuck:
            stream.wake()
        return len(stuck)

    def churn(self, lifetime: float | None) -> None:
        """Let streams leave for good after so many seconds on average, and others come; None: no more."""
        self._lifetime = lifetime
        if lifetime is not None:
            for stream in self.streams.values():
                if stream.state == State.LIVE:
                    self._expire(stream, lifetime)

    def _expire(self, stream: Stream, lifetime: float) -> None:
        def expire() -> None:
            if self._lifetime is not None and stream.number in self.streams:
                stream.leave()
                del self.streams[stream.number]
                self._new()
                self._open()

        self._after(random.expovariate(1 / lifetime), expire)

    def abuse(self, address: int, user: int, pause: float, processes: int) -> None:
        """Let so many strangers come from one address, and one user come so many times from many addresses.

        Neither waits longer than ``pause`` seconds.  The one is the first process, the other the last of
        ``processes``.
        """
        own = self.first // NUMBERS
        if own == 0:
            self._invade(address, source="127.99.99.99" if self.target.here else None, user=None, pause=pause)
        if own == processes - 1:
            self._invade(user, source=None, user="intruder", pause=pause)

    def _invade(self, count: int, *, source: str | None, user: str | None, pause: float) -> None:
        for number in range(count):
            # Far from the others' numbers, and so from their addresses.
            place = self.first + NUMBERS // 2 + len(self._intruders)
            intruder = Intruder(self, place, source=source, user=user, pause=pause)
            self._intruders.append(intruder)
            self.later(intruder, pause * number / count)

    def retreat(self) -> dict[str, int]:
        """Let the intruders go; how many streams the one address had, and the one user."""
        held = [intruder for intruder in self._intruders if intruder.state == State.LIVE]
        user = sum(intruder.user == "intruder" for intruder in held)
        for intruder in self._intruders:
            intruder.leave()
        self._intruders = []
        return {"address": len(held) - user, "user": user}

    def range(self) -> tuple[int, int]:
        """The first number that was given out, and how many were."""
        return self.first, self._next - self.first

    def behind(self, newest: dict[str, tuple[int, float]]) -> dict[str, int]:
        """How many are open, have given up for good, and lack the newest event of a channel.

        ``newest`` are that event's number and when it was published.
        """
        lacking = sum(
            any(name in newest and not ear.has(*newest[name]) for name, ear in stream.record.ears.items())
            for stream in self.streams.values()
            if stream.record is not None
        )
        return {
            "wanted": self.wanted,
            "live": sum(stream.state == State.LIVE for stream in self.streams.values()),
            "over": sum(stream.state == State.OVER for stream in self.streams.values()),
            "behind": lacking,
        }

    # The loop

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._turns += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._turns, call))

    def _guarded(self, call: Callable[[], None]) -> None:
        """Called by gevent's loop, which would print an exception and go on."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the conductor is told when it asks for something
            self.failure = error

    def _turn(self) -> None:
        watched = self._watched
        for fd, _ in self._poll.poll(0, BATCH):
            stream = watched.get(fd)
            if stream is not None:
                stream.ready()

    def _pass_time(self) -> None:
        now, due = time.monotonic(), self._due
        while due and due[0][0] <= now:
            heapq.heappop(due)[2]()
