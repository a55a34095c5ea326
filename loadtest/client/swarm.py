"""The streams of one process, on one loop."""

import random
import time
from collections import deque
from typing import Any

from ..checker import SHOWN, Checker, Numbering
from .loop import Loop
from .stream import State, Stream
from .tally import Tally
from .target import Target

AT_ONCE = 200
"""Streams that all processes open for the first time at once: more would only wait for each other, and a
server closes who waits for long.  Who comes back does not wait for others."""

NUMBERS = 1_000_000  # streams that a process may ever have; the next one's numbers begin after them


class Swarm:
    """All streams of a process; ``personal`` says that each hears its user's own channel too."""

    def __init__(self, target: Target, index: int, *, processes: int = 1, personal: bool = False) -> None:
        self.loop = Loop()
        self.target = target
        self.first = index * NUMBERS
        self.tally = Tally()
        self.abused = Tally()
        self.checker = Checker()
        self.streams: dict[int, Stream] = {}
        self._intruders: list[Stream] = []
        self.wanted = 0  # how many there shall be; those that left for good count no more
        self._personal = personal
        self._at_once = max(5, AT_ONCE // processes)
        self._next = self.first
        self._queue: deque[Stream] = deque()
        self._opening: set[Stream] = set()
        self._lifetime: float | None = None
        self._pace: tuple[float | None, float | None] = None, None
        self._hooks = self._opened, self._closed  # the same two for all

    def add(self, count: int) -> None:
        """So many more clients, each a user of its own."""
        for _ in range(count):
            self._new()
        self.wanted += count
        if self._pace[0] is None:
            self._pace = time.time(), None
        self._open()

    def remove(self, count: int) -> None:
        """The newest leave for good."""
        self.wanted -= count
        for _ in range(min(count, len(self.streams))):
            self.streams.popitem()[1].leave()

    def _new(self) -> None:
        stream = Stream(self._next, self.target, self.loop, self.tally, *self._hooks)
        self._next += 1
        self.streams[stream.number] = stream
        self._queue.append(stream)

    def _open(self) -> None:
        while self._queue and len(self._opening) < self._at_once:
            stream = self._queue.popleft()
            if stream.state == State.OVER:
                continue  # it left before its turn
            self._opening.add(stream)
            stream.ready()

    def close(self) -> None:
        """Everything ends here."""
        for stream in [*self.streams.values(), *self._intruders]:
            if stream.socket is not None:
                stream.socket.close()
        self.streams.clear()
        self._queue.clear()
        self.loop.close()

    def _opened(self, stream: Stream, now: float) -> None:
        """It is live: what it hears from its first time on is owed to it, if it is no intruder."""
        self._opening.discard(stream)
        if stream.pause is None:
            self._pace = self._pace[0], now
            if not stream.record.ears:
                stream.record = self.checker.client(str(stream.number))
                own = [self.target.personal(stream.number)] if self._personal else []
                for channel in [self.target.shared, *own]:
                    stream.record.listen(channel, since=now)
            self._expire(stream)
        self._open()

    def _closed(self, stream: Stream) -> None:
        """Whether it comes back or not, another may have its turn."""
        self._opening.discard(stream)
        if self._queue:
            self.loop.after(0.0, self._open)

    def drop(self) -> None:
        """Let all streams lose their connections."""
        for stream in self.streams.values():
            stream.drop()

    def stall(self, share: float) -> int:
        """Let this share of the streams stop reading; how many."""
        live = [stream for stream in self.streams.values() if stream.state == State.LIVE]
        chosen = random.sample(live, round(len(live) * share))
        for stream in chosen:
            stream.stall()
        return len(chosen)

    def wake(self) -> None:
        """Let all read again."""
        for stream in self.streams.values():
            if stream.stuck:
                stream.wake()

    def churn(self, lifetime: float | None) -> None:
        """Let streams leave for good after so many seconds on average, and others come; None: no more."""
        self._lifetime = lifetime
        for stream in self.streams.values():
            if stream.state == State.LIVE:
                self._expire(stream)

    def _expire(self, stream: Stream) -> None:
        def expire() -> None:
            if self._lifetime is not None and stream.number in self.streams:
                stream.leave()
                del self.streams[stream.number]
                self._new()
                self._open()

        if self._lifetime is not None:
            self.loop.after(random.expovariate(1 / self._lifetime), expire)

    def abuse(self, address: int, user: int, pause: float, processes: int) -> None:
        """Let so many strangers come from one address, and one user come so many times from many addresses.

        Neither waits longer than ``pause`` seconds.  The one is the first process, the other the last of
        ``processes``.
        """
        own = self.first // NUMBERS
        if own == 0:
            self._invade(address, pause, source="127.99.99.99" if self.target.here else None)
        if own == processes - 1:
            self._invade(user, pause, user="intruder")

    def _invade(self, count: int, pause: float, **whose: Any) -> None:
        for number in range(count):
            # Far from the others' numbers, and so from their addresses.
            place = self.first + NUMBERS // 2 + len(self._intruders)
            intruder = Stream(place, self.target, self.loop, self.abused, *self._hooks, pause=pause, **whose)
            self._intruders.append(intruder)
            self.loop.after(pause * number / count, intruder.ready)

    def retreat(self) -> dict[str, int]:
        """Let the intruders go; how many streams the one address had, and the one user."""
        held = [intruder for intruder in self._intruders if intruder.state == State.LIVE]
        user = sum(intruder.user == "intruder" for intruder in held)
        for intruder in self._intruders:
            intruder.leave()
        self._intruders = []
        return {"address": len(held) - user, "user": user}

    def pace(self) -> tuple[float | None, float | None]:
        """When opening began and when the last stream was live, since this was asked before."""
        found, self._pace = self._pace, (None, None)
        return found

    def range(self) -> tuple[int, int]:
        """The first number that was given out, and how many were."""
        return self.first, self._next - self.first

    def behind(self, newest: dict[str, tuple[int, float]]) -> dict[str, int]:
        """How many are open, have given up for good, and lack the newest event of a channel.

        ``newest`` are that event's number and when it was published.
        """
        streams = self.streams.values()
        return {
            "wanted": self.wanted,
            "live": sum(stream.state == State.LIVE for stream in streams),
            "over": sum(stream.state == State.OVER for stream in streams),
            "behind": sum(stream.record.behind(newest) for stream in streams),
        }

    def judge(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """What these clients got, held against what was published."""
        self.checker.numberings = {name: Numbering(*each) for name, each in numbers.items()}
        report = self.checker.report()
        faults = [finding for finding in report.findings if not finding.ok]
        return {
            "clients": report.clients,
            "received": report.received,
            "lost": sum(place.last - place.first + 1 for one in faults for place in one.lost),
            "repeated": sum(place.last - place.first + 1 for one in faults for place in one.repeated),
            "disordered": sum(len(one.disordered) for one in faults),
            "resets": dict(report.resets),
            "findings": [str(finding) for finding in faults[:SHOWN]],
        }
