"""An app whose channels lie inside each other, as ``edge``; ``BACKEND`` is the backend's URL."""

import logging
import os

from sse_edge import SignedCookie, SSEMiddleware

AUTH = SignedCookie("a secret of the tests", secure=False)

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")


async def may_read(identity, channel, values):
    """An order that is the user's own: only what the path itself said counts."""
    return (
        channel == f"order:{values['order']}" and values == {"order": "ok1"} if "order" in values else False
    )


edge = SSEMiddleware(
    backend=os.environ.get("BACKEND", "memory://"),
    auth=AUTH,
    channels={
        "/events/me": ["user:{user}", "news"],
        "/events/private": ["user:{user}:private", "news"],
        "/events/orders/{order}": ["order:{order}", "news"],
        "/events/rooms/{room}": ["room:{room}", "news"],
    },
    authorize=may_read,
)
