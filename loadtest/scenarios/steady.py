"""Hold N streams, and let an event a second go to all of them."""

from __future__ import annotations

from .scenario import Scenario
from .script import Script


class Steady(Scenario):
    """Held, and nothing else happens."""

    name = "steady"
    what = "holds N streams: silence, then events to all of them"

    def script(self, run: Script) -> None:
        """Open, wait, publish."""
        self.fill(run)
        with run.phase("events"), run.publishing(self.pace):
            run.wait(self.length, "events")
