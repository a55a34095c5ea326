"""The door: translates ASGI into questions for the gate and streams for the hub, and owns no policy."""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from .admission.address import TrustedProxies
from .admission.backoff import Backoff
from .admission.cookies import Authenticator
from .admission.gate import Admission, Authorize, Gate
from .admission.limits import Limits
from .admission.origin import PREFLIGHT, OriginPolicy
from .admission.polling import Polling, is_poll, malformed
from .admission.routes import ChannelMap, Routes
from .admission.size import legible, oversized
from .asgi import ASGIApp, Headers, Receive, Request, Scope, Send, answering, respond, route_path
from .backends import open_backend
from .backends.base import Backend, Leases
from .delivery import frames
from .delivery.answer import Answer
from .delivery.backlog import Bounds
from .delivery.framing import unframed
from .delivery.hub import Hub
from .delivery.lifetime import Lifetime
from .delivery.sink import Sink
from .delivery.stream import Stream
from .delivery.transport import open_sink, takes_over
from .errors import BackendError, ConfigError
from .event import Place
from .lifespan import Lifespan
from .outcome import BACKEND_DOWN, ERROR, METHOD, NOT_FOUND, OVER, Refusal
from .publisher import check_one_of
from .status import Status
from .worker import Worker, check_seconds
from .writer import give_up

JSON = (b"content-type", b"application/json")
BY_ACCEPT: Headers = [(b"vary", b"Accept")]
NO_STORE: Headers = [(b"cache-control", b"no-store, no-transform"), (b"x-content-type-options", b"nosniff")]
STREAM_HEADERS: Headers = [(b"content-type", b"text/event-stream"), *NO_STORE, (b"x-accel-buffering", b"no")]


class Opened(NamedTuple):
    """A stream that hears its channels, before its first byte; ``blind`` while the backend is away."""

    hub: Hub
    stream: Stream
    cursor: Place | None
    first: Mapping[str, int]
    blind: bool


