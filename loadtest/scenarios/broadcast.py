"""One channel, all streams: single events, then bursts."""

from __future__ import annotations

import time

from .scenario import Scenario, Threshold
from .script import Script

BURST = 100
"""Events of a burst: no more than the channel's history keeps."""

SPACING = 0.002
"""Seconds between them."""

BURSTS = 3


class Broadcast(Scenario):
    """To everybody at once."""

    name = "broadcast"
    what = f"single events to all streams, then {BURSTS} bursts of {BURST} events at {SPACING * 1000:g} ms"
    seconds = 30.0

    def script(self, run: Script) -> None:
        """Single events, then bursts, each once the one before has arrived."""
        self.fill(run)
        with run.phase("single events"), run.publishing(self.pace):
            run.wait(self.length, "single events")
        run.level(fresh=0.0)
        took = []
        with run.phase("bursts"):
            for number in range(BURSTS):
                run.progress(f"burst {number + 1} of {BURSTS}")
                began = time.monotonic()
                run.press.burst(self.options.channel, BURST, SPACING, 150)
                if run.level(fresh=0.0) is not None:
                    took.append(time.monotonic() - began)
        run.found["bursts"] = len(took)
        run.found["longest"] = max(took, default=0.0)

    def thresholds(self, run: Script) -> list[Threshold]:
        """Each burst has arrived in time."""
        return [
            *super().thresholds(run),
            Threshold("bursts that did not arrive within a minute", BURSTS - run.found.get("bursts", 0), 0),
        ]
