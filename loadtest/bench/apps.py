"""The apps under uvicorn, each with more paths for the benchmark itself, and the requests for their streams.

The edge is built from the environment: ``BACKEND`` is the backend's URL, ``CAPS=0`` turns the limits off,
``COMPRESS=1`` has rooms compressed for clients that take gzip; ``KEEP_ALIVE``, ``MAX_UNSENT`` and
``MAX_UNSENT_AGE`` are the settings of those names.

``/bench/collect`` collects garbage, so that memory is compared without it; ``/bench/allocated`` is what
tracemalloc knows, where ``PYTHONTRACEMALLOC`` is set; ``/bench/sinks`` counts the sinks in use;
``/bench/figures`` are the edge's; ``/bench/probe`` starts and stops the measurement of how long the event
loop is away.
"""

import asyncio
import contextlib
import gc
import json
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from sse_edge import Channel, Limits, SignedCookie, SSEMiddleware
from sse_edge.asgi import ASGIApp, Receive, Scope, Send, respond

AUTH = SignedCookie("a secret of the load tests", secure=False)
CHANNEL = "bench"  # the Redis channel of the sse-starlette app


def requests(paths: Sequence[str], first: int = 0, headers: Sequence[str] = ()) -> list[bytes]:
    """A browser's request for each path, each of a user of its own; ``headers`` are more lines of all."""
    made = []
    for number, path in enumerate(paths, first):
        cookie = AUTH.issue(f"u{number}", [f"room:{path.rpartition('/')[2]}"])
        head = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Accept: text/event-stream",
            "Cache-Control: no-cache",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Dest: empty",
            f"Cookie: session={cookie}",
            *headers,
        ]
        made.append("\r\n".join([*head, "", ""]).encode())
    return made


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """One chunk, then silence until the client leaves."""
    if scope["type"] != "http":
        raise ValueError("only http is served")
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    chunk = b": stream open\nretry: 3000\nid: 1-1\nevent: edge-position\ndata: {}\n\n"
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


UNLIMITED = Limits(per_user=None, per_ip=None, connects_per_ip=None)
LIMITS = Limits(per_user=6, per_ip=100_000, per_worker=100_000, connects_per_ip="1000000/minute")

edge = SSEMiddleware(
    backend=os.environ.get("BACKEND", "memory://"),
    auth=AUTH,
    channels={
        "/events/rooms/{room}": Channel("room:{room}", compress=os.environ.get("COMPRESS") == "1"),
        "/events/me": "user:{user}",
    },
    limits=UNLIMITED if os.environ.get("CAPS") == "0" else LIMITS,
    keep_alive=float(os.environ.get("KEEP_ALIVE", "15")),
    drain_window=20,
    max_unsent=int(os.environ.get("MAX_UNSENT", "1048576")),
    max_unsent_age=float(os.environ.get("MAX_UNSENT_AGE", "30")),
)


class Probe:
    """Asks for a turn of the event loop again and again, and tells the longest wait, in seconds."""

    def start(self) -> None:
        """From now on."""
        self._longest = 0.0
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> dict[str, float]:
        """Until now."""
        self._task.cancel()
        return {"longest": self._longest}

    async def _watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            self._longest, last = max(self._longest, now - last), now


def measured(app: ASGIApp) -> ASGIApp:
    """An app, and the benchmark's own paths beside it.  Calls of the app have no frame more."""
    probe = Probe()
    paths: dict[str, Callable[[], Any]] = {
        "/bench/allocated": allocated,
        "/bench/collect": gc.collect,
        "/bench/figures": edge.figures,
        "/bench/probe/start": probe.start,
        "/bench/probe/stop": probe.stop,
        "/bench/sinks": sinks,
    }

    def call(scope: Scope, receive: Receive, send: Send) -> Any:
        # uvicorn awaits what this returns.
        if scope["type"] == "http" and scope["path"] in paths:
            return respond(send, 200, [], json.dumps(paths[scope["path"]]()).encode())
        return app(scope, receive, send)

    return call


def sinks() -> dict[str, int]:
    """How many of each kind there are."""
    names = (type(one).__name__ for one in gc.get_objects())
    return Counter(name for name in names if name.endswith("Sink"))


def allocated() -> dict[str, int]:
    """Bytes by the file that asked for them, as far as tracemalloc knows."""
    gc.collect()
    found = tracemalloc.take_snapshot().statistics("filename")
    return {each.traceback[0].filename: each.size for each in found}


# Factories for uvicorn: a library is needed by its own app alone.


def starlette_app() -> ASGIApp:
    """sse-starlette with the usual Redis fan-out: one subscription, and a queue for each client."""
    from sse_starlette import EventSourceResponse, ServerSentEvent  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    queues: set[asyncio.Queue[ServerSentEvent]] = set()

    async def listen(redis: Redis) -> None:
        async with redis.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    event = ServerSentEvent(message["data"])
                    for queue in queues:
                        queue.put_nowait(event)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with Redis.from_url(os.environ["BACKEND"], decode_responses=True) as redis:
            listener = asyncio.create_task(listen(redis))
            yield
            listener.cancel()

    async def stream() -> AsyncIterator[ServerSentEvent]:
        # Without a bound: a full one would raise in the listener, and nobody would be told anything more.
        queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
        queues.add(queue)
        try:
            yield ServerSentEvent(comment="open")
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    async def events(request: Request) -> EventSourceResponse:
        # Its pings come every 15 seconds by default and would be part of what is measured.
        return EventSourceResponse(stream(), ping=3600)

    return measured(Starlette(routes=[Route("/events/{rest:path}", events)], lifespan=lifespan))


def eventstream_app() -> ASGIApp:
    """A Django project of one page that streams, and one that publishes."""
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    redis = urlsplit(os.environ["BACKEND"])
    settings.configure(
        SECRET_KEY="of the load tests",  # noqa: S106
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_eventstream"],
        EVENTSTREAM_STORAGE_CLASS="django_eventstream.storage.RedisStorage",
        EVENTSTREAM_STORAGE_CONNECTION={"host": redis.hostname, "port": redis.port},
    )
    django.setup()
    from django.core.asgi import get_asgi_application  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.urls import include, path  # noqa: PLC0415
    from django_eventstream import send_event  # noqa: PLC0415

    def publish(request: HttpRequest) -> HttpResponse:
        send_event("bench", "message", request.body.decode(), json_encode=False)
        return HttpResponse(headers={"Content-Length": "0"})

    events = path("events/", include("django_eventstream.urls"), {"channels": ["bench"]})
    settings.ROOT_URLCONF = (path("publish", publish), events)
    return measured(get_asgi_application())


bare_app = partial(measured, bare)
edge_app = partial(measured, edge)
