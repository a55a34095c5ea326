"""A chat with a model, whose answers outlive requests, reloads and workers.

pip install 'sse_edge[server]' fastapi
sse-edge serve chat.app:app --app-dir examples
then open http://127.0.0.1:8000
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as PathValue
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from sse_edge import (
    Channel,
    Identity,
    MemoryBackend,
    Publisher,
    RedisBackend,
    Retention,
    SignedCookie,
    SSEMiddleware,
)

from .model import answer

# An answer is kept for an hour, all of it: who reloads is given what was said so far.
KEPT = {"chat:*": Retention(10_000, 3600)}
# Memory serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
REDIS = os.environ.get("REDIS")
BACKEND = RedisBackend(REDIS, retention=KEPT) if REDIS else MemoryBackend(retention=KEPT)
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)
HERE = Path(__file__).parent

MEMBERS = {"42": {"ann", "ben"}, "43": {"cleo"}}
"""Who may read and write a chat; a real application asks its database."""


def may_read(identity: Identity, channel: str) -> bool:
    """Whether somebody is a member of the chat that a channel belongs to."""
    return identity.user in MEMBERS.get(channel.split(":")[1], ())


# Without TLS browsers take it from this machine only, and Safari not at all: name="session", secure=False.
auth = SignedCookie(SECRET, name="__Host-session")
events = Publisher(BACKEND)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """A worker that is stopped ends what it writes here; a queue of jobs could go on with it."""
    yield
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)


api = FastAPI(lifespan=lifespan)
app = SSEMiddleware(
    api,
    backend=BACKEND,
    auth=auth,
    authorize=may_read,
    channels={
        # What was asked; and for each question a channel of its own that has the answer, and finishes with
        # it.  One channel that is reopened for each answer is no simpler: what is finished has no streams,
        # so each page would have to learn from elsewhere when to connect again.
        "/events/chats/{chat}": Channel("chat:{chat}", first="all"),
        "/events/chats/{chat}/{turn}": Channel("chat:{chat}:{turn}", first="all"),
    },
)
writing: set[asyncio.Task[Any]] = set()

Turn = Annotated[str, PathValue(pattern=r"^[\w.-]+$")]


def start(work: Coroutine[Any, Any, Any]) -> None:
    """Begin to write an answer in this worker; nobody who asked has to wait for it or to stay."""
    task = asyncio.create_task(work)
    writing.add(task)
    task.add_done_callback(writing.discard)


def signed_in(request: Request) -> str:
    """The user, as the same cookie proves it that opens the streams."""
    identity: Identity | None = auth.identify_scope(request.scope)
    if identity is None or identity.user is None:
        raise HTTPException(401, "sign in first")
    return identity.user


User = Annotated[str, Depends(signed_in)]


def check_member(chat: str, user: User) -> str:
    """The chat, if the user is one of its members."""
    if user not in MEMBERS.get(chat, ()):
        raise HTTPException(403, "this chat is not yours")
    return chat


Chat = Annotated[str, Depends(check_member)]


class Login(BaseModel):
    """Who wants in; a real application asks for a password as well."""

    user: str = Field(min_length=1, max_length=32, pattern="^[a-z0-9]+$")


class Question(BaseModel):
    """What a model is asked."""

    prompt: str = Field(min_length=1, max_length=2000)


# JSON bodies: a form on a foreign site cannot post these without asking first (CORS).
@api.post("/login")
async def login(login: Login) -> Response:
    """Set the cookie that the streams ask for."""
    return Response(status_code=204, headers={"set-cookie": auth.set_cookie(login.user)})


@api.post("/chats/{chat}")
async def ask(chat: Chat, question: Question, user: User) -> dict[str, str]:
    """Tell every page what was asked, and begin to answer."""
    # A name of its own: an event's id is a place in its data set, and has another name after Redis lost data.
    turn = secrets.token_urlsafe(9)
    asked = {"turn": turn, "by": user, "prompt": question.prompt}
    await events.publish(f"chat:{chat}", json=asked, event="turn")
    start(events.write(f"chat:{chat}:{turn}", answer(question.prompt), event="token"))
    return {"turn": turn}


@api.post("/chats/{chat}/{turn}/stop")
async def stop(chat: Chat, turn: Turn) -> None:
    """End an answer, whichever worker writes it."""
    await events.stop(f"chat:{chat}:{turn}")


@api.get("/chats/{chat}")
async def page(chat: Chat) -> FileResponse:
    """The page of a chat."""
    return FileResponse(HERE / "page" / "chat.html")


@api.get("/")
async def index() -> FileResponse:
    """Who is there?"""
    return FileResponse(HERE / "page" / "index.html")


api.mount("/page", StaticFiles(directory=HERE / "page"))
