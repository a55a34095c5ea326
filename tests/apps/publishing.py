"""An app that publishes over HTTP, as ``edge``: ``BACKEND`` is its backend's URL, ``TRUSTED`` are networks.

``RATE`` is a rate for each token, and ``BODY_TIME`` are the seconds that a body may take; pages are at every
other path.
"""

import logging
import os

from sse_edge import Limits, PublishToken, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.posting import posting as publishing

SECRET = "a secret of the tests"
AUTH, TOKENS = SignedCookie(SECRET, secure=False), PublishToken(SECRET)
BACKEND = os.environ.get("BACKEND", "memory://")

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
publishing.BODY_TIME = float(os.environ.get("BODY_TIME", "10"))


async def inner(scope, receive, send):
    """A page."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>page</title>"})


edge = SSEMiddleware(
    inner,
    backend=RedisBackend(BACKEND, timeout=1.0) if BACKEND.startswith("redis") else BACKEND,
    auth=AUTH,
    channels={"/events/orders/{order_id}": "order:{order_id}", "/events/me": ["user:{user}", "news"]},
    trusted_proxies=[each for each in os.environ.get("TRUSTED", "").split(",") if each],
    limits=Limits(connects_per_ip=None, publishes=os.environ.get("RATE")),
    publish_path="/publish",
    publish_auth=TOKENS,
)
