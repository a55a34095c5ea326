"""Record a run of five minutes, and draw the dashboard of it.

    python -m loadtest.dashboard [--save] [--draw FILE]

Four workers, a Redis, 360 clients and a Prometheus on loopback.  A herd, strangers, clients that do not read,
a Redis that goes away and a rolling restart happen to them; then each query of deploy/grafana.json is asked
over that time, and drawn where its panel is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..report.files import RESULTS
from ..report.progress import Progress
from ..site import programs
from .plot import draw
from .record import record

PICTURE = Path(__file__).parents[2] / "deploy" / "dashboard.png"


def main() -> None:
    """Record, unless it is only to be drawn."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.dashboard", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--save", action="store_true", help=f"write {RESULTS.name}/dashboard.json and {PICTURE.name}"
    )
    parser.add_argument("--draw", type=Path, metavar="FILE", help="only draw what was saved, as PNG")
    given = parser.parse_args()
    saved = RESULTS / "dashboard.json"
    if given.draw:
        draw(json.loads(saved.read_text()), given.draw)
        return
    progress = Progress()
    recorded = record(progress)
    progress.clear()
    empty = [number for number, shown in recorded["panels"].items() if shown and not any(shown.values())]
    print(f"{len(recorded['panels'])} panels; without data: {', '.join(empty) or 'none'}")
    if given.save:
        saved.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
        draw(recorded, PICTURE)


if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
