"""A Quart app with a login, a form that publishes, and streams that are private to a user.

pip install 'sse_edge[server]' quart
sse-edge serve quart_app:app --app-dir examples
then open http://127.0.0.1:8000, in a second browser too, and sign in as anybody
"""

import os
import secrets
from pathlib import Path

from quart import Quart, Response, abort, request, session

from sse_edge import Publisher, SSEMiddleware
from sse_edge.cookies import FlaskSession

# memory:// serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)

events = Publisher(BACKEND)
site = Quart(__name__)
site.secret_key = SECRET


@site.post("/login")
async def login() -> Response:
    """Begin a session; a real application asks for a password first."""
    user = (await request.get_json())["user"]
    if not user.isalnum():
        abort(422)
    session.update(user_id=user, sid=secrets.token_urlsafe(16))
    return Response(status=204)


@site.post("/logout")
async def logout() -> Response:
    """End the session's streams, in every tab and worker, and let its cookie open no more."""
    if "sid" in session:
        await events.revoke(session["sid"])
    session.clear()
    return Response(status=204)


@site.post("/publish")
async def publish() -> dict[str, str]:
    """Tell everyone, or one user."""
    if "user_id" not in session:
        abort(401)
    message = await request.get_json()
    channel = f"user:{message['to']}" if "to" in message else "news"
    said = {"from": session["user_id"], "text": message["text"]}
    return {"id": await events.publish(channel, json=said)}


@site.get("/")
async def page() -> str:
    """The whole page."""
    return Path(__file__).with_name("messages.html").read_text()


app = SSEMiddleware(
    site,
    backend=BACKEND,
    auth=FlaskSession(SECRET, user="user_id", session="sid"),
    channels={"/events/me": ["user:{user}", "news"]},
)
