"""More and more streams: where does latency begin to rise?"""

from __future__ import annotations

import math

from .scenario import Scenario
from .script import Script

STEPS = 5


class Ramp(Scenario):
    """In steps to N, each held for a while."""

    name = "ramp"
    what = f"goes to N streams in {STEPS} steps, with events to all at each"

    def script(self, run: Script) -> None:
        """Each step in turn, while events go to all."""
        steps = sorted({math.ceil(run.users * step / STEPS) for step in range(1, STEPS + 1)})
        with run.publishing(self.pace):
            for users in steps:
                run.open(users)
                with run.phase(f"{users * run.per_user:,}"):
                    run.wait(self.length / len(steps), f"{users * run.per_user:,} streams")
            run.at_full()
