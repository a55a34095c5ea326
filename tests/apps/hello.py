"""A plain ASGI app without the middleware: the fixtures' own tests run against it."""

import asyncio
import os


async def app(scope, receive, send):
    """Answer ``/`` with one body, ``/stream`` with an endless stream, and tell its pid."""
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not served")
    if scope["path"] == "/stream":
        await _stream(receive, send)
    elif scope["path"] == "/":
        body = os.environ.get("HELLO", "hello").encode()
        await send(_start(b"text/plain", (b"content-length", b"%d" % len(body))))
        await send({"type": "http.response.body", "body": body})
    else:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"no such page"})


async def _stream(receive, send):
    await send(_start(b"text/event-stream"))
    gone = asyncio.ensure_future(_gone(receive))
    number = 0
    while not gone.done():
        number += 1
        frame = f"id: {number}\ndata: {os.getpid()}\n\n".encode()
        await send({"type": "http.response.body", "body": frame, "more_body": True})
        await asyncio.wait([gone], timeout=0.05)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def _start(content_type, *headers):
    headers = [(b"content-type", content_type), *headers]
    return {"type": "http.response.start", "status": 200, "headers": headers}
