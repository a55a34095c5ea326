"""One order of events, and the commands about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ...errors import BackendError, EventError
from ...event import EventId
from ...logline import about
from ..base import Entry, Outgoing, check_kept
from ..retention import DEFAULT, Kept
from .announcement import marked
from .call import Argument
from .failure import CommandError, FinishedError
from .history import Asked, Cut, parse_cut
from .loops import PerLoop
from .names import Names
from .outbox import Batch, Outbox, Published, Step
from .permissions import asked, for_events, for_limits, said
from .scripts import ANNOUNCE, DECLARE, PERMITTED, PUBLISH, READ, TICK, Script
from .server import Server

logger = logging.getLogger("sse_edge")

ADOPTIONS = 5
"""Times that settings are declared anew where others came in between: two workers may declare in turn."""


class Settings(NamedTuple):
    """What every partition of a backend has in common.  ``kept`` is None where it was not said."""

    kept: Kept | None
    timeout: float
    durable: bool


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
        self._outboxes = PerLoop(lambda: Outbox(self, settings.timeout))

    # Settings

    async def declare(self, *, wins: bool) -> None:
        """Let the data set keep what this backend was told; a worker's word ``wins`` where it keeps
        something else, and says whether a restart loses nothing.  Raises CommandError.
        """
        own = self.settings.kept
        durable = str(int(self.settings.durable)) if wins else ""
        if own is None:
            await self._begin(durable)
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
                    extra = about("history-changed", kept=str(own), before=str(before))
                    logger.warning("history is kept as %s from now on; it was %s", own, before, extra=extra)
                break
            if not wins:
                extra = about("history-otherwise", kept=str(self.kept), wanted=str(own))
                text = "history is kept as %s, as a worker said, and not as %s"
                logger.warning(text, self.kept, own, extra=extra)
                break
        self._declared = True

    async def _begin(self, durable: str = "") -> None:
        """Let there be a data set, and say nothing of what it is to keep."""
        text, _ = await self._run(DECLARE, [self.names.clock], ["", "", 0, 0, "", durable])
        self._adopt(text.decode())

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

    def queue(self, events: Sequence[Outgoing]) -> Step:
        """Events that are to be numbered, kept and announced in one step; see ``outcomes``, which raises
        EventError for a key where none is kept.
        """
        return self._outboxes.get().queue(events)

    def compose(self, steps: Sequence[Step]) -> tuple[Script, Sequence[str], Sequence[Argument]]:
        """See ``Carrier.compose``."""
        if self.kept.numbered:
            return PUBLISH, *self._numbered(steps)
        for step in steps:
            try:
                check_kept(step.whole, numbered=False)
            except EventError as error:
                step.fail(error)
        arguments: list[Argument] = [self.server.verbs.publish, self.version]
        for step in steps:
            if step.waits:
                arguments.append(len(step.events))
                for event in step.events:
                    body = marked(event.body, event.except_user, event.trace)
                    arguments += [self.names.announce(event.channel), body]
        return ANNOUNCE, [self.names.clock], arguments

    def _numbered(self, steps: Sequence[Step]) -> tuple[list[str], list[Argument]]:
        events = [event for step in steps for event in step.events]
        newest = {event.channel: place for place, event in enumerate(events)}
        keys = [self.names.clock, *map(self.names.stream, newest)]
        arguments: list[Argument] = [self.server.verbs.publish, self.version, len(newest), len(events)]
        for channel in newest:
            kept = self.kept.of(channel)
            arguments += [self.names.announce(channel), kept.events, kept.ms]
        numbers = {channel: number for number, channel in enumerate(newest, 1)}
        dedupes: dict[str, int] = {}
        place = 0
        for step in steps:
            arguments.append(len(step.events))
            for event in step.events:
                channel, dedupe = event.channel, 0
                if event.dedupe_key is not None:
                    key = self.names.dedupe(channel, event.dedupe_key)
                    dedupe = dedupes.setdefault(key, len(keys) + len(dedupes) + 1)
                body = marked(event.body, event.except_user, event.trace)
                arguments += [numbers[channel], body, dedupe, int(newest[channel] == place)]
                place += 1
        return [*keys, *dedupes], arguments

    async def carry(self, batch: Batch) -> None:
        """See ``Carrier.carry``."""
        if not self._declared:
            await self.declare(wins=False)
        answer = await self.server.perform(batch, self.names.clock)
        if not batch.steps:
            return
        if len(answer) < 2:
            batch.sent = False  # nothing was done
        if not answer:
            await self._begin()  # the first event of all
        elif len(answer) == 1:
            self._adopt(answer[0].decode())
        else:
            outcomes = iter(answer)
            tag = next(outcomes).decode()
            for step in batch.steps:
                step.settle(_published(step, outcomes, f".{tag}" if tag else ""))

    async def read(self, channels: Sequence[Asked]) -> Cut:
        """Each channel's log of what is asked for.  Raises CommandError."""
        keys = [self.names.clock, *(self.names.stream(one.channel) for one in channels)]
        ranges = [str(said) for one in channels for said in (one.after, one.upto or "+", one.newest or "")]
        answer = await self._run(READ, keys, ranges)
        cut = parse_cut(answer, channels)
        self._adopt(cut.settings)
        return cut

    async def reread_settings(self) -> None:
        """Learn what another worker declared.  Raises BackendError where that begins history, or ends it."""
        was_numbered = self.kept.numbered
        await self.read([])
        if self.kept.numbered != was_numbered:
            raise BackendError("no history is kept" if was_numbered else "history is kept from now on")

    async def recent(self, channel: str, count: int) -> tuple[EventId, str, list[Entry]]:
        """The last ``count`` events of a channel, as of which place, and in which data set.

        Raises CommandError.
        """
        cut = await self.read([Asked(channel, newest=count)])
        if not cut.logs[0].whole and len(cut.logs[0].newest(count)) < count:
            cut = await self.read([Asked(channel)])  # not all of those were events
        (log,), latest = cut.logs, cut.logs[0].latest
        has_expired = latest is None or self.kept.of(channel).has_expired(latest, cut.upto)
        return cut.upto, cut.tag, [] if has_expired else log.newest(count)

    async def tick(self, worker: str, mark: str, channels: Sequence[str] = ()) -> str:
        """Announce a cursor and a mark to ``worker``, and which of ``channels`` are finished; what Redis says
        to writes while it takes none.

        Raises CommandError.
        """
        answer = await self._run(
            TICK,
            [self.names.clock, *map(self.names.stream, channels)],
            [self.server.verbs.publish, self.names.worker(worker), mark],
        )
        return str(answer.decode(errors="replace"))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What a script answers whose keys are the clock and ``keys``.  Raises CommandError."""
        return await self._run(script, [self.names.clock, *keys], arguments)

    async def agreed(
        self, script: Script, keys: Sequence[str], arguments: Callable[[], Sequence[Argument]]
    ) -> Any:
        """The same of one that goes on only where this side knows the settings, made with those.

        Raises CommandError.
        """
        if not self._declared:
            await self.declare(wins=False)
        for _ in range(ADOPTIONS):
            answer = await self.run(script, keys, [self.version, *arguments()])
            if len(answer) > 1:
                return answer
            self._adopt(answer[0].decode())
        raise CommandError(RuntimeError("the settings keep changing"), sent=False)

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

    async def check_permissions(self) -> None:
        """Say in the log what is ``denied`` to this user.  Raises CommandError."""
        if denied := await self.denied():
            told = ", ".join(denied)
            extra = about("backend-denied", detail=told)
            logger.error("this user of Redis has no permission for %s", told, extra=extra)

    async def listener(self) -> Any:
        """A new connection for pub/sub, not connected yet."""
        return await self.server.listener(self.names.clock)

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self.server.run(script, keys, arguments, self.names.clock)


def _published(step: Step, outcomes: Iterator[Any], suffix: str) -> Published:
    """What came of one step, of the outcomes of all."""
    places: list[str] = []
    for outcome in islice(outcomes, len(step.events)):
        if isinstance(outcome, list):
            text, in_part = outcome
            if text.startswith(b"FINISHED "):
                return Published(places, FinishedError(step.events[len(places)].channel))
            return Published(places, CommandError.said(text, sent=bool(in_part)))
        places.append(outcome.decode() + suffix)
    return Published(places)
