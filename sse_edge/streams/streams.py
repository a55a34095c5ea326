"""Answering a request for a stream: what the gate says of it, in ASGI messages, or a stream of the hub."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

from ..admission.also import alone, asks_others, others, unjoinable
from ..admission.arrival import is_told
from ..admission.backoff import Backoff
from ..admission.gate import Admission, Gate
from ..admission.labels import Labels
from ..admission.polling import Polling, is_poll, malformed, tells_identity
from ..admission.routes import Routes
from ..admission.size import legible, oversized
from ..asgi import NO_STORE, Headers, Receive, Request, Scope, Send, answering, refuse, respond, respond_head
from ..backends.base import Leases
from ..delivery import frames
from ..delivery.backlog import Bounds
from ..delivery.joint import STRAND, Joint
from ..delivery.sink import Sink
from ..figures import SECONDS, Histogram
from ..outcome import DRAINING, FINISHED, NOT_FOUND, OVER, Refusal
from ..terms import Terms
from ..tracing import Traced, admission
from ..worker import Worker
from .entrant import Entrant
from .opening import Opened, Opening, hold
from .outlet import BY_ACCEPT, STREAM_HEADERS, Outlet, head_of


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
        self._outlet = Outlet(bounds, handover=handover)
        self._opening = Opening(
            gate,
            leases,
            max_event_bytes,
            self.admission["accepted"],
            accepts_blindly=terms.accepts_blindly,
        )
        self._backoff = backoff
        self._polling = polling
        self._terms = terms
        self._path_of = path_of

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
        refusal, wait, joined = oversized(request), None, False
        if refusal is not None:
            request = legible(request)
        else:
            wait, joined = self._polling.wait(request), self._terms.joins and asks_others(request)
            if wait is not None:
                refusal = malformed(request)
            if joined:
                refusal = refusal or unjoinable(request)
        headers = [*self._gate.headers(request), *closing, *([] if wait is None else BY_ACCEPT)]
        told = tells_identity(request)

        def head(admission: Admission) -> Headers:
            made = head_of(headers, admission, wait, told=told)
            if is_told(admission.identity):
                made = [*made, self._arrival(worker, scope, request, admission)]
            return made

        own = alone(request) if joined else request
        traced = self._traced(own)

        def begin(admission: Admission) -> Sink:
            sink = self._outlet.open(scope, receive, send, head(admission), wait, worker.server)
            return self._joined(worker, sink, request, scope, traced) if joined else sink

        with Entrant(worker, own, begin, began, wait=wait, joined=joined) as entrant:
            with traced:
                verdict = refusal or await self._decide(entrant)
                traced.tell(*_came_of(verdict))
            if isinstance(verdict, Opened):
                return verdict
            if isinstance(verdict, Refusal):
                self.admission["refused"].observe(entrant.waited)
                await self._refuse(worker, request, answer, verdict, headers)
            elif verdict is None:
                await respond(answer, 204, [*self._gate.preflight, *NO_STORE, *headers])
            else:
                await respond_head(answer, head(verdict))
            return None

    def _traced(self, request: Request, within: Traced | None = None) -> Traced:
        return admission(request.method, request.path, self._routes.template, request.headers, within)

    async def _decide(self, entrant: Entrant) -> Opened | Admission | Refusal | None:
        """Ask the gate, and open what it lets in, if the leash lasts."""
        worker, request = entrant.worker, entrant.request
        hub = worker.hub
        try:
            with entrant.leash:
                if not worker.control.is_informed:
                    await worker.control.informed()
                verdict = await self._gate.admit(
                    request, time.time(), streams=len(hub.streams), draining=hub.drain.begun
                )
                if not isinstance(verdict, Admission):
                    return verdict
                if entrant.joined:  # bytes that are compressed for one strand mean nothing beside another's
                    verdict = verdict._replace(varies=False, compress=False)
                return verdict if request.method == "HEAD" else await self._opening.open(entrant, verdict)
        except TimeoutError:
            if not entrant.leash.pulled:
                raise
            return DRAINING

    # Several URLs on one response

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
        request = asked if isinstance(wanted, Refusal) else wanted
        with Entrant(worker, request, lambda _: strand, time.monotonic(), joined=True) as entrant:
            verdict: Opened | Admission | Refusal | None
            if isinstance(wanted, Refusal):
                verdict = wanted
            else:
                with self._traced(wanted, within) as traced:
                    verdict = await self._decide(entrant)
                    traced.tell(*_came_of(verdict))
            if isinstance(verdict, Refusal):
                self.admission["refused"].observe(entrant.waited)
                strand.finish(self._told_inside(worker, request, verdict))
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

    # What is told

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


def _came_of(verdict: Opened | Admission | Refusal | None) -> tuple[str, int]:
    """A verdict as a code and a status."""
    if isinstance(verdict, Refusal):
        return verdict.code, verdict.status
    return "accepted", 204 if verdict is None else 200
