"""Looks at a deployment from outside, and leaves nothing open behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from ..backends.redis import RedisBackend
from .backstage import Backstage
from .broadcast import Broadcast
from .fault import Level
from .finding import Finding, found, unknown
from .judgement import arrival, away, certificate, clock, delivery, entry, machine, opening, verdict
from .machine import this_machine
from .target import Target
from .visitor import Visitor, greeted
from .wire import (
    BROWSER,
    H2C,
    MOST,
    SAME_ORIGIN,
    Answer,
    CertificateError,
    Connection,
    UnknownNameError,
    UnreachableError,
    told_retry,
)

ATTEMPTS = 1000
"""Connects at most, to meet the limit on connects."""

CLIENTS = 6
"""EventSources that ask while the app is away, to see whether they are told different times."""

FOREIGN = ("Last-Event-ID", "x" * 300)
"""An id that no edge gave out."""

TELL = ("Accept", "text/event-stream;identity=1")
"""What has the app say whose its answer is."""

CLAIMED = ("198.51.100.7", "198.51.100.8")
"""Addresses that nobody has (RFC 5737)."""

LEAVING = 3.0
"""Seconds in which the app has to see that a client has left."""

LOOKS = 12
"""How often it is asked meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What to look at, and with what.

    ``cookie``: a Cookie header's value.  ``user``: whose it is, if that user is the doctor's own, so that
    their streams may be ended.  ``backend`` and ``channel``: where events for this URL are published.
    ``page``: a path whose answer sets the session cookie.  ``origin``: of pages elsewhere that should be
    served.  ``watch``: seconds to watch an idle stream, None for not at all.  ``flood``: connect until
    the limit on connects is met.  ``here``: whether the proxy runs on this machine, None to find out.
    ``streams``: how many it should hold.  ``durable``: as RedisBackend's.  ``patience``: seconds to wait
    for what should come at once; an app that hears nothing of Redis says so within 5.
    ``keep_alive``: as SSEMiddleware's.
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
    patience: float = 7.0
    keep_alive: float = 15.0
    visitor: Visitor = field(init=False)
    behind: list[Finding] = field(default_factory=list, init=False)
    """What is known of Redis and the workers, once that was asked."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "visitor", Visitor(self.target, self.cookie, self.patience))

    @property
    def proxy(self) -> list[str]:
        """The Server headers that were seen."""
        return self.visitor.servers

    async def findings(self) -> AsyncIterator[Finding]:
        """Everything, as it is found.  Raises UnreachableError when there is no HTTP server at all."""
        try:
            met, protocol, local = await self._meet()
        except UnknownNameError as error:
            yield found("status", "name-refused", str(error))
        else:
            for finding in met:
                yield finding
            if self.cookie is not None and self.visitor.cookie is None:
                yield unknown("stream", "nobody vouches for this server, so it gets no cookie: --cacert")
            else:
                async for finding in self._stream(protocol, local=local):
                    yield finding
            if self.here if self.here is not None else local:
                for finding in machine.room(this_machine(self.target.port), self.streams):
                    yield finding
            else:
                what = "open files, ports and backlog: run this on the proxy's machine (--here)"
                yield unknown("machine", what)
        if self.backend is None:
            yield unknown("redis", "and workers: give --redis")
        else:
            await self._look_behind()
            for finding in self.behind:
                yield finding
        yield clock.compare(self.visitor.clocks)

    async def findings_when_down(self) -> AsyncIterator[Finding]:
        """What clients get while the app is stopped.  Raises UnreachableError when the proxy is not there."""
        visitor = self.visitor
        replies: list[Answer] = []
        while len(replies) < CLIENTS:
            replies.append(await visitor.whole(visitor.headers(*SAME_ORIGIN)))
            if verdict.is_app(replies[-1]):
                said = "a stream" if replies[-1].status == 200 else f"status {replies[-1].status}"
                yield found("app away", "app-up", f"the app answers with {said}")
                return
        visitor.note(replies[0])
        other = await visitor.whole((("Accept", "*/*"), *visitor.session()))
        for finding in away.down(replies, other):
            yield finding

    # One thing after the other

    async def _meet(self) -> tuple[list[Finding], str | None, bool]:
        """Who answers: what vouches for that, the protocol that it chose, and whether it is this machine."""
        findings = []
        visitor, alpn = self.visitor, ("h2", "http/1.1")
        try:
            async with Connection(visitor.target, alpn=alpn) as connection:
                if connection.certificate:
                    findings.append(certificate.life(connection.certificate, time.time()))
                return findings, connection.protocol, connection.local
        except CertificateError as error:
            findings.append(certificate.refused(error.code, error.why, self.target.name))
        visitor.target = self.target.unverified()
        async with Connection(visitor.target, alpn=alpn) as connection:
            if not connection.local:  # between here and there may be anybody
                visitor.cookie = None
            return findings, connection.protocol, connection.local

    async def _look_behind(self) -> None:
        if self.backend is not None and not self.behind:
            backstage = Backstage(self.backend, self.durable, self.visitor.clocks)
            self.behind.extend(await backstage.findings())

    async def _stream(self, protocol: str | None, *, local: bool) -> AsyncIterator[Finding]:
        visitor = self.visitor
        async with Connection(visitor.target) as stream:
            if protocol == "h2" and stream.protocol is None:
                raise UnreachableError("what is in front takes HTTP/2 alone, and this speaks HTTP/1.1")
            await stream.ask(visitor.headers(*SAME_ORIGIN))
            seen = await stream.read(self.patience, greeted)
            visitor.note(seen)
            responsive = seen.head_at is not None or await self._is_responsive()
            if seen.status == 401:  # a proxy may have said what time it is, but it was a worker that refused
                await self._look_behind()
            findings = opening.answer(
                seen,
                self.patience,
                cookie=self.cookie is not None,
                responsive=responsive,
                late=any(map(clock.is_late, visitor.clocks.values())),
            )
            if seen.endless:
                findings.append(found("status", "endless", f"more than {MOST >> 20} MiB, and no end"))
            for finding in findings:
                yield finding
            fresh = opening.is_stream(findings)
            if fresh:
                first = [*opening.stream(seen, self.patience), replay := await self._replay()]
                fresh = not any(each.code == "cached" for each in first)
                # A replay that cannot be told, as where a poll is one stream too many, is asked for later.
                for finding in (each for each in first if each.level is not Level.UNKNOWN):
                    yield finding
                async for finding in self._live(stream, seen) if fresh else _not_past_a_cache():
                    yield finding
            yield opening.http_version(self.target, protocol)
            if fresh:
                async for finding in self._policies(seen):
                    yield finding
        if fresh:
            if replay.level is Level.UNKNOWN:
                yield await self._replay()
            async for finding in self._arrival(local=local):
                yield finding
            yield await self._keep_alive()
            yield await self._spoofing()

    async def _is_responsive(self) -> bool:
        """Whether a HEAD is answered, where a GET is not."""
        return (await self.visitor.head(*SAME_ORIGIN, patience=delivery.SLOW)).head_at is not None

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
        known = bool(arrival.read(seen))
        events = Broadcast(self.visitor, self.backend, self.channel, self.user, known)
        async for finding in events.findings(stream):
            yield finding

    async def _policies(self, seen: Answer) -> AsyncIterator[Finding]:
        visitor, own = self.visitor, self.target.origin
        yield entry.own_origin(await visitor.knock(("Origin", own)), own)
        if self.origin is not None:
            reply = await visitor.knock(("Origin", self.origin), ("Sec-Fetch-Site", "cross-site"))
            yield entry.page_origin(reply, self.origin)
        foreign = await visitor.knock(("Origin", "https://foreign.invalid"))
        null = await visitor.knock(("Origin", "null"))
        yield entry.foreign_origin(foreign, null)
        yield entry.cors([seen, *(reply for reply in (foreign, null) if reply.status == 403)], own)
        yield entry.cross_site(
            await visitor.knock(("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"))
        )
        yield entry.upgrade(await visitor.head(*SAME_ORIGIN, *H2C))
        yield delivery.cursor(await visitor.poll(FOREIGN))
        bare = await visitor.knock(*SAME_ORIGIN, TELL, cookie=False)
        yield entry.without_cookie(bare)
        page = await visitor.whole((("Accept", "text/html"), *visitor.session()), path=self.page)
        path, https = self.target.path.partition("?")[0], self.target.scheme == "https"
        yield entry.cookies([seen, page], self.cookie_name, path, https=https)

    async def _arrival(self, *, local: bool) -> AsyncIterator[Finding]:
        """What only the app knows of a request."""
        seen, source = await self.visitor.arrive(local=local)
        told, why = arrival.read(seen), arrival.untold(seen, signed=self.user is not None)
        yield arrival.address(told, source, why)
        yield arrival.http(told, why)
        yield await self._leaving()

    async def _replay(self) -> Finding:
        one, other = await self.visitor.poll(), await self.visitor.poll()
        return arrival.replay(one, other, signed=self.user is not None)

    async def _leaving(self) -> Finding:
        """Open a stream, leave, and ask the worker that had it how many there are."""
        stayed = await self.visitor.stay()
        pid: int | None = arrival.read(stayed).get("pid")
        left: dict[int, int] = {}
        began, looks = time.monotonic(), 0
        while pid is not None:
            told = arrival.read(await self._present())
            gone, looks = time.monotonic() - began, looks + 1
            if told:
                left[told["pid"]] = told["present"]
            # Long only while the worker says that it has it still: a proxy may notice when it writes.
            # The first of what it writes may seem to arrive, and shows only to the next one that it did not.
            most = LEAVING + 2 * self.keep_alive if left.get(pid) else LEAVING
            if left.get(pid) == 0 or (gone >= most and looks >= LOOKS):
                return arrival.leaving(pid, left, gone, soon=LEAVING + 1)
            await asyncio.sleep((LEAVING if gone < LEAVING else self.keep_alive) / LOOKS)
        return arrival.leaving(pid, left, 0.0, arrival.untold(stayed, signed=self.user is not None))

    async def _present(self) -> Answer:
        """An answer that takes no slot, and says how many streams there are."""
        return await (self.visitor.head(*SAME_ORIGIN) if self.visitor.heads else self.visitor.poll())

    async def _keep_alive(self) -> Finding:
        if self.watch is None:
            return unknown("keep-alive", "and time-outs, as Caddy's for writing: --long waits for them")
        async with Connection(self.visitor.target) as stream:
            await stream.ask(self.visitor.headers(*SAME_ORIGIN))
            seen = await stream.read(self.watch)
            return delivery.keep_alive(seen, stream.now if seen.endless else self.watch)

    async def _spoofing(self) -> Finding:
        if not self.flood:
            return unknown(
                "spoofing",
                "--flood tries (this address is refused for a minute); or see address= in the app's log",
            )
        refused = other = None
        attempts = 0
        while attempts < ATTEMPTS and refused is None:
            async with Connection(self.visitor.target) as connection:
                while attempts < ATTEMPTS and refused is None:
                    attempts += 1
                    reply = await self._claim(connection, CLAIMED[0])
                    refused = reply if reply.status == 429 else None
                    if not connection.usable:
                        break
        if refused is not None:
            async with Connection(self.visitor.target) as connection:
                other = await self._claim(connection, CLAIMED[1])
        return entry.spoofing(attempts, refused, other)

    async def _claim(self, connection: Connection, address: str) -> Answer:
        await connection.ask([*BROWSER, *SAME_ORIGIN, ("X-Forwarded-For", address)], method="HEAD")
        return await connection.read(self.patience)


async def _not_past_a_cache() -> AsyncIterator[Finding]:
    yield unknown("the rest", "events, who is let in, what the app tells: not while a cache answers")


async def collect(findings: AsyncIterator[Finding], tell: Callable[[Finding], None]) -> list[Finding]:
    """All of them, each told as it comes."""
    collected = []
    async for finding in findings:
        collected.append(finding)
        tell(finding)
    return collected
