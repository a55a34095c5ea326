"""A Prometheus of our own on loopback, with the shipped alerts."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import requests

from . import programs

ALERTS = Path(__file__).parents[2] / "deploy" / "alerts.yaml"


class Prometheus:
    """One that runs, asked over its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, what: str, **parameters: Any) -> Any:
        """The ``data`` of an answer.  Raises HTTPError, with Prometheus's reason, for what it refuses."""
        answer = requests.get(f"{self.url}/api/v1/{what}", parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]

    def over(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression over this time, each with ``metric`` and ``values``."""
        return list(self.ask("query_range", query=expr, start=start, end=end, step=step)["result"])


@contextlib.contextmanager
def prometheus(
    targets: Mapping[str, int], *, every: str = "1s", path: str = "/status/metrics", rules: Path = ALERTS
) -> Iterator[Prometheus]:
    """One that scrapes ports of 127.0.0.1, each under a name, until the end of the block."""
    address, _, query = path.partition("?")
    config = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "sse-edge",
                "metrics_path": address,
                "params": parse_qs(query),
                "static_configs": [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
                    for name, port in targets.items()
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory(prefix="sse-edge-prometheus-") as directory:
        written = Path(directory, "prometheus.yml")
        written.write_text(json.dumps(config))  # JSON is YAML
        port = programs.free_port()
        arguments = [
            programs.command("prometheus"),
            f"--config.file={written}",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        with contextlib.closing(programs.Program(arguments, port)) as program:
            ours = Prometheus(f"http://127.0.0.1:{port}")
            program.wait_for(lambda: requests.get(f"{ours.url}/-/ready", timeout=30).ok)
            yield ours
