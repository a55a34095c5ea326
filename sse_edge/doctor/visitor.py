"""Who asks for the stream, as a browser does: with a cookie or without, one request on each connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from .judgement import arrival, verdict
from .judgement.clock import Ahead, dated, told
from .judgement.verdict import Verdict
from .target import Target
from .wire import BROWSER, SAME_ORIGIN, Answer, Connection, Headers, UnreachableError, heard, told_retry

ELSEWHERE = "127.83.83.69"
"""An address that we ask from on the proxy's own machine, since its requests come from 127.0.0.1, too."""

PLACE = "?poll=0"
"""What makes a path another one, for caches, and asks for what is there now."""


@dataclass(slots=True)
class Visitor:
    """``cookie``: a Cookie header's value.  ``patience``: seconds to wait for what should come at once.

    ``servers`` are the Server headers that were seen, and ``clocks`` how far whose are ahead.  ``heads``:
    whether HEAD is passed on, as far as that is known.
    """

    target: Target
    cookie: str | None = None
    patience: float = 7.0
    servers: list[str] = field(default_factory=list)
    clocks: dict[str, Ahead] = field(default_factory=dict)
    heads: bool = True

    def session(self) -> Headers:
        """The header that says who asks."""
        return (("Cookie", self.cookie),) if self.cookie else ()

    def headers(self, *more: tuple[str, str]) -> Headers:
        """What an EventSource says, and more."""
        return [*BROWSER, *self.session(), *more]

    async def head(
        self, *headers: tuple[str, str], cookie: bool = True, patience: float | None = None
    ) -> Answer:
        """A HEAD, which the app examines like a GET, but which takes no slot."""
        async with Connection(self.target) as connection:
            await connection.ask(self.headers(*headers) if cookie else [*BROWSER, *headers], method="HEAD")
            return await connection.read(patience or self.patience, lambda answer: answer.head_at is not None)

    async def knock(self, *headers: tuple[str, str], cookie: bool = True) -> Answer:
        """Whether this is let in: by HEAD; where that shows nothing by GET, left once it is a stream."""
        if self.heads:
            reply = await self.head(*headers, cookie=cookie)
            if verdict.of(reply) is not Verdict.NEITHER:
                return reply
            self.heads = reply.status not in verdict.UNANSWERED
        return await self.whole(self.headers(*headers) if cookie else [*BROWSER, *headers])

    async def whole(self, headers: Headers, path: str | None = None) -> Answer:
        """A GET that is read to its end, or until it is a stream."""
        async with Connection(self.target) as connection:
            await connection.ask(headers, path=path)
            return await connection.read(
                self.patience, lambda answer: len(answer.pieces) > 64 or b": stream open" in answer.body
            )

    async def poll(self, *headers: tuple[str, str]) -> Answer:
        """What is there now, as JSON: no compressor or buffer makes that unreadable."""
        asked = (("Accept", "application/json"), *SAME_ORIGIN, *self.session(), *headers)
        path = self.target.path
        return await self.whole(asked, path=path + (PLACE if "?" not in path else PLACE.replace("?", "&")))

    async def arrive(self, *, local: bool) -> tuple[Answer, str]:
        """How a request arrives, as the app says, and the address of this end.  On the app's machine, from an
        address that nobody else has there."""
        try:
            return await self._arrive(ELSEWHERE if local else None)
        except UnreachableError:  # by IPv6, or on a system that has one such address alone
            return await self._arrive(None)

    async def _arrive(self, source: str | None) -> tuple[Answer, str]:
        async with Connection(self.target, source=source) as connection:
            await connection.ask(self.headers(*SAME_ORIGIN), method="HEAD" if self.heads else "GET")
            seen = await connection.read(self.patience, lambda answer: answer.head_at is not None)
            self.note(seen)
            return seen, connection.source

    async def stay(self) -> Answer:
        """Open a stream, and leave it as soon as it has begun."""
        async with Connection(self.target) as connection:
            await connection.ask(self.headers(*SAME_ORIGIN))
            return await connection.read(self.patience, greeted)

    def note(self, seen: Answer) -> None:
        """What an answer says of who gave it: its name, and the time."""
        self.servers.append(seen.header("server"))
        date = dated(seen)
        if date is not None:
            self.clocks[seen.header("server").partition("/")[0] or "the server"] = date
        said = arrival.read(seen)
        if said:
            self.clocks["the app"] = told(said["now"], seen)


def greeted(answer: Answer) -> bool:
    """Whether the greeting of a stream has come; any other answer is read to its end."""
    if answer.status != 200 or answer.header("content-length"):
        return False
    return bool(answer.pieces) and (
        bool(answer.coded) or told_retry(answer) is not None or bool(heard(answer))
    )
