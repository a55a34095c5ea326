"""A stream of the app, as a test listens to it."""

from __future__ import annotations

import contextlib
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self

from ..asgi import Headers
from ..event import EDGE
from .decoder import Decoder, Received
from .errors import RefusedError, StreamEndedError
from .exchange import Exchange

FIRST = 1.0
"""Seconds for the first bytes to follow the head, where middleware holds them back: they may refuse it."""

PLACED = 0.25
"""Seconds for the edge to say where a stream begins, after which nothing is missed: without history it never
does."""


class Reset(NamedTuple):
    """Something of ``channel`` is missing for good, or it was taken away; ``reason`` says why."""

    channel: str
    reason: str


class Stream:
    """An open stream: ``async with client.stream(path) as stream``.

    To leave the block is to leave the stream, as a page does that is closed; when it is left the app has
    seen that, and the edge has let go of the stream's slots.

    ``status`` and ``headers`` are the answer's.  What the edge says of the stream itself is not among the
    events: ``resets`` and ``dropped`` (``edge-reset``, ``edge-dropped``), and ``ending``, the reason of an
    ``edge-close``, or None.
    """

    def __init__(
        self,
        path: str,
        begin: Callable[[], Awaitable[Exchange]],
        *,
        timeout: float,
        after: str = "",
        edge_events: bool = False,
    ) -> None:
        self.path = path
        self.status = 0
        self.headers: Headers = []
        self._begin = begin
        self._timeout = timeout
        self._edge_events = edge_events
        self._decoder = Decoder(after)
        self._events: deque[Received] = deque()
        self._resets: list[Reset] = []
        self._dropped: list[Reset] = []
        self._ending: str | None = None
        self._exchange: Exchange | None = None
        self._inflate: zlib._Decompress | None = None

    async def __aenter__(self) -> Self:
        self._exchange = exchange = await self._begin()
        try:
            await self._wait(lambda: exchange.status is not None, self._timeout, "an answer")
            self.status, self.headers = exchange.status or 0, exchange.headers
            if self.status != 200 or not exchange.header("content-type").startswith("text/event-stream"):
                body = await self._whole(exchange)
                raise RefusedError(self.path, self.status, self.headers, body)
            if exchange.header("content-encoding") == "gzip":
                self._inflate = zlib.decompressobj(31)
            if exchange.header("x-accel-buffering"):  # the edge's own
                await self._begin_to_hear(exchange)
        except BaseException:
            await self._leave(quietly=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(quietly=error is not None)

    async def next(self, timeout: float | None = None) -> Received:
        """The next event that was not taken yet, within ``timeout`` seconds.

        Raises TimeoutError, StreamEndedError where none can come any more, and what the app raised.
        """
        return (await self.take(1, timeout))[0]

    async def take(self, n: int, timeout: float | None = None) -> list[Received]:
        """The next ``n`` events, all of them within ``timeout`` seconds; raises like ``next``."""
        what = "an event" if n == 1 else f"{n} events"
        await self._wait(lambda: len(self._read()) >= n, timeout, what)
        return [self._events.popleft() for _ in range(n)]

    async def none(self, for_: float = 0.1) -> None:
        """Nothing comes for so many seconds: raises AssertionError if something does, or was not taken yet.

        Raises StreamEndedError where the stream is over, which is no silence.
        """
        try:
            event = await self.next(for_)
        except TimeoutError:
            return
        raise AssertionError(f"{self.path} was to be silent for {for_} s, and gave {event}")

    async def ended(self, timeout: float | None = None) -> str:
        """Wait for the end of the stream, whatever events are left; its reason, or "" if it said none."""
        exchange = self._open()
        try:
            await exchange.wait(
                lambda: self._is_over(exchange), self._timeout if timeout is None else timeout
            )
        except TimeoutError:
            raise TimeoutError(self._state("the end of the stream", timeout)) from None
        self._read()
        return self._ending or ""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        try:
            return await self.next()
        except StreamEndedError:
            raise StopAsyncIteration from None

    @property
    def resets(self) -> list[Reset]:
        """What the edge said is missing for good, so far."""
        self._read()
        return self._resets

    @property
    def dropped(self) -> list[Reset]:
        """Channels that the stream has lost, so far."""
        self._read()
        return self._dropped

    @property
    def ending(self) -> str | None:
        """Why the stream ended, if the edge has said it."""
        self._read()
        return self._ending

    @property
    def last_event_id(self) -> str:
        """What a browser would come back with: give it as ``after``."""
        self._read()
        return self._decoder.last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time that it was told last, in milliseconds."""
        self._read()
        return self._decoder.retry

    def header(self, name: str) -> str:
        """The first value of a header of the answer, or ""."""
        return self._open().header(name)

    # Reading

    def _read(self) -> deque[Received]:
        """Sort what has come: the events that nobody has taken yet."""
        data = self._open().take()
        if self._inflate is not None:
            data = self._inflate.decompress(data)
        for event in self._decoder.feed(data):
            own = event.event.startswith(EDGE)
            if own:
                self._hear(event)
            if self._edge_events or not own:
                self._events.append(event)
        return self._events

    def _hear(self, event: Received) -> None:
        said = event.json()
        if event.event == "edge-refused":
            raise RefusedError(self.path, self.status, self.headers, event.data.encode())
        if event.event == "edge-reset":
            self._resets.append(Reset(said["channel"], said["reason"]))
        elif event.event == "edge-dropped":
            self._dropped.append(Reset(said["channel"], said["reason"]))
        elif event.event == "edge-close":
            self._ending = said["reason"]

    def _is_over(self, exchange: Exchange) -> bool:
        self._read()  # an app whose client does not read does not come to its end
        return exchange.over

    async def _begin_to_hear(self, exchange: Exchange) -> None:
        with contextlib.suppress(TimeoutError):
            await exchange.wait(lambda: bool(exchange.body), FIRST)
            await exchange.wait(self._is_placed, PLACED)

    def _is_placed(self) -> bool:
        return bool(self._read()) or self._decoder.places > 0

    async def _whole(self, exchange: Exchange) -> bytes:
        """The body of an answer that is no stream, as far as it comes."""
        body = bytearray()

        def whole() -> bool:
            body.extend(exchange.take())
            return exchange.complete

        with contextlib.suppress(TimeoutError):
            await exchange.wait(whole, FIRST)
        if self.status >= 500:  # Starlette answers, and raises then
            await exchange.returned(FIRST)
        return bytes(body)

    async def _wait(self, there: Callable[[], bool], timeout: float | None, what: str) -> None:
        timeout = self._timeout if timeout is None else timeout
        try:
            if await self._open().wait(there, timeout):
                return
        except TimeoutError:
            raise TimeoutError(self._state(what, timeout)) from None
        if not there():
            raise StreamEndedError(self.path, self._ending or "", what)

    def _state(self, what: str, timeout: float | None) -> str:
        status = self.status or "not there"
        waiting = f", {len(self._events)} not taken" if self._events else ""
        resets = "".join(f", reset of {reset.channel} ({reset.reason})" for reset in self._resets)
        return f"{self.path}: waited {timeout} s for {what}; status {status}{waiting}{resets}"

    def _open(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError(f"the stream of {self.path} is not open: use async with")
        return self._exchange

    async def _leave(self, *, quietly: bool) -> None:
        try:
            await self._open().close()
        except Exception:
            if not quietly:  # what happened in the block is what the test is to see
                raise
