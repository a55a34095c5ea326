"""Looks at a deployment from outside, and leaves nothing open behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from ..backends.redis import RedisBackend
from ..backends.redis.inspection import inspect
from ..errors import BackendError, PublishError
from ..publisher import Publisher
from .finding import Finding, found, unknown
from .judgement import away, delivery, entry, machine, opening, redis
from .machine import this_machine
from .wire import BROWSER, H2C, SAME_ORIGIN, Answer, Connection, Headers, Heard, Target, heard, told_retry

EVENTS = 3
"""How many are published to see whether they come one by one."""

APART = 0.4
"""Seconds between them."""

ATTEMPTS = 1000
"""Connects at most, to meet the limit on connects."""

CLIENTS = 6
"""EventSources that ask while the app is away, to see whether they are told different times."""

EVENT_NAME = "sse-edge-doctor"
"""What the published events are called: a name that no page listens for."""

FOREIGN = ("Last-Event-ID", "x" * 300)
"""An id that no edge gave out."""

CLAIMED = ("198.51.100.7", "198.51.100.8")
"""Addresses that nobody has (RFC 5737)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What to look at, and with what.

    ``cookie``: a Cookie header's value.  ``user``: whose it is, if that user is the doctor's own, so that
    their streams may be ended.  ``backend`` and ``channel``: where events for this URL are published.
    ``page``: a path whose answer sets the session cookie.  ``origin``: of pages elsewhere that should be
    served.  ``watch``: seconds to watch an idle stream, None for not at all.  ``flood``: connect until
    the limit on connects is met.  ``here``: whether the proxy runs on this machine, None to find out.
    ``streams``: how many it should hold.  ``durable``: as RedisBackend's.  ``patience``: seconds to wait
    for what should come at once.
    """

    target: Target
    cookie: str | None = None
    cookie_name: str = "session"
    user: str | None = None
    backend: RedisBackend | None = None
    channel: str | None = None
    page: str = "/"
    origin: str | None = None
    watch: float | None = None
    flood: bool = False
    here: bool | None = None
    streams: int = 10_000
    durable: bool = False
    patience: float = 5.0
    proxy: list[str] = field(default_factory=list, init=False)
    """The Server headers that were seen."""

    async def findings(self) -> AsyncIterator[Finding]:
        """Everything, as it is found.  Raises UnreachableError when there is no HTTP server at all."""
        protocol, local = await self._protocol()
        async with Connection(self.target) as stream:
            await stream.ask(self._headers(*SAME_ORIGIN))
            seen = await stream.read(self.patience, _greeted)
            self.proxy.append(seen.header("server"))
            responsive = seen.head_at is not None or (await self._head(*SAME_ORIGIN)).head_at is not None
            findings = opening.answer(
                seen, self.patience, cookie=self.cookie is not None, responsive=responsive
            )
            for finding in findings:
                yield finding
            if opening.is_stream(findings):
                yield opening.first_byte(seen, self.patience)
                yield opening.compression(seen)
                yield opening.caching(seen)
                async for finding in self._live(stream, seen):
                    yield finding
            yield opening.http_version(self.target, protocol)
            if opening.is_stream(findings):
                async for finding in self._policies(seen):
                    yield finding
        if opening.is_stream(findings):
            yield await self._keep_alive()
            yield await self._spoofing()
        if self.here if self.here is not None else local:
            for finding in machine.room(this_machine(self.target.port), self.streams):
                yield finding
        else:
            yield unknown(
                "machine", "open files, ports and backlog: run this on the proxy's machine (--here)"
            )
        for finding in await self._redis():
            yield finding

    async def findings_when_down(self) -> AsyncIterator[Finding]:
        """What clients get while the app is stopped.  Raises UnreachableError when the proxy is not there."""
        replies: list[Answer] = []
        while len(replies) < CLIENTS:
            replies.append(await self._whole(self._headers(*SAME_ORIGIN)))
            if b": stream open" in replies[-1].body:
                yield found("app away", "app-up", "the app answers with a stream")
                return
        self.proxy.append(replies[0].header("server"))
        for finding in away.down(replies, await self._whole((("Accept", "*/*"), *self._session()))):
            yield finding

    # One thing after the other

    async def _protocol(self) -> tuple[str | None, bool]:
        async with Connection(self.target, alpn=("h2", "http/1.1")) as connection:
            return connection.protocol, connection.local

    async def _live(self, stream: Connection, seen: Answer) -> AsyncIterator[Finding]:
        """What needs a stream that can be read."""
        if not seen.pieces or seen.coded:
            yield unknown("events", "nothing can be read yet; examine again without this fault")
            return
        yield delivery.retry(told_retry(seen))
        if self.backend is None or self.channel is None:
            yield unknown("buffering", "events one by one: give --redis, to publish some")
            yield unknown("resume", "give --redis")
            yield unknown("ending", "give --redis and --secret")
            return
        events = Publisher(self.backend)
        try:
            times, ids = await self._publish(events, stream)
            finding = delivery.events(times)
            yield finding
            if finding.fault is None:
                yield await self._resume(ids)
            if self.user is None:
                yield unknown("ending", "give --secret: only a user of its own may be disconnected")
            else:
                await events.disconnect(user=self.user)
                await stream.read(self.patience)
                yield delivery.ending(stream.answer, heard(stream.answer))
        except (PublishError, BackendError) as error:
            if isinstance(error, PublishError) and error.reason == "finished":
                yield unknown("events", f"{error}: give another --channel, or reopen it")
            else:
                yield found("events", "redis-away", str(error))

    async def _publish(
        self, events: Publisher, stream: Connection
    ) -> tuple[list[tuple[float, float | None]], list[str]]:
        published, ids = [], []
        before = len(heard(stream.answer))

        def arrived() -> list[Heard]:
            return [block for block in heard(stream.answer)[before:] if block.event == EVENT_NAME]

        for number in range(EVENTS):
            if number:
                await stream.read(APART)
            published.append(stream.now)
            ids.append(await events.publish(self.channel or "", str(number), event=EVENT_NAME))
        await stream.read(self.patience, lambda _: len(arrived()) >= EVENTS)
        # One may publish at the same time as another doctor: the data says which is which.
        times = {block.id or block.data: block.at for block in arrived()}
        keys = [id or str(number) for number, id in enumerate(ids)]
        return [(at, times.get(key)) for at, key in zip(published, keys, strict=True)], ids

    async def _resume(self, ids: list[str]) -> Finding:
        if not all(ids):
            return unknown("resume", "this backend keeps no history")
        async with Connection(self.target) as stream:
            await stream.ask(self._headers(*SAME_ORIGIN, ("Last-Event-ID", ids[0])))
            await stream.read(
                self.patience, lambda answer: any(block.id >= ids[-1] for block in heard(answer))
            )
            return delivery.resume(ids[1:], heard(stream.answer))

    async def _policies(self, seen: Answer) -> AsyncIterator[Finding]:
        own = self.target.origin
        yield entry.own_origin(await self._head(("Origin", own)), own)
        if self.origin is not None:
            reply = await self._head(("Origin", self.origin), ("Sec-Fetch-Site", "cross-site"))
            yield entry.page_origin(reply, self.origin)
        foreign = await self._head(("Origin", "https://foreign.invalid"))
        yield entry.foreign_origin(foreign, await self._head(("Origin", "null")))
        yield entry.cross_site(
            await self._head(("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"))
        )
        yield entry.upgrade(await self._head(*SAME_ORIGIN, *H2C))
        # By a poll, which no compressor or buffer makes unreadable.
        asked = (("Accept", "application/json"), *SAME_ORIGIN, *self._session(), FOREIGN)
        yield delivery.cursor(await self._whole(asked))
        bare = await self._head(*SAME_ORIGIN, cookie=False)
        yield entry.without_cookie(bare)
        page = await self._whole((("Accept", "text/html"), *self._session()), path=self.page)
        path, https = self.target.path.partition("?")[0], self.target.scheme == "https"
        yield entry.cookies([seen, page], self.cookie_name, path, https=https)

    async def _keep_alive(self) -> Finding:
        if self.watch is None:
            return unknown("keep-alive", "--long waits for it")
        async with Connection(self.target) as stream:
            await stream.ask(self._headers(*SAME_ORIGIN))
            seen = await stream.read(self.watch)
            return delivery.keep_alive(seen, self.watch)

    async def _spoofing(self) -> Finding:
        if not self.flood:
            return unknown(
                "spoofing",
                "--flood tries (this address is refused for a minute); or see address= in the app's log",
            )
        refused = other = None
        attempts = 0
        while attempts < ATTEMPTS and refused is None:
            async with Connection(self.target) as connection:
                while attempts < ATTEMPTS and refused is None:
                    attempts += 1
                    reply = await self._claim(connection, CLAIMED[0])
                    refused = reply if reply.status == 429 else None
                    if not connection.usable:
                        break
        if refused is not None:
            async with Connection(self.target) as connection:
                other = await self._claim(connection, CLAIMED[1])
        return entry.spoofing(attempts, refused, other)

    async def _claim(self, connection: Connection, address: str) -> Answer:
        await connection.ask([*BROWSER, *SAME_ORIGIN, ("X-Forwarded-For", address)], method="HEAD")
        return await connection.read(self.patience)

    async def _redis(self) -> list[Finding]:
        if self.backend is None:
            return [unknown("redis", "give --redis")]
        try:
            states = await inspect(self.backend)
        except BackendError as error:
            return [found("redis", "redis-away", str(error))]
        return [finding for state in states for finding in redis.server(state, durable=self.durable)]

    # Requests

    def _session(self) -> Headers:
        return (("Cookie", self.cookie),) if self.cookie else ()

    def _headers(self, *more: tuple[str, str]) -> Headers:
        return [*BROWSER, *self._session(), *more]

    async def _head(self, *headers: tuple[str, str], cookie: bool = True) -> Answer:
        """A HEAD, which the app examines like a GET, but which takes no slot."""
        async with Connection(self.target) as connection:
            await connection.ask(self._headers(*headers) if cookie else [*BROWSER, *headers], method="HEAD")
            return await connection.read(self.patience, lambda answer: answer.head_at is not None)

    async def _whole(self, headers: Headers, path: str | None = None) -> Answer:
        async with Connection(self.target) as connection:
            await connection.ask(headers, path=path)
            return await connection.read(
                self.patience, lambda answer: len(answer.pieces) > 64 or b": stream open" in answer.body
            )


def _greeted(answer: Answer) -> bool:
    """Whether the greeting of a stream has come; any other answer is read to its end."""
    if answer.status != 200 or answer.header("content-length"):
        return False
    return bool(answer.pieces) and (
        bool(answer.coded) or told_retry(answer) is not None or bool(heard(answer))
    )


async def collect(findings: AsyncIterator[Finding], tell: Callable[[Finding], None]) -> list[Finding]:
    """All of them, each told as it comes."""
    collected = []
    async for finding in findings:
        collected.append(finding)
        tell(finding)
    return collected
