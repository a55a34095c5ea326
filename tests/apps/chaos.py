"""A worker of the chaos campaign: ``/events/a,b`` is a stream on the channels a and b.

A channel of a job or a text is given from the beginning.  ``CHAOS`` is JSON: the backend's url and settings.
``/introspect`` says what is left in this process, and ``/write/a`` begins to write a text to channel a.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import sys
from types import FrameType
from urllib.parse import parse_qsl

from sse_edge import (
    Channel,
    Limits,
    MemoryBackend,
    Publisher,
    PublishError,
    RedisBackend,
    Retention,
    SignedCookie,
    SSEMiddleware,
)
from sse_edge.asgi import respond
from sse_edge.delivery import feed
from sse_edge.delivery.stream import Stream

AUTH = SignedCookie("a secret of the campaign", secure=False)

feed.MANY = 2  # few clients hear the same, and what they hear is to be compressed after what they heard

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


async def inner(scope, receive, send):
    """``/introspect``: tasks, stream objects, and the edge's own figures; ``/write/…``."""
    if scope["type"] == "http" and scope["path"].startswith("/write/"):
        given = dict(parse_qsl(scope["query_string"].decode()))
        begin(scope["path"].removeprefix("/write/"), int(given["count"]), float(given["pause"]))
        await respond(send, 202, [])
        return
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


writing = set()


def begin(channel, count, pause):
    """Let a text be written in the background; whether it is, the channel shows."""
    task = asyncio.create_task(write(channel, count, pause))
    writing.add(task)
    task.add_done_callback(writing.discard)


async def write(channel, count, pause):
    """The numbers up to ``count``, each with a semicolon, and at the end how many there are."""
    with contextlib.suppress(PublishError):  # another writes it, it is finished, or Redis is away for long
        await events.write(channel, numbers(count, pause), event="token", complete=str(count))


async def numbers(count, pause):
    """They come as a model's words do: some at once, and then none for a while."""
    for number in range(count):
        yield f"{number};"
        if number % 7 == 0:
            await asyncio.sleep(7 * pause)


def channels(request):
    """Those that the path names; compressed, for half of the clients."""
    names = request.params["names"].split(",")
    return [Channel(name, compress=True, first="all" if _is_job(name) else 0) for name in names]


def _is_job(name):
    return name.startswith(("job-", "text-"))


async def may_read(identity, channel):
    """Everybody may read everything."""
    return True


def make():
    """The middleware as ``CHAOS`` says; without it on memory, so that this module can be imported."""
    given = json.loads(os.environ.get("CHAOS", "{}"))
    if given:
        settings = given["backend"]
        kept = {pattern: Retention(*each) for pattern, each in settings.pop("retention", {}).items()}
        backend = RedisBackend(given["url"], retention=kept, **settings)
    else:
        backend = MemoryBackend()
    return backend, SSEMiddleware(
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


backend, edge = make()
events = Publisher(backend)
