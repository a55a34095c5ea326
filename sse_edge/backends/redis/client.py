"""The Redis backend: its settings, its names in Redis, and the commands it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError, ResponseError

from ...errors import BackendError, ConfigError, PublishError
from ...event import EventId
from ..base import Outgoing, Receiver, check_keys
from ..leases import LocalLeases
from .history import Cut, parse_cut
from .scripts import ANNOUNCE, PUBLISH, READ, TICK, Script
from .subscriber import RedisSubscriber

POOL = 32
"""Connections at most for commands, per process and event loop; the subscriber has its own."""

BATCH = 500
"""Events or streams per script call: Redis serves nobody else while a script runs."""


Argument = str | bytes | int


class Names(NamedTuple):
    """What is called how in Redis.  Everything begins with the prefix."""

    prefix: str

    @property
    def clock(self) -> str:
        """The hash that holds the order of events."""
        return f"{self.prefix}clock"

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


class RedisBackend:
    """Events between processes and machines, through Redis or Valkey.

    ``url``: ``redis://``, ``rediss://`` or ``unix://``.  ``prefix`` begins every key and pub/sub
    channel.  ``history`` events per channel are kept for ``history_ttl`` seconds after the channel's
    latest; with ``history=0`` it is plain pub/sub without ids.  ``timeout``: seconds to wait for a
    connection or an answer.

    Raises ConfigError for a setting it cannot work with; does not connect before it is used.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "sse:",
        history: int = 100,
        history_ttl: float = 300.0,
        timeout: float = 5.0,
    ) -> None:
        if not isinstance(prefix, str) or not prefix or any(c < " " for c in prefix):
            raise ConfigError("prefix", "must be text without control characters", prefix)
        if type(history) is not int or history < 0:
            raise ConfigError("history", "must be a whole number of events, 0 or more", history)
        for field, value in (("history_ttl", history_ttl), ("timeout", timeout)):
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e9:
                raise ConfigError(field, "must be a positive number of seconds", value)
        self.names = Names(prefix)
        self.history = history
        self.history_ttl_ms = max(1, round(history_ttl * 1000))
        self.timeout = timeout
        self._options: dict[str, Any] = {
            "protocol": 2,  # a third cheaper to read than RESP3 (measured)
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "max_connections": POOL,
            "timeout": timeout,
        }
        self._url = url
        self._leases = LocalLeases()
        self._sync_pool = self._checked_pool()
        self._pools: dict[asyncio.AbstractEventLoop, redis.asyncio.BlockingConnectionPool] = {}

    def _checked_pool(self) -> redis.BlockingConnectionPool:
        try:
            return redis.BlockingConnectionPool.from_url(
                self._url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), **self._options
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError("backend", f"is no Redis URL: {error}", secret=True) from error

    @property
    def pool(self) -> redis.asyncio.BlockingConnectionPool:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for gone in [known for known in self._pools if known.is_closed()]:
                del self._pools[gone]
            pool = self._pools[loop] = redis.asyncio.BlockingConnectionPool.from_url(
                self._url,
                retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0),
                **self._options,
            )
        return pool

    def subscriber(self, receiver: Receiver) -> RedisSubscriber:
        """See ``Backend.subscriber``."""
        return RedisSubscriber(self, receiver)

    def subscriber_connection(self) -> Any:
        """A connection for pub/sub, not connected yet.  It may be silent for as long as it likes."""
        pool = self.pool
        return pool.connection_class(**{**pool.connection_kwargs, "socket_timeout": None})

    def leases(self) -> LocalLeases:
        """See ``Backend.leases``."""
        return self._leases

    # Publishing

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish``."""
        ids: list[str] = []
        for batch in _batches(events):
            try:
                ids += _ids(await self._run(*self._publishing(batch)), batch)
            except CommandError as error:
                raise error.as_publish_error(ids) from error.__cause__
        return ids

    def publish_sync(self, events: Sequence[Outgoing]) -> list[str]:
        """See ``Backend.publish_sync``."""
        ids: list[str] = []
        for batch in _batches(events):
            try:
                ids += _ids(self._run_sync(*self._publishing(batch)), batch)
            except CommandError as error:
                raise error.as_publish_error(ids) from error.__cause__
        return ids

    def _publishing(self, events: Sequence[Outgoing]) -> Call:
        check_keys(events, self.history)
        announce = self.names.announce
        if not self.history:
            plain = [part for event in events for part in (announce(event.channel), event.body)]
            return Call(ANNOUNCE, [], ["PUBLISH", *plain])
        places = {self.names.clock: 1}
        arguments: list[str | bytes | int] = [self.history, self.history_ttl_ms, "PUBLISH"]
        for event in events:
            stream = places.setdefault(self.names.stream(event.channel), len(places) + 1)
            dedupe = 0
            if event.dedupe_key is not None:
                dedupe = places.setdefault(self.names.dedupe(event.dedupe_key), len(places) + 1)
            arguments += [announce(event.channel), event.body, stream, dedupe]
        return Call(PUBLISH, list(places), arguments)

    # Reading

    async def cursor(self) -> EventId:
        """See ``Backend.cursor``."""
        return (await self.read([], [])).upto

    def cursor_sync(self) -> EventId:
        """See ``Backend.cursor_sync``."""
        return parse_cut(self._run_sync(READ, [self.names.clock], ["0"]), [], self.history_ttl_ms).upto

    async def read(self, channels: Sequence[str], after: Sequence[EventId]) -> Cut:
        """Each channel's log after an id of its own.  Raises BackendError."""
        keys = [self.names.clock, *(self.names.stream(channel) for channel in channels)]
        answer = await self._run(READ, keys, ["0", *(str(id) for id in after)])
        return parse_cut(answer, after, self.history_ttl_ms)

    async def tick(self, worker: str, mark: str) -> None:
        """Announce a cursor and a mark to ``worker``.  Raises BackendError."""
        await self._run(TICK, [self.names.clock], ["PUBLISH", self.names.worker(worker), mark])

    # Commands

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        pool: Any = self.pool
        sent = False
        try:
            connection = await pool.get_connection()
            try:
                sent = True
                try:
                    await connection.send_command("EVALSHA", script.hash, len(keys), *keys, *arguments)
                    return await connection.read_response()
                except NoScriptError:
                    await connection.send_command("EVAL", script.text, len(keys), *keys, *arguments)
                    return await connection.read_response()
            finally:
                await pool.release(connection)
        except (RedisError, OSError, TimeoutError) as error:
            raise CommandError(error, sent=sent) from error

    def _run_sync(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        pool: Any = self._sync_pool
        sent = False
        try:
            connection = pool.get_connection()
            try:
                sent = True
                try:
                    connection.send_command("EVALSHA", script.hash, len(keys), *keys, *arguments)
                    return connection.read_response()
                except NoScriptError:
                    connection.send_command("EVAL", script.text, len(keys), *keys, *arguments)
                    return connection.read_response()
            finally:
                pool.release(connection)
        except (RedisError, OSError, TimeoutError) as error:
            raise CommandError(error, sent=sent) from error

    async def close(self) -> None:
        """See ``Backend.close``."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.disconnect()
        self.close_sync()

    def close_sync(self) -> None:
        """See ``Backend.close_sync``."""
        self._sync_pool.disconnect()


class Call(NamedTuple):
    """A script with its keys and arguments."""

    script: Script
    keys: list[str]
    arguments: list[Argument]


class CommandError(BackendError):
    """A command was not confirmed; ``sent`` is whether Redis may have executed it."""

    def __init__(self, error: BaseException, *, sent: bool) -> None:
        # An error that Redis answers with is raised before a script's first write.
        self.sent = sent and not isinstance(error, ResponseError)
        super().__init__(f"Redis: {error or type(error).__name__}")

    def as_publish_error(self, published: list[str]) -> PublishError:
        """What a publisher is told."""
        return PublishError(str(self), may_have_happened=self.sent, published=published)


def _ids(answer: Any, events: Sequence[Outgoing]) -> list[str]:
    return [id.decode() for id in answer] if isinstance(answer, list) else [""] * len(events)


def _batches(events: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    return [events[at : at + BATCH] for at in range(0, len(events), BATCH)]
