"""Streams that are cut after the edge's first words, a page, and ``/asked``: the ids they were asked with."""

import json

from sse_edge.delivery import frames
from sse_edge.event import Place

BEGUN, LATER = Place.parse("5-0.abcde"), Place.parse("6-0.abcde")
OPENING = frames.greeting(50)
STREAMS = {
    "/greeting": OPENING,
    "/greeting-kept": OPENING + frames.keep_alive(None),
    "/place": OPENING + frames.position(BEGUN),
    "/place-kept": OPENING + frames.position(BEGUN) + frames.keep_alive(None),
    "/moved": OPENING + frames.position(BEGUN) + frames.keep_alive(LATER),
    "/half": OPENING + frames.position(BEGUN) + frames.keep_alive(LATER)[:-1],
}
PLACES = dict(zip(STREAMS, (None, None, BEGUN, BEGUN, LATER, BEGUN), strict=True))
asked = {path: [] for path in STREAMS}


async def app(scope, receive, send):
    """Answer, and cut what is a stream off."""
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not served")
    path, stream = scope["path"], STREAMS.get(scope["path"])
    kind = b"text/event-stream" if stream else b"text/html"
    body = stream or (json.dumps(asked).encode() if path == "/asked" else b"<!doctype html>")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if stream:
        asked[path].append(dict(scope["headers"]).get(b"last-event-id", b"").decode())
        raise ConnectionError("cut")
    await send({"type": "http.response.body"})
