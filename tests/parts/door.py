"""Parts for tests of the door: who comes to it, what it holds, and how a client was answered."""

import asyncio
import json
import time

from servers.sse import Decoder
from sse_edge import Identity, Limits, SignedCookie
from sse_edge.backends.memory.subscriber import MemorySubscriber

AUTH = SignedCookie("a secret of the tests")
CHANNELS = {
    "/events/me": ["user:{user}", "news"],
    "/events/orders/{order_id}": "order:{order_id}",
    "/events/two/{a}/{b}": ["{a}", "{b}"],
}
"""What the fixture ``edge`` has, unless a module's SETTINGS say otherwise."""

TWO = "/events/two/a/b"

NOTHING = {"streams": 0, "leases": [0, 0], "listeners": {}, "timed": {}, "named": 0, "subscribed": []}


def cookie(user="u42", channels=(), **options):
    """Headers with a cookie that lets ``user`` in."""
    return {"cookie": f"session={AUTH.issue(user, channels, **options)}"}


class Until:
    """An authenticator of an application's own, whose sessions end ``seconds`` from now."""

    anonymous = False

    def __init__(self, seconds):
        self.seconds = seconds

    def identify(self, request, now):
        return Identity("u42", expires=now + self.seconds)


def says_no(identity, channel):
    """An ``authorize`` that lets nobody read anything."""
    return False


def fails(identity, channel):
    """One that cannot say."""
    raise OSError("the database is away")


async def may_read(identity, channel):
    """One that takes its time."""
    await asyncio.sleep(0)
    return True


def at_cap(**limits):
    """A limit that one open stream has used up."""
    return {"limits": Limits(**limits), "others": 1}


def holds(edge):
    """What an edge still holds of streams, for a comparison with NOTHING."""
    hub = edge._worker.hub if edge._worker else None
    if hub is None:
        return NOTHING
    subscriber = hub.subscriber
    if isinstance(subscriber, MemorySubscriber):
        wanted = list(subscriber._wanted)
    else:
        wanted = [channel.name for channel in subscriber._members.channels.values() if channel.count]
    return {
        "streams": edge.figures()["streams"],
        "leases": [edge._leases.count(subject) for subject in ("user:u42", "ip:127.0.0.1")],
        "listeners": dict(hub._feeds),
        "timed": dict(hub._clock._wheel._buckets),
        "named": len(hub.users) + len(hub.sessions),
        "subscribed": [name for name in wanted if name >= " "],  # the worker's own begin with a control
    }


async def eventually(condition, what=""):
    """Wait until a condition holds that nothing announces."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


class CancelledAt:
    """Awaits something, and cancels the task that does so at its ``n``-th suspension."""

    def __init__(self, awaitable, n):
        self.awaitable = awaitable
        self.n = n
        self.suspensions = 0

    def __await__(self):
        inner = self.awaitable.__await__()
        error = None
        while True:
            try:
                waited = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as done:
                return done.value
            self.suspensions += 1
            if self.suspensions == self.n:
                asyncio.current_task().cancel()
            try:
                error = None
                yield waited
            except BaseException as thrown:  # noqa: BLE001 - to be thrown into what is awaited
                error = thrown


def decoded(client):
    """What a browser makes of a client's body so far: a Decoder and the events."""
    decoder = Decoder()
    return decoder, decoder.feed(client.body())


def said(client):
    """The events of a client, as pairs of name and data, JSON where it is ours."""
    return [
        (event.event, json.loads(event.data) if event.event.startswith("edge-") else event.data)
        for event in decoded(client)[1]
    ]


def goodbye(client):
    """The reason in the last event, after checks that the response ended as a clean end should."""
    assert client.messages[-1]["more_body"] is False
    decoder, events = decoded(client)
    assert not decoder.pending
    assert [event.event for event in events].count("edge-close") == 1
    last = events[-1]
    assert last.event == "edge-close"
    body = client.body()
    at = body.index(b"event: edge-close")
    assert b"retry: " in body[at:]
    assert decoder.retry >= 1
    return json.loads(last.data)


async def closed(client, reason):
    """Wait for the end, within a second: a goodbye with this reason and nothing unfinished."""
    await client.whole(1)
    decoder, _ = decoded(client)
    assert said(client)[-1] == ("edge-close", {"reason": reason})
    assert decoder.retry >= 1
    assert not decoder.pending


async def answer(asgi, middleware, user="u42", path="/events/me", **headers):
    """How a request is answered: 200, or the code of its refusal; the stream is left again."""
    client = asgi(middleware, path, headers={**cookie(user), **headers})
    status, _ = await client.start()
    if status == 200:
        client.disconnect()
        await client.ended()
        return 200
    return json.loads(await client.whole())["error"]


class Recorder:
    """An inner app that notes what it was called with."""

    def __init__(self):
        self.calls = []

    async def __call__(self, scope, receive, send):
        self.calls.append((scope, receive, send))
