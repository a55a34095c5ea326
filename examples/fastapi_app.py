"""A FastAPI app with a login, a form that publishes, and streams that are private to a user.

pip install 'sse_edge[server]' fastapi
sse-edge serve fastapi_app:app --app-dir examples
then open http://127.0.0.1:8000, in a second browser too, and sign in as anybody
"""

import os
import secrets
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.middleware.sessions import SessionMiddleware

from sse_edge import Publisher, SSEMiddleware
from sse_edge.cookies import StarletteSession

# memory:// serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)
# Without TLS browsers take it from this machine only, and Safari not at all: "session", and https_only=False.
COOKIE = "__Host-session"

events = Publisher(BACKEND)
api = FastAPI()
api.add_middleware(SessionMiddleware, secret_key=SECRET, session_cookie=COOKIE, https_only=True)

# Outside of the app and its middlewares: added as one of them, an event costs twice as much.
app = SSEMiddleware(
    api,
    backend=BACKEND,
    auth=StarletteSession(SECRET, name=COOKIE, user="user_id", session="sid"),
    channels={"/events/me": ["user:{user}", "news"]},
)


class Login(BaseModel):
    """Who wants in; a real application asks for a password as well."""

    user: str = Field(min_length=1, max_length=32, pattern="^[a-z0-9]+$")


class Message(BaseModel):
    """What to publish; without ``to`` it is for everyone."""

    text: str = Field(min_length=1, max_length=200)
    to: str | None = Field(None, max_length=32, pattern="^[a-z0-9]+$")


def signed_in(request: Request) -> str:
    """The user of the session."""
    user = request.session.get("user_id")
    if user is None:
        raise HTTPException(401, "sign in first")
    return str(user)


@api.post("/login", status_code=204)
async def login(login: Login, request: Request) -> None:
    """Begin a session; its name is what it can be ended by."""
    request.session.update(user_id=login.user, sid=secrets.token_urlsafe(16))


@api.post("/logout", status_code=204)
async def logout(request: Request) -> None:
    """End the session's streams, in every tab and worker, and let its cookie open no more."""
    if "sid" in request.session:
        await events.revoke(request.session["sid"])
    request.session.clear()


@api.post("/publish")
async def publish(message: Message, user: Annotated[str, Depends(signed_in)]) -> dict[str, str]:
    """Tell everyone, or one user."""
    channel = f"user:{message.to}" if message.to else "news"
    return {"id": await events.publish(channel, json={"from": user, "text": message.text})}


@api.get("/")
async def page() -> FileResponse:
    """The whole page."""
    return FileResponse(Path(__file__).with_name("messages.html"))
