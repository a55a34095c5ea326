"""Who publishes: it numbers every event, and remembers when it was published."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import gevent
from gevent.event import Event

from sse_edge import PublishError, SyncPublisher
from sse_edge.event import check_channel

from ..checker import Numbering, payload


class Press:
    """Publishes numbered events.  A wrong URL raises ConfigError, a wrong channel EventError."""

    def __init__(self, url: str) -> None:
        self.failed = 0
        """Events of which nobody knows whether they are out."""
        self.numberings: defaultdict[str, Numbering] = defaultdict(Numbering)
        self._publisher = SyncPublisher(url)

    def publish(self, channel: str, size: int) -> None:
        """One event, whose data has ``size`` bytes or a few more."""
        at = time.time()
        number = self.numberings[channel].next(at)
        try:
            self._publisher.publish(channel, payload(channel, number, at, size))
        except BaseException as error:
            self.failed += 1
            self.numberings[channel].unconfirmed.add(number)
            if not isinstance(error, PublishError):
                raise

    def burst(self, channel: str, count: int, spacing: float, size: int) -> None:
        """So many events, that many seconds apart or as soon as the one before is out."""
        began = time.monotonic()
        for number in range(1, count + 1):
            self.publish(channel, size)
            gevent.sleep(max(0.0, began + number * spacing - time.monotonic()))

    @contextlib.contextmanager
    def publishing(self, channels: Sequence[str], rate: float, size: int, hands: int = 1) -> Iterator[None]:
        """So many events a second during the block, to each channel in turn, by some publishers at once."""
        for channel in channels:
            check_channel(channel)
        over = Event()
        working = [
            gevent.spawn(self._steadily, channels[hand::hands], rate / hands, size, over)
            for hand in range(hands)
        ]
        try:
            yield
        finally:
            over.set()
            gevent.joinall(working)

    def _steadily(self, channels: Sequence[str], rate: float, size: int, over: Event) -> None:
        due, turn = time.monotonic(), 0
        while channels and not over.is_set():
            self.publish(channels[turn % len(channels)], size)
            turn += 1
            due = max(due + 1 / rate, time.monotonic() - 1.0)  # what was missed by more is not made up for
            over.wait(max(0.0, due - time.monotonic()))

    def newest(self, fresh: float) -> dict[str, tuple[int, float]]:
        """The newest event of each channel, and when it was published; but for the last ``fresh`` seconds."""
        until, found = time.time() - fresh, {}
        for name, each in self.numberings.items():
            n = each.first_after(until) - 1
            while n in each.unconfirmed:  # nobody knows whether it is out
                n -= 1
            if n:
                found[name] = n, each.times[n - 1]
        return found

    def close(self) -> None:
        """Close the connection to Redis."""
        self._publisher.close()
