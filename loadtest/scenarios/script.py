"""What a scenario can do to a run, and see of it."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent

from ..client.tally import Second, percentile, spread, together
from ..client.target import PER_SOURCE
from ..measure.sampler import Sampler
from ..site.deployment import Site
from .press import Press

LEVEL = 60.0  # seconds after the last event within which every client is to have it
FRESH = 1.0  # seconds that an event may be under way before who lacks it counts as behind
SIZE = 110  # bytes of an event's data; with id and what is around them 150 go to the client

Say = Callable[[str], None]


def crowd(streams: int) -> tuple[int, int]:
    """How many users Locust has for so many streams, and how many streams each holds: an address's worth."""
    users = math.ceil(streams / PER_SOURCE)
    return users, math.ceil(streams / users)


class Script:
    """A run, as its scenario sees it.  Whatever cannot be done raises RuntimeError.

    ``ask`` has each process's answer to an order: a method of ``Swarm``.
    """

    def __init__(self, options: Any, ask: Callable[..., list[Any]], deployment: Site, progress: Say) -> None:
        self.options, self.ask, self.deployment, self.progress = options, ask, deployment, progress
        self.users, self.per_user = crowd(options.streams)
        self.streams = self.users * self.per_user  # when all are there
        self.wanted_users = 0  # what Locust is asked for, a scenario's load shape
        self.press = Press(options.redis)
        self.sampler = Sampler(lambda: deployment.parts)
        self.began = self.sampler.began  # by the wall clock
        self.seconds: dict[int, Second] = {}
        self.whole = Second()  # all of them as one
        self.phases: dict[str, dict[str, float]] = {}
        self.found: dict[str, Any] = {}  # by the scenario, for its thresholds and the report
        self.verdict: dict[str, Any] | None = None
        """What every client got, held against what was published; None before ``judge``."""

    # What it does

    def open(self, users: int | None = None) -> None:
        """Have so many users (all), and wait until each of their streams is live."""
        self.wanted_users = self.users if users is None else users
        wanted = self.wanted_users * self.per_user
        best, since = -1, time.monotonic()
        while True:
            state = self.state()
            live = state["live"]
            if live == wanted == state["wanted"]:
                return
            if live > best:
                best, since = live, time.monotonic()
            self.progress(f"opening: {live:,} of {wanted:,} streams")
            if state["over"] or time.monotonic() > since + 90:  # seconds without a new stream
                gevent.sleep(1.2)  # the reasons are on their way
                said = (self.whole.refusals + self.whole.errors).most_common(5)
                why = ", ".join(f"{what}: {number:,}" for what, number in said) or "nothing was refused"
                raise RuntimeError(f"{live:,} of {wanted:,} streams could be opened; {why}")
            gevent.sleep(0.5)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of the run with a name, of which latency is told apart.  It begins with a whole second."""
        gevent.sleep(1 - time.time() % 1)
        part = self.phases[name] = {"from": time.time() - self.began, "to": 0.0}
        self.progress(name)
        try:
            yield
        finally:
            part["to"] = time.time() - self.began

    def publishing(
        self, rate: float, size: int = SIZE, channels: Sequence[str] = (), hands: int = 1
    ) -> contextlib.AbstractContextManager[None]:
        """Events during a block: so many a second in all, to the shared channel or to these in turn."""
        gevent.sleep(1 - time.time() % 1)  # so that the first is not counted with what was before
        return self.press.publishing(channels or [self.options.channel], rate, size, hands)

    def wait(self, seconds: float, what: str) -> None:
        """Let time pass, and say so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.progress(f"{what}, {left:.0f} s to go{self._now()}")
            gevent.sleep(min(1.0, left))

    def stay(self, seconds: float, phase: str, what: str = "") -> None:
        """Let time pass, which is a phase."""
        with self.phase(phase):
            self.wait(seconds, what or phase)

    def level(self, seconds: float = LEVEL, fresh: float = FRESH) -> float | None:
        """Seconds until every stream is open and has what is older than ``fresh``; None if not in time."""
        began = time.monotonic()
        while (asked := time.monotonic()) < began + seconds:
            state = self.state(fresh)
            live, wanted, behind = state["live"], state["wanted"], state["behind"]
            if live == wanted and not behind:
                return asked - began
            self.progress(f"not yet level: {live:,} of {wanted:,} open, {behind:,} behind")
            gevent.sleep(0.2)
        return None

    def judge(self, seconds: float = LEVEL) -> None:
        """Wait for the last event, and hold what every client got against what was published."""
        self.progress("waiting for the last events")
        self.level(seconds, fresh=0.0)
        state, numberings = self.state(0.0), self.press.numberings
        numbers = {name: (list(each.times), sorted(each.unconfirmed)) for name, each in numberings.items()}
        counts: Counter[str] = Counter(published=sum(each.last for each in numberings.values()))
        resets: Counter[str] = Counter()
        findings: list[str] = []
        for one in self.ask("judge", numbers=numbers):
            resets.update(one.pop("resets"))
            findings += one.pop("findings")
            counts.update(one)
        gevent.sleep(1.2)  # the last seconds are on their way
        self.verdict = {
            **counts,
            "resets": dict(resets),
            "findings": findings[:20],
            "stranded": state["over"],
            "away": state["wanted"] - state["live"] - state["over"],
        }

    # What it sees

    def seen(self, data: dict[Any, Any]) -> None:
        """Seconds of one process."""
        for at, second in data.items():
            self.seconds.setdefault(int(at), Second()).add(second)
            self.whole.add(second)

    def state(self, fresh: float = FRESH) -> Counter[str]:
        """How many streams are wanted, live, over and behind."""
        whole: Counter[str] = Counter()
        for one in self.ask("behind", newest=self.press.newest(fresh)):
            whole.update(one)
        return whole

    def delivery(self, name: str) -> dict[str, Any]:
        """How many events came in a phase, and how soon (p50, p99, longest), in seconds or None."""
        part = self.phases.get(name, {"from": 1.0, "to": 0.0})
        first, last = int(self.began + part["from"]), int(self.began + part["to"])
        whole = together(second for at, second in self.seconds.items() if first <= at <= last)
        found = spread(whole.latency) or {}
        times = {name: found.get(name) for name in ("p50", "p99", "longest")}
        return {"events": whole.events, "kept": whole.kept, **times}

    def reconnects(self) -> dict[str, Any] | None:
        """How many, on average and in the busiest second, from the first to the last."""
        found = {at: second.reconnects for at, second in self.seconds.items() if second.reconnects}
        if not found:
            return None
        seconds = max(found) - min(found) + 1
        number = sum(found.values())
        return {"count": number, "mean": number / seconds, "peak": max(found.values()), "seconds": seconds}

    def timeline(self) -> list[dict[str, Any]]:
        """What happened, second by second."""
        counts = ("streams", "attempts", "opened", "events", "endings", "refusals")
        return [
            {
                "t": at - int(self.began),
                "p50": percentile(second.latency, 0.5),
                "p99": percentile(second.latency, 0.99),
                **{name: getattr(second, name) for name in counts},
            }
            for at, second in sorted(self.seconds.items())
        ]

    def _now(self) -> str:
        second = self.seconds.get(int(time.time()) - 2)  # by now all processes have told of it
        if second is None:
            return ""
        text = f": {second.streams:,} streams, {second.events:,} events/s"
        latency = percentile(second.latency, 0.99)
        return text + (f", p99 {latency * 1000:.0f} ms" if latency is not None else "")
