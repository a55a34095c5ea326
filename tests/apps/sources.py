"""An app with sources, as ``edge``, and a channel ``news``; what iterators have done is served at /figures.

``MAX_UNSENT_AGE`` is in seconds.  Everybody may listen, as the user of ``AUTH``'s cookie.
"""

import asyncio
import contextlib
import json
import logging
import os

from sse_edge import Event, Limits, Publisher, SignedCookie, Source, SSEMiddleware
from sse_edge.asgi import respond

AUTH = SignedCookie("a secret of the tests", secure=False)
WAIT = 0.05
"""Seconds between two items of ``ticks``."""

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
counts = {"open": 0, "closed": 0, "flooded": 0}


@contextlib.contextmanager
def counted():
    counts["open"] += 1
    try:
        yield
    finally:
        counts["open"] -= 1
        counts["closed"] += 1


async def ticks(request, identity, after):
    """Numbers, from where the client was."""
    with counted():
        n = int(after or 0)
        while True:
            n += 1
            yield Event(str(n), event="tick", id=str(n))
            await asyncio.sleep(WAIT)


async def flood(request, identity, after):
    """As fast as it is asked."""
    with counted():
        while True:
            counts["flooded"] += 1
            yield f"{counts['flooded']} ".ljust(1000)


async def hang(request, identity, after):
    """One item, and no other."""
    with counted():
        yield "hangs"
        await asyncio.Event().wait()


async def stubborn(request, identity, after):
    """The same, and it ends for nothing."""
    yield "stubborn"
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.Event().wait()


async def inner(scope, receive, send):
    """``/figures``, and ``POST /publish`` to news."""
    if scope["type"] != "http":
        raise ValueError(f"only http is served, and this is {scope['type']}")
    if scope["path"] == "/publish":
        await publisher.publish("news", (await receive())["body"].decode())
    body = json.dumps({**counts, **edge.figures()}).encode()
    await respond(send, 200, [(b"content-type", b"application/json")], body)


publisher = Publisher("memory://")
edge = SSEMiddleware(
    inner,
    backend="memory://",
    auth=AUTH,
    channels={
        "/events/ticks": Source(ticks),
        "/events/flood": Source(flood),
        "/events/hang": Source(hang),
        "/events/stubborn": Source(stubborn),
        "/events/news": "news",
    },
    limits=Limits(per_user=1000, per_ip=1000, connects_per_ip=None),
    keep_alive=0.5,
    max_unsent_age=float(os.environ.get("MAX_UNSENT_AGE", "30")),
    drain_window=0.5,
)
