"""A run of Locust: its master, the processes that hold streams, and looking at what all of it uses."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import gevent
import locust
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter, stats_history

from ..measure.sampler import CLIENTS, Sampler
from ..report.progress import Progress
from ..scenarios import SCENARIOS
from ..site import programs
from ..site.deployment import Site, Theirs
from .conductor import Conductor
from .member import Listeners
from .press import Press
from .shape import Shape, listen

ROOT = Path(__file__).parents[2]

CONNECTED = 60.0
"""Seconds for Locust's processes to come up."""

ENDED = 10.0
"""Seconds for Locust's processes to end."""

HURRY = 5.0
"""Seconds that an interrupted run waits for what is under way."""


class Master:
    """Locust's master, with the conductor in it, its other processes, and what is measured besides."""

    def __init__(
        self, given: argparse.Namespace, deployment: Site | Theirs, processes: int, progress: Progress
    ) -> None:
        self.given = given
        self._site = deployment if isinstance(deployment, Site) else None
        self.progress = progress
        self.press = Press(given.redis)
        self.children: list[programs.Program] = []
        listen()
        options = get_parser(default_config_files=[]).parse_args(["--headless"])
        known = {name: getattr(given, name) for name in vars(given) if name in vars(options)}
        vars(options).update({**known, "expect_workers": processes})
        script = Shape()
        self.environment = Environment(
            user_classes=[Listeners], shape_class=script, events=locust.events, parsed_options=options
        )
        port = programs.free_port()
        self.runner = self.environment.create_master_runner("127.0.0.1", port)
        self.environment.events.init.fire(environment=self.environment, runner=self.runner, web_ui=None)
        self.conductor = Conductor(self.environment, SCENARIOS[given.scenario](given), deployment, self.press)
        self.conductor.progress = progress
        script.make = lambda environment: self.conductor
        script.finish = lambda conductor, environment: None
        self._start(port, processes)
        self.sampler = Sampler(self._parts)
        self.conductor.parts = self._parts
        self.conductor.at_full = self.sampler.at_full
        self.conductor.growth = lambda first: self.sampler.growth("worker", first)

    def _start(self, port: int, processes: int) -> None:
        self.progress(f"starting {processes} processes of Locust")
        arguments = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py")]
        arguments += ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
        arguments += ["--loglevel", "WARNING"]
        for _ in range(processes):
            self.children.append(programs.Program(arguments, None, {"PYTHONPATH": str(ROOT)}))
        deadline = time.monotonic() + CONNECTED
        while len(self.runner.clients.ready) < processes:
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{processes} processes of Locust have not come up in {CONNECTED:g} s")
            gevent.sleep(0.05)

    def _parts(self) -> dict[str, list[int]]:
        pids = [child.pid for child in self.children if child.exit_code is None]
        return {**(self._site.parts if self._site else {}), CLIENTS: pids}

    def check(self) -> None:
        """RuntimeError when a process of Locust has ended."""
        for child in self.children:
            if child.exit_code is not None:
                raise RuntimeError(
                    f"a process of Locust has ended with {child.exit_code}:\n{child.log[-2000:]}"
                )

    def conduct(self, out: Path) -> None:
        """The scenario, until it is over or interrupted; what Locust writes goes to ``out``."""
        gevent.spawn(stats_history, self.runner)
        csv = StatsCSVFileWriter(
            self.environment, PERCENTILES_TO_REPORT, str(out / "locust"), full_history=True
        )
        writing = gevent.spawn(csv.stats_writer)
        conductor = self.conductor
        self.runner.start_shape()
        try:
            while not conductor.over:
                self.check()
                gevent.sleep(0.2)
        except KeyboardInterrupt:
            self.progress.clear()
            print("interrupted; the report of what was measured follows", file=sys.stderr, flush=True)
            conductor.interrupt(HURRY)
        except RuntimeError as error:
            conductor.failure = str(error)
        if conductor.failure:
            conductor.failure += "".join(f"\n{child.log[-1500:]}" for child in self.children if child.log)
        # Locust ends with its load shape, when every process has sent its last figures.
        with gevent.Timeout(ENDED, False):
            gevent.joinall([self.runner.shape_greenlet])
        gevent.sleep(1.2)  # they are on their way to Locust's files
        writing.kill()
        csv.close_files()
        (out / "locust.html").write_text(get_html_report(self.environment, show_download_link=False))
        self.sampler.end()

    def end(self) -> None:
        """Stop what this has started."""
        for child in self.children:
            child.end()
        self.press.close()
        self.runner.greenlet.kill(block=False)
