"""Reaching the primary that Sentinel names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from .failure import told
from .loops import PerLoop
from .pool import Pool, manners, pool_options
from .server import SingleServer
from .url import Node, RedisUrl


class SentinelServer(SingleServer):
    """``redis+sentinel://[user:password@]host:port,…/service[/db]``, or ``rediss+sentinel`` with TLS, which
    then is for the sentinels as well.

    Options whose names begin with ``sentinel_`` are for the sentinels themselves: ``sentinel_username``
    and ``sentinel_password``, or for example ``sentinel_ssl_ca_certs`` where theirs differ.
    """

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self.db = url.db
        self._timeout = timeout
        options = pool_options(url, timeout)
        del options["connection_class"]  # it has two of its own
        tls = url.base == "rediss"
        asked = {**manners(timeout), "ssl": tls, **url.asked}

        def make() -> Pool:
            sentinels: Any = Sentinels(url.nodes, timeout, asked)
            connections: Any = SentinelConnectionPool(url.service, sentinels, ssl=tls, **options)  # type: ignore[no-untyped-call]
            return Pool(connections)

        self._pools = PerLoop(make)

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()
            for sentinel in pool.connections.sentinel_manager.sentinels:
                await sentinel.aclose()


class Sentinels(Sentinel):
    """Asks one sentinel after the other, none of them for longer than its share of the timeout."""

    def __init__(self, nodes: Sequence[Node], timeout: float, options: dict[str, Any]) -> None:
        super().__init__(nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._share = timeout / (len(nodes) + 1)

    async def discover_master(self, service_name: str) -> Node:
        """The primary's address.  Raises MasterNotFoundError."""
        causes = []
        for sentinel in list(self.sentinels):
            try:
                async with asyncio.timeout(self._share):
                    known: Any = await sentinel.sentinel_masters()
            except (RedisError, OSError, TimeoutError) as error:
                causes.append(told(error))
            else:
                state = known.get(service_name)
                if state and self.check_master_state(state, service_name):
                    return state["ip"], state["port"]
                causes.append("one knows no healthy primary of that name")
            # The next call begins with another one.
            self.sentinels.remove(sentinel)
            self.sentinels.append(sentinel)
        raise MasterNotFoundError(f"no sentinel names a primary for {service_name!r}: {'; '.join(causes)}")
