"""A stream for everyone, without any framework: the time, once a second.

pip install 'sse_edge[server]'
sse-edge serve plain_asgi:app --app-dir examples
curl -N http://127.0.0.1:8000/events/clock
"""

import asyncio
from datetime import datetime

from sse_edge import Anonymous, Publisher, SSEMiddleware
from sse_edge.asgi import Receive, Scope, Send


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
        body = b"Listen at /events/clock\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def tick() -> None:
    """Publish the time."""
    events = Publisher("memory://")
    while True:
        await events.publish("clock", datetime.now().strftime("%H:%M:%S"), event="tick")
        await asyncio.sleep(1)


app = SSEMiddleware(
    pages,
    backend="memory://",
    auth=Anonymous(),
    channels={"/events/clock": "clock"},
)
