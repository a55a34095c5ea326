"""An app that reads bodies, or does not, as ``app``, with streams and with WebSockets that echo.

``/page`` answers at once and reads nothing; ``/whole`` reads everything, and answers with the names of the
headers and the length of the body; ``/asleep`` reads nothing and answers nothing.
"""

import asyncio
import json

from apps.edge import AUTH
from sse_edge import SSEMiddleware


async def inner(scope, receive, send):
    """Whatever is not a stream."""
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["path"] == "/asleep":
        await asyncio.Event().wait()
    elif scope["type"] == "http":
        length, more = 0, scope["path"] == "/whole"
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        names = [name.decode() for name, _ in scope["headers"]]
        body = json.dumps({"headers": names, "length": length}).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def echo(receive, send):
    """A WebSocket that says what it hears."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


app = SSEMiddleware(inner, auth=AUTH, channels={"/events/me": "user:{user}"}, status_path="/status")
