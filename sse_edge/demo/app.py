"""The demo's application: a plain ASGI app, with SSEMiddleware around it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..admission.cookies import SignedCookie
from ..admission.origin import OriginPolicy, own_origin
from ..asgi import Receive, Request, Scope, Send
from ..errors import BackendError, PublishError
from ..identity import Identity
from ..middleware import SSEMiddleware
from ..publishing.publisher import Publisher
from .attempts import Attempts, send
from .http import File, answer, form, go_to
from .people import PEOPLE, Person
from .story import Story

SIGNED_IN_SECONDS = 43_200
MAX_TEXT = 200
EVERYONE = "everyone"

Form = dict[str, str]
Handler = Callable[[Person, Form, Scope, Send], Awaitable[None]]


def create_app(backend: str, secret: str, *, hosts: Sequence[str] | None = None) -> SSEMiddleware:
    """The demo on a backend, given as a URL; ``secret`` signs its cookies.

    ``hosts`` are the names that it answers to, if not to any.
    """
    auth = SignedCookie(secret, max_age=SIGNED_IN_SECONDS, secure=False)  # http://127.0.0.1 has no TLS
    events = Publisher(backend)
    own = OriginPolicy(hosts=hosts, missing="refuse")
    pages = Pages(auth, events, own, on_redis=not backend.startswith("memory:"))
    edge = SSEMiddleware(
        pages,
        backend=backend,
        auth=auth,
        channels={
            "/events/orders/{order_id}": ["order:{order_id}", "user:{user}", "shop", "figures"],
            "/events/me": ["user:{user}", "shop", "figures"],
        },
        authorize=may_read,
        hosts=hosts,
    )
    pages.attach(edge)
    return edge


async def may_read(identity: Identity, channel: str) -> bool:
    """Whether this is the user's own order, or something for everyone."""
    person = PEOPLE.get(identity.user or "")
    return person is not None and channel == f"order:{person.order}"


class Pages:
    """Everything but the streams: the page, signing in, and the buttons."""

    def __init__(
        self, auth: SignedCookie, events: Publisher, same_origin: OriginPolicy, *, on_redis: bool
    ) -> None:
        self._auth = auth
        self._events = events
        self._on_redis = on_redis
        self._same_origin = same_origin
        self._attempts = Attempts(auth, SIGNED_IN_SECONDS)
        self._actions: dict[str, Handler] = {
            "/publish": self._publish,
            "/job": self._start_job,
            "/drop": self._drop,
            "/try": self._try,
        }

    def attach(self, edge: SSEMiddleware) -> None:
        """Tell the pages which middleware is around them."""
        self._edge = edge
        self._story = Story(self._events, edge.figures)
        client = {"/events/sse-edge.js": edge.client_url or ""}
        self._files = {
            "/": File("page.html", "text/html; charset=utf-8"),
            "/page.css": File("page.css", "text/css; charset=utf-8"),
            "/page.js": File("page.js", "text/javascript; charset=utf-8", client),
            "/icon.svg": File("icon.svg", "image/svg+xml"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._story.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._story.stop()
        await self._events.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope)
        path = request.path
        if not self._same_origin.serves(_own(request)):
            await _say(send, 403, "The demo is at another address.")
        elif request.method in ("GET", "HEAD"):
            if path in self._files:
                await self._files[path].send(send)
            elif path == "/session":
                await self._tell_session(self._person(request), send)
            else:
                await _say(send, 404, "There is nothing at this address.")
        elif request.method != "POST" or path not in (*self._actions, "/sign-in", "/sign-out"):
            await _say(send, 405, "This cannot be done here.")
        elif self._same_origin.judge(request, _own(request)) is not None:
            await _say(send, 403, "This was not asked for by a page of the demo.")
        else:
            await self._act(request, scope, receive, send)

    async def _act(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        fields = await form(receive)
        person = self._person(request)
        if fields is None:
            await _say(send, 400, "That was too long, or not readable.")
        elif request.path == "/sign-in":
            await self._sign_in(fields, send)
        elif request.path == "/sign-out":
            await self._sign_out(person, send)
        elif person is None:
            await _say(send, 401, "Please sign in first.")
        else:
            try:
                await self._actions[request.path](person, fields, scope, send)
            except (PublishError, BackendError):
                await _say(send, 503, "Redis cannot be reached at the moment.")

    def _person(self, request: Request) -> Person | None:
        identity = self._auth.identify(request, time.time())
        return PEOPLE.get(identity.user or "") if identity else None

    # Signing in and out

    async def _sign_in(self, fields: Form, send: Send) -> None:
        person = PEOPLE.get(fields.get("user", ""))
        if person is None:
            await _say(send, 400, "There is nobody of that name.")
        else:
            await go_to(send, "/", [self._auth.set_cookie(person.user)])

    async def _sign_out(self, person: Person | None, send: Send) -> None:
        if person is not None:
            self._edge.disconnect(user=person.user)
        await go_to(send, "/", [self._auth.clear_cookie()])

    async def _tell_session(self, person: Person | None, send: Send) -> None:
        if person is None:
            await answer(send, 200, {"user": None})
            return
        try:
            # The cursor first: what happens after it is in the state, or in the stream, or in both.
            cursor = await self._events.cursor()
        except BackendError:
            await _say(send, 503, "Redis cannot be reached at the moment.")
            return
        state: dict[str, Any] = {
            **person._asdict(),
            "cursor": cursor,
            "state": self._story.order(person),
            "job": self._story.job(person),
            "figures": self._edge.figures(),
            "redis": self._on_redis,
            "now": time.time() * 1000,
        }
        await answer(send, 200, state)

    # The buttons

    async def _publish(self, person: Person, fields: Form, scope: Scope, send: Send) -> None:
        text = fields.get("text", "").strip()
        to = fields.get("to", "")
        if not 0 < len(text) <= MAX_TEXT:
            await _say(send, 400, f"Please write 1 to {MAX_TEXT} characters.")
        elif to != EVERYONE and to not in PEOPLE:
            await _say(send, 400, "There is nobody of that name.")
        else:
            channel = "shop" if to == EVERYONE else f"user:{to}"
            content = {"from": person.name, "text": text, "to": None if to == EVERYONE else to}
            await answer(send, 200, {"id": await self._events.publish(channel, json=content, event="note")})

    async def _start_job(self, person: Person, fields: Form, scope: Scope, send: Send) -> None:
        if self._story.start_job(person):
            await answer(send, 200, {})
        else:
            await _say(send, 409, "It is running already.")

    async def _drop(self, person: Person, fields: Form, scope: Scope, send: Send) -> None:
        streams = self._edge.disconnect(user=person.user)
        self._story.happen_meanwhile(person)
        await answer(send, 200, {"streams": streams})

    async def _try(self, person: Person, fields: Form, scope: Scope, reply: Send) -> None:
        attempt = self._attempts.make(fields.get("attempt", ""), person)
        host, port = scope["server"]
        if attempt is None:
            await _say(reply, 400, "There is no such attempt.")
            return
        try:
            await answer(reply, 200, await send(attempt, host, port))
        except (OSError, TimeoutError):
            await _say(reply, 502, "The server could not reach itself.")


def _own(request: Request) -> str | None:
    return own_origin(request.scheme, request.first(b"host"))


async def _say(send: Send, status: int, message: str) -> None:
    await answer(send, status, {"message": message})
