"""A scenario as Locust's load shape, in the process that conducts; the others hold streams."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
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
from .press import Press
from .probe import ProbeError, examine

SPAWN_RATE = 100.0
"""Users a second; their streams wait for each other."""

log = logging.getLogger("loadtest")


class Shape(LoadTestShape):
    """As many users as the scenario wants, until its script is over."""

    runner: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conductor: Conductor | None = None
        self.make: Callable[[Environment], Conductor] = conduct
        self.finish: Callable[[Conductor, Environment], None] = finish

    def tick(self) -> tuple[int, float] | None:
        """See Locust."""
        if self.conductor is None:
            try:
                self.conductor = self.make(self.runner.environment)
            except ProbeError as error:
                log.error("%s", error)
                self.runner.environment.process_exit_code = 2
                return None
            self.conductor.begin()
        if self.conductor.over:
            self.finish(self.conductor, self.runner.environment)
            self.conductor = None
            return None
        # One user opens nothing by itself: Locust tells its processes to begin with the first.
        return max(self.conductor.wanted_users, int(not self.conductor.seconds)), SPAWN_RATE


def conduct(environment: Environment) -> Conductor:
    """A conductor for what the options ask for.  Raises ProbeError when there is nothing to load."""
    options: Any = environment.parsed_options
    examine(options)
    chosen = SCENARIOS[options.scenario](options)
    return Conductor(environment, chosen, Theirs(options.disturb), Press(options.redis))


def finish(conductor: Conductor, environment: Environment) -> None:
    """Say how it went; the exit code tells too."""
    conductor.press.close()
    summary = conductor.summary()
    options: Any = environment.parsed_options
    for each in summary["thresholds"]:
        met = "met" if each["met"] else "MISSED"
        log.info("%s: %s (%s) %s", each["what"], each["value"], each["limit"], met)
    if conductor.failure:
        log.error("could not be finished: %s", conductor.failure)
    if options.summary:
        Path(options.summary).write_text(json.dumps(summary, indent=1) + "\n")
    missed = not all(each["met"] for each in summary["thresholds"])
    environment.process_exit_code = 2 if conductor.failure else int(missed)


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
    shape: Any = environment.shape_class

    def told(what: str) -> Any:
        def hear(environment: Environment, msg: Any, **_: object) -> None:
            if shape.conductor is not None:
                getattr(shape.conductor, what)(msg.data)

        return hear

    runner.register_message("seen", told("seen"))
    runner.register_message("answer", told("answered"))
