"""Answers that are none of the edge's, as ``app``: ``/sse`` an event stream, ``/quiet`` one that says
nothing, and at every other path a page with status 200.
"""

import asyncio


async def app(scope, receive, send):
    """See above."""
    if scope["type"] != "http":
        raise ValueError("only http is served")
    stream = scope["path"] in ("/sse", "/quiet")
    kind = b"text/event-stream; charset=utf-8" if stream else b"text/html"
    headers = [(b"content-type", kind), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not stream:
        await send({"type": "http.response.body", "body": b"<!doctype html><title>page</title>"})
        return
    gone = asyncio.create_task(receive_all(receive))
    while not gone.done():
        body = b"" if scope["path"] == "/quiet" else b"event: ping\ndata: now\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.wait([gone], timeout=0.5)


async def receive_all(receive):
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
