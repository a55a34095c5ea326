"""Hours: does memory grow?"""

from __future__ import annotations

import time

from .scenario import Scenario, Threshold
from .script import Script

LONG = 1800.0
"""Seconds below which a slope says nothing: one maximum duration."""

GROWTH = 5.0
"""Percent that the workers' memory may grow in an hour."""


class Soak(Scenario):
    """For hours."""

    name = "soak"
    what = "holds N streams for hours, with events to all, and looks at the slope of the workers' memory"
    seconds = 7200.0

    def script(self, run: Script) -> None:
        """Open, and publish for long."""
        self.fill(run)
        with run.phase("soak"), run.publishing(self.pace):
            first = time.time() - run.began + self.length / 5
            run.wait(self.length, "soaking")
            growth = run.growth(first)
            if growth is not None:
                run.found["growth"] = growth

    def thresholds(self, run: Script) -> list[Threshold]:
        """The workers' memory is level; only a long run tells."""
        common = super().thresholds(run)
        if self.length >= LONG and "growth" in run.found:
            common.append(
                Threshold("growth of the workers' memory in an hour", run.found["growth"], GROWTH, " %")
            )
        return common
