"""Conducts a run from Locust's master: asks every process that holds streams, and plays the scenario."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import MasterRunner

from sse_edge.errors import EdgeError

from ..client.tally import spread
from ..scenarios import SCENARIOS
from ..scenarios.script import LEVEL, Deployment, Script


class Conductor:
    """A run of a scenario, from its beginning until it is over; ``failure`` is what went wrong."""

    def __init__(
        self,
        environment: Environment,
        deployment: Deployment,
        parts: Callable[[], Mapping[str, Sequence[int]]] = dict,
        progress: Callable[[str], None] = lambda what: None,
    ) -> None:
        options: Any = environment.parsed_options
        self.scenario = SCENARIOS[options.scenario](options)
        self.script = Script(options, self.ask, deployment, parts, progress)
        self.failure: str | None = None
        self.interrupted = False
        self.over = False
        self._runner: Any = environment.runner
        self._number = 0
        self._answers: dict[int, Any] = {}
        self._playing: Any = None

    # What the processes say

    def told(self, what: str, data: dict[Any, Any]) -> None:
        """Seconds of a process ("seen"), or its answer to an order."""
        if what == "seen":
            self.script.seen(data)
        elif data["number"] == self._number:
            self._answers[data["index"]] = data

    def ask(self, order: str, **given: Any) -> list[Any]:
        """Each process's answer to an order.  Raises RuntimeError."""
        self._number += 1
        self._answers = {}
        self._runner.send_message("order", {"number": self._number, "order": order, "given": given})
        deadline = time.monotonic() + 120
        while (left := self._processes - len(self._answers)) > 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} of Locust's processes do not answer")
            gevent.sleep(0.01)
        if not self._answers:
            raise RuntimeError("Locust's processes have gone")
        for answer in self._answers.values():
            if "error" in answer:
                raise RuntimeError(answer["error"])
        return [self._answers[index]["answer"] for index in sorted(self._answers)]

    @property
    def _processes(self) -> int:
        return len(self._runner.clients) if isinstance(self._runner, MasterRunner) else 1

    # The whole

    def begin(self) -> None:
        """Let the scenario begin."""
        self._playing = gevent.spawn(self._play)

    def _play(self) -> None:
        try:
            self._try(self.scenario.script, self.script)
            if self.failure is None:
                self._judge()
        finally:
            self.over = not self.interrupted  # who interrupted it is still to judge

    def interrupt(self, seconds: float) -> None:
        """Stop the scenario where it is, and judge what has come by then."""
        self.interrupted = True
        self._playing.kill()
        self._judge(seconds)
        self.over = True

    def _judge(self, seconds: float = LEVEL) -> None:
        """Unless the scenario has done so."""
        if self.script.verdict is None:
            self._try(self.script.judge, seconds)

    def _try(self, what: Callable[..., None], *given: Any) -> None:
        try:
            what(*given)
        except (RuntimeError, OSError, EdgeError) as error:
            self.failure = str(error)

    def close(self) -> None:
        """Nobody publishes or looks on any more."""
        self.script.press.close()
        self.script.sampler.end()

    def summary(self) -> dict[str, Any]:
        """Everything for the report, but for what only who started it knows."""
        run, whole = self.script, self.script.whole
        thresholds = self.scenario.thresholds(run) if run.verdict else []
        return {
            "scenario": self.scenario.name,
            "what": self.scenario.what,
            "interrupted": self.interrupted,
            "failure": self.failure,
            "thresholds": [threshold.to_dict() for threshold in thresholds],
            "phases": [{**part, **run.delivery(part["name"])} for part in run.phases],
            "verdict": run.verdict,
            **{name: spread(getattr(whole, name)) for name in ("latency", "connect", "first_byte", "away")},
            **{name: getattr(whole, name) for name in ("endings", "refusals", "errors")},
            "reconnects": run.reconnects(),
            "timeline": run.timeline(),
            "memory": run.sampler.per_part(run.streams),
            "cpu": run.sampler.used,
            "samples": run.sampler.samples,
            **self.scenario.figures(run),
        }
