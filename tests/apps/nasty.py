"""A page at ``/``, and at ``/stream`` all of ``nasty_events`` in pieces of ``PIECE`` bytes, in one stream."""

import os

from parts.hostile import nasty_events
from sse_edge import Event

STREAM = b"".join(Event(**case).encode() for case in nasty_events())
PIECE = int(os.environ.get("PIECE", "1460"))
SMALL = 15_000
"""Bytes that are sent in such pieces, at both ends; what is between them is one long line after another."""


async def app(scope, receive, send):
    """Answer until the client goes."""
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not served")
    stream = scope["path"] == "/stream"
    kind = b"text/event-stream" if stream else b"text/html"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if stream:
        for piece in _pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.body", "body": b"<!doctype html>", "more_body": False})


def _pieces():
    at = 0
    while at < len(STREAM):
        size = PIECE if at < SMALL or at > len(STREAM) - SMALL else 65_536
        yield STREAM[at : at + size]
        at += size
