"""Answering a request for a stream: what the gate says of it, in ASGI messages, or a stream of the hub."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from .admission.also import alone, asks_others, others, unjoinable
from .admission.arrival import is_told
from .admission.backoff import Backoff
from .admission.gate import Admission, Gate
from .admission.greeting import greet
from .admission.labels import Labels
from .admission.polling import Polling, is_poll, malformed, tells_identity
from .admission.routes import Routes
from .admission.size import legible, oversized
from .admission.source import Source
from .asgi import (
    JSON,
    NO_STORE,
    Headers,
    Receive,
    Request,
    Scope,
    Send,
    answering,
    refuse,
    respond,
    respond_head,
)
from .backends.base import Leases
from .delivery import frames
from .delivery.answer import Answer
from .delivery.backlog import Bounds
from .delivery.framing import unframed
from .delivery.hub import Hub
from .delivery.joint import STRAND, Joint
from .delivery.sink import Sink, TaskSink
from .delivery.stream import Stream
from .delivery.transport import is_own, open_sink
from .errors import BackendError
from .event import Place
from .figures import SECONDS, Histogram
from .logline import about
from .measurers import measurers
from .outcome import BACKEND_DOWN, DRAINING, ERROR, FINISHED, NOT_FOUND, OVER, Refusal
from .terms import Terms
from .tracing import Traced, admission
from .worker import Worker

logger = logging.getLogger("sse_edge")

# Measured: deploy/SERVERS.md.
TAKEN_OVER = "4 KiB for one that is idle, and the least CPU for an event"
MEASURED = (
    "%s around the edge takes a stream's whole life for the time of a request, unless it leaves out what is "
    "under the edge's path: put the edge around the app, app = SSEMiddleware(app, …); see docs/MONITORING.md"
)
WRAPPED = "2 to 11 times the CPU for an event, and 4 to 10 times the memory for a stream"
SENT = "1.5 to 6 times the CPU for an event, and 4 to 13 times the memory for a stream"

BY_ACCEPT: Headers = [(b"vary", b"Accept")]
STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *NO_STORE,
    (b"x-accel-buffering", b"no"),
]


class Opened(NamedTuple):
    """A stream that hears its channels, before its first byte; ``blind`` while the backend is away.  What its
    channels' greetings ``said`` comes before all else.  It hears none if it ``plays`` a source.  It was asked
    for when it ``began``, by the monotonic clock, and how long it ``took`` is to be counted there."""

    hub: Hub
    stream: Stream
    cursor: Place | None
    first: Mapping[str, int]
    blind: bool
    said: Sequence[bytes]
    plays: bool
    began: float
    took: Histogram


class Streams:
    """What is under the edge's path: asks the gate, and opens what it lets in on a worker's hub.

    ``handover`` is whether connections may be taken over from the server, and ``path_of`` the path of a scope
    as routes have it.  ``refusals`` counts, by code, and ``admission`` has the seconds that requests waited
    for their first bytes or refusal.
    """

    def __init__(
        self,
        gate: Gate,
        routes: Routes,
        leases: Leases,
        terms: Terms,
        *,
        bounds: Bounds,
        max_event_bytes: int,
        backoff: Backoff,
        polling: Polling,
        handover: bool,
        path_of: Callable[[Scope], str],
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.admission = {"accepted": Histogram(SECONDS), "refused": Histogram(SECONDS)}
        self._gate = gate
        self._routes = routes
        self._leases = leases
        self._bounds = bounds
        self._most = max_event_bytes
        self._backoff = backoff
        self._polling = polling
        self._terms = terms
        self._handover = handover
        self._path_of = path_of
        self._told = False

    @property
    def labels(self) -> Labels:
        """What channels are called in metrics."""
        return self._routes.labels

    def under(self, path: str) -> bool:
        """Whether a path is answered here."""
        return self._routes.under(path)

    async def answer(
        self, worker: Worker, path: str, scope: Scope, receive: Receive, send: Send
    ) -> Opened | None:
        """Refuse, or open a stream on ``worker``: then it is to be held."""
        began = time.monotonic()
        request = Request.of(scope, path)
        answer, closing = answering(scope, request, receive, send)
        if self._routes.is_check(request.path) and request.first(b"x-forwarded-for") is None:
            await refuse(answer, NOT_FOUND, closing)  # by a proxy, every second: no line in the log
            return None
        hub = worker.hub
        refusal, wait, joined = oversized(request), None, False
        if refusal is not None:
            request = legible(request)
        else:
            wait, joined = self._polling.wait(request), self._terms.joins and asks_others(request)
            refusal = malformed(request) or (unjoinable(request) if joined else None)
        headers = [*self._gate.headers(request), *closing, *([] if wait is None else BY_ACCEPT)]
        told = tells_identity(request)

        def head(admission: Admission) -> Headers:
            made = _head(headers, admission, wait, told)
            if is_told(admission.identity):
                made = [*made, self._arrival(worker, scope, request, admission)]
            return made

        own = alone(request) if joined else request
        traced = self._traced(own)

        def begin(admission: Admission) -> Sink:
            sink = self._sink(worker, scope, receive, send, head(admission), wait)
            return self._joined(worker, sink, request, scope, traced) if joined else sink

        leash = asyncio.timeout(None)
        hub.drain.entering.add(leash)
        try:
            with traced:
                verdict = refusal or await self._decide(worker, leash, own, begin, wait, began, joined=joined)
                traced.tell(*_came_of(verdict))
            if isinstance(verdict, Opened):
                return verdict
            if isinstance(verdict, Refusal):
                self.admission["refused"].observe(time.monotonic() - began)
                await self._refuse(worker, request, answer, verdict, headers)
            elif verdict is None:
                await respond(answer, 204, [*self._gate.preflight, *NO_STORE, *headers])
            else:
                await respond_head(answer, head(verdict))
            return None
        finally:
            hub.drain.entering.discard(leash)

    def _traced(self, request: Request, within: Traced | None = None) -> Traced:
        return admission(request.method, request.path, self._routes.template, request.headers, within)

    async def _decide(
        self,
        worker: Worker,
        leash: asyncio.Timeout,
        request: Request,
        begin: Callable[[Admission], Sink],
        wait: float | None,
        began: float,
        *,
        joined: bool,
    ) -> Opened | Admission | Refusal | None:
        """Ask the gate, and open what it lets in on the sink that ``begin`` makes, if the ``leash`` lasts."""
        hub = worker.hub
        try:
            async with leash:
                if not worker.is_informed:
                    await worker.informed()
                verdict = await self._gate.admit(
                    request, time.time(), streams=len(hub.streams), draining=hub.drain.begun
                )
                if not isinstance(verdict, Admission):
                    return verdict
                if joined:  # bytes that are compressed for one strand mean nothing beside another's
                    verdict = verdict._replace(varies=False, compress=False)
                if request.method == "HEAD":
                    return verdict
                return await self._let_in(worker, verdict, begin(verdict), request, wait, began)
        except TimeoutError:
            if not leash.expired():
                raise
            return DRAINING

    def _joined(self, worker: Worker, sink: Sink, request: Request, scope: Scope, traced: Traced) -> Sink:
        """The sink of ``request``'s own stream: behind it those are let in that it wants besides."""

        def path_of(raw: str) -> str | None:
            path = self._path_of({**scope, "path": unquote(raw), "raw_path": raw.encode()})
            return path if self.under(path) else None

        wanted = others(request, path_of)
        return Joint(sink, [partial(self._enter, worker, traced, request, one) for one in wanted]).first

    async def _enter(
        self, worker: Worker, within: Traced, asked: Request, wanted: Request | Refusal, strand: Sink
    ) -> None:
        """Let in what was ``asked`` for besides, or say inside of it why not."""
        began = time.monotonic()
        leash = asyncio.timeout(None)
        worker.hub.drain.entering.add(leash)
        try:
            if isinstance(wanted, Request):
                asked = wanted
                with self._traced(wanted, within) as traced:
                    verdict = await self._decide(
                        worker, leash, wanted, lambda _: strand, None, began, joined=True
                    )
                    traced.tell(*_came_of(verdict))
            else:
                verdict = wanted
            if isinstance(verdict, Refusal):
                self.admission["refused"].observe(time.monotonic() - began)
                strand.finish(self._told_inside(worker, asked, verdict))
        finally:
            worker.hub.drain.entering.discard(leash)
        if isinstance(verdict, Opened):
            await hold(*verdict)

    def _told_inside(self, worker: Worker, request: Request, refusal: Refusal) -> bytes:
        """A refusal of what is joined, whose status nobody sees."""
        self.refusals[refusal.code] += 1
        worker.refusals.tell(request.method, request.path, refusal, self._gate.address(request))
        # Each by itself: of ten that are refused at once none was refused ten times.
        row = f"{self._gate.key(request, refusal)} {request.path}"
        retry_ms = max(1, round(1000 * self._backoff.wait(row, time.monotonic(), random.random())))
        if refusal.status == OVER.status:
            return frames.goodbye(FINISHED, None, retry_ms)
        return frames.refused(refusal.telling(status=refusal.status), retry_ms)

    async def _let_in(
        self,
        worker: Worker,
        admission: Admission,
        sink: Sink,
        request: Request,
        wait: float | None,
        began: float,
    ) -> Opened | Refusal:
        """Open an admission's stream, or let go of what it holds."""
        opened = None
        try:
            opened = await self._open(worker, admission, sink, request, wait, began)
        finally:
            if not isinstance(opened, Opened):
                self._leases.release(admission.subjects)
        return opened

    def _arrival(
        self, worker: Worker, scope: Scope, request: Request, admission: Admission
    ) -> tuple[bytes, bytes]:
        return self._gate.arrival(
            request,
            http=scope.get("http_version", "1.1"),
            pid=os.getpid(),
            present=worker.hub.census.present(admission.identity.user or ""),
            now=time.time(),
        )

    def _sink(
        self, worker: Worker, scope: Scope, receive: Receive, send: Send, head: Headers, wait: float | None
    ) -> Sink:
        if wait is not None:
            return Answer(send, receive, head, self._bounds.age)
        sink = open_sink(unframed(scope, send), receive, head, handover=self._handover)
        # Streams over HTTP/1.0 go another way than all others.
        if not self._told and scope.get("http_version") != "1.0":
            self._told = True
            _tell(sink, send, worker.server, meant=self._handover)
        return sink

    async def _open(
        self,
        worker: Worker,
        admission: Admission,
        sink: Sink,
        request: Request,
        wait: float | None,
        began: float,
    ) -> Opened | Refusal:
        hub, identity = worker.hub, admission.identity
        now = time.time()
        refusal = self._gate.changed(admission, now, streams=len(hub.streams), draining=hub.drain.begun)
        if refusal is not None:
            return refusal.of(identity.user)
        remaining = None if identity.expires is None else identity.expires - now
        stream = hub.new_stream(
            admission.channels,
            sink,
            remaining,
            identity.user,
            identity.session,
            admission.address,
            request.path,
            compress=admission.compress and wait is None,
            wait=wait,
            cursor=admission.cursor,
        )
        if admission.source is not None:
            return await self._play(worker, admission, admission.source, stream, request, began)
        # Only who would never come back is let in without events.
        accepts_blindly = self._terms.accepts_blindly and wait is None
        blind = accepts_blindly and not hub.subscriber.connected
        try:
            if not blind and not await hub.subscribe(stream, admission.cursor):
                return OVER.of(identity.user)
        except BackendError as error:
            if not accepts_blindly:
                return BACKEND_DOWN.of(identity.user, str(error))
            blind = True  # it was not known yet that the backend is away
        if blind:
            hub.adopt(stream)
        # Asked now that its channels are heard.  A poll with a place has had them.
        greetings = admission.greetings if wait is None or admission.cursor is None else ()
        said: list[bytes] | Refusal | None = None
        try:
            if greetings:
                said = await greet(greetings, _told(request, admission), identity, self._most)
            else:
                said = []
        finally:
            if not isinstance(said, list):
                hub.undo(stream)
        if isinstance(said, Refusal):
            return said
        worker.watch(stream, admission)
        cursor, first, took = admission.cursor, admission.first, self.admission["accepted"]
        return Opened(hub, stream, cursor, first, blind, said, False, began, took)

    async def _play(
        self,
        worker: Worker,
        admission: Admission,
        source: Source,
        stream: Stream,
        request: Request,
        began: float,
    ) -> Opened | Refusal:
        hub = worker.hub
        hub.own(stream)
        made: AsyncIterator[object] | Refusal | None = None
        try:
            made = await source.begin(_told(request, admission), admission.identity, admission.after)
        finally:
            if made is None or isinstance(made, Refusal):
                hub.undo(stream)
        if isinstance(made, Refusal):
            return made
        hub.sources.add(stream, made)
        worker.watch(stream, admission)
        took = self.admission["accepted"]
        return Opened(hub, stream, None, admission.first, False, (), True, began, took)

    async def _refuse(
        self, worker: Worker, request: Request, send: Send, refusal: Refusal, headers: Headers
    ) -> None:
        self.refusals[refusal.code] += 1
        worker.refusals.tell(request.method, request.path, refusal, self._gate.address(request))
        if refusal.retry_after is None:
            await refuse(send, refusal, headers)
            return
        wait = self._backoff.wait(self._gate.key(request, refusal), time.monotonic(), random.random())
        accepts = any("text/event-stream" in accept.lower() for accept in request.all(b"accept"))
        says = self._terms.says_as_stream(accepted=accepts)
        if request.method == "GET" and says and not is_poll(request):
            body = frames.refused(refusal, max(1, round(wait * 1000)))
            if self._terms.joins and asks_others(request):
                body = STRAND % 0 + body  # or it would seem that others are not joined here
            await respond(send, 200, [*STREAM_HEADERS, *headers], body)
        else:
            await refuse(send, replace(refusal, retry_after=max(refusal.retry_after, wait)), headers)


