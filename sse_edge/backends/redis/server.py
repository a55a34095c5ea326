"""Reaching Redis: one server, or the primary that Sentinel names.  See ``cluster`` for the third way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis.asyncio
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from ...errors import BackendError, ConfigError
from .scripts import Script

CONNECTIONS = 32
"""Connections for commands at most, per process, event loop and server; more commands wait."""

PACE = 0.005
"""Seconds at least between the beginnings of calls in which requests travel together.  A call costs the
worker far more than one request more in it: who comes alone does not wait, hundreds per second share."""

Argument = str | bytes | int
T = TypeVar("T")


class Verbs(NamedTuple):
    """The pub/sub commands, and what Redis calls its messages: plain ones or those of a Cluster shard."""

    publish: str
    subscribe: str
    unsubscribe: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = Verbs("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", b"message", b"subscribe", b"unsubscribe")
SHARDED = Verbs("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", b"ssubscribe", b"sunsubscribe")


class CommandError(BackendError):
    """A command was not confirmed; ``sent`` is whether Redis may have executed it."""

    def __init__(self, error: BaseException, *, sent: bool) -> None:
        # An error that Redis answers with is raised before a script's first write.
        self.sent = sent and not isinstance(error, ResponseError)
        super().__init__(f"Redis: {str(error) or 'no answer in time'}")

    @classmethod
    def answered(cls, text: bytes, *, sent: bool) -> CommandError:
        """What a script says about one event, without its error prefix's place in the script."""
        error = cls(RedisError(text.decode(errors="replace")), sent=sent)
        error.__cause__ = None
        return error


class Server(Protocol):
    """Where one or several partitions live."""

    verbs: Verbs
    db: int

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """Run a script where the key ``home`` lives.  Raises CommandError."""

    async def listener(self, home: str) -> Any:
        """A new connection for pub/sub to where ``home`` lives; it may be silent as long as it likes.

        Raises what redis and the network raise.
        """

    async def close(self) -> None:
        """Let go of the running event loop's connections."""


class PerLoop(Generic[T]):
    """One thing for each running event loop, because connections belong to the loop they began on."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._things: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's, made at the first call."""
        loop = asyncio.get_running_loop()
        if loop not in self._things:
            for gone in [known for known in self._things if known.is_closed()]:
                del self._things[gone]
            self._things[loop] = self._make()
        return self._things[loop]

    def pop(self) -> T | None:
        """Take the running loop's away."""
        return self._things.pop(asyncio.get_running_loop(), None)


class Pool:
    """Connections to one server, on one event loop."""

    def __init__(self, connections: redis.asyncio.ConnectionPool, timeout: float) -> None:
        self.connections: Any = connections
        self._timeout = timeout
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], *, asking: bool = False
    ) -> Any:
        """Run a script.  Raises CommandError."""
        sent = False
        try:
            async with asyncio.timeout(self._timeout), self._free:
                connection = await self.connections.get_connection()
                try:
                    sent = True
                    return await _evaluate(connection, script, keys, arguments, asking=asking)
                finally:
                    await self.connections.release(connection)
        except (RedisError, OSError, TimeoutError) as error:
            raise CommandError(error, sent=sent) from error

    def listener(self) -> Any:
        """A new connection, not connected yet, which belongs to the caller."""
        return self.connections.make_connection()

    async def close(self) -> None:
        """Close every connection."""
        await self.connections.disconnect()


async def _evaluate(
    connection: Any, script: Script, keys: Sequence[str], arguments: Sequence[Argument], *, asking: bool
) -> Any:
    for command, name in (("EVALSHA", script.hash), ("EVAL", script.text)):
        if asking:
            await connection.send_command("ASKING")
            await connection.read_response()
        await connection.send_command(command, name, len(keys), *keys, *arguments)
        try:
            return await connection.read_response()
        except NoScriptError:
            if command == "EVAL":
                raise
    raise AssertionError("unreachable")


class SingleServer:
    """``redis://``, ``rediss://`` and ``unix://``."""

    verbs = PLAIN

    def __init__(self, url: str, timeout: float) -> None:
        options = connection_options(url, timeout)
        self.db: int = options.get("db") or 0
        self._pools = PerLoop(lambda: Pool(redis.asyncio.ConnectionPool(**options), timeout))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """See ``Server.run``."""
        return await self._pools.get().run(script, keys, arguments)

    async def listener(self, home: str) -> Any:
        """See ``Server.listener``."""
        return self._pools.get().listener()

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()


class SentinelServer(SingleServer):
    """``redis+sentinel://[user:password@]host:port,…/service[/db]``, or ``rediss+sentinel`` with TLS.

    ``?sentinel_username=…&sentinel_password=…`` are for the sentinels themselves.
    """

    def __init__(self, url: str, timeout: float) -> None:
        nodes, service, options, asked = _sentinel(url, timeout)
        self.db = options.get("db") or 0

        def make() -> Pool:
            sentinel: Any = Sentinel(nodes, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
            connections: Any = SentinelConnectionPool(service, sentinel, **options)  # type: ignore[no-untyped-call]
            return Pool(connections, timeout)

        self._pools = PerLoop(make)

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()
            for sentinel in pool.connections.sentinel_manager.sentinels:
                await sentinel.aclose()


def connection_options(url: str, timeout: float) -> dict[str, Any]:
    """What redis-py needs for a connection to ``url``.  Raises ConfigError."""
    why = "is no Redis URL: redis://[user:password@]host:port/db?option=…"
    refused = ConfigError("backend", why, secret=True)
    try:
        options: dict[str, Any] = dict(parse_url(url))
        # Made, and not connected: it knows which options there are.
        options.get("connection_class", redis.asyncio.Connection)(
            **{name: value for name, value in options.items() if name != "connection_class"}
        )
    except (ValueError, TypeError, AttributeError):
        # Their messages repeat parts of the URL, and a password with a slash is taken for a port.
        raise refused from None
    return {
        "protocol": 2,  # a third cheaper to read than RESP3 (measured)
        # No timeout of redis-py's own: it uses asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation (bpo-37658), and a task that was to end would go on.  See Pool.run.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),  # a publish is never sent twice behind our back
        **options,
    }


def split_nodes(url: str) -> tuple[str, list[tuple[str, int]]]:
    """The ``user:password@`` part and the hosts of a URL with several.  Raises ConfigError."""
    user, at, hosts = urlsplit(url).netloc.rpartition("@")
    nodes = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":")
        if not name or not port.isdecimal():
            raise ConfigError("backend", "needs host:port, or several with commas between", secret=True)
        nodes.append((name.strip("[]"), int(port)))
    return user + at, nodes


def _sentinel(url: str, timeout: float) -> tuple[list[tuple[str, int]], str, dict[str, Any], dict[str, Any]]:
    """The sentinels, the service, and the options for its connections and for those to the sentinels."""
    parts = urlsplit(url)
    user, nodes = split_nodes(url)
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigError("backend", "names no service: redis+sentinel://host:port,…/service", secret=True)
    query = dict(parse_qsl(parts.query))
    own = {
        key.removeprefix("sentinel_"): query.pop(key) for key in list(query) if key.startswith("sentinel_")
    }
    scheme = parts.scheme.removesuffix("+sentinel")
    options = connection_options(f"{scheme}://{user}ignored:0/{db}?{urlencode(query)}", timeout)
    for key in ("host", "port"):
        options.pop(key, None)
    options["ssl"] = options.pop("connection_class", None) is not None
    return nodes, service, options, {"socket_timeout": None, "socket_connect_timeout": timeout, **own}
