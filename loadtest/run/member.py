"""A process of Locust that holds streams: its users, and what the conductor orders."""

from __future__ import annotations

import time
from typing import Any

import gevent
from locust import User, task
from locust.env import Environment

from ..checker import Numbering, Report
from ..client.swarm import Swarm
from ..client.target import Target
from ..scenarios import SCENARIOS
from .options import crowd, secret
from .statistics import tell

BEGUN = 30.0
"""Seconds for a test to begin in every process."""

SHOWN = 20
"""Findings that a process tells of."""


class Member:
    """One process; it has a swarm from the start of a test to its end."""

    def __init__(self, environment: Environment) -> None:
        self.swarm: Swarm | None = None
        self._environment = environment
        self._reporting: gevent.Greenlet | None = None
        assert environment.runner is not None
        self._runner: Any = environment.runner
        self._runner.register_message("order", self._ordered, concurrent=True)
        environment.events.test_start.add_listener(self._start)
        environment.events.test_stop.add_listener(self._stop)
        environment.events.quitting.add_listener(self._stop)

    @property
    def index(self) -> int:
        """This process's number."""
        return max(0, int(self._runner.worker_index))

    def _start(self, **_: object) -> None:
        options: Any = self._environment.parsed_options
        self.swarm = Swarm(
            target(options),
            self.index,
            processes=max(1, options.expect_workers or 1),
            personal=SCENARIOS[options.scenario].personal,
        )
        self._reporting = gevent.spawn(self._report, self.swarm)

    def _report(self, swarm: Swarm) -> None:
        while True:
            now = time.time()
            gevent.sleep(1.05 - now % 1)
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
        if self._reporting is not None:
            self._reporting.kill()
            self._reporting = None
        if self.swarm is not None:
            self._send(self.swarm, time.time() + 1)
            self.swarm.close()
            self.swarm = None

    def _ordered(self, environment: Environment, msg: Any, **_: object) -> None:
        number, order, given = msg.data["number"], msg.data["order"], msg.data["given"]
        answer: dict[str, Any] = {"number": number, "index": self.index}
        # The conductor may ask before Locust has told this process to begin.
        deadline = time.monotonic() + BEGUN
        while self.swarm is None and time.monotonic() < deadline:
            gevent.sleep(0.02)
        try:
            if self.swarm is not None and self.swarm.loop.failure is not None:
                raise self.swarm.loop.failure
            answer["answer"] = (
                self._judge(**given) if order == "judge" else getattr(self.swarm, order)(**given)
            )
        except Exception as error:  # noqa: BLE001 - the conductor is told
            answer["error"] = f"{type(error).__name__}: {error}"
        self._runner.send_message("answered", answer)

    def _judge(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """What these clients got, held against what was published."""
        assert self.swarm is not None
        checker = self.swarm.checker
        checker.numberings = {name: Numbering(*each) for name, each in numbers.items()}
        return verdict(checker.report())


def verdict(report: Report) -> dict[str, Any]:
    """What the checker says, as numbers, and its first findings as text."""
    faults = [finding for finding in report.findings if not finding.ok]
    return {
        "clients": report.clients,
        "received": report.received,
        "lost": sum(place.last - place.first + 1 for one in report.findings for place in one.lost),
        "repeated": sum(place.last - place.first + 1 for one in report.findings for place in one.repeated),
        "disordered": sum(len(one.disordered) for one in report.findings),
        "resets": dict(report.resets),
        "findings": [str(finding) for finding in faults[:SHOWN]],
    }


def target(options: Any) -> Target:
    """What the options name.  Raises TargetError."""
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

    @property
    def _swarm(self) -> Swarm:
        swarm: Swarm | None = self.environment.sse_member.swarm
        if swarm is None:
            raise RuntimeError("streams are opened when a test has begun")
        return swarm

    def on_start(self) -> None:
        """Open them."""
        _, self._held = crowd(self.environment.parsed_options.streams)
        self._swarm.add(self._held)

    def on_stop(self) -> None:
        """Let them go."""
        if self.environment.sse_member.swarm is not None:
            self._swarm.remove(self._held)

    @task
    def hold(self) -> None:
        """They do everything by themselves."""
        gevent.sleep(3600)
