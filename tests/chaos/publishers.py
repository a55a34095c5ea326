"""The publishers: each numbers its events on each channel, and notes what it was told of each."""

import asyncio
import json

from sse_edge import Publisher, RedisBackend, Retention
from sse_edge.errors import PublishError

from .jobs import KEEP
from .record import MAYBE, NEVER, SURE, Key, Publication

REACH = 3.0
"""Seconds that a call may take beyond its timeout, for a machine that has much else to do."""

EXCEPTING = 1 / 3
"""Events that are for everybody but one client."""

KEPT = 0.5
"""For what part of the history's life a publish is repeated with its key: as long is the key known."""


def connect(url, settings):
    """A backend for publishers; the events of those who share it travel together."""
    return RedisBackend(
        url,
        partitions=settings.partitions,
        history=settings.history,
        history_ttl=settings.history_ttl,
        retention={pattern: Retention(*kept) for pattern, kept in KEEP.items()},
        durable=settings.durable,
        timeout=settings.timeout,
    )


class Desk:
    """One publisher as its plan says; it waits for each event before the next."""

    def __init__(self, stage, desk, backend):
        self.stage = stage
        self.desk = desk
        self.chance = stage.plan.chance("publisher", desk.name)
        self._excepting = stage.plan.chance("excepting", desk.name)
        settings = stage.plan.settings
        self._timeout = settings.timeout
        self._repeats = min(30.0, settings.history_ttl * KEPT)
        self._events = Publisher(backend)
        self._numbers = {}
        self._task = None
        self._stopping = asyncio.Event()

    def start(self):
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self):
        """Finish what is under way."""
        self._stopping.set()
        await self._task

    async def mark(self):
        """One event more on each of its channels, certainly; returns them."""
        made = []
        for channel in dict.fromkeys(self.desk.channels):
            while True:
                publication = self._next(channel, deduped=True)
                await self._publish(publication)
                made.append(publication)
                if publication.state == SURE:
                    break
        return made

    async def close(self):
        """Stop at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self):
        desk, chance = self.desk, self.chance
        while not self._stopping.is_set():
            if desk.many and chance.random() < 0.2:
                channels = [chance.choice(desk.channels) for _ in range(chance.randint(2, 5))]
                await self._publish_many([self._for_some(self._next(channel)) for channel in channels])
            else:
                publication = self._next(chance.choice(desk.channels), deduped=desk.deduped)
                await self._publish(self._for_some(publication))
            pause = desk.pause * chance.uniform(0.5, 1.5)
            if desk.breaks and chance.random() < 0.05:
                pause += chance.uniform(1, 6)
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def _next(self, channel, *, deduped=False):
        n = self._numbers[channel] = self._numbers.get(channel, 0) + 1
        publication = Publication(Key(channel, self.desk.name, n), self.stage.now(), deduped)
        self.stage.record.publications.append(publication)
        return publication

    def _for_some(self, publication):
        """Every third event is for all but one client, most often one that listens to its channel."""
        if self._excepting.random() < EXCEPTING:
            roles = self.stage.plan.roles
            likely = [role for role in roles if publication.key.channel in role.channels] or roles
            publication.except_user = self._excepting.choice(likely).name
        return publication

    async def _publish(self, publication):
        """Publish one event; with a key as often as it takes, or while the key is certainly known."""
        key = publication.key
        dedupe = f"{key.channel}:{key.publisher}:{key.n}" if publication.deduped else None
        maybe = False
        while True:
            publication.attempts += 1
            try:
                async with self._timed([publication]):
                    publication.id = await self._events.publish(
                        key.channel,
                        _data(publication),
                        dedupe_key=dedupe,
                        except_user=publication.except_user,
                    )
            except PublishError as error:
                maybe = maybe or error.may_have_happened
                again = publication.deduped and publication.ended - publication.began < self._repeats
                if not again:
                    publication.state = MAYBE if maybe else NEVER
                    return
                await asyncio.sleep(0.1)
            else:
                publication.state = SURE
                return

    async def _publish_many(self, publications):
        for each in publications:
            each.attempts = 1
        try:
            async with self._timed(publications):
                ids = await self._events.publish_many(
                    [(each.key.channel, _data(each)) for each in publications],
                    except_users=[each.except_user for each in publications],
                )
        except PublishError as error:
            # More than `published` may be out where they are of several partitions.
            state = MAYBE if error.may_have_happened or error.published else NEVER
            for each in publications:
                each.state = state
        else:
            for each, id in zip(publications, ids, strict=True):
                each.id, each.state = id, SURE

    def _timed(self, publications):
        return _Timed(self.stage, publications, self._timeout + REACH)


class _Timed:
    """Notes how long an attempt took, and how long it may: longer where this process stood still."""

    def __init__(self, stage, publications, allowed):
        self._stage = stage
        self._publications = publications
        self._allowed = allowed

    async def __aenter__(self):
        self._began = self._stage.now()
        self._lag = self._stage.lag

    async def __aexit__(self, *exc):
        now = self._stage.now()
        for each in self._publications:
            each.ended = now
            if now - self._began >= each.longest:
                each.longest = now - self._began
                each.allowed = self._allowed + self._stage.lag - self._lag


def _data(publication):
    key = publication.key
    return json.dumps([key.channel, key.publisher, key.n, publication.attempts])
