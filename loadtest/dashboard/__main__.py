"""Record a run of five minutes, and draw the dashboard of it.

    python -m loadtest.dashboard [--save] [--draw FILE]

Four workers, a Redis, 360 clients and a Prometheus on loopback.  A herd, strangers, clients that do not read,
a Redis that goes away and a rolling restart happen to them; then each query of deploy/grafana.json is asked
over that time, and drawn where its panel is.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent

from ..report.files import RESULTS
from ..report.progress import Progress
from ..site import programs
from ..site.prometheus import Prometheus, prometheus
from .incidents import CLIENTS, END, INCIDENTS, Servers, happen
from .plot import BOARD, Panel, draw, named, panels

SAVED, PICTURE = RESULTS / "dashboard.json", BOARD.with_name("dashboard.png")
SERVERS = 4
STEP = 2.0  # seconds between two points of a panel
INTERVAL = "10s"  # what rates are taken over, of a scrape each second


def main() -> None:
    """Record, unless it is only to be drawn."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.dashboard", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--save", action="store_true", help=f"write results/{SAVED.name} and {PICTURE.name}")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="only draw what was saved, as PNG")
    given = parser.parse_args()
    if given.draw:
        draw(json.loads(SAVED.read_text()), given.draw)
        return
    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)  # it would print where it came
    progress = Progress()
    recorded = record(progress)
    progress.clear()
    empty = [number for number, shown in recorded["panels"].items() if shown and not any(shown.values())]
    print(f"{len(recorded['panels'])} panels; without data: {', '.join(empty) or 'none'}")
    if given.save:
        SAVED.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
        draw(recorded, PICTURE)


def record(progress: Progress) -> dict[str, Any]:
    """Let it all happen, and ask each panel's queries over it."""
    with tempfile.TemporaryDirectory(prefix="sse-edge-recorded-") as directory:
        site = Servers(Path(directory), SERVERS)
        with prometheus(site.targets) as ours, site:
            site.begin()
            began = time.time()
            happen(site, progress)
            version, _, _ = ours.ask("status/buildinfo")["version"].partition("+")
            shown = {str(panel["id"]): _shown(ours, panel, began) for panel in panels(INTERVAL)}
    return {
        "about": f"{SERVERS} workers, {CLIENTS} clients, Prometheus {version}",
        "step": STEP,
        "end": END,
        "incidents": [[at, words] for at, words, _ in INCIDENTS],
        "panels": shown,
    }


def _shown(ours: Prometheus, panel: Panel, began: float) -> dict[str, list[dict[str, Any]]]:
    """Of each query its series: name, labels, and values at each step; of an instant one, at the end."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for query in panel.get("targets", ()):
        first, end = began + END if query.get("instant") else began, began + END
        shown[query["refId"]] = found = []
        for each in ours.over(query["expr"], first, end, STEP):
            values: list[float | None] = [None] * (round((end - first) / STEP) + 1)
            for moment, value in each["values"]:
                values[round((moment - first) / STEP)] = float(f"{float(value):.4g}")
            labels = each["metric"]
            found.append({"name": named(query, labels), "labels": labels, "values": values})
    return shown


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
