"""Conducts a run from Locust's master: plays the scenario, asks every process that holds streams, and has
Locust hold as many users as the scenario wants."""

import argparse
import contextlib
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import locust.runners
from locust import LoadTestShape, events
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter, stats_history

from sse_edge.errors import EdgeError

from ..client.tally import spread
from ..measure.process import CLIENTS
from ..report.progress import Progress
from ..scenarios import SCENARIOS
from ..scenarios.script import LEVEL, Say, Script
from ..site import programs
from ..site.deployment import Site, Theirs
from .member import Listeners, Member
from .options import declare
from .probe import examine

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"

log = logging.getLogger("loadtest")


class Conductor:
    """A run of a scenario, which begins now, until it is over; ``failure`` is what went wrong."""

    def __init__(self, environment: Environment, deployment: Site, progress: Say) -> None:
        options: Any = environment.parsed_options
        self.scenario = SCENARIOS[options.scenario](options)
        self.script = Script(options, self.ask, deployment, progress)
        self.failure: str | None = None
        self.interrupted = False
        self.over = False
        self._runner: Any = environment.runner
        self._number = 0
        self._answers: dict[int, Any] = {}
        self._playing = gevent.spawn(lambda: self._play(self.scenario.script))

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
        while (left := self._processes() - len(self._answers)) > 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} of Locust's processes do not answer")
            gevent.sleep(0.01)
        if not self._answers:
            raise RuntimeError("Locust's processes have gone")
        for answer in self._answers.values():
            if "error" in answer:
                raise RuntimeError(answer["error"])
        return [self._answers[index]["answer"] for index in sorted(self._answers)]

    def _processes(self) -> int:
        return len(self._runner.clients) if isinstance(self._runner, locust.runners.MasterRunner) else 1

    def interrupt(self, seconds: float) -> None:
        """Stop the scenario where it is, and judge what has come by then."""
        self.interrupted = True
        self._playing.kill()
        self._play(lambda run: None, seconds)

    def _play(self, scenario: Callable[[Script], None], seconds: float = LEVEL) -> None:
        try:
            scenario(self.script)
            if self.script.verdict is None:
                self.script.judge(seconds)
        except (RuntimeError, OSError, EdgeError) as error:
            self.failure = str(error)
        except Exception:  # noqa: BLE001 - a fault of ours ends the run too, and has to be seen
            self.failure = traceback.format_exc()
        self.over = True  # which it is not when it was interrupted: what came is still judged then

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
            "phases": [{"name": name, **part, **run.delivery(name)} for name, part in run.phases.items()],
            "verdict": run.verdict,
            **{name: spread(getattr(whole, name)) for name in ("latency", "connect", "first_byte", "away")},
            **{name: getattr(whole, name) for name in ("endings", "refusals", "errors")},
            "reconnects": run.reconnects(),
            "timeline": run.timeline(),
            "memory": run.sampler.per_part(run.streams),
            "cpu": run.sampler.used,
            "samples": run.sampler.samples,
            **run.found,
        }


class Shape(LoadTestShape):
    """As many users as the conductor's scenario wants, until its script is over."""

    runner: Any
    conductor: Conductor | None = None
    here = 0  # processes that take orders; that they are connected, which Locust knows, may be before

    def tick(self) -> tuple[int, float] | None:
        """How many, and how many more a second: their streams wait for each other."""
        if self.conductor is None or self.conductor.over:
            return None
        # One user opens nothing by itself: Locust tells its processes to begin with the first.
        return max(self.conductor.script.wanted_users, int(not self.conductor.script.seconds)), 100.0

    def told(self, environment: Environment, msg: Any, **_: object) -> None:
        """What a process says, once it is here, is for the conductor, if a test runs."""
        if msg.type == "here":
            self.here += 1
        elif self.conductor is not None:
            self.conductor.told(msg.type, msg.data)


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
            self.conductor = Conductor(environment, Theirs(options.disturb), log.debug)
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
        runner.send_message("here")
        return
    shape: Any = environment.shape_class
    for what in ("here", "seen", "answered"):
        runner.register_message(what, shape.told)


def conduct(given: argparse.Namespace, deployment: Site, progress: Progress) -> Conductor:
    """The scenario, until it is over or interrupted; with what Locust writes."""
    runner = _master(given)
    environment, shape = runner.environment, runner.environment.shape_class
    with contextlib.ExitStack() as stack:
        stack.callback(runner.greenlet.kill, block=False)
        progress(f"starting {given.processes} processes of Locust")
        place = f"--worker --master-host 127.0.0.1 --master-port {runner.master_bind_port} --loglevel WARNING"
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *place.split()]
        for _ in range(given.processes):
            deployment.start(CLIENTS, command, None)
        late = RuntimeError(f"{given.processes} processes of Locust have not come up in 60 s")
        with gevent.Timeout(60, late):
            _wait(lambda: shape.here >= given.processes, deployment)
        conductor = shape.conductor = Conductor(environment, deployment, progress)
        stack.callback(conductor.close)
        files = str(given.out / "locust")
        gevent.spawn(stats_history, runner)
        csv = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, files, full_history=True)
        writing = gevent.spawn(csv.stats_writer)
        runner.start_shape()
        try:
            _wait(lambda: conductor.over, deployment)
        except KeyboardInterrupt:
            progress.clear()
            print("interrupted; the report of what was measured follows", file=sys.stderr, flush=True)
            conductor.interrupt(5.0)  # what is under way may take so long
        except RuntimeError as error:
            conductor.failure = str(error)
        # Locust ends with its load shape, when every process has sent its last figures.
        gevent.joinall([runner.shape_greenlet], timeout=10.0)
        gevent.sleep(1.2)  # they are on their way to Locust's files
        writing.kill()
        csv.close_files()
        Path(f"{files}.html").write_text(get_html_report(environment, show_download_link=False))
        if conductor.failure:
            conductor.failure = "\n".join([conductor.failure, *deployment.said()])
    return conductor


def _master(given: argparse.Namespace) -> Any:
    """Locust's master, which is this process."""
    listen()
    options = get_parser(default_config_files=[]).parse_args(["--headless"])
    wanted = {**vars(given), "expect_workers": given.processes}
    vars(options).update((name, value) for name, value in wanted.items() if name in vars(options))
    shape = Shape()  # type: ignore[no-untyped-call]
    environment = Environment(
        user_classes=[Listeners], shape_class=shape, events=locust.events, parsed_options=options
    )
    runner = environment.create_master_runner("127.0.0.1", programs.free_port())
    environment.events.init.fire(environment=environment, runner=runner, web_ui=None)
    return runner


def _wait(over: Callable[[], bool], deployment: Site) -> None:
    """RuntimeError when a process of Locust has ended before."""
    while not over():
        for child in deployment.programs[CLIENTS]:
            if child.exit_code is not None:
                raise RuntimeError(
                    f"a process of Locust has ended with {child.exit_code}:\n{child.log[-2000:]}"
                )
        gevent.sleep(0.05)
