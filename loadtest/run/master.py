"""A run of Locust: its master, and the processes that hold streams."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter, stats_history

from ..measure.process import CLIENTS
from ..report.progress import Progress
from ..site import programs
from ..site.deployment import Site
from .conductor import Conductor, Shape, listen
from .member import Listeners

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"


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
            while shape.here < given.processes:
                _check(deployment)
                gevent.sleep(0.05)
        conductor = shape.conductor = Conductor(environment, deployment, progress)
        stack.callback(conductor.close)
        files = str(given.out / "locust")
        gevent.spawn(stats_history, runner)
        csv = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, files, full_history=True)
        writing = gevent.spawn(csv.stats_writer)
        conductor.begin()
        runner.start_shape()
        try:
            while not conductor.over:
                _check(deployment)
                gevent.sleep(0.2)
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


def _check(deployment: Site) -> None:
    """RuntimeError when a process of Locust has ended."""
    for child in deployment.programs[CLIENTS]:
        if child.exit_code is not None:
            raise RuntimeError(f"a process of Locust has ended with {child.exit_code}:\n{child.log[-2000:]}")
