"""How a Redis server is set up, as it says itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from .client import RedisBackend
from .failure import CommandError

WANTED = ("maxmemory", "maxmemory-policy", "client-output-buffer-limit", "appendonly", "appendfsync", "save")


@dataclass(frozen=True, slots=True)
class RedisState:
    """``info`` is INFO's; ``config`` CONFIG GET's, None where that may not be asked; ``denied`` are the
    commands that a worker needs and this user may not run, and ``denied_limits`` those that limits over
    all workers and revoked sessions need besides."""

    info: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] | None = None
    denied: tuple[str, ...] = ()
    denied_limits: tuple[str, ...] = ()


async def inspect(backend: RedisBackend) -> list[RedisState]:
    """Ask the server of each partition, each server once.  Raises BackendError when it cannot be reached."""
    states: dict[str, RedisState] = {}
    for partition in backend.partitions:
        try:
            async with asyncio.timeout(backend.settings.timeout):
                connection = await backend.server.listener(partition.names.clock)
                try:
                    await connection.connect()
                    state = await _ask(connection)
                finally:
                    await connection.disconnect(nowait=True)
        except (RedisError, OSError, TimeoutError) as error:
            raise CommandError(error, sent=False) from error
        run = state.info.get("run_id", "")
        known = states[run].denied if run in states else state.denied
        denied = [*known, *await partition.denied()]
        states[run] = replace(
            state,
            denied=tuple(dict.fromkeys(denied)),
            denied_limits=tuple(await backend.partitions[0].denied(leases=backend.leases_prefix)),
        )
    return list(states.values())


async def _ask(connection: Any) -> RedisState:
    await connection.send_command("INFO")
    try:
        lines = _text(await connection.read_response()).splitlines()
    except NoPermissionError:
        return RedisState(denied=("INFO",))
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    try:
        await connection.send_command("CONFIG", "GET", *WANTED)
        answer = [_text(part) for part in await connection.read_response()]
    except RedisError:  # not permitted, or a provider that has none
        return RedisState(info)
    return RedisState(info, dict(zip(answer[::2], answer[1::2], strict=True)))


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
