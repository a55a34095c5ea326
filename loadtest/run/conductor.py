"""Conducts a run from Locust's master: asks every process that holds streams, and keeps what they report."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import MasterRunner

from sse_edge.errors import EdgeError

from ..client.tally import Second, percentile, spread, together
from ..measure.sampler import Sampler
from ..scenarios import SCENARIOS
from ..scenarios.scenario import Threshold
from ..scenarios.script import FRESH, LEVEL, Deployment
from .options import crowd
from .press import Press


class Conductor:
    """A run of a scenario, and the ``Script`` that it sees: what it is told, does and has seen."""

    def __init__(
        self,
        environment: Environment,
        deployment: Deployment,
        parts: Callable[[], Mapping[str, Sequence[int]]] = dict,
        progress: Callable[[str], None] = lambda what: None,
    ) -> None:
        assert environment.parsed_options is not None
        self.options: Any = environment.parsed_options
        self.scenario = SCENARIOS[self.options.scenario](self.options)
        self.deployment = deployment
        self.press = Press(self.options.redis)
        self.sampler = Sampler(parts)
        self.progress, self.parts, self.at_full = progress, parts, self.sampler.at_full
        self.users, self.per_user = crowd(self.options.streams)
        self.wanted_users = 0
        """What Locust is asked for, a scenario's load shape."""
        self.seconds: dict[int, Second] = {}
        self.phases: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {}
        self.verdict: dict[str, Any] | None = None
        self.thresholds: list[Threshold] = []
        self.failure: str | None = None
        self.interrupted = False
        self.over = False
        self.began = time.time()
        self._runner: Any = environment.runner
        self._number = 0
        self._answers: dict[int, Any] = {}
        self._script: Any = None

    # What the processes say

    def seen(self, data: dict[Any, Any]) -> None:
        """Seconds of one process."""
        for at, second in data.items():
            self.seconds.setdefault(int(at), Second()).add(second)

    def answered(self, data: dict[str, Any]) -> None:
        """To the last order."""
        if data["number"] == self._number:
            self._answers[data["index"]] = data

    @property
    def processes(self) -> int:
        """How many hold streams."""
        return len(self._runner.clients) if isinstance(self._runner, MasterRunner) else 1

    def ask(self, order: str, **given: Any) -> list[Any]:
        """Each process's answer to an order: a method of ``Swarm``, or "judge".  Raises RuntimeError."""
        self._number += 1
        self._answers = {}
        self._runner.send_message("order", {"number": self._number, "order": order, "given": given})
        deadline = time.monotonic() + 120
        while (left := self.processes - len(self._answers)) > 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} of Locust's processes do not answer")
            gevent.sleep(0.01)
        if not self._answers:
            raise RuntimeError("Locust's processes have gone")
        for answer in self._answers.values():
            if "error" in answer:
                raise RuntimeError(answer["error"])
        return [self._answers[index]["answer"] for index in sorted(self._answers)]

    def state(self, fresh: float = FRESH) -> Counter[str]:
        """How many streams are wanted, live, over and behind."""
        whole: Counter[str] = Counter()
        for one in self.ask("behind", newest=self.press.newest(fresh)):
            whole.update(one)
        return whole

    # What scenarios do

    @property
    def streams(self) -> int:
        """How many there are when all are there."""
        return self.users * self.per_user

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of the run with a name, of which latency is told apart.  It begins with a whole second."""
        gevent.sleep(1 - time.time() % 1)
        part = {"name": name, "from": time.time() - self.began, "to": 0.0}
        self.phases.append(part)
        self.progress(name)
        try:
            yield
        finally:
            part["to"] = time.time() - self.began

    def delivery(self, name: str) -> dict[str, Any]:
        """See ``Script``."""
        part = next((each for each in self.phases if each["name"] == name), {"from": 1.0, "to": 0.0})
        first, last = int(self.began + part["from"]), int(self.began + part["to"])
        whole = together(second for at, second in self.seconds.items() if first <= at <= last)
        found = spread(whole.latency) or {}
        times = {name: found.get(name) for name in ("p50", "p99", "longest")}
        return {"events": whole.events, "kept": whole.kept, **times}

    def growth(self, first: float) -> float | None:
        """See ``Script``."""
        return self.sampler.growth("worker", first)

    def p99(self, name: str) -> float | None:
        """See ``Script``."""
        found: float | None = self.delivery(name)["p99"]
        return found

    def wait(self, seconds: float, what: str) -> None:
        """Let time pass, and say so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.progress(f"{what}, {left:.0f} s to go{self._now()}")
            gevent.sleep(min(1.0, left))

    def _now(self) -> str:
        last = max((at for at in self.seconds if at < time.time() - 1.5), default=None)
        if last is None:
            return ""
        second = self.seconds[last]
        text = f": {second.streams:,} streams, {second.events:,} events/s"
        latency = percentile(second.latency, 0.99)
        return text + (f", p99 {latency * 1000:.0f} ms" if latency is not None else "")

    def open(self, users: int | None = None) -> None:
        """Have so many users (all), and wait until each of their streams is live.  Raises RuntimeError."""
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
                raise RuntimeError(f"{live:,} of {wanted:,} streams could be opened; {self._trouble()}")
            gevent.sleep(0.5)

    def _trouble(self) -> str:
        gevent.sleep(1.2)
        counts = self.counts("refusals") + self.counts("errors")
        said = [f"{what}: {number:,}" for what, number in counts.most_common(5)]
        return ", ".join(said) or "nothing was refused"

    @contextlib.contextmanager
    def publishing(
        self, rate: float, size: int = 110, channels: list[str] | None = None, hands: int = 1
    ) -> Iterator[None]:
        """Events during a block: so many a second in all, to the shared channel or to these in turn."""
        gevent.sleep(1 - time.time() % 1)  # so that the first is not counted with what was before
        with self.press.publishing(channels or [self.options.channel], rate, size, hands):
            yield

    def level(self, seconds: float = LEVEL, fresh: float = FRESH) -> float | None:
        """Seconds until every stream is open and has what is older than ``fresh``; None if not in time."""
        began = time.monotonic()
        while (asked := time.monotonic()) < began + seconds:
            state = self.state(fresh)
            if state["live"] == state["wanted"] and not state["behind"]:
                return asked - began
            self.progress(
                f"not yet level: {state['live']:,} of {state['wanted']:,} open, {state['behind']:,} behind"
            )
            gevent.sleep(0.2)
        return None

    def until(self, holds: Callable[[Counter[str]], bool], seconds: float) -> bool:
        """Wait until something holds of the streams' state; whether it does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if holds(self.state()):
                return True
            gevent.sleep(0.1)
        return False

    # The whole

    def begin(self) -> None:
        """Let the script begin."""
        self.began = time.time()
        self._script = gevent.spawn(self.run)

    def interrupt(self, seconds: float) -> None:
        """Stop the script where it is, and judge what has come by then."""
        self.interrupted = True
        self._script.kill()
        for part in self.phases:
            part["to"] = part["to"] or time.time() - self.began
        try:
            if self.verdict is None:
                self.judge(seconds)
        except (RuntimeError, OSError, EdgeError) as error:
            self.failure = str(error)
        self.over = True

    def close(self) -> None:
        """Nobody publishes or looks on any more."""
        self.press.close()
        self.sampler.end()

    def run(self) -> None:
        """The scenario from beginning to end; what goes wrong is in ``failure``."""
        try:
            self.scenario.script(self)
            if self.verdict is None:
                self.judge()
            self.thresholds = self.scenario.thresholds(self)
        except (RuntimeError, OSError, EdgeError) as error:
            self.failure = str(error)
        finally:
            self.over = not self.interrupted  # who interrupted it is still to judge

    def judge(self, seconds: float = LEVEL) -> None:
        """Wait for the last event, and hold what every client got against what was published."""
        self.progress("waiting for the last events")
        self.level(seconds, fresh=0.0)
        state = self.state(0.0)
        numbers = {
            name: (list(each.times), sorted(each.unconfirmed)) for name, each in self.press.numberings.items()
        }
        whole: dict[str, Any] = {"published": sum(len(times) for times, _ in numbers.values())}
        resets: Counter[str] = Counter()
        findings: list[str] = []
        for one in self.ask("judge", numbers=numbers):
            resets.update(one.pop("resets"))
            findings += one.pop("findings")
            for name, number in one.items():
                whole[name] = whole.get(name, 0) + number
        whole.update(resets=dict(resets), findings=findings[:20], stranded=state["over"])
        whole["away"] = state["wanted"] - state["live"] - state["over"]
        gevent.sleep(1.2)
        self.verdict = whole
        self.thresholds = self.scenario.thresholds(self)

    def counts(self, what: str) -> Counter[str]:
        """All endings, refusals or errors."""
        found: Counter[str] = getattr(together(self.seconds.values()), what)
        return found

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

    def summary(self) -> dict[str, Any]:
        """Everything for the report, but for what only who started it knows."""
        whole = together(self.seconds.values())
        times = ("latency", "connect", "first_byte", "away")
        return {
            "scenario": self.scenario.name,
            "what": self.scenario.what,
            "interrupted": self.interrupted,
            "failure": self.failure,
            "thresholds": [threshold.to_dict() for threshold in self.thresholds],
            "phases": [{**part, **self.delivery(part["name"])} for part in self.phases],
            "verdict": self.verdict,
            **{name: spread(getattr(whole, name)) for name in times},
            **{name: getattr(whole, name) for name in ("endings", "refusals", "errors")},
            "reconnects": self.reconnects(),
            "timeline": self.timeline(),
            "memory": self.sampler.per_part(self.streams),
            "cpu": self.sampler.used,
            "samples": self.sampler.samples,
            **self.scenario.figures(self),
        }
