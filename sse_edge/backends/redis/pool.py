"""Connections to one server, on one event loop, and what redis-py is told about them."""

from __future__ import annotations

import asyncio
import select
from typing import Any
from weakref import WeakSet

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .call import Call, evaluate
from .url import RedisUrl

CONNECTIONS = 32
"""Connections for commands at most, per process, event loop and server; more commands wait."""


class Pool:
    """Connections to one server, on one event loop."""

    def __init__(self, connections: redis.asyncio.ConnectionPool) -> None:
        self.connections: Any = connections
        self._listeners: WeakSet[Any] = WeakSet()
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def perform(self, call: Call, *, asking: bool = False) -> Any:
        """The script's answer.  Waits without end; raises what redis and the network raise."""
        async with self._free:
            connection = await self.connections.get_connection()
            try:
                if _is_over(connection):
                    await connection.disconnect(nowait=True)
                    await connection.connect()
                call.prepare()
                call.sent = True
                return await evaluate(connection, call, asking=asking)
            finally:
                await self.connections.release(connection)

    def listener(self) -> Any:
        """A new connection, not connected yet, which belongs to the caller."""
        listener = self.connections.make_connection()
        self._listeners.add(listener)
        return listener

    def sockets(self) -> list[int]:
        """See ``HasSockets``."""
        known = self.connections
        every = [*known._available_connections, *known._in_use_connections, *self._listeners]
        return [_socket(connection).fileno() for connection in every if _is_open(connection)]

    async def close(self) -> None:
        """Close every connection."""
        await self.connections.disconnect()


_HANG_UP = getattr(select, "POLLRDHUP", None)  # Linux; elsewhere there is only what the event loop has seen


def _is_over(connection: Any) -> bool:
    """Whether the server has closed the connection, also where the event loop did not get to see it."""
    if _HANG_UP is None:
        return False
    poll = select.poll()
    poll.register(_socket(connection).fileno(), _HANG_UP)
    return bool(poll.poll(0))


def _is_open(connection: Any) -> bool:
    return connection.is_connected and not connection._writer.is_closing()


def _socket(connection: Any) -> Any:
    return connection._writer.get_extra_info("socket")


_CLASSES = {
    "redis": redis.asyncio.Connection,
    "rediss": redis.asyncio.SSLConnection,
    "unix": redis.asyncio.UnixDomainSocketConnection,
}


def pool_options(url: RedisUrl, timeout: float) -> dict[str, Any]:
    """What redis-py needs for a pool of connections, without host and port."""
    return {"connection_class": _CLASSES[url.base], **manners(timeout), **url.options}


def manners(timeout: float) -> dict[str, Any]:
    """The same without what the URL says."""
    return {
        "protocol": 2,  # a third cheaper to read than RESP3 (measured)
        # No timeout of redis-py's own: it uses asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation (bpo-37658), and a task that was to end would go on.  See SingleServer.run.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),  # a publish is never sent twice behind our back
    }
