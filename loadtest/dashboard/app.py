"""What is recorded: an app of three patterns of channels, HTTP publishing, and bounds that are soon reached.

``BACKEND`` is the backend's URL.
"""

import os

from sse_edge import Limits, PublishToken, SignedCookie, SSEMiddleware
from sse_edge.asgi import Receive, Scope, Send

SECRET = "a secret of the recorded run"  # noqa: S105 - for loopback alone
AUTH = SignedCookie(SECRET, secure=False)
TOKENS = PublishToken(SECRET)


async def drained(scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever is asked that is no stream: the worker takes no more of them, and its own are sent away."""
    if scope["type"] == "http":
        await edge.drain(4.0)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


edge = SSEMiddleware(
    drained,
    backend=os.environ.get("BACKEND", "memory://"),
    auth=AUTH,
    channels={
        "/events/me": "user:{user}",
        "/events/rooms/{room}": "room:{room}",
        "/events/prices/{symbol}": "price:{symbol}",
    },
    limits=Limits(per_user=6, per_ip=60, connects_per_ip=None),
    status_path="/status",
    publish_path="/publish",
    publish_auth=TOKENS,
    keep_alive=2.0,
    retry=1.0,
    max_unsent=65_536,
    max_unsent_age=5.0,
)
