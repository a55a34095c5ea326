"""The door: one edge's life and figures, and which requests are whose; it owns no policy."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from .admission.address import TrustedProxies
from .admission.authenticator import Authenticator, authenticator
from .admission.backoff import Backoff
from .admission.gate import Authorize, Gate
from .admission.limits import ConnectRate, Limits, SharedConnectRate
from .admission.origin import OriginPolicy
from .admission.polling import Polling
from .admission.publish_gate import PublishGate
from .admission.publish_token import Verifier
from .admission.routes import ChannelMap, Routes
from .admission.secret import Secret
from .admission.status_token import StatusToken
from .asgi import ASGIApp, Receive, Request, Scope, Send, mounted_path, refuse, route_path
from .backends import open_backend
from .backends.base import Backend, Leases
from .client.script import Script
from .delivery.backlog import Bounds
from .delivery.hub import Hub
from .delivery.lifetime import Lifetime
from .delivery.transport import takes_over
from .errors import ConfigError
from .event import MAX_EVENT_BYTES, check_most
from .figures import Figures, accumulated
from .lifespan import NEEDS_ASYNCIO, Lifespan, has_loop
from .outcome import NOT_FOUND
from .paths import Paths
from .posting.posting import Publishing
from .publishing.orders import check_one_of
from .publishing.writer import give_up
from .status.report import Reporter, application, kept
from .status.status import Status
from .streams.opening import hold
from .streams.streams import Streams
from .terms import Terms
from .worker import Worker, check_seconds

NOTHING = {"connected": False, "streams": 0, "opened": 0, "delivered": 0, "endings": {}, "dropped": {}}
"""What is counted before there is a worker."""


class SSEMiddleware:
    """Wraps an ASGI app and answers everything under ``path`` with event streams.

    - ``app``: any ASGI 3 app, or None to stand alone, or mounted in one: at ``path`` (or where it does not
      matter, with the path ``/``), so that paths are the same as outside.
    - ``backend``: where events come from, as a URL (``memory://``, ``redis://…``) or a backend object.
    - ``auth``: ``SignedCookie(…)``, ``Anonymous()``, ``AnyOf(…)``, or any other ``Authenticator``;
      revocations last for the ``max_age`` seconds that it says its sessions live.
    - ``channels``: path template → channel template(s), or a callable taking the Request; see
      docs/CHANNELS.md.
    - ``authorize``: ``(identity, channel) -> bool``, sync (run in a thread) or async, asked for every channel
      that neither the template nor the cookie's patterns already allow; or ``(identity, channel, values)``,
      to be told what the channel's template was filled with, by placeholder.
    - ``origins``: origins that may connect besides the request's own.
    - ``hosts``: if given, the only Host values answered, and if not, then any, but that with ``Anonymous()``
      a request over loopback which names another host and this server's own port is refused, unless a trusted
      proxy passed it on: it may be a rebound page's.
    - ``missing_origin``: ``"allow"`` or ``"refuse"`` requests that have neither Origin nor Sec-Fetch-Site, as
      curl and plain-http pages send them.
    - ``allow_headers``: request headers that pages of ``origins`` may add, such as ``authorization`` for
      ``BearerJWT``.
    - ``limits``: caps.
    - ``trusted_proxies``: networks (or ``"unix"``) whose X-Forwarded-For is believed.
    - ``ipv6_prefix``: how many bits of an IPv6 address make one client.
    - ``keep_alive``, ``max_duration``, ``retry``, ``reauthorize_every``: seconds; None, but for
      ``retry``, is without an end, or never.
    - ``drain_window``: seconds over which SIGTERM ends the open streams.
    - ``status_path``: where ``live``, ``ready`` and ``metrics`` are (None: nowhere), for peers in
      ``status_allow``, or for whoever has the ``status_token``, a secret or a list of several, as
      ``Authorization: Bearer …``, through proxies too; see deploy/METRICS.md.
    - ``refusals``: how a 429 or 503 is said: ``"status"``, ``"stream"`` (200 with an ``edge-refused`` event,
      which an EventSource survives), or ``"auto"``: as a stream to whoever accepts one.
    - ``on_backend_down``: ``"refuse"`` new streams while the backend is away, or ``"accept"`` them, to be
      silent until it is back.
    - ``max_unsent``, ``max_unsent_age``: bytes that may wait for one client, and seconds that a byte may,
      before its stream ends as ``slow`` (an age of None: for ever).
    - ``max_event_bytes``: of an encoded event, 1,024 to 262,144, wherever one is taken here: from a request
      to publish, a ``Source``, a greeting, and whoever may only PUBLISH; a ``Publisher`` has a setting of its
      own.
    - ``query_cursor``: also take the last event's id from the query, as ``last_event_id``, ``lastEventId`` or
      ``lastEventID``; without it a stream that has one there begins with a reset.
    - ``client_path``: where pages import the client from, a name below ``path`` or a path (None: nowhere);
      ``client_url`` is the same with the hash of its text, to be kept for good; see docs/CLIENT.md.
    - ``poll_wait``: seconds that a poll waits for something to happen, unless it says so itself.
    - ``joins``: whether a request may ask for other URLs under ``path`` besides, on the same response.
    - ``publish_path``: where programs in any language POST events as JSON (None: nowhere); ``publish_auth``,
      a ``PublishToken(…)`` or any other ``Verifier``, says which channels their tokens are good for.

    Raises ConfigError, naming field and value, for any setting it cannot work with.
    """

    _hub: Hub | None = None
    _past: Figures = MappingProxyType({})
    """Of the newest worker, and what those before it have counted in this process."""

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
        allow_headers: Sequence[str] = (),
        limits: Limits | None = None,
        trusted_proxies: Sequence[str] = (),
        ipv6_prefix: int = 64,
        keep_alive: float | None = 15.0,
        max_duration: float | None = 1800.0,
        retry: float = 3.0,
        max_unsent: int = 1_048_576,
        max_unsent_age: float | None = 30.0,
        max_event_bytes: int = MAX_EVENT_BYTES,
        query_cursor: bool = True,
        poll_wait: float = 25.0,
        joins: bool = True,
        reauthorize_every: float | None = 300.0,
        drain_window: float = 10.0,
        refusals: Literal["auto", "status", "stream"] = "auto",
        on_backend_down: Literal["refuse", "accept"] = "refuse",
        status_path: str | None = None,
        status_allow: Sequence[str] = ("127.0.0.0/8", "::1", "unix"),
        status_token: Secret | None = None,
        publish_path: str | None = None,
        publish_auth: Verifier | None = None,
        client_path: str | None = "sse-edge.js",
    ) -> None:
        self._lifespan = Lifespan(app, self.start, self._shut_down)
        self.app = app
        self.auth = authenticator(auth)
        self.path = path
        # What wraps nothing may be mounted in another app, also at just this path.
        self._path_of = route_path if app is not None else partial(mounted_path, own=path)
        routes = Routes(path, channels, anonymous=getattr(auth, "anonymous", False))
        terms = Terms(refusals, on_backend_down, query_cursor, joins)
        limits = Limits.of(limits)
        self._lifetime = Lifetime(keep_alive, max_duration, retry, reauthorize_every)
        self._drain_window = check_seconds("drain_window", drain_window)
        self._bounds = Bounds(max_unsent, max_unsent_age)
        self._most = check_most(max_event_bytes)
        polling = Polling(poll_wait)
        origin = OriginPolicy(origins, hosts=hosts, missing=missing_origin, allow_headers=allow_headers)
        proxies = TrustedProxies(trusted_proxies, ipv6_prefix=ipv6_prefix)
        self._backend, self._backend_owned = open_backend(backend)
        routes.check_first(self._backend.depth)
        self._leases: Leases = self._backend.leases()
        windows = self._backend.windows()
        self._gate = Gate(
            auth=self.auth,
            routes=routes,
            origin=origin,
            proxies=proxies,
            limits=limits,
            leases=self._leases,
            authorize=authorize,
            query_cursor=query_cursor,
            windows=windows,
        )
        self._streams = Streams(
            self._gate,
            routes,
            self._leases,
            terms,
            bounds=self._bounds,
            max_event_bytes=self._most,
            backoff=Backoff(retry),
            polling=polling,
            handover=takes_over(os.environ.get("SSE_EDGE_SINK", "auto")),
            path_of=self._path_of,
        )
        self._status = self._opened_status(status_path, status_allow, status_token, proxies)
        self._publishing: Publishing | None = None
        if publish_path is not None or publish_auth is not None:
            rate = SharedConnectRate(ConnectRate(limits.publishes), windows, what="publishes")
            publish_gate = PublishGate(publish_auth, proxies, guesses=self._gate.rate, rate=rate)
            if publish_path is not None:
                self._publishing = Publishing(publish_path, publish_gate, self._backend, self._most)
        self._script = Script(client_path, path)
        Paths(path, status_path, publish_path).check_client(self._script.path, client_path, routes)
        self._worker: Worker | None = None
        self._said = {
            "drain_window": drain_window,
            "keep_alive": keep_alive,
            "max_duration": max_duration,
            **kept(self._backend),
            "limits": asdict(limits),
            "trusted_proxies": list(trusted_proxies),
            "app": application(path, routes.plan, auth),
        }

    def _opened_status(
        self, path: str | None, allow: Sequence[str], tokens: Secret | None, proxies: TrustedProxies
    ) -> Status | None:
        if path is None:
            if tokens is not None:
                raise ConfigError("status_token", "is of no use without status_path", secret=True)
            return None
        token = None if tokens is None else StatusToken(tokens, proxies, guesses=self._gate.rate)
        return Status(
            path, allow, token=token, edge=self.path, ready=lambda: self.ready, figures=self.figures
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer streams, pass everything else on."""
        kind = scope["type"]
        path = self._path_of(scope) if kind == "http" else ""
        if kind == "http" and self._script.at(path):
            await self._script.answer(Request.of(scope, path), send)
        elif kind == "http" and self._streams.under(path):
            opened = await self._streams.answer(await self._started(), path, scope, receive, send)
            if opened is not None:
                # Out here the request, its headers and what decided about it are gone already.
                await hold(*opened)
        elif kind == "http" and self._status is not None and self._status.under(path):
            await self._started()
            await self._status.answer(Request.of(scope, path), send)
        elif kind == "http" and self._publishing is not None and self._publishing.at(path):
            await self._publishing.answer(await self._started(), path, scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif kind == "http":
            await refuse(send, NOT_FOUND, [])
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
            if self._status is not None:
                self._status.end()
        if self._backend_owned:
            await self._backend.close()

    async def _shut_down(self) -> None:
        # A server's process may end while its event loop runs, and then nothing else ends its writers.
        await give_up()
        await self.stop()

    async def drain(self, seconds: float) -> None:
        """Refuse new streams, and those that are not let in yet; end the open ones in random order over
        ``seconds``; return when all are gone.

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
        if not has_loop():
            raise RuntimeError(NEEDS_ASYNCIO)
        if self._hub is not None:  # what it has counted stays
            self._past = accumulated(self._past, self._hub.figures())
        self._worker = worker = Worker(
            self._backend,
            self._gate,
            self._leases,
            self._lifetime,
            bounds=self._bounds,
            max_event_bytes=self._most,
            drain_window=self._drain_window,
            reporter=Reporter(self.path, self._said, self.figures),
            labels=self._streams.labels,
        )
        self._hub = worker.hub
        await worker.start()
        if self._status is not None:
            self._status.begin()
        return worker

    # What is going on

    @property
    def backend(self) -> Backend:
        """Where events come from: what a ``Publisher`` of this process, or of a test, takes."""
        return self._backend

    @property
    def client_url(self) -> str | None:
        """Where pages import the client from, or None; it changes when the module does."""
        return self._script.url

    @property
    def refusals(self) -> Counter[str]:
        """How many requests were refused, by code."""
        return self._streams.refusals

    @property
    def ready(self) -> bool:
        """Whether new streams should be sent here: not draining, and events arrive."""
        worker = self._worker
        return worker is not None and not worker.hub.drain.begun and worker.hub.subscriber.connected

    def figures(self) -> dict[str, Any]:
        """This worker's figures, by the names of the catalogue in ``figures.py``: what was counted and
        measured in this process; of a label's values those that there were.

        ``degraded`` are the limits that count in this worker alone because Redis is away, and ``writes``
        while it takes none.  ``dropped`` are messages that were no events, by reason.
        """
        hub = self._hub
        counted = NOTHING if hub is None else hub.figures()
        return {
            **(accumulated(self._past, counted) if self._past else counted),
            "workers": int(self._worker is not None),
            "ready": self.ready,
            "refusals": dict(self.refusals),
            "admission": {outcome: each.told() for outcome, each in self._streams.admission.items()},
            "publishes": dict(self._publishing.outcomes) if self._publishing else {},
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
        return 0 if worker is None else worker.control.disconnect(user=user, channel=channel, session=session)
