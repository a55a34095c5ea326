"""The Redis backend: its settings, its partitions, and publishing to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any
from zlib import crc32

from ...errors import ConfigError, PublishError
from ...event import EventId, Place, without_id
from ..base import Outgoing, Receiver, Subscriber, T, check_kept
from ..reports import Reports
from ..retention import Kept, Retention, kept
from .background import BackgroundLoop
from .cluster import ClusterServer
from .credentials import Credentials
from .failure import CommandError, FinishedError
from .leases import RedisLeases
from .names import Names, stem
from .outbox import outcomes
from .partition import Partition, Settings
from .partitions import PartitionedSubscriber, joined
from .presence import RedisPresence
from .revocations import RedisRevocations
from .sentinel import SentinelServer
from .server import Server, SingleServer
from .subscriber import RedisSubscriber
from .url import parse
from .windows import RedisWindows
from .writers import RedisWriters

_UNUSABLE = re.compile("[\x00-\x1f\x7f{}\ud800-\udfff]")


class RedisBackend:
    """Events between processes and machines, through Redis 7 or Valkey.

    - ``url``: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://host:port,…/service`` or
      ``redis+cluster://host:port,…``.
    - ``prefix``: begins every key and pub/sub channel; two applications on one Redis need two.
    - ``history``, ``history_ttl``: so many events per channel (100) are kept for so many seconds (300) after
      the channel's latest, and up to a sixteenth longer; with ``history=0`` it is plain pub/sub without ids.
    - ``retention``: more or less of some channels, ``{"task:*": Retention(10_000, 3600)}``, the first pattern
      that fits.  What a worker says of these three holds for all publishers and workers of the data set; who
      says nothing uses what is there.
    - ``partitions``: how many independent orders of events the channels fall into; more than one spreads them
      over the primaries of a Cluster, and makes a resume repeat some events.
    - ``durable``: Redis loses nothing that it confirmed when it restarts (``appendfsync always``, no
      failover), so that a restart is no reason for a reset.
    - ``timeout``: seconds that a call may take, with all its waiting for a connection and an answer.
    - ``credentials``: instead of a user and password in the URL, redis-py's CredentialProvider or any object
      with its ``get_credentials`` or ``get_credentials_async``; asked for every new connection, so that
      tokens may change.

    Raises ConfigError for a setting it cannot work with; does not connect before it is used.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "sse:",
        history: int | None = None,
        history_ttl: float | None = None,
        retention: Mapping[str, Retention] | None = None,
        partitions: int = 1,
        durable: bool = False,
        timeout: float = 5.0,
        credentials: object = None,
    ) -> None:
        if not isinstance(prefix, str) or not prefix or _UNUSABLE.search(prefix):
            raise ConfigError("prefix", "must be text without braces and control characters", prefix)
        if type(partitions) is not int or not 1 <= partitions <= 256:
            raise ConfigError("partitions", "must be a whole number from 1 to 256", partitions)
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not 0 < timeout < 1e9:
            raise ConfigError("timeout", "must be a positive number of seconds", timeout)
        said = any(value is not None for value in (history, history_ttl, retention))
        keeps = kept(history, history_ttl, retention)
        self.settings = Settings(keeps if said else None, timeout, durable)
        self.server = _server(url, timeout, credentials)
        self._stem = partial(stem, prefix, self.server.db)
        tagged = partitions > 1 or isinstance(self.server, ClusterServer)
        self.partitions = [
            Partition(self.server, Names(self._stem(str(number) if tagged else None)), self.settings)
            for number in range(partitions)
        ]
        self._revocations = RedisRevocations(self.server, self.partitions[0].names)
        self._writers = RedisWriters(self.partitions, self.partition)
        self._background = BackgroundLoop()

    def partition(self, channel: str) -> Partition:
        """The partition whose order ``channel`` follows."""
        if len(self.partitions) == 1:
            return self.partitions[0]
        return self.partitions[crc32(channel.encode()) % len(self.partitions)]

    def subscriber(self, receiver: Receiver) -> Subscriber:
        """See ``Backend.subscriber``."""
        if len(self.partitions) == 1:
            return RedisSubscriber(self.partitions[0], receiver)
        return PartitionedSubscriber(self.partitions, self.partition, receiver)

    @property
    def leases_prefix(self) -> str:
        """What the keys of leases and connects begin with: one step is about both, on one primary."""
        return self._stem("leases") + ":"

    def leases(self) -> RedisLeases:
        """See ``Backend.leases``."""
        return RedisLeases(self.server, self._stem("leases"))

    def depth(self, pattern: str) -> int | None:
        """See ``Backend.depth``."""
        return None if self.settings.kept is None else self.settings.kept.depth(pattern)

    def windows(self) -> RedisWindows:
        """See ``Backend.windows``."""
        return RedisWindows(self.server, self.leases_prefix + "rate")

    async def revoke(self, session: str, until: float | None = None) -> float:
        """See ``Backend.revoke``."""
        return await self._revocations.add(session, until)

    async def revoked(self, life: float = 0.0) -> dict[str, float]:
        """See ``Backend.revoked``."""
        return await self._revocations.all(life)

    def writers(self) -> RedisWriters:
        """See ``Backend.writers``."""
        return self._writers

    def presence(self) -> RedisPresence:
        """See ``Backend.presence``."""
        return RedisPresence(self.server, self.leases_prefix + "here")

    async def reports(self) -> Reports:
        """See ``Backend.reports``."""
        return await self.presence().reports()

    @property
    def said(self) -> Kept | None:
        """See ``Backend.said``: what the data set keeps may be another's word."""
        return self.settings.kept

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish``; events of one partition are one step."""
        check_kept(events, numbered=self.settings.kept is None or self.settings.kept.numbered)
        if len(events) == 1:  # as nearly always
            (published,) = await outcomes([self.partition(events[0].channel).queue(events)])
            if published.error is not None:
                raise _failed(published.error, [], may_have_happened=published.error.sent)
            return published.places
        by_partition: dict[Partition, list[int]] = {}
        for place, event in enumerate(events):
            by_partition.setdefault(self.partition(event.channel), []).append(place)
        # All are queued before anything is waited for: nothing that is called later comes between.
        steps = [
            partition.queue([events[place] for place in places]) for partition, places in by_partition.items()
        ]
        ids: dict[int, str] = {}
        errors: dict[Partition, CommandError] = {}
        for (partition, places), published in zip(by_partition.items(), await outcomes(steps), strict=True):
            ids.update(zip(places, published.places, strict=False))
            if published.error is not None:
                errors[partition] = published.error
        first = [ids[place] for place in takewhile(ids.__contains__, range(len(events)))]
        if errors:
            # Said of all events but the first ones.
            may_have_happened = len(ids) > len(first) or any(error.sent for error in errors.values())
            error = errors[self.partition(events[len(first)].channel)]
            raise _failed(error, first, may_have_happened=may_have_happened)
        return first

    async def recent(self, channel: str, count: int) -> list[tuple[Place, bytes]]:
        """See ``Backend.recent``; of several partitions these are places for who hears this channel alone."""
        partition = self.partition(channel)
        others = [each for each in self.partitions if each is not partition]
        cuts = await asyncio.gather(*(each.read([]) for each in others))
        _, tag, events = await partition.recent(channel, count)
        tags = dict(zip(others, (cut.tag for cut in cuts), strict=True)) | {partition: tag}
        places = [
            Place(EventId(ms, n), joined([tags[each] for each in self.partitions])) for ms, n, _ in events
        ]
        return [
            (place, place.line() + without_id(frame))
            for place, (_, _, frame) in zip(places, events, strict=True)
        ]

    async def cursor(self) -> Place:
        """See ``Backend.cursor``."""
        cuts = await asyncio.gather(*(partition.read([]) for partition in self.partitions))
        return Place(min(cut.upto for cut in cuts), joined([cut.tag for cut in cuts]))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """See ``Backend.wait``."""
        return self._background.run(work)

    async def close(self) -> None:
        """See ``Backend.close``."""
        await self.server.close()
        if self._background.is_running:
            await asyncio.to_thread(self.close_sync)

    def close_sync(self) -> None:
        """See ``Backend.close_sync``."""
        if self._background.is_running:
            self._background.run(self.server.close())
            self._background.stop()


def _failed(error: CommandError, published: Sequence[str], *, may_have_happened: bool) -> PublishError:
    reason = "finished" if isinstance(error, FinishedError) else "unconfirmed"
    failure = PublishError(
        str(error), may_have_happened=may_have_happened, published=published, reason=reason
    )
    failure.__cause__ = error.__cause__
    return failure


def _server(url: str, timeout: float, credentials: object) -> Server:
    parsed = parse(url)
    if credentials is not None:
        if parsed.options.keys() & {"username", "password"}:
            raise ConfigError("credentials", "or a user or password in the URL, not both", secret=True)
        parsed.options["credential_provider"] = Credentials(credentials)
    kinds: dict[str, type[SingleServer | ClusterServer]] = {
        "": SingleServer,
        "sentinel": SentinelServer,
        "cluster": ClusterServer,
    }
    return kinds[parsed.way](parsed, timeout)
