"""What is published in one process: numbered, kept, and told to whoever listens."""

from __future__ import annotations

import secrets
import string
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ...errors import PublishError
from ...event import FINISHED, NOWHERE, REOPENED, EventId, Place
from ..base import NO_FIRST, Entry, Outgoing, Replay, Reset, check_kept
from ..log import Log
from ..retention import Kept

HISTORY_BYTES = 33_554_432
"""At most this many bytes of history per channel: the default of 100 events fits, however large they are."""

TAG = 5
"""Letters that name this data set."""


class Ear(Protocol):
    """Somebody who is told what is published."""

    @property
    def is_deaf(self) -> bool:
        """Whether it never hears anything again."""

    def hear(
        self, channel: str, id: EventId | None, frame: bytes, except_user: str | None, trace: str | None
    ) -> None:
        """Called under the store's lock, from the publishing thread."""


class Store:
    """Channels of one process, for any of its threads: whoever looks at several things holds ``lock``.

    ``kept`` says how much of each is kept, and ``clock`` gives Unix time in seconds; ids rise even when it
    steps back.
    """

    def __init__(self, kept: Kept, clock: Callable[[], float]) -> None:
        self.kept = kept
        self.time = clock
        self.lock = threading.RLock()
        self.tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(TAG))
        self._longest_ms = kept.longest_ms
        self._last = self._birth = EventId(int(clock() * 1000), 0)
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], EventId] = OrderedDict()
        self._ears: list[Ear] = []

    def join(self, ear: Ear) -> None:
        """Tell it what is published from now on."""
        with self.lock:
            self._ears = [*(known for known in self._ears if not known.is_deaf), ear]

    def leave(self, ear: Ear) -> None:
        """Tell it nothing more."""
        with self.lock:
            if ear in self._ears:
                self._ears.remove(ear)

    def now(self) -> EventId:
        """An id after every event so far and before every later one."""
        with self.lock:
            now = int(self.time() * 1000)
            if now > self._last.ms:
                self._last = EventId(now, 0)
            return self._last

    def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish``."""
        check_kept(events, numbered=self.kept.numbered)
        published: list[str] = []
        with self.lock:
            for event in events:
                try:
                    published.append(self._publish(event))
                except PublishError as error:
                    error.published = published
                    raise
        return published

    def newest(self, channel: str, count: int) -> list[tuple[Place, bytes]]:
        """See ``Backend.recent``."""
        with self.lock:
            self.now()
            newest = self._log(channel).newest(count)
            return [(Place(EventId(ms, n), self.tag), frame) for ms, n, frame in newest]

    def read(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """The history of ``channels`` after a place, as one consistent cut; see ``Subscriber.replay``."""
        with self.lock:
            upto = self.now()
            if not self.kept.numbered:
                lost = [] if after is None else [Reset(channel, "unknown-id", None) for channel in channels]
                return Replay([], lost, None)
            head = Place(upto, self.tag)
            foreign = ""
            if after is not None and (after.tag != self.tag or after.id > upto):
                foreign = "epoch" if after.tag not in (NOWHERE.tag, self.tag) else "unknown-id"
            self._forget()
            events: list[Entry] = []
            resets: list[Reset] = []
            for channel in channels:
                log = self._log(channel)
                if after is not None and not foreign and log.covers(after.id):
                    events.extend(log.since(after.id, user))
                    continue
                if after is not None:
                    resets.append(Reset(channel, foreign or log.reason, head))
                events.extend(log.newest(max(first.get(channel, 0), log.finished is not None), user=user))
            events.sort()
            return Replay(events, resets, head)

    def finished(self, channels: Sequence[str]) -> Place | None:
        """See ``Subscriber.finished``."""
        ends: list[EventId] = []
        with self.lock:
            for channel in channels:
                log = self._logs.get(channel)
                end = None if log is None else log.finished
                if end is None or self._has_expired(channel, end, self.now()):  # none, as almost always
                    return None
                ends.append(end)
            return Place(max(ends), self.tag) if ends else None

    def _publish(self, event: Outgoing) -> str:
        if not self.kept.numbered:
            self._announce(event, None, event.body)
            return ""
        last = self.now()
        key = None if event.dedupe_key is None else (event.channel, event.dedupe_key)
        known = None if key is None else self._keys.get(key)
        log = self._log(event.channel)
        finished, reopens = log.finished is not None, event.body == REOPENED
        if known is not None and not self._has_expired(event.channel, known, last):
            # Where the channel goes on since it was finished by that key, it is to be finished again.
            if finished or not event.body.endswith(FINISHED):
                return str(Place(known, self.tag))
            del self._keys[event.channel, event.dedupe_key or ""]
        if finished and not reopens:
            why = f"channel {event.channel!r} has had its last event"
            raise PublishError(why, may_have_happened=False, reason="finished")
        if reopens and not finished:
            return str(Place(last, self.tag))
        id = self._last = EventId(last.ms, last.n + 1)
        place = Place(id, self.tag)
        frame = place.line() + event.body
        self._logs[event.channel] = log
        log.append(id, frame, event.except_user)
        log.trim(self.kept.of(event.channel).events, HISTORY_BYTES)
        self._logs.move_to_end(event.channel)
        if key is not None:
            self._keys[key] = id
        self._forget()
        self._announce(event, id, frame)
        return str(place)

    def _announce(self, event: Outgoing, id: EventId | None, frame: bytes) -> None:
        for ear in self._ears:
            ear.hear(event.channel, id, frame, event.except_user, event.trace)

    def _log(self, channel: str) -> Log:
        """A channel's log; an empty one where there is none, or none any more."""
        log = self._logs.get(channel)
        if log is None or self._has_expired(channel, log.head, self._last):
            return Log(*self._horizon(channel))
        return log

    def _has_expired(self, channel: str, newest: EventId, now: EventId) -> bool:
        return self.kept.of(channel).has_expired(newest, now)

    def _horizon(self, channel: str) -> tuple[EventId, str]:
        """What can be said of a channel without a log: nothing was published since then."""
        expired = EventId(max(0, self._last.ms - self.kept.of(channel).ms), 0)
        return (expired, "expired") if expired > self._birth else (self._birth, "epoch")

    def _forget(self) -> None:
        oldest_kept = self._last.ms - self._longest_ms
        while self._logs:
            channel, log = next(iter(self._logs.items()))
            if log.head.ms >= oldest_kept:
                break
            del self._logs[channel]
        while self._keys:
            key, id = next(iter(self._keys.items()))
            if id.ms >= oldest_kept:
                break
            del self._keys[key]
