"""A channel for each user, and many publishers."""

from __future__ import annotations

from .scenario import Scenario
from .script import Script

HANDS = 8
"""Publishers at once."""


class Personal(Scenario):
    """To each alone."""

    name = "personal"
    what = f"events to each stream's own channel, from {HANDS} publishers at once"
    rate = 200.0
    personal = True

    def script(self, run: Script) -> None:
        """Every user's channel in turn."""
        self.fill(run)
        places = run.ask("range")
        channels = [
            self.options.own_channel.replace("{user}", f"u{number}")
            for first, count in places
            for number in range(first, first + count)
        ]
        with (
            run.phase("events"),
            run.publishing(self.pace, channels=channels, hands=min(HANDS, len(channels))),
        ):
            run.wait(self.length, f"events, {self.pace:g} a second in all")
