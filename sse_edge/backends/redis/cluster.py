"""Reaching a Redis Cluster: each partition's keys share a hash tag and so live on one primary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostError

from .call import Argument, Call
from .failure import CommandError, is_refusal
from .loops import PerLoop
from .pool import Pool, pool_options
from .scripts import Script
from .server import SHARDED, in_time
from .url import Node, RedisUrl

PATIENCE = 0.1
"""Seconds between attempts while the cluster is being rearranged."""

SHARES = 4
"""A node that is asked for the slots has a part of the timeout to answer, so that others can be asked."""

_PASSING = (LostError, OSError, AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""What ends by itself: nodes that are away or changed their part, slots that move."""


class ClusterServer:
    """``redis+cluster://[user:password@]host:port,…``, or ``rediss+cluster`` with TLS."""

    verbs = SHARDED
    db = 0

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        options = pool_options(url, timeout)
        self._timeout = timeout
        self._maps = PerLoop(lambda: SlotMap(url.nodes, options, timeout))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """See ``Server.run``."""
        return await in_time(self, Call(script, keys, arguments), home, self._timeout)

    async def perform(self, call: Call, home: str) -> Any:
        """See ``Server.perform``; waits while the slot is being moved or has no primary."""
        slot, asking = key_slot(home.encode()), None
        while True:
            try:
                return await self._attempt(call, slot, asking)
            except _PASSING as error:
                if (call.sent and not is_refusal(error)) or isinstance(error, AuthenticationError):
                    raise CommandError(error, sent=call.sent) from error
                call.why, call.sent, asking = error, False, _asked_to(error)
            except RedisError as error:
                raise CommandError(error, sent=call.sent) from error
            if not isinstance(call.why, AskError):
                await asyncio.sleep(PATIENCE)

    async def _attempt(self, call: Call, slot: int, asking: Node | None) -> Any:
        slots = self._maps.get()
        try:
            pool = slots.pool(asking or await slots.primary(slot))
            return await pool.perform(call, asking=asking is not None)
        except AskError as error:
            if isinstance(error, MovedError):
                slots.forget()
            raise
        except BaseException:  # also when it was given up: whoever did not answer may be dead
            slots.forget()
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
                redis.asyncio.ConnectionPool(**{**self._options, "host": host, "port": port})
            )
        return self._pools[node]

    def forget(self) -> None:
        """Ask the cluster again before the next command."""
        self._ranges = []

    async def primary(self, slot: int) -> Node:
        """The node that serves ``slot``.  Raises what redis and the network raise."""
        async with self._asking:
            if not self._ranges:
                await self._ask()
        for first, last, node in self._ranges:
            if first <= slot <= last:
                return node
        raise ClusterDownError("slot not served")

    async def _ask(self) -> None:
        why: Exception = ClusterDownError("no node of the cluster is known")
        for node in list(self._known):
            # Whoever does not answer is asked last the next time, also when the caller's time is up now.
            self._known.remove(node)
            self._known.append(node)
            try:
                async with asyncio.timeout(self._timeout / min(SHARES, len(self._known))):
                    answer = await self._slots(node)
            except (RedisError, OSError) as error:
                why = error
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
            self._known = list(dict.fromkeys([node, *found, *self._known]))
            return
        raise why

    async def _slots(self, node: Node) -> Any:
        connections = self.pool(node).connections
        connection = await connections.get_connection()
        try:
            await connection.send_command("CLUSTER SLOTS")
            return await connection.read_response()
        finally:
            await connections.release(connection)

    def sockets(self) -> list[int]:
        """See ``HasSockets``."""
        return [each for pool in self._pools.values() for each in pool.sockets()]

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.close()


def _asked_to(error: Exception) -> Node | None:
    """Where ASK sends this one command; MOVED is for all, and the slots are asked for again."""
    if isinstance(error, AskError) and not isinstance(error, MovedError):
        return error.host, error.port
    return None
