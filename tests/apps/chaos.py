"""A worker of the chaos campaign: ``/events/a,b`` is a stream on the channels a and b.

``CHAOS`` is JSON: the backend's url and settings.  ``/introspect`` says what is left in this process.
"""

import asyncio
import gc
import json
import logging
import os
import sys
from types import FrameType

from sse_edge import Channel, Limits, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.asgi import respond
from sse_edge.delivery import feed
from sse_edge.delivery.stream import Stream

AUTH = SignedCookie("a secret of the campaign", secure=False)

feed.MANY = 2  # few clients hear the same, and what they hear is to be compressed after what they heard

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


async def inner(scope, receive, send):
    """``/introspect``: tasks, stream objects, and the edge's own figures."""
    if scope["type"] != "http" or scope["path"] != "/introspect":
        raise ValueError(f"only /introspect is served here, and this is {scope['type']}")
    gc.collect()
    streams = [thing for thing in gc.get_objects() if isinstance(thing, Stream)]
    left = {
        "pid": os.getpid(),
        "tasks": sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks()),
        "streams": len(streams),
        "holders": holders(streams),
        "figures": edge.figures(),
    }
    await respond(send, 200, [(b"content-type", b"application/json")], json.dumps(left).encode())


def holders(streams):
    """What keeps the first of them alive, and what keeps that, as far as the collector knows."""
    seen, told, layer = {id(streams), id(sys._getframe())}, [], streams[:1]
    for _ in range(5):
        above = []
        for thing in layer:
            for one in gc.get_referrers(thing):
                if one is layer or one is above or id(one) in seen:
                    continue
                seen.add(id(one))
                above.append(one)
                told.append(f"{type(thing).__name__} in {_shown(one)}")
        layer = above[:6]
    return told[:30]


def _shown(thing):
    if isinstance(thing, FrameType):
        return f"frame {thing.f_code.co_qualname}:{thing.f_lineno}"
    if isinstance(thing, (list, dict, set)):
        return type(thing).__name__
    return f"{type(thing).__name__} {repr(thing)[:120]}"


def channels(request):
    """Those that the path names; compressed, for half of the clients."""
    return [Channel(name, compress=True) for name in request.params["names"].split(",")]


async def may_read(identity, channel):
    """Everybody may read everything."""
    return True


def make():
    """The middleware as ``CHAOS`` says; without it on memory, so that this module can be imported."""
    given = json.loads(os.environ.get("CHAOS", "{}"))
    backend = RedisBackend(given["url"], **given["backend"]) if given else "memory://"
    return SSEMiddleware(
        inner,
        backend=backend,
        auth=AUTH,
        channels={"/events/{names}": channels},
        authorize=may_read,
        limits=Limits(per_user=50, per_ip=5000, per_worker=None, connects_per_ip="100000/minute"),
        refusals="status",
        status_path="/status",
        **given.get("edge", {}),
    )


edge = make()
