"""A worker is killed, or every connection is cut at once: all come back, and nothing is lost."""

from __future__ import annotations

import time

from .scenario import Scenario, Threshold
from .script import Script

NOTICED = 30.0
"""Seconds for the first client to see that its connection is gone."""

LEVEL = 120.0
"""Seconds for all to be level again."""


class Storm(Scenario):
    """Everybody comes back."""

    name = "storm"
    what = "a worker is killed with SIGKILL (--drop: every connection is cut at once) while events go to all"
    seconds = 20.0
    endings = frozenset({"cut", "dropped", "max-duration"})
    # What the proxy says while a worker is away, and the others' caps until it is back.
    refusals = frozenset({"proxy", "worker-full"})

    def script(self, run: Script) -> None:
        """Events all the time; the blow; until all are level; a while after."""
        self.fill(run)
        with run.publishing(self.pace):
            with run.phase("before"):
                run.wait(self.length / 2, "before")
            with run.phase("storm"):
                if self.options.drop:
                    run.ask("drop")
                else:
                    run.deployment.kill(0)
                began = time.monotonic()
                # The clients have to notice first.
                if (
                    run.until(lambda state: state["live"] < state["wanted"], NOTICED)
                    and run.level(LEVEL) is not None
                ):
                    run.found["level"] = time.monotonic() - began
            with run.phase("after"):
                run.wait(self.length / 2, "after")

    def thresholds(self, run: Script) -> list[Threshold]:
        """All are level again."""
        return [
            *super().thresholds(run),
            Threshold("all level again after", run.found.get("level"), LEVEL, " s"),
        ]
