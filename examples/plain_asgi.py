"""Without any framework: the time for everyone, and a stop-watch for each client.

pip install 'sse_edge[server]'
sse-edge serve plain_asgi:app --app-dir examples
curl -N http://127.0.0.1:8000/events/clock
curl -N http://127.0.0.1:8000/events/stopwatch
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count

from sse_edge import Anonymous, Event, Identity, Publisher, Source, SSEMiddleware
from sse_edge.asgi import Receive, Request, Scope, Send


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    """The application itself: one page of text, and a task that lives as long as the server."""
    if scope["type"] == "lifespan":
        await receive()
        ticking = asyncio.create_task(tick())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        ticking.cancel()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        body = b"Listen at /events/clock or /events/stopwatch\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def tick() -> None:
    """Publish the time."""
    events = Publisher("memory://")
    while True:
        await events.publish("clock", datetime.now().strftime("%H:%M:%S"), event="tick")
        await asyncio.sleep(1)


async def stopwatch(request: Request, identity: Identity, after: str | None) -> AsyncIterator[Event]:
    """The seconds of one client, who goes on where it was when its connection is cut."""
    for second in count(0 if after is None else int(after) + 1):
        yield Event(str(second), event="second", id=str(second))
        await asyncio.sleep(1)


app = SSEMiddleware(
    pages,
    backend="memory://",
    auth=Anonymous(),
    channels={"/events/clock": "clock", "/events/stopwatch": Source(stopwatch)},
)
