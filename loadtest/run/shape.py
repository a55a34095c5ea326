"""A scenario as Locust's load shape, in the process that conducts; the others hold streams."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import locust.runners
from locust import LoadTestShape, events
from locust.env import Environment

from ..scenarios import SCENARIOS
from ..site.deployment import Theirs
from .conductor import Conductor
from .member import Member
from .options import declare
from .probe import examine

log = logging.getLogger("loadtest")


class Shape(LoadTestShape):
    """As many users as the conductor's scenario wants, until its script is over."""

    runner: Any
    conductor: Conductor | None = None

    def tick(self) -> tuple[int, float] | None:
        """How many, and how many more a second: their streams wait for each other."""
        if self.conductor is None or self.conductor.over:
            return None
        # One user opens nothing by itself: Locust tells its processes to begin with the first.
        return max(self.conductor.script.wanted_users, int(not self.conductor.script.seconds)), 100.0


class Alone(Shape):
    """The same under the ``locust`` command: a conductor for each test, and how it went in the log."""

    def tick(self) -> tuple[int, float] | None:
        """See ``Shape``."""
        environment = self.runner.environment
        if self.conductor is None:
            options = environment.parsed_options
            try:
                examine(options)
            except RuntimeError as error:
                log.error("%s", error)
                environment.process_exit_code = 2
                return None
            self.conductor = Conductor(environment, Theirs(options.disturb))
            self.conductor.begin()
        found = super().tick()
        if found is None:
            environment.process_exit_code = _finish(self.conductor, environment.parsed_options.summary)
            self.conductor = None
        return found


def _finish(conductor: Conductor, out: str) -> int:
    """Say how it went; Locust's exit code."""
    conductor.close()
    summary = conductor.summary()
    for each in summary["thresholds"]:
        met = "met" if each["met"] else "MISSED"
        log.info("%s: %s (%s) %s", each["what"], each["value"], each["limit"], met)
    if conductor.failure:
        log.error("could not be finished: %s", conductor.failure)
    if out:
        Path(out).write_text(json.dumps(summary, indent=1) + "\n")
    return 2 if conductor.failure else int(not all(each["met"] for each in summary["thresholds"]))


def listen() -> None:
    """Let Locust know of the options, and of who does what in a process that begins."""
    # A busy process may be late with a sign of life, and is none the worse for it.
    locust.runners.HEARTBEAT_LIVENESS = 30
    locust.runners.WORKER_REPORT_INTERVAL = 1.0
    events.init_command_line_parser.add_listener(_options)
    events.init.add_listener(_attach)


def _options(parser: Any) -> None:
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="steady", help="what happens")
    declare(parser.add_argument)
    parser.add_argument("--summary", default="", help="write what was found to this file, as JSON")


def _attach(environment: Environment, runner: Any, **_: object) -> None:
    """The master conducts, the others hold streams; a process that is alone does both."""
    if not isinstance(runner, locust.runners.MasterRunner):
        environment.sse_member = Member(environment)  # type: ignore[attr-defined]
    if isinstance(runner, locust.runners.WorkerRunner):
        return

    def told(environment: Environment, msg: Any, **_: object) -> None:
        conductor: Conductor | None = environment.shape_class.conductor  # type: ignore[union-attr]
        if conductor is not None:
            conductor.told(msg.type, msg.data)

    for what in ("seen", "answered"):
        runner.register_message(what, told)
