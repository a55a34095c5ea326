"""Reaching a Redis Cluster: each partition's keys share a hash tag and so live on one primary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError

from ...errors import BackendError
from .scripts import Script
from .server import SHARDED, Argument, CommandError, PerLoop, Pool, connection_options, split_nodes

Node = tuple[str, int]

PATIENCE = 0.1
"""Seconds between attempts while the cluster is being rearranged."""


class ClusterServer:
    """``redis+cluster://[user:password@]host:port,…``, or ``rediss+cluster`` with TLS."""

    verbs = SHARDED
    db = 0

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        user, self._seeds = split_nodes(url)
        scheme = parts.scheme.removesuffix("+cluster")
        self._options = connection_options(f"{scheme}://{user}{_host(self._seeds[0])}?{parts.query}", timeout)
        self._timeout = timeout
        self._maps = PerLoop(lambda: SlotMap(self._seeds, self._options, timeout))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """See ``Server.run``; waits while the slot is being moved or has no primary, up to the timeout."""
        slots = self._maps.get()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        asking: Node | None = None
        while True:
            try:
                node = asking or await slots.primary(key_slot(home.encode()))
                return await slots.pool(node).run(script, keys, arguments, asking=asking is not None)
            except CommandError as error:
                cause, asking = error.__cause__, None
                if isinstance(cause, MovedError):
                    slots.forget()
                elif isinstance(cause, AskError):
                    asking = (cause.host, cause.port)
                elif isinstance(cause, (TryAgainError, ClusterDownError)) or not error.sent:
                    slots.forget()
                    await asyncio.sleep(PATIENCE)
                else:
                    slots.forget()
                    raise
                if loop.time() > deadline:
                    raise

    async def listener(self, home: str) -> Any:
        """See ``Server.listener``; asks anew where ``home`` lives, because it may have moved."""
        slots = self._maps.get()
        slots.forget()
        return slots.pool(await slots.primary(key_slot(home.encode()))).listener()

    async def close(self) -> None:
        """See ``Server.close``."""
        slots = self._maps.pop()
        if slots is not None:
            await slots.close()


class SlotMap:
    """Which primary serves which slot, and the connections to each, on one event loop."""

    def __init__(self, seeds: Sequence[Node], options: dict[str, Any], timeout: float) -> None:
        self._known = list(seeds)
        self._timeout = timeout
        self._options = options
        self._pools: dict[Node, Pool] = {}
        self._ranges: list[tuple[int, int, Node]] = []
        self._asking = asyncio.Lock()

    def pool(self, node: Node) -> Pool:
        """The connections to a node."""
        if node not in self._pools:
            host, port = node
            self._pools[node] = Pool(
                redis.asyncio.ConnectionPool(**{**self._options, "host": host, "port": port}), self._timeout
            )
        return self._pools[node]

    def forget(self) -> None:
        """Ask the cluster again before the next command."""
        self._ranges = []

    async def primary(self, slot: int) -> Node:
        """The node that serves ``slot``.  Raises CommandError."""
        async with self._asking:
            if not self._ranges:
                await self._ask()
        for first, last, node in self._ranges:
            if first <= slot <= last:
                return node
        raise CommandError(ClusterDownError("slot not served"), sent=False)

    async def _ask(self) -> None:
        error: Exception = BackendError("no node of the cluster is known")
        for node in list(self._known):
            try:
                async with asyncio.timeout(self._timeout):
                    connections = self.pool(node).connections
                    connection = await connections.get_connection()
                    try:
                        await connection.send_command("CLUSTER SLOTS")
                        answer = await connection.read_response()
                    finally:
                        await connections.release(connection)
            except (RedisError, OSError, TimeoutError) as failed:
                error = failed
                continue
            # An empty host means the one that was asked (CLUSTER SLOTS, since 7.0).
            self._ranges = [
                (first, last, ((primary[0] or b"").decode() or node[0], primary[1]))
                for first, last, primary, *_ in answer
            ]
            found = [
                ((replica[0] or b"").decode() or node[0], replica[1])
                for _, _, *nodes in answer
                for replica in nodes
            ]
            self._known = list(dict.fromkeys([*found, *self._known]))
            return
        raise CommandError(error, sent=False)

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.close()


def _host(node: Node) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
