"""An edge that publishes, and requests to it."""

import json

from sse_edge import (
    MemoryBackend,
    Publisher,
    PublishToken,
    SignedCookie,
    SSEMiddleware,
)

SECRET = "a secret of the tests"
AUTH, TOKENS = SignedCookie(SECRET), PublishToken(SECRET)
EVERYTHING = TOKENS.issue(["*"], name="tests")
ORDERS = TOKENS.issue(["order:*", "news"], name="billing")
KIND = ("content-type", "application/json")
COOKIE = {"cookie": f"session={AUTH.issue('u42', ['*'])}"}
HI = {"channel": "news", "data": "hi"}


async def inner(scope, receive, send):
    """The app below answers everything that the edge does not."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


def make(**options):
    """An edge that publishes, and does not listen yet."""
    settings = {
        "backend": MemoryBackend(),
        "auth": AUTH,
        "channels": {"/events/orders/{id}": "order:{id}", "/events/news": "news"},
        "publish_path": "/publish",
        "publish_auth": TOKENS,
    }
    return SSEMiddleware(inner, **(settings | options))


def _is_piece(value):
    return isinstance(value, bytes) or value is None


async def recent(edge, channel, count=10):
    """(name, data) of what was published."""
    events = await Publisher(edge.backend).recent(channel, count)
    return [(event.event, event.data) for event in events]


def posting(asgi):
    """``await post(edge, body, …)``: the client, once its answer is whole, which is its ``json``."""

    async def ask(edge, body=HI, *, token=EVERYTHING, headers=(KIND,), path="/publish", **options):
        if not isinstance(body, bytes) and not (isinstance(body, list) and body and _is_piece(body[0])):
            body = json.dumps(body).encode()
        given = [*headers, *([("authorization", f"Bearer {token}")] if token else [])]
        client = asgi(edge, path, headers=given, body=body, **{"method": "POST"} | options)
        await client.whole()
        client.json = json.loads(client.body() or b"null")
        return client

    return ask
