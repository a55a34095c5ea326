"""A Litestar app with sessions on the server, a form that publishes, and streams private to a user.

pip install 'sse_edge[server]' litestar
sse-edge serve litestar_app:app --app-dir examples
then open http://127.0.0.1:8000, in a second browser too, and sign in as anybody

Wrapped like this and not in Litestar's own `middleware=[…]`, which are asked only where it has a route:
each stream would be a 404.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from litestar import Litestar, MediaType, Request, get, post
from litestar.exceptions import HTTPException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.serialization import decode_json
from litestar.stores.base import Store
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from sse_edge import Identity, Publisher, SSEMiddleware
from sse_edge.asgi import Request as StreamRequest

# Memory serves one process.  For several: REDIS=redis://127.0.0.1:6379/0.
REDIS = os.environ.get("REDIS")
BACKEND = REDIS or "memory://"

events = Publisher(BACKEND)
store: Store = RedisStore.with_client(REDIS, namespace="sessions") if REDIS else MemoryStore()
sessions = ServerSideSessionConfig(max_age=14 * 86_400)
UserRequest = Request[Any, Any, Any]


class Sessions:
    """Who asks, as Litestar's own sessions know it."""

    max_age = sessions.max_age

    async def identify(self, request: StreamRequest, now: float) -> Identity | None:
        """The user of the session that the cookie names; ``sid`` is what the session can be ended by."""
        for key in request.cookies(sessions.key):
            session = decode_json(await store.get(key) or b"{}")
            if "user_id" in session:
                return Identity(session["user_id"], session=session["sid"])
        return None


@post("/login", status_code=204)
async def login(data: dict[str, str], request: UserRequest) -> None:
    """Begin a session; a real application asks for a password first."""
    if not data["user"].isalnum():
        raise HTTPException("letters and digits", status_code=422)
    request.set_session({"user_id": data["user"], "sid": secrets.token_urlsafe(16)})


@post("/logout", status_code=204)
async def logout(request: UserRequest) -> None:
    """End the session's streams, in every tab and worker, and the session itself."""
    if "sid" in request.session:
        await events.revoke(request.session["sid"])
    request.clear_session()


@post("/publish", status_code=200)
async def publish(data: dict[str, str], request: UserRequest) -> dict[str, str]:
    """Tell everyone, or one user."""
    user = request.session.get("user_id")
    if user is None:
        raise HTTPException("sign in first", status_code=401)
    channel = f"user:{data['to']}" if "to" in data else "news"
    return {"id": await events.publish(channel, json={"from": user, "text": data["text"]})}


@get("/", media_type=MediaType.HTML, sync_to_thread=False)
def page() -> str:
    """The whole page."""
    return Path(__file__).with_name("messages.html").read_text()


site = Litestar([login, logout, publish, page], middleware=[sessions.middleware], stores={"sessions": store})

app = SSEMiddleware(
    site,
    backend=BACKEND,
    auth=Sessions(),
    channels={"/events/me": ["user:{user}", "news"]},
)
