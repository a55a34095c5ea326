"""Scenarios in which nothing goes wrong: streams are held, and events go to them."""

import math
import time

from .scenario import Scenario, Threshold
from .script import Script


class Steady(Scenario):
    """Held, and nothing else happens."""

    name = "steady"
    what = "holds N streams: silence, then events to all of them"


class Ramp(Scenario):
    """In steps, each held for a while."""

    name = "ramp"
    what = "goes to N streams in 5 steps, with events to all at each"

    def script(self, run: Script) -> None:
        """Each step in turn, while events go to all."""
        steps = sorted({math.ceil(run.users * step / 5) for step in range(1, 6)})
        with run.publishing(self.pace):
            for users in steps:
                run.open(users)
                streams = f"{users * run.per_user:,}"
                run.stay(self.length / len(steps), streams, f"{streams} streams")
            run.sampler.at_full()


class Broadcast(Scenario):
    """To everybody at once: no burst is longer than a channel's history."""

    name = "broadcast"
    what = "single events to all streams, then 3 bursts of 100 events at 2 ms"
    seconds = 30.0

    def script(self, run: Script) -> None:
        """Single events, then bursts, each once the one before has arrived."""
        self.fill(run)
        self.send(run, "single events")
        run.level(fresh=0.0)
        with run.phase("bursts"):
            run.found["bursts"] = 0
            for number in range(3):
                run.progress(f"burst {number + 1} of 3")
                run.press.burst(self.options.channel, 100, 0.002, 150)
                run.found["bursts"] += run.level(fresh=0.0) is not None

    def limits(self, run: Script) -> list[Threshold]:
        """Each burst arrives."""
        return [Threshold("bursts that did not arrive within a minute", 3 - run.found.get("bursts", 0), 0)]


class Personal(Scenario):
    """To each alone."""

    name = "personal"
    what = "events to each stream's own channel, from 8 publishers at once"
    rate = 200.0
    personal = True

    def script(self, run: Script) -> None:
        """Every user's channel in turn."""
        self.fill(run)
        channels = self.own_channels(run.ask("range"))
        what = f"events, {self.pace:g} a second in all"
        self.send(run, "events", what, channels=channels, hands=min(8, len(channels)))


class Soak(Scenario):
    """For hours: does memory grow?"""

    name = "soak"
    what = "holds N streams for hours, with events to all, and looks at the slope of the workers' memory"
    seconds = 7200.0

    def script(self, run: Script) -> None:
        """Open, and publish for long."""
        self.fill(run)
        first = time.time() - run.began + self.length / 5
        self.send(run, "soak", "soaking")
        run.found["growth"] = run.sampler.growth("worker", first)

    def limits(self, run: Script) -> list[Threshold]:
        """The workers' memory is level.  A slope over less than one maximum duration says nothing."""
        growth = run.found.get("growth")
        if self.length < 1800 or growth is None:
            return []
        return [Threshold("growth of the workers' memory in an hour", growth, 5.0, " %")]
