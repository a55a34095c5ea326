"""``sse_edge.testing``: the edge is found wherever it is in an app."""

import asyncio
import itertools
from functools import partial

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from parts.staged import AUTH, CHANNELS, edge
from sse_edge import (
    Event,
    Limits,
    MemoryBackend,
    Publisher,
    Source,
    SSEMiddleware,
)
from sse_edge.testing import RefusedError, client
from sse_edge.testing.edges import edges


def plain(app):
    """A middleware that is a function."""

    async def middle(scope, receive, send):
        await app(scope, receive, send)

    return middle


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        await self.inner(scope, receive, send)


class Proxy:
    """As werkzeug's: whatever is asked of it is asked of another, which is not there now."""

    def __getattribute__(self, name):
        raise RuntimeError("outside of a request")


class Keeping:
    """One with such a thing, with an empty slot, and with itself."""

    __slots__ = ("__dict__", "empty")

    def __init__(self, inner):
        self.proxy = Proxy()
        self.itself = [self]
        self.inner = {"inner": inner}

    async def __call__(self, scope, receive, send):
        await self.inner["inner"](scope, receive, send)


class Outer(BaseHTTPMiddleware):
    """As @app.middleware("http") makes one: it holds every answer's first bytes back for a turn."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


def added():
    """FastAPI's own list of middleware, which makes it when the first request comes."""
    app = FastAPI()
    app.add_middleware(SSEMiddleware, backend=MemoryBackend(), auth=AUTH, channels=CHANNELS)
    app.add_middleware(Outer)
    return app


HOLDING = [
    edge(),
    plain(edge()),
    plain(Slotted(edge())),
    Keeping(edge()),
    partial(edge().__call__),
    added(),
    Starlette(middleware=[Middleware(Outer)], routes=[Mount("/", edge(path="/events"))]),
    Outer(edge()),
]


async def test_a_backend_leads_to_no_edge():
    """What else listens to the backend that an app names is not in the app."""
    backend = MemoryBackend()
    async with SSEMiddleware(backend=backend, auth=AUTH, channels=CHANNELS):
        assert edges([backend]) == []


@pytest.mark.parametrize("app", HOLDING, ids=range(len(HOLDING)))
async def test_the_edge_is_found_wherever_it_is(app):
    """Around, under and within other apps: users are signed in, and nothing of it runs on afterwards."""
    for _ in range(2):
        before = asyncio.all_tasks()
        async with client(app, user="u1") as c, c.stream("/events/me") as stream:
            (found,) = edges(app)
            await Publisher(found.backend).publish("user:u1", "hello")
            assert (await stream.next()).data == "hello"
            with pytest.raises(RefusedError, match="403 forbidden"):
                async with c.stream("/events/orders/7"):
                    pytest.fail("no order of u1's")
        assert asyncio.all_tasks() == before


async def test_a_refusal_that_middleware_holds_back():
    """Said as a stream, and later than its head: it is raised all the same when the block is entered."""
    async with client(Outer(edge(limits=Limits(per_worker=1))), user="u1") as c, c.stream("/events/me"):
        with pytest.raises(RefusedError, match="503 worker-full"):
            async with c.stream("/events/me"):
                pytest.fail("there is no room")


async def test_a_generator_behind_the_gate():
    """A Source is played to the test as it reads, and closed when it leaves."""
    asked, closed = [], asyncio.Event()

    async def count(request, identity, after):
        try:
            for number in itertools.count(int(after or 0) + 1):
                asked.append(number)
                yield Event(json={"n": number, "user": identity.user}, id=str(number))
        finally:
            closed.set()

    app = edge(channels={"/events/count": Source(count)})
    async with client(app, user="u1") as c:
        async with c.stream("/events/count") as stream:
            events = await stream.take(3)
            assert [event.json()["n"] for event in events] == [1, 2, 3]
        async with asyncio.timeout(5):
            await closed.wait()
        assert len(asked) < 100_000
        async with c.stream("/events/count", after=events[-1]) as stream:
            assert (await stream.next()).json() == {"n": 4, "user": "u1"}
