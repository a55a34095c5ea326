"""One address and one user are far over their caps: the others do not notice."""

from __future__ import annotations

from sse_edge import Limits

from .scenario import Scenario, Threshold, compared
from .script import Script

INTRUDERS = 300
"""Connections that each of the two tries to have, three times the cap of an address."""

PAUSE = 5.0
"""Seconds that each of them waits between two attempts: 120 attempts a second in all."""

TIMES = 1.25
"""The others' p99 may be so many times what it was."""


class Abuse(Scenario):
    """Far over the caps."""

    name = "abuse"
    what = (
        f"one address and one user try to have {INTRUDERS} streams each, again and again, "
        "while events go to all others"
    )
    seconds = 30.0

    def script(self, run: Script) -> None:
        """Without, then with."""
        self.fill(run)
        with run.publishing(self.pace):
            with run.phase("without"):
                run.wait(self.length, "without abuse")
            # One process is the address, and one the user; with one process it is both.
            with run.phase("with"):
                run.ask("abuse", address=INTRUDERS, user=INTRUDERS, pause=PAUSE, processes=run.processes)
                run.wait(self.length, "with abuse")
            held = run.ask("retreat")
            run.found["address"] = sum(each["address"] for each in held)
            run.found["user"] = sum(each["user"] for each in held)

    def thresholds(self, run: Script) -> list[Threshold]:
        """The others were as quick as before, and the caps held."""
        attempts = sum(count for why, count in run.counts("refusals").items() if why.startswith("abuse: "))
        caps = Limits()
        return [
            *super().thresholds(run),
            compared(run, "the others' p99 with abuse", "without", "with", TIMES),
            Threshold("streams that the one address got", run.found.get("address"), caps.per_ip or 0),
            Threshold("streams that the one user got", run.found.get("user"), caps.per_user or 0),
            Threshold("abuse that was not refused at all", 0 if attempts else 1, 0),
        ]
