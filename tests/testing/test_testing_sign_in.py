"""``sse_edge.testing``: signing in, with each authenticator that can."""

import threading

import pytest
from starlette.applications import Starlette

from parts.staged import AUTH, edge
from sse_edge import (
    Anonymous,
    AnyOf,
    ConfigError,
    Identity,
    Publisher,
)
from sse_edge.cookies import DjangoSession, FlaskSession, StarletteSession
from sse_edge.testing import RefusedError, client
from sse_edge.tokens import BearerJWT


async def test_who_asks():
    """user signs in as the app's own authenticator would have it, for the client or for a stream."""
    app = edge()
    async with client(app, user="u1", channels=["order:*"]) as c:
        async with c.stream("/events/orders/7"), c.stream("/events/me", user="u2") as stream:
            await Publisher(app.backend).publish("user:u2", "for u2")
            assert (await stream.next()).data == "for u2"
        with pytest.raises(RefusedError, match="forbidden"):
            async with c.stream("/events/orders/7", user="u2", channels=["order:8"]):
                pytest.fail("no order of u2's")
    cookie = AUTH.issue("u3")
    for options in ({"cookies": {"edge": cookie}}, {"headers": {"Cookie": f"a=b; edge={cookie}"}}):
        async with client(app, **options) as c, c.stream("/events/me") as stream:
            await Publisher(app.backend).publish("user:u3", "for u3")
            assert (await stream.next()).data == "for u3"


class Blocking:
    """As one that keeps its sessions in a database."""

    blocking = True

    def __init__(self):
        self.threads = set()

    def identify(self, request, now):
        user = request.first(b"x-user")
        return None if user is None else Identity(user)

    def headers_for(self, user, channels=()):
        self.threads.add(threading.get_ident())
        return [(b"x-user", user.encode())]


class Async:
    async def identify(self, request, now):
        user = request.first(b"x-user")
        return None if user is None else Identity(user)

    async def headers_for(self, user, channels=()):
        return [(b"x-user", user.encode())]


class Silent:
    def identify(self, request, now):
        return None


SECRET = "5e3c9f1b7a2d48e6b0c4f8a1d5e97263"

SIGN_IN = [
    AUTH,
    StarletteSession(SECRET),
    FlaskSession(SECRET),
    DjangoSession(SECRET, user="user_id"),
    BearerJWT(SECRET, algorithms=["HS256"]),
    Blocking(),
    Async(),
    AnyOf(Silent(), Async()),
    AnyOf(Silent(), Blocking()),
    AnyOf(AUTH, Anonymous()),
]


@pytest.mark.parametrize("auth", SIGN_IN, ids=lambda auth: type(auth).__name__)
async def test_authenticators_that_sign_in(auth):
    """However they answer, in one session for a client; one that blocks is asked in a thread."""
    app = edge(auth=auth)
    async with client(app, user="u1") as c, c.stream("/events/me") as one, c.stream("/events/mine") as two:
        await Publisher(app.backend).publish("user:u1", "hello")
        assert (await one.next()).data == (await two.next()).data == "hello"
        sessions = {stream.session for stream in app._worker.hub.streams}
        assert len(sessions) == 1
        for asked in getattr(auth, "each", [auth]):
            assert threading.get_ident() not in getattr(asked, "threads", ())


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (edge(auth=Silent()), "Silent has no headers_for"),
        (edge(auth=Anonymous(), channels={"/events/me": "news"}), "Anonymous has no headers_for"),
        (Starlette(), "no SSEMiddleware is found in the app"),
    ],
)
async def test_authenticators_that_cannot_sign_in(app, why):
    """It is said, and what to do instead."""
    async with client(app, user="u1") as c:
        with pytest.raises(ConfigError, match=f"^user: {why}.*: give cookies or headers"):
            await c.get("/events/me")
