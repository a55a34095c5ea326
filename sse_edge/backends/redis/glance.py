"""What the servers say of themselves now and then, and who else has workers on one."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple
from urllib.parse import unquote

from redis.exceptions import RedisError

from ...errors import BackendError
from .client import RedisBackend
from .failure import CommandError
from .inspection import _text
from .server import SHARDED

HERE = ":{leases}:here:workers"
"""How the name of the list of workers ends; see ``RedisBackend.leases_prefix``."""

LOOKS, KEYS = 50, 2000
"""Steps in which keys are looked at for other prefixes, and how many in each: 0.1 s of Redis at most."""


class Glance(NamedTuple):
    """A server's ``address``, and INFO's fields: of a user who may not ask for all, those of "server" or
    none."""

    address: str
    info: dict[str, str]


async def glance(backend: RedisBackend) -> list[Glance]:
    """Ask each server that has a partition, or the workers' reports.  Raises BackendError."""
    homes = [backend.leases_prefix + "here:workers", *(each.names.clock for each in backend.partitions)]
    servers: dict[str, Glance] = {}
    try:
        async with asyncio.timeout(backend.settings.timeout):
            for home in homes if backend.server.verbs is SHARDED else homes[:1]:
                connection = await backend.server.listener(home)
                if _address(connection) in servers:
                    continue
                try:
                    await connection.connect()
                    servers[_address(connection)] = Glance(_address(connection), await _info(connection))
                finally:
                    await connection.disconnect(nowait=True)
    except (RedisError, OSError, TimeoutError) as error:
        raise CommandError(error, sent=False) from error
    return list(servers.values())


async def others(backend: RedisBackend) -> list[tuple[str, int]]:
    """The prefixes and databases under which workers are there, as far as can be seen cheaply."""
    found: set[str] = set()
    try:
        async with asyncio.timeout(backend.settings.timeout):
            connection = await backend.server.listener(backend.leases_prefix)
            try:
                await connection.connect()
                for db in await _databases(connection, backend.server.db):
                    if db != backend.server.db:
                        await _said(connection, "SELECT", db)
                    cursor = b"0"
                    for _ in range(LOOKS):
                        cursor, keys = await _said(
                            connection, "SCAN", cursor, "MATCH", f"*{HERE}", "COUNT", KEYS
                        )
                        found.update(_text(key).removesuffix(HERE) for key in keys)
                        if cursor == b"0":
                            break
            finally:
                await connection.disconnect(nowait=True)
    except (RedisError, OSError, TimeoutError, BackendError):
        pass  # it was an attempt to help
    return sorted(map(_prefix, found))


async def _databases(connection: Any, own: int) -> list[int]:
    lines = _text(await _said(connection, "INFO", "keyspace")).splitlines()
    known = [int(line[2 : line.index(":")]) for line in lines if line.startswith("db")]
    return sorted(known, key=lambda db: db != own)


def _prefix(stem: str) -> tuple[str, int]:
    """What ``stem`` made of a prefix and a database."""
    text, _, db = stem.partition("@")
    bare = text.endswith("%")
    return unquote(text.removesuffix("%")) + ("" if bare else ":"), int(db) if db.isdecimal() else 0


async def _info(connection: Any) -> dict[str, str]:
    for section in ((), ("server",)):
        try:
            lines = _text(await _said(connection, "INFO", *section)).splitlines()
        except RedisError:  # not permitted, or not all of it
            continue
        return dict(line.split(":", 1) for line in lines if ":" in line)
    return {}


async def _said(connection: Any, *command: object) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


def _address(connection: Any) -> str:
    path = getattr(connection, "path", None)
    if path:
        return str(path)
    host = getattr(connection, "host", "")
    return f"[{host}]:{connection.port}" if ":" in host else f"{host}:{connection.port}"
