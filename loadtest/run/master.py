"""A run of Locust: its master, and the processes that hold streams."""

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

from ..measure.sampler import CLIENTS
from ..report.progress import Progress
from ..scenarios.script import Deployment
from ..site import programs
from ..site.deployment import Site
from .conductor import Conductor, Shape, listen
from .member import Listeners

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"


class Master:
    """Locust's master, with the conductor in it, and its other processes, until ``end``."""

    def __init__(self, given: argparse.Namespace, deployment: Deployment, progress: Progress) -> None:
        self._given = given
        self._deployment = deployment
        self._progress = progress
        self._children: list[programs.Program] = []
        listen()
        options = get_parser(default_config_files=[]).parse_args(["--headless"])
        wanted = {**vars(given), "expect_workers": given.processes}
        vars(options).update((name, value) for name, value in wanted.items() if name in vars(options))
        self._shape = Shape()  # type: ignore[no-untyped-call]
        self._environment = Environment(
            user_classes=[Listeners], shape_class=self._shape, events=locust.events, parsed_options=options
        )
        self._port = programs.free_port()
        self._runner = self._environment.create_master_runner("127.0.0.1", self._port)
        self._environment.events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)

    def conduct(self) -> Conductor:
        """The scenario, until it is over or interrupted; with what Locust writes."""
        self._start()
        conductor = Conductor(self._environment, self._deployment, self._parts, self._progress)
        self._shape.conductor = conductor
        gevent.spawn(stats_history, self._runner)
        files = str(self._given.out / "locust")
        csv = StatsCSVFileWriter(self._environment, PERCENTILES_TO_REPORT, files, full_history=True)
        writing = gevent.spawn(csv.stats_writer)
        conductor.begin()
        self._runner.start_shape()
        try:
            while not conductor.over:
                self._check()
                gevent.sleep(0.2)
        except KeyboardInterrupt:
            self._progress.clear()
            print("interrupted; the report of what was measured follows", file=sys.stderr, flush=True)
            conductor.interrupt(5.0)  # what is under way may take so long
        except RuntimeError as error:
            conductor.failure = str(error)
        if conductor.failure:
            conductor.failure += "".join(f"\n{child.log[-1500:]}" for child in self._children if child.log)
        # Locust ends with its load shape, when every process has sent its last figures.
        gevent.joinall([self._runner.shape_greenlet], timeout=10.0)
        gevent.sleep(1.2)  # they are on their way to Locust's files
        writing.kill()
        csv.close_files()
        Path(f"{files}.html").write_text(get_html_report(self._environment, show_download_link=False))
        return conductor

    def _start(self) -> None:
        processes = self._given.processes
        self._progress(f"starting {processes} processes of Locust")
        place = f"--worker --master-host 127.0.0.1 --master-port {self._port} --loglevel WARNING"
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *place.split()]
        for _ in range(processes):
            self._children.append(programs.Program(command, None))
        deadline = time.monotonic() + 60
        while self._shape.here < processes:
            self._check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{processes} processes of Locust have not come up in 60 s")
            gevent.sleep(0.05)

    def _parts(self) -> dict[str, list[int]]:
        pids = [child.pid for child in self._children if child.exit_code is None]
        return {**(self._deployment.parts if isinstance(self._deployment, Site) else {}), CLIENTS: pids}

    def _check(self) -> None:
        """RuntimeError when a process of Locust has ended."""
        for child in self._children:
            if child.exit_code is not None:
                raise RuntimeError(
                    f"a process of Locust has ended with {child.exit_code}:\n{child.log[-2000:]}"
                )

    def end(self) -> None:
        """Stop what this has started."""
        for child in self._children:
            child.close()
        if self._shape.conductor is not None:
            self._shape.conductor.close()
        self._runner.greenlet.kill(block=False)
