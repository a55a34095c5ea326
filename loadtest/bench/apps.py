"""The apps that run under uvicorn, each with some more paths for the benchmark itself.

``/bench/collect`` collects garbage, so that memory is compared without it; ``/bench/allocated`` is what
tracemalloc knows, where ``PYTHONTRACEMALLOC`` is set; ``/bench/sinks`` counts the sinks in use;
``/bench/figures`` are the edge's; ``/bench/probe`` starts and stops the measurement of how long the event
loop is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from redis.asyncio import Redis

from sse_edge.asgi import ASGIApp, Message, Receive, Scope, Send

from ..site import apps

CHANNEL = "bench"
"""The Redis channel of the sse-starlette app."""


class Probe:
    """Asks for a turn of the event loop again and again, and tells the longest wait, in seconds."""

    def __init__(self) -> None:
        self._on = False
        self._last = self._longest = 0.0

    def start(self) -> None:
        """From now on."""
        self._on, self._last, self._longest = True, time.monotonic(), 0.0
        asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> dict[str, float]:
        """Until now."""
        self._on = False
        return {"longest": self._longest}

    def _turn(self) -> None:
        if self._on:
            now = time.monotonic()
            self._longest, self._last = max(self._longest, now - self._last), now
            asyncio.get_running_loop().call_soon(self._turn)


class Measured:
    """An app, and the benchmark's own paths beside it.  Calls of the app have no frame more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        probe = Probe()
        self._paths: dict[str, Callable[[], Any]] = {
            "/bench/allocated": allocated,
            "/bench/collect": gc.collect,
            "/bench/figures": apps.edge.figures,
            "/bench/probe/start": probe.start,
            "/bench/probe/stop": probe.stop,
            "/bench/sinks": sinks,
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """uvicorn awaits what this returns."""
        if scope["type"] == "http" and scope["path"] in self._paths:
            return self._answer(self._paths[scope["path"]](), send)
        return self._app(scope, receive, send)

    async def _answer(self, said: Any, send: Send) -> None:
        body = json.dumps(said).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def sinks() -> dict[str, int]:
    """How many of each kind there are."""
    names = (type(one).__name__ for one in gc.get_objects())
    return Counter(name for name in names if name.endswith("Sink"))


def allocated() -> dict[str, int]:
    """Bytes by the file that asked for them, as far as tracemalloc knows."""
    gc.collect()
    found: Counter[str] = Counter()
    if tracemalloc.is_tracing():
        for each in tracemalloc.take_snapshot().statistics("filename"):
            found[each.traceback[0].filename] += each.size
    return found


def wrapped_send(scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
    """The edge behind a middleware that wraps ``send``, as many do: not uvicorn's own any more."""

    async def wrapped(message: Message) -> None:
        await send(message)

    return apps.edge(scope, receive, wrapped)


def starlette() -> ASGIApp:
    """sse-starlette with the usual Redis fan-out: one subscription, and a queue for each client."""
    # Here and not above: nobody else needs them.
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

    return Starlette(routes=[Route("/events/{rest:path}", events)], lifespan=lifespan)


def starlette_app() -> ASGIApp:
    """For uvicorn's ``--factory``: the library is needed by this app alone."""
    return Measured(starlette())


def bare_app() -> ASGIApp:
    """The app that only streams."""
    return Measured(apps.bare)


def edge_app() -> ASGIApp:
    """The edge, with uvicorn's own ``send``."""
    return Measured(apps.edge)


def task_app() -> ASGIApp:
    """The edge with a ``send`` that is not uvicorn's."""
    return Measured(wrapped_send)
