"""A share of the clients stop reading, and read again later: nobody notices, and nothing is lost."""

from __future__ import annotations

from .scenario import Scenario, Threshold, compared
from .script import Script

SIZE = 8000
"""Bytes of an event."""

TIMES = 1.5
"""The others' p99 may be so many times what it was."""


class Slow(Scenario):
    """Stuck among many."""

    name = "slow"
    what = f"a share of the clients stop reading while events of {SIZE} bytes go to all, and read again later"
    seconds = 90.0
    # The app ends them, or the proxy does; they see that when they read again.
    endings = frozenset({"cut", "end", "slow", "max-duration"})

    def script(self, run: Script) -> None:
        """Before, stuck, and awake again."""
        self.fill(run)
        with run.publishing(self.pace, SIZE):
            with run.phase("before"):
                run.wait(min(20.0, self.length), "all read")
            with run.phase("stuck"):
                stuck = sum(run.ask("stall", share=float(self.options.share)))
                run.found["stuck"] = stuck
                run.wait(self.length, f"{stuck:,} do not read")
            with run.phase("awake"):
                run.ask("wake")
                took = run.level()
                if took is not None:
                    run.found["level"] = took

    def thresholds(self, run: Script) -> list[Threshold]:
        """The others were as quick as before; those that were stuck have come back."""
        return [
            *super().thresholds(run),
            Threshold("all level again after", run.found.get("level"), 60.0, " s"),
            compared(run, "the others' p99 while some are stuck", "before", "stuck", TIMES),
        ]
