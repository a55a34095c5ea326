r"""For Locust's own page, and for several machines.

    SSE_EDGE_SECRET=... locust -f loadtest/locustfile.py \
        --target https://localhost/events/me --scenario steady

Add ``--headless`` for no page, ``--processes 4`` for more cores, ``--master`` and ``--worker`` for more
machines.  ``python -m loadtest`` does the same with all that is needed around it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import locust.runners
from locust import LoadTestShape, events
from locust.env import Environment

# Locust puts this file's folder on the path, and not the one that the package is in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from loadtest.run.conductor import Conductor
from loadtest.run.deployment import Theirs
from loadtest.run.member import Listeners, Member
from loadtest.run.options import declare
from loadtest.run.press import Press
from loadtest.run.probe import ProbeError, examine
from loadtest.scenarios import SCENARIOS

__all__ = ["Listeners", "Script"]

SPAWN_RATE = 100.0
"""Users a second; their streams wait for each other."""

# A busy process may be late with a sign of life, and is none the worse for it.
locust.runners.HEARTBEAT_LIVENESS = 30
locust.runners.WORKER_REPORT_INTERVAL = 1.0

log = logging.getLogger("loadtest")


class Script(LoadTestShape):
    """As many users as the scenario wants, until its script is over."""

    def __init__(self) -> None:
        super().__init__()
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
    conductor.press.end()
    summary = conductor.summary()
    options: Any = environment.parsed_options
    missed = [each["what"] for each in summary["thresholds"] if not each["met"]]
    for each in summary["thresholds"]:
        log.info(
            "%s: %s (%s) %s", each["what"], each["value"], each["limit"], "met" if each["met"] else "MISSED"
        )
    if conductor.failure:
        log.error("could not be finished: %s", conductor.failure)
    if options.summary:
        Path(options.summary).write_text(json.dumps(summary, indent=1) + "\n")
    environment.process_exit_code = 2 if conductor.failure else int(bool(missed))


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="steady", help="what happens")
    declare(parser.add_argument)
    parser.add_argument("--summary", default="", help="write what was found to this file, as JSON")


@events.init.add_listener
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
