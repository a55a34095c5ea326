"""Parts for tests of sources: an edge that has one, and what it gives and holds."""

import asyncio
import contextlib
import json
import uuid

from servers.sse import Decoder
from sse_edge import SignedCookie, Source, SSEMiddleware

AUTH = SignedCookie("a secret of the tests", secure=False)


def cookie(user="u1", channels=(), **headers):
    return {"cookie": f"session={AUTH.issue(user, channels=channels)}", **headers}


@contextlib.asynccontextmanager
async def sources():
    """``make(source, …)`` makes an SSEMiddleware with a Source at /events/x, stopped after the clients."""
    made = []

    def make(source, **settings):
        source = source if isinstance(source, Source) else Source(source)
        channels = {"/events/x": source, "/events/news": "news", **settings.pop("channels", {})}
        settings = {"backend": f"memory://{uuid.uuid4().hex}", "auth": AUTH, **settings}
        made.append(SSEMiddleware(hosts=["testserver"], channels=channels, **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


def said(client):
    """The data of the client's events, or their names where they are the edge's own."""
    return [
        event.event if event.event.startswith("edge-") else event.data
        for event in Decoder().feed(client.body())
    ]


def reason(client):
    """Why its stream has ended."""
    *_, last = Decoder().feed(client.body())
    assert last.event == "edge-close"
    return json.loads(last.data)["reason"]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def held(middleware):
    """Streams, names, leases and iterators that are left."""
    hub = middleware._worker.hub
    rosters = len(hub.users), len(hub.sessions), len(hub._audience.owned)
    return len(hub.streams), rosters, middleware._leases.count("user:u1"), len(hub.sources._pumps)


NOTHING = (0, (0, 0, 0), 0, 0)


class Played:
    """A source that gives what it is told: ``items``, and then it waits; notes how it was made and ended."""

    def __init__(self, *items, ends=False):
        self.items = items
        self.ends = ends
        self.made = []
        self.closed = 0
        self.waits = asyncio.Event()

    async def __call__(self, request, identity, after):
        self.made.append((request.params, identity.user, after))
        try:
            for item in self.items:
                yield item
            self.waits.set()
            if not self.ends:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


async def numbers():
    yield "made"
    await asyncio.Event().wait()


class Numbers:
    """A class that makes its iterator where the event loop is."""

    def __init__(self, request, identity, after):
        self.task = asyncio.create_task(asyncio.sleep(0))
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.task.done():
            await asyncio.Event().wait()
        await self.task
        return "made"
