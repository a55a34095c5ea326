"""Hold N streams, and let an event a second go to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scenario import Scenario

if TYPE_CHECKING:
    from ..run.conductor import Conductor


class Steady(Scenario):
    """Held, and nothing else happens."""

    name = "steady"
    what = "holds N streams: silence, then events to all of them"

    def script(self, run: Conductor) -> None:
        """Open, wait, publish."""
        self.fill(run)
        with run.phase("events"), run.publishing(self.pace):
            run.wait(self.length, "events")
