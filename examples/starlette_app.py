"""A Starlette app with a login, a form that publishes, and streams that are private to a user.

pip install 'sse_edge[server]' starlette
sse-edge serve starlette_app:app --app-dir examples
then open http://127.0.0.1:8000, in a second browser too, and sign in as anybody
"""

import os
import secrets
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sse_edge import Publisher, SSEMiddleware
from sse_edge.cookies import StarletteSession

# memory:// serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)

events = Publisher(BACKEND)


async def login(request: Request) -> Response:
    """Begin a session; a real application asks for a password first."""
    user = (await request.json())["user"]
    if not user.isalnum():
        raise HTTPException(422, "letters and digits")
    request.session.update(user_id=user, sid=secrets.token_urlsafe(16))
    return Response(status_code=204)


async def logout(request: Request) -> Response:
    """End the session's streams, in every tab and worker, and let its cookie open no more."""
    if "sid" in request.session:
        await events.revoke(request.session["sid"])
    request.session.clear()
    return Response(status_code=204)


async def publish(request: Request) -> Response:
    """Tell everyone, or one user."""
    user, message = request.session.get("user_id"), await request.json()
    if user is None:
        raise HTTPException(401, "sign in first")
    channel = f"user:{message['to']}" if "to" in message else "news"
    return JSONResponse({"id": await events.publish(channel, json={"from": user, "text": message["text"]})})


async def page(request: Request) -> Response:
    """The whole page."""
    return FileResponse(Path(__file__).with_name("messages.html"))


pages = Starlette(
    routes=[
        Route("/", page),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/publish", publish, methods=["POST"]),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
)

app = SSEMiddleware(
    pages,
    backend=BACKEND,
    auth=StarletteSession(SECRET, user="user_id", session="sid"),
    channels={"/events/me": ["user:{user}", "news"]},
)
