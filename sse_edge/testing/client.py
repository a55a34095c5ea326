"""A client of an app within its process: streams that do not hang, and plain requests beside them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from asgiref.sync import sync_to_async

from ..admission.authenticator import blocks
from ..asgi import ASGIApp, Headers, Scope
from ..errors import ConfigError
from ..jsontext import dump
from .edges import edges
from .exchange import UNREAD, Exchange
from .life import Life
from .response import Response, keep_cookies
from .stream import Stream

_UNSET: Any = object()
_PORTS = count(40_000)

Pairs = Mapping[str, str] | Iterable[tuple[str, str]]


class Client:
    """Asks an ASGI app as a browser would ask its server: ``async with client(app) as c``.

    - ``app``: any ASGI app that holds an ``SSEMiddleware``, or is one.  Its lifespan runs from the beginning
      to the end of the block, unless ``lifespan`` is False, and then every edge in it has stopped; so each
      test may have an event loop of its own.
    - ``cookies``, ``headers``: what each request says.  Cookies that answers set are kept.
    - ``user``: who each request is signed in as, by the app's own authenticator, to read ``channels``
      (patterns) besides; in one session, which begins with the first of them.
    - ``base_url``: scheme and Host.
    - ``peer``: the client's address.
    - ``timeout``: seconds for whatever says none itself, the app's start-up and its shutdown too; longer than
      Redis is waited for by default, so that what the app makes of that is heard.
    - ``raise_app_exceptions``: whether what the app raises is raised in the test.

    Raises ConfigError for a ``user`` whom nobody can sign in: the app has no edge, or its authenticator no
    ``headers_for``.  The block raises TimeoutError where a step of the lifespan takes longer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        user: str | None = None,
        channels: Sequence[str] = (),
        cookies: Mapping[str, str] | None = None,
        headers: Pairs = (),
        base_url: str = "http://localhost",
        peer: str = "127.0.0.1",
        timeout: float = 15.0,
        lifespan: bool = True,
        raise_app_exceptions: bool = True,
    ) -> None:
        if not callable(app):
            raise ConfigError("app", "must be an ASGI app", app)
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("base_url", "must be http(s)://host[:port]", base_url)
        self.app = app
        self.cookies: dict[str, str] = dict(cookies or {})
        self._user = user
        self._channels = channels
        self._headers = _pairs(headers)
        self._host = parts.netloc
        self._scheme = parts.scheme
        self._server = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self._peer = peer
        self._timeout = timeout
        self._life = Life(app, timeout) if lifespan else None
        self._tells = raise_app_exceptions
        self._begun: list[Exchange] = []
        self._signed_in: dict[tuple[str, ...], Headers] = {}

    async def __aenter__(self) -> Self:
        if self._life is not None:
            try:
                await self._life.start()
            except BaseException:
                await self._stop_edges()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for exchange in self._begun:
                await exchange.close()
        finally:
            try:
                if self._life is not None:
                    await self._life.stop()
            finally:
                await self._stop_edges()

    async def _stop_edges(self) -> None:
        # A mounted app hears of no lifespan, and one edge begins by itself with its first request.
        for edge in edges(self.app):
            await edge.stop()

    def stream(
        self,
        path: str,
        *,
        after: Any = None,
        user: str | None = None,
        channels: Sequence[str] = (),
        cookies: Mapping[str, str] | None = None,
        headers: Pairs = (),
        timeout: float | None = None,
        edge_events: bool = False,
    ) -> Stream:
        """A stream of ``path``, which may have a query: ``async with c.stream(path) as stream``.

        It is open, and hears what is published, when the block is entered.  ``after``: the Last-Event-ID to
        come back with, or an event that has it as ``id``.  ``user`` and the others as for the client, for
        this stream alone.  ``timeout``: seconds that the stream's methods wait where they are not told.
        ``edge_events``: give the edge's own events, ``edge-…``, among the others.

        Entering raises RefusedError where there is no stream.
        """
        after = getattr(after, "id", after)
        said = [(b"accept", b"text/event-stream"), (b"cache-control", b"no-store"), *_pairs(headers)]
        if after is not None:
            said.append((b"last-event-id", str(after).encode()))
        if not {b"origin", b"sec-fetch-site"} & {name for name, _ in [*self._headers, *said]}:
            said.append((b"sec-fetch-site", b"same-origin"))  # as a page of the app's own

        async def begin() -> Exchange:
            return await self._begin("GET", path, said, b"", user, channels, cookies, unread=UNREAD)

        return Stream(
            path,
            begin,
            timeout=self._timeout if timeout is None else timeout,
            after=str(after or ""),
            edge_events=edge_events,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = _UNSET,
        data: Mapping[str, str] | bytes | str | None = None,
        user: str | None = None,
        channels: Sequence[str] = (),
        cookies: Mapping[str, str] | None = None,
        headers: Pairs = (),
        timeout: float | None = None,
    ) -> Response:
        """The app's whole answer to a request, on the event loop of the test; what it does afterwards, such
        as a background task, goes on, and the client waits for it when its block is left.

        ``json``: a body of JSON; ``data``: a body, or a mapping that a form sends.  The others as for
        ``stream``.  A request that is given a stream is left, and raises RuntimeError: ``stream`` is for
        those.  Raises TimeoutError, and what the app raises.
        """
        said = _pairs(headers)
        body = b""
        if json is not _UNSET:
            body = dump(json).encode()
            said.append((b"content-type", b"application/json"))
        elif isinstance(data, Mapping):
            body = urlencode(data).encode()
            said.append((b"content-type", b"application/x-www-form-urlencoded"))
        elif data is not None:
            body = data.encode() if isinstance(data, str) else data
        if body or method in ("POST", "PUT", "PATCH"):
            said.append((b"content-length", b"%d" % len(body)))
        exchange = await self._begin(method, path, said, body, user, channels, cookies)
        try:
            return await self._answer(exchange, f"{method} {path}", timeout, head=method == "HEAD")
        finally:
            if not exchange.complete:
                await exchange.close()

    async def get(self, path: str, **options: Any) -> Response:
        """See ``request``."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Response:
        """See ``request``."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Response:
        """See ``request``."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> Response:
        """See ``request``."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Response:
        """See ``request``."""
        return await self.request("DELETE", path, **options)

    async def _answer(self, exchange: Exchange, what: str, timeout: float | None, *, head: bool) -> Response:
        timeout = self._timeout if timeout is None else timeout

        def there() -> bool:
            return exchange.complete or _is_stream(exchange)

        try:
            whole = await exchange.wait(there, timeout)
        except TimeoutError:
            raise TimeoutError(f"{what}: waited {timeout} s for the whole answer") from None
        if _is_stream(exchange) and not head:
            raise RuntimeError(f"{what} is answered with a stream: open it with stream(…)")
        if not whole and not exchange.complete:
            raise RuntimeError(f"{what}: the app returned without a whole answer")
        if (exchange.status or 0) >= 500:  # Starlette answers, and raises then
            await exchange.returned(timeout)
        keep_cookies(exchange.headers, self.cookies)
        # RFC 9110, section 9.3.2: whatever the app sends as a body, a server sends none.
        return Response(exchange.status or 0, exchange.headers, b"" if head else exchange.take())

    async def _begin(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        user: str | None,
        channels: Sequence[str],
        cookies: Mapping[str, str] | None,
        *,
        unread: int | None = None,
    ) -> Exchange:
        said = [*self._headers, *headers, *await self._signed(user, channels)]
        kept = [value for name, value in said if name == b"cookie"]
        kept += [f"{name}={value}".encode() for name, value in {**self.cookies, **(cookies or {})}.items()]
        said = [(b"host", self._host.encode()), *((name, value) for name, value in said if name != b"cookie")]
        if kept:
            said.append((b"cookie", b"; ".join(kept)))
        scope = self._scope(method, path, said)
        exchange = Exchange(self.app, scope, body, unread=unread, tells=self._tells)
        self._begun = [*(each for each in self._begun if not each.done), exchange]
        return exchange

    def _scope(self, method: str, path: str, headers: Headers) -> Scope:
        path, _, query = path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": self._scheme,
            "path": unquote(path),
            "raw_path": quote(path, safe="/%:@!$&'()*+,;=~").encode(),
            "query_string": quote(query, safe="/%:@!$&'()*+,;=~?").encode(),
            "root_path": "",
            "headers": headers,
            "client": (self._peer, next(_PORTS)),
            "server": self._server,
            "state": {} if self._life is None else self._life.state.copy(),
        }

    async def _signed(self, user: str | None, channels: Sequence[str]) -> Headers:
        """The headers of whoever is to be signed in."""
        if user is None:
            user, channels = self._user, channels or self._channels
        if user is None:
            return []
        as_whom = (user, *channels)
        if as_whom not in self._signed_in:  # once, as a browser has one session
            self._signed_in[as_whom] = await self._sign_in(user, channels)
        return self._signed_in[as_whom]

    async def _sign_in(self, user: str, channels: Sequence[str]) -> Headers:
        found = edges(self.app)
        if not found:
            raise ConfigError("user", "no SSEMiddleware is found in the app: give cookies or headers", user)
        auth = found[0].auth
        headers_for = getattr(auth, "headers_for", None)
        if headers_for is None or getattr(auth, "anonymous", False):
            why = f"{type(auth).__name__} has no headers_for to sign anybody in: give cookies or headers"
            raise ConfigError("user", why, user)
        if blocks(auth):
            headers_for = sync_to_async(headers_for)
        made = headers_for(user, channels)
        return list(await made if inspect.isawaitable(made) else made)


client = Client


def _is_stream(exchange: Exchange) -> bool:
    return (
        exchange.status == 200
        and not exchange.complete
        and exchange.header("content-type").startswith("text/event-stream")
    )


def _pairs(headers: Pairs) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