class SSEMiddleware:
    """Wraps an ASGI app and answers everything under ``path`` with event streams.

    ``app``: any ASGI 3 app, or None to stand alone.
    ``backend``: where events come from, as a URL (``memory://``, ``redis://…``) or a backend object.
    ``auth``: ``SignedCookie(…)``, ``Anonymous()``, or any object with ``identify(request, now)``, and
    ``max_age``, seconds, where its sessions end: revocations last that long.
    ``channels``: path template → channel template(s), or a callable taking the Request; see README.
    ``authorize``: ``(identity, channel) -> bool``, sync (run in a thread) or async, asked for every
    channel that neither the template nor the cookie's patterns already allow; or ``(identity, channel,
    values)``, to be told what the channel's template was filled with, by placeholder.
    ``origins``: origins that may connect besides the request's own; ``hosts``: if given, the only
    Host values answered, and if not, then any, but that with ``Anonymous()`` a request over loopback
    which names another host and this server's own port is refused, unless a trusted proxy passed it on:
    it may be a rebound page's; ``missing_origin``: ``"allow"`` or ``"refuse"`` requests that have neither
    Origin nor Sec-Fetch-Site, as curl and plain-http pages send them.
    ``limits``: caps; ``trusted_proxies``: networks (or ``"unix"``) whose X-Forwarded-For is believed;
    ``ipv6_prefix``: how many bits of an IPv6 address make one client.
    ``keep_alive``, ``max_duration``, ``retry``, ``reauthorize_every``: seconds; see ``Lifetime``.
    ``drain_window``: seconds over which SIGTERM ends the open streams.
    ``status_path``: where ``live``, ``ready`` and ``metrics`` are (None: nowhere), for peers in
    ``status_allow``; see ``Status``.
    ``refusals``: how a 429 or 503 is said: ``"status"``, ``"stream"`` (200 with an ``edge-refused``
    event, which an EventSource survives), or ``"auto"``: as a stream to whoever accepts one.
    ``on_backend_down``: ``"refuse"`` new streams while the backend is away, or ``"accept"`` them, to be
    silent until it is back.
    ``max_unsent``, ``max_unsent_age``: bytes that may wait for one client, and seconds that a byte may,
    before its stream ends as ``slow``; see ``Bounds``.
    ``query_cursor``: also accept Last-Event-ID as the query parameter ``last_event_id``.
    ``poll_wait``: seconds that a poll waits for something to happen, unless it says so itself.

    Raises ConfigError, naming field and value, for any setting it cannot work with.
    """

    def __init__(
        self,
        app: ASGIApp | None = None,
        *,
        backend: str | Backend = "memory://",
        auth: Authenticator | None = None,
        channels: ChannelMap | None = None,
        path: str = "/events",
        authorize: Authorize | None = None,
        origins: Sequence[str] = (),
        hosts: Sequence[str] | None = None,
        missing_origin: Literal["allow", "refuse"] = "allow",
        limits: Limits | None = None,
        trusted_proxies: Sequence[str] = (),
        ipv6_prefix: int = 64,
        keep_alive: float | None = 15.0,
        max_duration: float | None = 1800.0,
        retry: float = 3.0,
        max_unsent: int = 1_048_576,
        max_unsent_age: float | None = 30.0,
        query_cursor: bool = False,
        poll_wait: float = 25.0,
        reauthorize_every: float | None = 300.0,
        drain_window: float = 10.0,
        refusals: Literal["auto", "status", "stream"] = "auto",
        on_backend_down: Literal["refuse", "accept"] = "refuse",
        status_path: str | None = None,
        status_allow: Sequence[str] = ("127.0.0.0/8", "::1", "unix"),
    ) -> None:
        if app is not None and not callable(app):
            raise ConfigError("app", "must be an ASGI app or None", app)
        if auth is None or isinstance(auth, type) or not hasattr(auth, "identify"):
            raise ConfigError("auth", "must be SignedCookie(…), Anonymous() or have an identify method", auth)
        if channels is None:
            raise ConfigError("channels", "must map paths to channels", channels)
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigError("limits", "must be Limits(…)", limits)
        if missing_origin not in ("allow", "refuse"):
            raise ConfigError("missing_origin", 'must be "allow" or "refuse"', missing_origin)
        if refusals not in ("auto", "status", "stream"):
            raise ConfigError("refusals", 'must be "auto", "status" or "stream"', refusals)
        if on_backend_down not in ("refuse", "accept"):
            raise ConfigError("on_backend_down", 'must be "refuse" or "accept"', on_backend_down)
        if not isinstance(query_cursor, bool):
            raise ConfigError("query_cursor", "must be True or False", query_cursor)
        self.app = app
        self.path = path
        self.refusals: Counter[str] = Counter()
        self._lifetime = Lifetime(keep_alive, max_duration, retry, reauthorize_every)
        self._drain_window = check_seconds("drain_window", drain_window)
        self._polling = Polling(poll_wait)
        self._said_as = refusals
        self._accepts_blindly = on_backend_down == "accept"
        self._backoff = Backoff(retry)
        self._handover = takes_over(os.environ.get("SSE_EDGE_SINK", "auto"))
        self._bounds = Bounds(max_unsent, max_unsent_age)
        self._routes = Routes(path, channels, anonymous=getattr(auth, "anonymous", False))
        self._backend, self._backend_owned = open_backend(backend)
        self._routes.check_first(self._backend.depth)
        self._leases: Leases = self._backend.leases()
        self._gate = Gate(
            auth=auth,
            routes=self._routes,
            origin=OriginPolicy(origins, hosts=hosts, missing=missing_origin),
            proxies=TrustedProxies(trusted_proxies, ipv6_prefix=ipv6_prefix),
            limits=limits or Limits(),
            leases=self._leases,
            authorize=authorize,
            query_cursor=query_cursor,
            windows=self._backend.windows(),
        )
        self._lifespan = Lifespan(app, self.start, self._shut_down)
        self._status = None if status_path is None else Status(status_path, status_allow)
        self._worker: Worker | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer streams, pass everything else on."""
        kind = scope["type"]
        if kind == "http" and self._routes.under(route_path(scope)):
            opened = await self._answer(scope, receive, send)
            if opened is not None:
                # Out here the request, its headers and what decided about it are gone already.
                await self._hold(*opened)
        elif kind == "http" and self._status is not None and self._status.under(route_path(scope)):
            await self._started()
            await self._status.answer(Request.of(scope), send, self.figures())
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif kind == "http":
            await _refuse(send, NOT_FOUND, [])
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    # Life

    async def start(self) -> None:
        """Begin to listen to the backend.

        Runs by itself at the server's start-up, or else at the first request.  Does not wait for the
        backend to be there.
        """
        await self._started()

    async def stop(self) -> None:
        """End every stream and let go of the backend."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()
        if self._backend_owned:
            await self._backend.close()

    async def _shut_down(self) -> None:
        # A server's process may end while its event loop runs, and then nothing else ends its writers.
        await give_up()
        await self.stop()

    async def drain(self, seconds: float) -> None:
        """Refuse new streams, end the open ones in random order over ``seconds``; return when all are gone.

        What SIGTERM does by itself, over ``drain_window``.
        """
        worker = await self._started()
        await worker.hub.drain(check_seconds("seconds", seconds))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _started(self) -> Worker:
        # A test client may use a new loop for every request; a worker lives on the one it began on.
        if self._worker is not None and self._worker.is_here:
            return self._worker
        if self._worker is not None:
            self._worker.forget()
        self._worker = worker = Worker(
            self._backend,
            self._gate,
            self._leases,
            self._lifetime,
            bounds=self._bounds,
            drain_window=self._drain_window,
        )
        await worker.start()
        return worker

    # What is going on

    @property
    def ready(self) -> bool:
        """Whether new streams should be sent here: not draining, and events arrive."""
        worker = self._worker
        return worker is not None and not worker.hub.draining and worker.hub.subscriber.connected

    def figures(self) -> dict[str, Any]:
        """This worker's figures: open streams, opened ever, events written, refusals, endings.

        ``degraded`` are the limits that count in this worker alone because Redis is away, and ``writes``
        while it takes none.  ``dropped`` are messages that were no events; see ``Subscriber.dropped``.
        """
        hub = self._worker.hub if self._worker else None
        return {
            "connected": hub is not None and hub.subscriber.connected,
            "ready": self.ready,
            "streams": len(hub.streams) if hub else 0,
            "opened": hub.opened if hub else 0,
            "delivered": hub.delivered if hub else 0,
            "refusals": dict(self.refusals),
            "endings": dict(hub.endings) if hub else {},
            "dropped": hub.subscriber.dropped if hub else {},
            "degraded": [
                name
                for name, alone in (
                    ("leases", self._leases.degraded),
                    ("connect-rate", self._gate.rate.degraded),
                    ("writes", hub is not None and hub.subscriber.refused is not None),
                )
                if alone
            ],
        }

    def disconnect(
        self, *, user: str | None = None, channel: str | None = None, session: str | None = None
    ) -> int:
        """End this worker's streams of a user, on a channel or of a session; how many there were.

        ``Publisher.disconnect`` does it on every worker.
        """
        check_one_of(user=user, channel=channel, session=session)
        worker = self._worker
        return 0 if worker is None else worker.disconnect(user=user, channel=channel, session=session)

    # Requests

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Opened | None:
        worker = await self._started()
        request = Request.of(scope)
        answer, closing = answering(scope, request, receive, send)
        if self._routes.is_check(request.path) and request.first(b"x-forwarded-for") is None:
            await _refuse(answer, NOT_FOUND, closing)  # by a proxy, every second: no line in the log
            return None
        if not worker.is_informed:
            await worker.informed()
        hub = worker.hub
        refusal, wait = oversized(request), None
        if refusal is not None:
            request = legible(request)
        else:
            refusal, wait = malformed(request), self._polling.wait(request)
        headers = [*self._gate.headers(request), *closing, *([] if wait is None else BY_ACCEPT)]
        verdict = refusal or await self._gate.admit(
            request, time.time(), streams=len(hub.streams), draining=hub.draining
        )
        if verdict is None:
            await respond(answer, 204, [*PREFLIGHT, *NO_STORE, *headers])
        elif isinstance(verdict, Refusal):
            await self._refuse(worker, request, answer, verdict, headers)
        elif request.method == "HEAD":
            # Not respond(): a stream has no Content-Length, so neither has its HEAD.
            head = _head(headers, verdict, wait)
            await answer({"type": "http.response.start", "status": 200, "headers": head})
            await answer({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            sink = self._sink(scope, receive, send, _head(headers, verdict, wait), wait)
            opened = None
            try:
                opened = await self._open(worker, verdict, sink, request.path, wait)
            finally:
                if not isinstance(opened, Opened):
                    self._leases.release(verdict.subjects)
            if isinstance(opened, Opened):
                return opened
            await self._refuse(worker, request, answer, opened, headers)
        return None

    def _sink(self, scope: Scope, receive: Receive, send: Send, head: Headers, wait: float | None) -> Sink:
        if wait is not None:
            return Answer(send, receive, head, self._bounds.age)
        return open_sink(unframed(scope, send), receive, head, handover=self._handover)

    async def _open(
        self, worker: Worker, admission: Admission, sink: Sink, path: str, wait: float | None
    ) -> Opened | Refusal:
        hub, identity = worker.hub, admission.identity
        now = time.time()
        refusal = self._gate.changed(admission, now, streams=len(hub.streams), draining=hub.draining)
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
            path,
            compress=admission.compress and wait is None,
            wait=wait,
            cursor=admission.cursor,
        )
        # Only who would never come back is let in without events.
        accepts_blindly = self._accepts_blindly and wait is None
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
        worker.watch(stream, admission)
        return Opened(hub, stream, admission.cursor, admission.first, blind)

    async def _hold(
        self, hub: Hub, stream: Stream, cursor: Place | None, first: Mapping[str, int], blind: bool
    ) -> None:
        """Open it, for as long as that takes the request's own task; when it is over the hub is told."""
        try:
            # The first bytes do not wait for history, so that no proxy holds the headers back.
            await stream.begin_response(hub.greeting())
            if blind:
                hub.catch_up_later(stream, cursor, first)
            else:
                await hub.catch_up(stream, cursor, first)
            await stream.sink.run()
        except BaseException:
            hub.close_stream(stream, ERROR)
            stream.sink.abort()
            raise

    async def _refuse(
        self, worker: Worker, request: Request, send: Send, refusal: Refusal, headers: Headers
    ) -> None:
        self.refusals[refusal.code] += 1
        worker.refusals.tell(request.method, request.path, refusal, self._gate.address(request))
        if refusal.retry_after is None:
            await _refuse(send, refusal, headers)
            return
        wait = self._backoff.wait(self._gate.key(request, refusal), time.monotonic(), random.random())
        accepts = any("text/event-stream" in accept.lower() for accept in request.all(b"accept"))
        streams = self._said_as == "stream" or (self._said_as == "auto" and accepts)
        if request.method == "GET" and streams and not is_poll(request):
            body = frames.refused(refusal, max(1, round(wait * 1000)))
            await respond(send, 200, [*STREAM_HEADERS, *headers], body)
        else:
            await _refuse(send, replace(refusal, retry_after=max(refusal.retry_after, wait)), headers)


def _head(headers: Headers, admission: Admission, wait: float | None) -> Headers:
    """The head of a stream, or of the answer to a poll."""
    if wait is not None:
        return [JSON, *NO_STORE, *headers]
    return [*STREAM_HEADERS, *headers, *_coding(admission)]


def _coding(admission: Admission) -> Headers:
    """What a stream's head says of how it is coded."""
    if not admission.varies:
        return []
    vary = (b"vary", b"accept-encoding")
    return [vary, (b"content-encoding", b"gzip")] if admission.compress else [vary]


async def _refuse(send: Send, refusal: Refusal, headers: Headers) -> None:
    if refusal.status == OVER.status:  # which has no body
        await respond(send, refusal.status, [*NO_STORE, *headers])
        return
    head: Headers = [JSON, *NO_STORE, *headers]
    if refusal.retry_after is not None:
        head.append((b"retry-after", b"%d" % max(1, math.ceil(refusal.retry_after))))
    if refusal.status == METHOD.status:
        head.append((b"allow", b"GET, HEAD, OPTIONS"))
    await respond(send, refusal.status, head, refusal.body())
