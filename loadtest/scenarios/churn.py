"""Clients connect and leave all the time: those that stay lose nothing, and nothing of the others stays."""

from __future__ import annotations

import time

import gevent

from .scenario import Scenario, Threshold
from .script import Script

LIFETIME = 20.0
"""Seconds that a client stays on average."""

GONE = 30.0
"""Seconds for the workers to let go of the last clients."""


SPARE = 4
"""Descriptors that a worker may have more than before: connections to Redis, made under load, are kept."""


class Churn(Scenario):
    """Coming and going."""

    name = "churn"
    what = f"every client leaves after {LIFETIME:g} s on average and another comes, while events go to all"

    def script(self, run: Script) -> None:
        """Let them come and go, then all leave."""
        empty = run.deployment.files()
        self.fill(run)
        with run.phase("churn"), run.publishing(self.pace):
            run.ask("churn", lifetime=LIFETIME)
            run.wait(self.length, "coming and going")
            run.ask("churn", lifetime=None)
            run.level()
        run.judge()
        with run.phase("all leave"):
            run.open(0)
            deadline = time.monotonic() + GONE
            while empty is not None:
                run.found["left"] = (run.deployment.files() or 0) - empty
                if run.found["left"] <= SPARE * run.deployment.workers or time.monotonic() > deadline:
                    break
                gevent.sleep(0.5)

    def thresholds(self, run: Script) -> list[Threshold]:
        """The workers hold nothing any more."""
        common = super().thresholds(run)
        if run.deployment.workers:
            common.append(
                Threshold(
                    "descriptors of the workers after all have left",
                    run.found.get("left"),
                    SPARE * run.deployment.workers,
                )
            )
        return common
