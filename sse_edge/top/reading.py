"""Asking Redis for all that a picture needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version

from ..backends.redis import RedisBackend
from ..backends.redis.glance import Glance, glance, others
from ..errors import BackendError
from .model import Note, Picture, Row, Server, picture
from .rates import Pace

OTHERS = 60.0
"""Seconds between looks who else is there, while nobody is."""


class Reader:
    """Reads the reports under a ``prefix`` again and again, and how many streams these channels and users
    have."""

    def __init__(
        self, backend: RedisBackend, prefix: str, *, channels: Sequence[str] = (), users: Sequence[str] = ()
    ) -> None:
        self._backend = backend
        self._prefix = prefix
        self._presence = backend.presence()
        self._channels, self._users = channels, users
        self._pace = Pace()
        self._evicted: dict[str, tuple[float, int]] = {}
        self._others: tuple[float, str] | None = None
        self._version = version("sse_edge")

    async def read(self) -> Picture:
        """As it is now.  Raises BackendError."""
        began = time.time()
        reports = await self._presence.reports()
        at = (began + time.time()) / 2  # Redis's clock was read between the two
        servers = [self._server(each, at) for each in await glance(self._backend)]
        presence: list[Row] = [
            *[_present("channel", name, await self._presence.count(name)) for name in self._channels],
            *[_present("user", name, await self._presence.present(name)) for name in self._users],
        ]
        rates = self._pace.take(reports.told)
        made = picture(reports, rates, servers, at=at, version=self._version, presence=presence)
        if not reports.told and not reports.silent:
            made = made.noting(Note("warn", await self._nobody(at)))
        return made

    def _server(self, seen: Glance, at: float) -> Server:
        evicted = int(seen.info.get("evicted_keys", "0"))
        then, before = self._evicted.get(seen.address, (at, evicted))
        self._evicted[seen.address] = at, evicted
        rate = max(0, evicted - before) / (at - then) if at > then else None
        return Server(seen.address, seen.info, rate)

    async def _nobody(self, at: float) -> str:
        if self._others is None or at > self._others[0] + OTHERS:
            found = await others(self._backend)
            own = self._backend.server.db
            known = [
                f"{prefix!r}" + (f" in database {db}" if db != own else "")
                for prefix, db in found
                if (prefix, db) != (self._prefix, own)
            ]
            some = f"; prefixes with workers: {', '.join(known)}" if known else ""
            self._others = at, f"no worker reports under prefix {self._prefix!r} in database {own}{some}"
        return self._others[1]


def trouble(error: BackendError, prefix: str) -> str:
    """What went wrong, for somebody who looks on."""
    said = str(error)
    if "WRONGTYPE" in said:
        return f"under prefix {prefix!r} there are keys of something else than sse_edge"
    if "invalid username-password" in said or "Authentication required" in said:
        return f"{said.rstrip('.')}: give user and password in the URL"
    return said


def _present(kind: str, name: str, streams: int) -> Row:
    return {"kind": kind, "name": name, "streams": streams}