async def hold(
    hub: Hub,
    stream: Stream,
    cursor: Place | None,
    first: Mapping[str, int],
    blind: bool,
    said: Sequence[bytes],
    plays: bool,
    began: float,
    took: Histogram,
) -> None:
    """Open it, for as long as that takes the request's own task; when it is over the hub is told."""
    try:
        # The first bytes do not wait for history, so that no proxy holds the headers back.
        await stream.begin_response(hub.greeting())
        took.observe(time.monotonic() - began)
        hub.give_first(stream, said)
        if plays:
            hub.sources.begin(stream)
        elif blind:
            hub.catch_up_later(stream, cursor, first)
        else:
            await hub.catch_up(stream, cursor, first)
        await stream.sink.run()
    except BaseException:
        hub.close_stream(stream, ERROR)
        stream.sink.abort()
        raise


def _came_of(verdict: Opened | Admission | Refusal | None) -> tuple[str, int]:
    """A verdict as a code and a status."""
    if isinstance(verdict, Refusal):
        return verdict.code, verdict.status
    return "accepted", 204 if verdict is None else 200


def _told(request: Request, admission: Admission) -> Request:
    """A request as the application's functions are told it."""
    return replace(request, params=admission.params, identity=admission.identity)


def _tell(sink: Sink, send: Send, server: str, *, meant: bool) -> None:
    """Say once how events go out, and where they need not cost as much."""
    if not isinstance(sink, TaskSink):
        text = "streams take their connections over from %s: %s"
        logger.info(text, server or "uvicorn", TAKEN_OVER, extra=about("taken-over", server=server))
    elif meant and "uvicorn" in server and not is_own(send):
        logger.warning(
            "streams go through the middlewares around the edge: %s, of app = SSEMiddleware(app, …) outside "
            "of them",
            WRAPPED,
            extra=about("wrapped", server=server),
        )
    else:
        logger.info(
            "streams go through the server's send%s: %s, of a connection that is taken over from uvicorn",
            f", {server}" if server else "",
            SENT,
            extra=about("sent", server=server),
        )
    if found := measurers(send):
        said = ", ".join(found)
        logger.warning(MEASURED, said, extra=about("measured", detail=said))


def _head(headers: Headers, admission: Admission, wait: float | None, told: bool) -> Headers:
    """The head of a stream, or of the answer to a poll; with whose it is if its client is to be ``told``."""
    if told:
        headers = [*headers, (b"edge-identity", admission.identity.mark.encode())]
    if wait is not None:
        return [JSON, *NO_STORE, *headers]
    return [*STREAM_HEADERS, *headers, *_coding(admission)]


def _coding(admission: Admission) -> Headers:
    """What a stream's head says of how it is coded."""
    if not admission.varies:
        return []
    vary = (b"vary", b"accept-encoding")
    return [vary, (b"content-encoding", b"gzip")] if admission.compress else [vary]
