"""Revoked sessions, and how long sessions live, in Redis."""

from __future__ import annotations

import math
from typing import Any

from ..base import LONGEST_LIFE
from .call import Argument
from .names import Names
from .scripts import REVOKE, REVOKED, Script
from .server import Server

PAGE = 500
"""Sessions read at a time: neither Redis nor the event loop stands still for the rest."""


class RedisRevocations:
    """See ``Backend.revoke`` and ``Backend.revoked``; all of it by Redis's clock."""

    def __init__(self, server: Server, names: Names) -> None:
        self._server = server
        self._keys = [names.revoked, names.since, names.lives]

    async def add(self, session: str, until: float | None) -> float:
        """See ``Backend.revoke``."""
        return float(await self._run(REVOKE, 0.0, session, "" if until is None else math.ceil(until)))

    async def all(self, life: float) -> dict[str, float]:
        """See ``Backend.revoked``."""
        revoked: dict[str, float] = {}
        for which in (1, 2):
            count, begin = PAGE, ""
            while True:
                added, answer = await self._run(REVOKED, life, which, count, begin)
                for name, time in zip(answer[::2], answer[1::2], strict=True):
                    session = name.decode(errors="replace")  # anybody may have written there
                    revoked[session] = max(float(time) + added, revoked.get(session, 0.0))
                if len(answer) < 2 * count:
                    break
                # The last time again, for those that share it; all of a page may do so.
                last = answer[-1].decode()
                count, begin = (2 * count if last == begin else PAGE), last
        return revoked

    async def _run(self, script: Script, life: float, *arguments: Argument) -> Any:
        lives = [math.ceil(LONGEST_LIFE), math.ceil(life)]
        return await self._server.run(script, self._keys, [*lives, *arguments], self._keys[0])
