"""``apps.edge`` with a hook that drains, for servers whose workers hear no signal: ``/drain``."""

import asyncio
import os

from sse_edge.asgi import respond

from .edge import edge

tasks = set()


async def app(scope, receive, send):
    """``/drain`` begins to end all streams within ``DRAIN_WINDOW`` seconds (0.5); all else is ``edge``'s."""
    if scope["type"] == "http" and scope["path"] == "/drain":
        tasks.add(asyncio.create_task(edge.drain(float(os.environ.get("DRAIN_WINDOW", "0.5")))))
        await respond(send, 202, [])
    else:
        await edge(scope, receive, send)
