"""What is called how in Redis."""

from __future__ import annotations

from typing import NamedTuple


class Names(NamedTuple):
    """The names of one partition.  All begin with the prefix, on a Cluster followed by a hash tag."""

    prefix: str

    @property
    def clock(self) -> str:
        """The hash that holds the order of events."""
        return f"{self.prefix}clock"

    @property
    def revoked(self) -> str:
        """The sorted set of revoked sessions."""
        return f"{self.prefix}revoked"

    def stream(self, channel: str) -> str:
        """The stream that holds a channel's history."""
        return f"{self.prefix}history:{channel}"

    def dedupe(self, key: str) -> str:
        """The key that remembers a publish by its ``dedupe_key``."""
        return f"{self.prefix}dedupe:{key}"

    def announce(self, channel: str) -> str:
        """The pub/sub channel of a channel, also for a plain PUBLISH."""
        return f"{self.prefix}{channel}"

    def worker(self, worker: str) -> str:
        """The pub/sub channel of one worker; no channel's name can contain the control character."""
        return f"{self.prefix}\x01{worker}"
