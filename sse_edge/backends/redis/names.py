"""What is called how in Redis."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

_PLAIN = " !\"#$&'()*+,;<=>?[\\]^`|"
"""What a stem keeps as it is, besides letters, digits and ``_.-~/``: all but ``%:@{}``."""


class Names(NamedTuple):
    """The names of one partition: all are a stem, a colon, and what it is.

    The stems of two prefixes or databases differ before their first colon, so that names of two
    applications never meet, whatever their channels are called.
    """

    stem: str

    @property
    def clock(self) -> str:
        """The hash that holds the order of events."""
        return f"{self.stem}:clock"

    @property
    def revoked(self) -> str:
        """The sorted set of the sessions that are revoked until a time that was given."""
        return f"{self.stem}:revoked"

    @property
    def since(self) -> str:
        """The sorted set of the sessions that are revoked for as long as they can live."""
        return f"{self.stem}:since"

    @property
    def lives(self) -> str:
        """The sorted set of how long sessions live, as workers say."""
        return f"{self.stem}:lives"

    @property
    def writers(self) -> str:
        """The sorted set of the channels that are written, with the time of their writers' ends."""
        return f"{self.stem}:writers"

    @property
    def dead(self) -> str:
        """The sorted set of writers that were taken for dead."""
        return f"{self.stem}:dead"

    @property
    def writing(self) -> str:
        """The hash of who writes them, and of how they end should that one die."""
        return f"{self.stem}:writing"

    def stream(self, channel: str) -> str:
        """The stream that holds a channel's history."""
        return f"{self.stem}:history:{channel}"

    def dedupe(self, channel: str, key: str) -> str:
        """The key that remembers a publish on a channel by its ``dedupe_key``."""
        return f"{self.stem}:dedupe:{channel}\x01{key}"

    def announce(self, channel: str) -> str:
        """The pub/sub channel of a channel, also for a plain PUBLISH."""
        return f"{self.stem}:{channel}"

    def worker(self, worker: str) -> str:
        """The pub/sub channel of one worker; no channel's name can contain the control character."""
        return f"{self.stem}:\x01{worker}"


def stem(prefix: str, db: int, part: str | None = None) -> str:
    """What begins every name of a ``prefix`` in a database, or in a ``part`` of its own on a Cluster.

    ``sse:`` gives ``sse``; in database 1 it is ``sse@1``, because pub/sub knows no databases.  A colon
    inside, ``@`` and ``%`` are written as in a URL, and a prefix without its last colon ends in ``%``.
    ``part`` is a hash tag: all names with it live on one primary.
    """
    bare = prefix.removesuffix(":")
    text = quote(bare, safe=_PLAIN + "/") + ("" if bare != prefix else "%")
    return text + (f"@{db}" if db else "") + ("" if part is None else f":{{{part}}}")
