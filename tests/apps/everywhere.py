"""An app with a stream for anybody at every path under /events, a WebSocket at /echo, and pages that tell
what reached them.  ``PER_IP`` is a cap.
"""

import json
import os

from apps.bodies import echo
from sse_edge import Anonymous, Limits, SSEMiddleware


async def inner(scope, receive, send):
    """Every page is the request's path and headers; ``/echo`` says what it hears."""
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    body = json.dumps({"path": scope["path"], "headers": headers}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


app = SSEMiddleware(
    inner,
    auth=Anonymous(),
    channels=lambda request: ["news"],
    authorize=lambda identity, channel: True,
    trusted_proxies=["127.0.0.1/32"],
    status_path="/status",
    limits=Limits(per_ip=int(os.environ.get("PER_IP", "1000")), connects_per_ip=None),
)
