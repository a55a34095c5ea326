"""How many streams a worker has: on each channel, and of each user."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .feed import Feed
from .roster import Roster
from .stream import Stream


class StreamCensus:
    """See ``Census``: it counts what ``feeds`` and ``users`` have at the moment, and of streams that hear
    no channel those that are for whoever may hear it, in ``owned``.

    What changes is noted only once somebody has asked for it.
    """

    def __init__(self, feeds: Mapping[str, Feed], owned: Roster, users: Roster) -> None:
        self._feeds = feeds
        self._owned = owned
        self._users = users
        self._channels: set[str] | None = None
        self._names: set[str] = set()

    def count(self, channel: str) -> int:
        """See ``Census.count``."""
        feed = self._feeds.get(channel)
        return self._owned.count(channel) + (0 if feed is None else feed.count)

    def present(self, user: str) -> int:
        """See ``Census.present``."""
        return self._users.count(user)

    def changed(self) -> tuple[Collection[str], Collection[str]]:
        """See ``Census.changed``."""
        channels, users = self._channels, self._names
        self._channels, self._names = set(), set()
        return self.everybody() if channels is None else (channels, users)

    def everybody(self) -> tuple[Collection[str], Collection[str]]:
        """See ``Census.everybody``."""
        return [*self._feeds, *self._owned.names], self._users.names

    def note(self, stream: Stream) -> None:
        """A stream comes or goes, or leaves one of its channels."""
        if self._channels is not None:
            self._channels.update(stream.channels)
            if stream.user is not None:
                self._names.add(stream.user)
