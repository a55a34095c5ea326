"""``apps.edge`` with a task that writes numbers: ``POST /write/<channel>``.

``DIARY`` is a file for what happens; see ``apps.producing``.
"""

import asyncio
import os

from sse_edge.asgi import respond

from .edge import edge, publisher
from .producing import Diary, pieces

tasks = set()


async def write(channel, diary):
    """Write for as long as it may, and note how it ended."""
    written = await publisher.write(channel, pieces(1_000_000, diary))
    diary.note(f"ended {written.reason}")


async def app(scope, receive, send):
    """``/write/…`` begins and does not wait; everything else is ``edge``'s."""
    if scope["type"] == "http" and scope["path"].startswith("/write/"):
        channel = scope["path"].removeprefix("/write/")
        tasks.add(asyncio.create_task(write(channel, Diary(os.environ["DIARY"]))))
        await respond(send, 202, [])
    else:
        await edge(scope, receive, send)
