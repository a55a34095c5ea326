"""Who is here, and who listens to what: the streams of one worker, by user, session and channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from .census import StreamCensus
from .feed import Feed
from .few import listed
from .patterns import Pattern, Patterns
from .roster import Roster
from .stream import Stream


class Audience:
    """The ``streams`` that are open or about to be, in all places where they are found.

    ``feeds`` are the channels that somebody listens to.  ``owned`` are by channel the streams that hear none,
    and are for whoever may hear it.  ``patterns`` are what those are counted with.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self.streams: set[Stream] = set()
        self.users = Roster()
        self.sessions = Roster()
        self.feeds: dict[str, Feed] = {}
        self.owned = Roster()
        self.census = StreamCensus(self.feeds, self.owned, self.users)
        self._empty = asyncio.Event()

    def listen(self, stream: Stream) -> None:
        """``stream`` comes, to hear its channels; it is owed history of them."""
        self._enter(stream)
        feeds = [self._feed(channel) for channel in stream.channels]
        if len(feeds) == 1:  # whoever hears the same shares these
            stream.feeds, stream.channels = feeds[0].only, feeds[0].name
        else:
            stream.feeds = tuple(feeds)
        for feed in feeds:
            feed.join(stream)
        self.census.note(stream)

    def own(self, stream: Stream) -> None:
        """``stream`` comes, and hears no channel; what it is given is its own."""
        self._enter(stream)
        stream.owed = False
        for channel in stream.channels:
            self.owned.add(channel, stream)
        self.census.note(stream)

    def leave(self, stream: Stream) -> None:
        """It is gone."""
        self.streams.discard(stream)
        self.users.discard(stream.user, stream)
        self.sessions.discard(stream.session, stream)
        if not self.streams:
            self._empty.set()
        self.unlisten(stream)

    def unlisten(self, stream: Stream) -> None:
        """It hears no more."""
        self.census.note(stream)
        for channel in stream.channels:
            if stream.feeds:
                self._ignore(stream, channel)
            else:
                self.owned.discard(channel, stream)

    def drop(self, stream: Stream, channel: str) -> None:
        """It goes on without one of its channels."""
        self._ignore(stream, channel)
        self.census.note(stream)
        stream.channels = tuple([other for other in stream.channels if other != channel])
        stream.feeds = tuple([self.feeds[other] for other in stream.channels])

    def on(self, channel: str) -> list[Stream]:
        """The streams that hear ``channel``, or are for those who may."""
        feed, owned = self.feeds.get(channel), self.owned.of(channel)
        return owned if feed is None else [*owned, *listed(feed.live), *(feed.early or ())]

    @property
    def channels(self) -> int:
        """How many channels have streams."""
        return len(self.feeds) + sum(name not in self.feeds for name in self.owned.names)

    def by_pattern(self) -> Iterator[tuple[Pattern, int]]:
        """How many streams hear each channel, with its pattern."""
        return ((feed.pattern, feed.count) for feed in self.feeds.values())

    async def gone(self) -> None:
        """Wait until nobody is here."""
        while self.streams:
            await self._empty.wait()

    def _enter(self, stream: Stream) -> None:
        self.streams.add(stream)
        self.users.add(stream.user, stream)
        self.sessions.add(stream.session, stream)
        self._empty.clear()

    def _feed(self, channel: str) -> Feed:
        feed = self.feeds.get(channel)
        if feed is None:
            feed = self.feeds[channel] = Feed(channel, self._patterns.of(channel))
        return feed

    def _ignore(self, stream: Stream, channel: str) -> None:
        feed = self.feeds.get(channel)
        if feed is not None and feed.leave(stream):
            del self.feeds[channel]
            feed.only = ()  # it refers to the feed: only the collector would find it
