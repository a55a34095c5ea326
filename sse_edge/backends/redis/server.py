"""Reaching Redis: what is asked of any server, and a single one.  See ``sentinel`` and ``cluster``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import redis.asyncio
from redis.exceptions import RedisError

from .call import Argument, Call
from .failure import CommandError
from .loops import PerLoop
from .pool import Pool, pool_options
from .scripts import PERMITTED, Script
from .url import RedisUrl

_DENIED_IN_SCRIPT = re.compile("can't run this command|ACL failure in script")
"""As Redis 7.0 says it, and later ones and Valkey 9, which name the first of the commands alone."""


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


class Server(Protocol):
    """Where one or several partitions live."""

    verbs: Verbs
    db: int

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """Run a script where the key ``home`` lives.  Raises CommandError."""

    async def perform(self, call: Call, home: str) -> Any:
        """The same without a bound in time: whoever calls has one."""

    async def listener(self, home: str) -> Any:
        """A new connection for pub/sub to where ``home`` lives; it may be silent as long as it likes.

        Raises what redis and the network raise.
        """

    async def close(self) -> None:
        """Let go of the running event loop's connections."""


async def in_time(server: Server, call: Call, home: str, timeout: float) -> Any:
    """One timeout around all of it: how long a single wait takes depends on how many others wait."""
    try:
        async with asyncio.timeout(timeout):
            try:
                return await server.perform(call, home)
            except CommandError as error:
                if _DENIED_IN_SCRIPT.search(str(error)) and (denied := await _denied(server, call, home)):
                    error.args = (f"Redis: this user has no permission for {', '.join(denied)}",)
                raise
    except TimeoutError:
        late = call.late()
        raise late from late.__cause__


async def _denied(server: Server, call: Call, home: str) -> list[str]:
    """The commands of a script that this user may not run: of one within a script Redis does not say it."""
    commands = call.script.commands
    asked = [json.dumps([command, home, "1", "x"]) for command in commands]
    try:
        places = await server.perform(Call(PERMITTED, [], asked), home)
    except CommandError:  # a server that has no such question
        return []
    return [commands[place - 1] for place in places]


class SingleServer:
    """``redis://``, ``rediss://`` and ``unix://``."""

    verbs = PLAIN

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self.db = url.db
        self._timeout = timeout
        where = dict(zip(("host", "port"), url.nodes[0], strict=True)) if url.nodes else {}
        options = {**pool_options(url, timeout), **where}
        self._pools = PerLoop(lambda: Pool(redis.asyncio.ConnectionPool(**options)))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """See ``Server.run``."""
        return await in_time(self, Call(script, keys, arguments), home, self._timeout)

    async def perform(self, call: Call, home: str) -> Any:
        """See ``Server.perform``."""
        try:
            return await self._pools.get().perform(call)
        except (RedisError, OSError) as error:
            raise CommandError(error, sent=call.sent) from error

    async def listener(self, home: str) -> Any:
        """See ``Server.listener``."""
        return self._pools.get().listener()

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()
