"""One order of events, and the commands about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ..base import Outgoing, check_keys
from ..retention import DEFAULT, Kept
from .history import Asked, Cut, parse_cut
from .names import Names
from .permissions import asked, for_events, for_limits, said
from .scripts import ANNOUNCE, DECLARE, PERMITTED, PUBLISH, READ, TICK, Script
from .server import Argument, CommandError, Server

logger = logging.getLogger("sse_edge")

ADOPTIONS = 5
"""Times a publish is repeated with other settings before it fails: two workers may declare in turn."""


class Settings(NamedTuple):
    """What every partition of a backend has in common.  ``kept`` is None where it was not said."""

    kept: Kept | None
    timeout: float
    durable: bool


class Published(NamedTuple):
    """What came of publishing several events: the places of those that are published, and why no more.

    ``may_have_happened`` is whether the one after those may be published all the same.
    """

    places: list[str]
    error: CommandError | None = None


class Partition:
    """One order of events: a clock, the channels that follow it, and the commands about them.

    ``kept`` is how much history its data set keeps, as far as it is known here: what was declared last
    by a worker that was told, or else by the first publisher that was told.
    """

    def __init__(self, server: Server, names: Names, settings: Settings) -> None:
        self.server = server
        self.names = names
        self.settings = settings
        self.kept = settings.kept or DEFAULT
        self.version = self._text = ""
        self._declared = settings.kept is None

    # Settings

    async def declare(self, *, wins: bool) -> None:
        """Let the data set keep what this backend was told; a worker's word ``wins`` where it keeps
        something else, and says whether a restart loses nothing.  Raises CommandError.
        """
        own = self.settings.kept
        durable = str(int(self.settings.durable)) if wins else ""
        if own is None:
            text, _ = await self._run(DECLARE, [self.names.clock], ["", "", 0, 0, "", durable])
            self._adopt(text.decode())
            return
        for _ in range(ADOPTIONS):
            before, was = self.kept if self.version else DEFAULT, self.version
            text, refusal = await self._run(
                DECLARE,
                [self.names.clock],
                [own.dump(), own.version, int(wins), before.shortest_ms, self.version, durable],
            )
            self._adopt(text.decode())
            if refusal:
                return  # it takes no writes: nothing is published by other settings meanwhile
            if self.version == own.version:
                if was and before != own:
                    logger.warning("history is kept as %s from now on; it was %s", own, before)
                break
            if not wins:
                logger.warning("history is kept as %s, as a worker said, and not as %s", self.kept, own)
                break
        self._declared = True

    def _adopt(self, text: str) -> None:
        if text == self._text:
            return
        try:
            self.kept = Kept.parse(text) if text else DEFAULT
        except ValueError as error:
            raise CommandError(error, sent=False) from error
        self._text = text
        self.version = self.kept.version if text else ""
        if not text:
            self._declared = self.settings.kept is None

    # Events

    async def publish(self, events: Sequence[Outgoing]) -> Published:
        """Number, keep and announce events in one step."""
        try:
            if not self._declared:
                await self.declare(wins=False)
            for _ in range(ADOPTIONS):
                published = await (self._publish(events) if self.kept.numbered else self._announce(events))
                if published is not None:
                    return published
        except CommandError as error:
            return Published([], error)
        return Published([], CommandError(RuntimeError("the settings keep changing"), sent=False))

    async def _announce(self, events: Sequence[Outgoing]) -> Published | None:
        check_keys(events, numbered=False)
        announce = self.names.announce
        arguments = [part for event in events for part in (announce(event.channel), event.body)]
        settings, *outcome = await self._run(
            ANNOUNCE, [self.names.clock], [self.server.verbs.publish, self.version, *arguments]
        )
        if not outcome:
            self._adopt(settings.decode())
            return None
        count, error = outcome
        return Published([""] * count, CommandError.answered(error, sent=False) if error else None)

    async def _publish(self, events: Sequence[Outgoing]) -> Published | None:
        places = {self.names.clock: 1}
        arguments: list[Argument] = [self.server.verbs.publish, self.version]
        for event in events:
            stream = places.setdefault(self.names.stream(event.channel), len(places) + 1)
            dedupe = 0
            if event.dedupe_key is not None:
                key = self.names.dedupe(event.channel, event.dedupe_key)
                dedupe = places.setdefault(key, len(places) + 1)
            kept = self.kept.of(event.channel)
            announce = self.names.announce(event.channel)
            arguments += [announce, event.body, kept.events, kept.ms, stream, dedupe]
        tag, *outcome = await self._run(PUBLISH, list(places), arguments)
        if not outcome:
            self._adopt(tag.decode())
            return None
        ids, error, in_part = outcome
        published = [f"{id.decode()}.{tag.decode()}" for id in ids]
        return Published(published, CommandError.answered(error, sent=bool(in_part)) if error else None)

    async def read(self, channels: Sequence[Asked]) -> Cut:
        """Each channel's log after an id of its own.  Raises CommandError."""
        keys = [self.names.clock, *(self.names.stream(one.channel) for one in channels)]
        ranges = [str(bound or "+") for one in channels for bound in (one.after, one.upto)]
        answer = await self._run(READ, keys, ranges)
        cut = parse_cut(answer, channels)
        self._adopt(cut.settings)
        return cut

    async def tick(self, worker: str, mark: str) -> str:
        """Announce a cursor and a mark to ``worker``; what Redis says to writes while it takes none.

        Raises CommandError.
        """
        answer = await self._run(
            TICK, [self.names.clock], [self.server.verbs.publish, self.names.worker(worker), mark]
        )
        return str(answer.decode(errors="replace"))

    async def denied(self, *, leases: str = "") -> list[str]:
        """The commands that this user of Redis needs and may not run, as far as Redis can be asked: for
        events, or for limits, whose keys begin with ``leases``.  Raises CommandError.
        """
        commands = for_limits(self.names, leases) if leases else for_events(self.names, self.server.verbs)
        try:
            places = await self._run(PERMITTED, [], asked(commands))
        except CommandError as error:
            if isinstance(error.__cause__, ResponseError):  # a server that has no such question
                return []
            raise
        return [said(commands[place - 1]) for place in places]

    async def listener(self) -> Any:
        """A new connection for pub/sub, not connected yet."""
        return await self.server.listener(self.names.clock)

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self.server.run(script, keys, arguments, self.names.clock)
