"""How many streams all workers have, and what else each says of itself, in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Iterable, Sequence

from ...errors import BackendError
from ...logline import about, sentence
from ..presence import Census
from ..reports import Reports, Tell, parse
from .call import Argument
from .fork import disown_after_fork
from .leases import ANSWER, HEARTBEAT
from .scripts import COUNT, REPORT, REPORTS
from .server import Server

logger = logging.getLogger("sse_edge")

BATCH = 500
"""Channels and users in a call at most."""

CHANNEL, USER = "c:", "u:"
"""How fields begin that count the streams of one."""


class RedisPresence:
    """See ``Presence``.

    Each worker has a hash of channel or user → count, which lives for two heartbeats.  With each heartbeat it
    writes those that may have changed, as they are then.  Reports are numbered: where the one before is not
    what is there, or nobody knows whether it is, all is written anew, under another name, that counts instead
    of the one before when it is complete.  What the worker says besides is in there too, anew with each
    heartbeat.
    """

    def __init__(self, server: Server, stem: str, *, heartbeat: float = HEARTBEAT) -> None:
        self._server = server
        self._stem = stem
        self._workers = f"{stem}:workers"
        self._heartbeat = heartbeat
        self._task: asyncio.Task[None] | None = None
        self._name = self._counted = ""
        self._report = 0
        self._failing = False
        self._known: list[str] = []
        self.calls = 0

    async def start(self, census: Census, tell: Tell | None = None) -> None:
        """See ``Presence.start``."""
        disown_after_fork(self)
        self._task = asyncio.create_task(self._run(census, tell))

    def disown(self) -> tuple[object, Iterable[int]]:
        """See ``Inherited.disown``: what the parent has is the parent's."""
        old, self._task = self._task, None
        self._counted, self._report = "", 0
        return old, ()

    async def close(self) -> None:
        """See ``Presence.close``."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if self._counted:
            # Where this fails, what is there ends with the heartbeat all the same.
            with contextlib.suppress(BackendError, TimeoutError):
                async with asyncio.timeout(ANSWER):
                    await self._write([], [], counts=False, instead_of=self._counted)

    async def count(self, channel: str) -> int:
        """See ``Presence.count``."""
        return await self._sum(_field(CHANNEL, channel))

    async def present(self, user: str) -> int:
        """See ``Presence.present``."""
        return await self._sum(_field(USER, user))

    async def _sum(self, field: str) -> int:
        while True:
            known = self._known
            keys = [self._workers, *map(self._own, known)]
            total, names = await self._server.run(COUNT, keys, [field, *known], self._workers)
            self._known = [name.decode() for name in names]
            if set(self._known) <= set(known):
                return int(total)

    async def reports(self) -> Reports:
        """See ``Presence.reports``."""
        while True:
            known = self._known
            keys = [self._workers, *map(self._own, known)]
            now, *said = await self._server.run(REPORTS, keys, known, self._workers)
            self._known = [name.decode() for name in said[::3]]
            if set(self._known) <= set(known):
                break
        texts = [
            (text, max(0.0, min(float(heard), now) / 1000))
            for heard, text in zip(said[1::3], said[2::3], strict=True)
        ]
        living = [(text, heard) for text, heard in texts if text != b"-"]
        told = [report for text, heard in living if (report := parse(text, heard)) is not None]
        return Reports(told, len(living) - len(told), now / 1000)

    def _own(self, name: str) -> str:
        return f"{self._stem}:{name}"

    # A worker's own

    async def _run(self, census: Census, tell: Tell | None) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            try:
                # Where data were lost all is written at once; if again, with the next heartbeat.
                told = "" if tell is None else json.dumps(await tell(), separators=(",", ":"))
                if not await self._beat(census, told):
                    await self._beat(census, told)
            except Exception as error:
                self._report = 0
                if not isinstance(error, BackendError):
                    text = "telling Redis which streams are open failed"
                    logger.exception(text, extra=about("task-failed"))
                elif not self._failing:
                    extra = about("presence-untold", detail=str(error))
                    text = "Redis is not told which streams are open: %s"
                    logger.warning(text, sentence(str(error)), extra=extra)
                self._failing = True
                continue
            if self._failing:
                extra = about("presence-told")
                logger.warning("Redis is told again which streams are open", extra=extra)
                self._failing = False

    async def _beat(self, census: Census, told: str) -> bool:
        """Write what may have changed, or all, and what is ``told``; whether that is what is there now."""
        channels, users = census.changed()
        if not self._report:
            self._name = secrets.token_hex(8)
            channels, users = census.everybody()
        todo = [*((CHANNEL, name) for name in channels), *((USER, name) for name in users)]
        for at in range(0, max(1, len(todo)), BATCH):
            counts: list[str | int] = []
            gone: list[str] = []
            is_last = at + BATCH >= len(todo)
            for kind, name in todo[at : at + BATCH]:
                number = census.count(name) if kind is CHANNEL else census.present(name)
                if number:
                    counts += (_field(kind, name), number)
                else:
                    gone.append(_field(kind, name))
            before = self._counted if is_last and self._counted != self._name else ""
            said = told if is_last else ""
            if not await self._write(counts, gone, counts=is_last, instead_of=before, told=said):
                self._report = 0
                return False
        self._counted = self._name
        return True

    async def _write(
        self,
        present: Sequence[str | int],
        gone: Sequence[str],
        *,
        counts: bool,
        instead_of: str,
        told: str = "",
    ) -> bool:
        """Report something; whether what was reported before is there.  Raises BackendError."""
        before = self._report
        if present or gone or not before:
            self._report += 1
        arguments: list[Argument] = [
            round(2000 * self._heartbeat),
            self._name,
            before or "",
            self._report,
            int(counts),
            instead_of,
            json.dumps(present),
            json.dumps(gone),
            told,
        ]
        self.calls += 1
        keys = [self._workers, self._own(self._name)]
        return bool(await self._server.run(REPORT, keys, arguments, self._workers))


def _field(kind: str, name: str) -> str:
    # A user's name from an application's own sessions may be what UTF-8 cannot carry.
    return kind + name.encode(errors="backslashreplace").decode()
