"""What every server is asked to run: an edge around an app that has a lifespan, and streams that are brief.

``app`` is wrapped by hand, ``added`` by Starlette's ``add_middleware``, and ``under`` is below one more http
middleware.  ``PER_USER`` is a cap.
"""

import asyncio
import gc
import json
import os

from sse_edge import Limits, MemoryBackend, Publisher, SignedCookie, SSEMiddleware
from sse_edge.asgi import respond

AUTH = SignedCookie("a secret of the tests", secure=False)
STOPPED = "the application was stopped"
"""What it writes at the end of its lifespan."""

backend = MemoryBackend(history=4)  # so that what a server holds is what grows
publisher = Publisher(backend)
state = {"started": False}


async def inner(scope, receive, send):
    """``/figures``; ``/publish/CHANNEL/N`` publishes N bytes; ``/collect`` collects garbage."""
    if scope["type"] == "lifespan":
        await receive()
        state["started"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print(STOPPED)
        await send({"type": "lifespan.shutdown.complete"})
        return
    path, body = scope["path"], b""
    if path == "/figures":
        body = json.dumps({**edge.figures(), **state, "pid": os.getpid()}).encode()
    elif path.startswith("/publish/"):
        channel, size = path.removeprefix("/publish/").split("/")
        await publisher.publish(channel, "x" * int(size))
    elif path == "/collect":
        await asyncio.sleep(0.2)  # by then requests have left what they leave
        gc.collect()
    await respond(send, 200, [], body)


edge = SSEMiddleware(
    inner,
    backend=backend,
    auth=AUTH,
    channels={"/events/me": ["user:{user}", "news"], "/events/loud": "loud"},
    limits=Limits(per_user=int(os.environ.get("PER_USER", "1")), per_ip=100_000, connects_per_ip=None),
    max_unsent=262_144,
    max_unsent_age=1.0,
)
app = SSEMiddleware(
    edge,
    backend=backend,
    auth=AUTH,
    path="/brief",
    channels={"/brief/me": "user:{user}"},
    max_duration=0.5,
    keep_alive=None,
)


class Around:
    """``app`` around another, which is never asked."""

    def __init__(self, other):
        self._other = other

    async def __call__(self, scope, receive, send):
        await app(scope, receive, send)


async def _next(request, call_next):
    return await call_next(request)


def __getattr__(name):
    from starlette.applications import Starlette  # noqa: PLC0415 - not beside every server
    from starlette.middleware.base import BaseHTTPMiddleware  # noqa: PLC0415

    if name not in ("added", "under"):
        raise AttributeError(name)
    framework = Starlette()
    framework.add_middleware(Around)
    if name == "under":
        framework.add_middleware(BaseHTTPMiddleware, dispatch=_next)
    return framework
