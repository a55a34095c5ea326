"""An app, as ``edge``, whose functions wait for ever; how many of them wait is said at /figures.

A path's name says which of them does; an ``authorize`` that is ``deaf`` swallows what cancels it.
``identify`` waits for whoever sends a header ``wait``, and a token to publish is verified in two seconds.
"""

import asyncio
import contextlib
import json
import logging

from sse_edge import Channel, Identity, Limits, Source, SSEMiddleware
from sse_edge.asgi import respond

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
counts = {"pending": 0}


async def wait(seconds=3600):
    counts["pending"] += 1
    try:
        await asyncio.sleep(seconds)
    finally:
        counts["pending"] -= 1


class Users:
    """Lets everybody in, some after a while."""

    async def identify(self, request, now):
        if request.first(b"wait"):
            await wait()
        return Identity("u1")


class Tokens:
    """Lets everybody publish, after a while."""

    async def verify(self, token, now):
        await wait(2)
        return ["*"]


async def authorize(identity, channel):
    if channel == "authorize":
        await wait()
    while channel == "deaf":
        with contextlib.suppress(asyncio.CancelledError):
            await wait()
    return True


async def channels(request):
    await wait()
    return ["news"]


async def hello(request, identity):
    await wait()
    return "hello"


async def ticks(request, identity, after):
    await wait()


async def inner(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(f"only http is served, and this is {scope['type']}")
    await respond(send, 200, [], json.dumps({**counts, **edge.figures()}).encode())


edge = SSEMiddleware(
    inner,
    auth=Users(),
    authorize=authorize,
    channels={
        "/events/news": "news",
        "/events/wait/{which}": ["{which}", "news"],
        "/events/channels": channels,
        "/events/greeting": Channel("news", greeting=hello),
        "/events/source": Source(ticks),
    },
    publish_path="/publish",
    publish_auth=Tokens(),
    limits=Limits(per_user=100, per_ip=100, connects_per_ip=None),
    drain_window=0.5,
)
