"""A process of Locust that holds streams: its users, what the conductor orders, and what Locust is told."""

import time
from collections import Counter
from typing import Any

import gevent
from locust import User, task
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, StatsError

from ..client.swarm import Swarm
from ..client.tally import Histogram, Second
from ..client.target import Target
from ..scenarios import SCENARIOS
from ..scenarios.script import crowd
from .options import secret

KIND = "SSE"  # the type under which Locust lists everything

TIMES = {"connect": "connect", "first_byte": "first byte", "latency": "event", "away": "away"}
"""What is timed, and its name in Locust: until the connection is there (TLS too), until the response begins,
from publishing to the client, and from an ending until the stream is live again."""

COUNTS = {"endings": "ending", "refusals": "refusal", "errors": "error"}


class Member:
    """One process; it has a swarm from the start of a test to its end."""

    def __init__(self, environment: Environment) -> None:
        self.swarm: Swarm | None = None
        self._environment = environment
        assert environment.runner is not None
        self._runner: Any = environment.runner
        self._runner.register_message("order", self._ordered, concurrent=True)
        environment.events.test_start.add_listener(self._start)
        environment.events.test_stop.add_listener(self._stop)
        environment.events.quitting.add_listener(self._stop)

    def _start(self, **_: object) -> None:
        options: Any = self._environment.parsed_options
        self.swarm = Swarm(
            target(options),
            self._runner.worker_index,
            processes=max(1, options.expect_workers or 1),
            personal=SCENARIOS[options.scenario].personal,
        )
        gevent.spawn(self._report, self.swarm)

    def _report(self, swarm: Swarm) -> None:
        while True:
            gevent.sleep(1.05 - time.time() % 1)
            if self.swarm is not swarm:
                return
            self._send(swarm, time.time())

    def _send(self, swarm: Swarm, now: float) -> None:
        seconds = swarm.tally.take(now)
        for at, second in seconds.items():
            tell(self._environment.stats, second, at)
        for at, second in swarm.abused.take(now).items():
            for code, number in second.refusals.items():
                seconds[at].refusals[f"abuse: {code}"] += number
        if seconds:
            self._runner.send_message("seen", {at: second.to_dict() for at, second in seconds.items()})

    def _stop(self, **_: object) -> None:
        if self.swarm is not None:
            swarm, self.swarm = self.swarm, None
            self._send(swarm, time.time() + 1)
            swarm.close()

    def _ordered(self, environment: Environment, msg: Any, **_: object) -> None:
        order, given = msg.data["order"], msg.data["given"]
        answer: dict[str, Any] = {"number": msg.data["number"], "index": self._runner.worker_index}
        # The conductor may ask before Locust has told this process to begin.
        deadline = time.monotonic() + 30
        while self.swarm is None and time.monotonic() < deadline:
            gevent.sleep(0.02)
        try:
            if self.swarm is not None and self.swarm.loop.failure is not None:
                raise self.swarm.loop.failure
            answer["answer"] = getattr(self.swarm, order)(**given)
        except Exception as error:  # noqa: BLE001 - the conductor is told
            answer["error"] = f"{type(error).__name__}: {error}"
        self._runner.send_message("answered", answer)


def target(options: Any) -> Target:
    """What the options name.  Raises ValueError, and OSError where no certificate can be read."""
    return Target(
        options.target.split(","),
        secret(),
        cookie=options.cookie,
        authority=options.cacert or None,
        shared=options.channel,
        personal=options.own_channel,
    )


class Listeners(User):
    """The streams of one address, each of a user of its own."""

    _held = 0

    def on_start(self) -> None:
        """Open them."""
        _, self._held = crowd(self.environment.parsed_options.streams)
        self.environment.sse_member.swarm.add(self._held)

    def on_stop(self) -> None:
        """Let them go."""
        if self.environment.sse_member.swarm is not None:
            self.environment.sse_member.swarm.remove(self._held)

    @task
    def hold(self) -> None:
        """They do everything by themselves."""
        gevent.sleep(3600)


def tell(stats: RequestStats, second: Second, at: int) -> None:
    """Let Locust know of a second as a whole, as if it had been told of each thing in it by itself."""
    for what, name in TIMES.items():
        if times := getattr(second, what):
            _add(stats, name, at, times.total(), times)
    for what, name in COUNTS.items():
        for code, count in getattr(second, what).items():
            label, failed = f"{name} {code}", count if what == "errors" else 0
            _add(stats, label, at, count, Counter(), failed)
            if failed:
                key = StatsError.create_key(KIND, label, code)
                stats.errors.setdefault(key, StatsError(KIND, label, code)).occurrences += failed


def _add(stats: RequestStats, name: str, at: int, count: int, times: Histogram, failed: int = 0) -> None:
    entry = StatsEntry(stats, name, KIND)
    entry.num_requests = entry.num_reqs_per_sec[at] = count
    entry.num_none_requests = count - times.total()
    entry.num_failures = entry.num_fail_per_sec[at] = failed
    entry.total_response_time = sum(ms * number for ms, number in times.items())
    entry.min_response_time, entry.max_response_time = min(times, default=None), max(times, default=0)
    entry.response_times.update(times)
    entry.start_time = entry.last_request_timestamp = float(at)
    for known in (stats.get(name, KIND), stats.total):
        known.extend(entry)
