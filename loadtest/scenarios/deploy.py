"""Every worker is restarted, one after another, as in a deploy: nobody is stranded, and there is no herd."""

from __future__ import annotations

from .scenario import Scenario, Threshold
from .script import Script

HERD = 3.0
"""The busiest second may see so many times the mean of reconnects."""


class Deploy(Scenario):
    """A new version goes out."""

    name = "deploy"
    what = "every worker is stopped with SIGTERM and started again, one after another, while events go to all"
    seconds = 10.0
    endings = frozenset({"drain", "max-duration"})
    refusals = frozenset({"draining", "proxy", "worker-full"})

    def script(self, run: Script) -> None:
        """One restart after another."""
        self.fill(run)
        with run.publishing(self.pace):
            with run.phase("before"):
                run.wait(self.length, "before")
            for number in range(max(1, run.deployment.workers)):
                with run.phase(f"restart {number + 1}"):
                    run.deployment.restart(number)
                    run.wait(
                        float(self.options.pause),
                        f"worker {number + 1} of {run.deployment.workers or 1} is back",
                    )
            with run.phase("after"):
                took = run.level()
                if took is not None:
                    run.found["level"] = took
                run.wait(self.length, "after")

    def thresholds(self, run: Script) -> list[Threshold]:
        """No herd, and all level again."""
        rates = run.reconnects()
        herd = rates["peak"] / rates["mean"] if rates else None
        return [
            *super().thresholds(run),
            Threshold("reconnects in the busiest second ÷ mean", herd, HERD),
            Threshold("all level again after the last restart", run.found.get("level"), 60.0, " s"),
        ]
