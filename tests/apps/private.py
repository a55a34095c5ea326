"""An app of which everything can fail, as ``edge``; what it is given is marked, see servers.privacy.

``BACKEND`` and ``SECRET`` come from the environment.  ``/drain`` refuses new streams for a while.
"""

import asyncio
import json
import logging
import os

from sse_edge import Identity, Limits, PublishToken, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.posting import posting as publishing

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
publishing.BODY_TIME = 0.5  # seconds; nobody has to wait for what does not come


class Auth:
    """Cookies, or a token in the query."""

    anonymous = False
    max_age = 3600
    cookies = SignedCookie(os.environ["SECRET"], secure=False)

    def identify(self, request, now):
        if "fail" in request.query:
            raise RuntimeError("auth is broken")
        if request.query.get("token") == [os.environ["TOKEN"]]:
            return Identity("u-token", session=f"session-{os.environ['TOKEN']}")
        return self.cookies.identify(request, now)


async def authorize(identity, channel):
    if channel == "room:broken":
        raise OSError(f"authorize is broken: postgres://app:{os.environ['TOKEN']}@db/app?x")
    return channel == "room:open"


def numbered(request):
    return [f"page:{int(request.params['page'])}"]


def broken(request):
    raise RuntimeError("channels is broken")


async def inner(scope, receive, send):
    """``/figures``, ``/drain``, and 404."""
    status, body = 404, b"not found"
    if scope["path"] == "/figures":
        status, body = 200, json.dumps(edge.figures()).encode()
    elif scope["path"] == "/drain":
        status, body = 200, b"draining"
        draining.append(asyncio.create_task(edge.drain(30)))
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


draining = []
edge = SSEMiddleware(
    inner,
    backend=RedisBackend(os.environ["BACKEND"], timeout=1.0),
    auth=Auth(),
    channels={
        "/events/me": ["user:{user}", "news"],
        "/events/room/{room}": "room:{room}",
        "/events/page/{page}": numbered,
        "/events/broken": broken,
    },
    authorize=authorize,
    trusted_proxies=["127.0.0.1/32"],
    limits=Limits(per_user=1, per_ip=2, per_worker=4, connects_per_ip="20/minute"),
    status_path="/status",
    publish_path="/publish",
    publish_auth=PublishToken(os.environ["SECRET"]),
)
