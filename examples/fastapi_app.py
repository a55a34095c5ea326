"""A FastAPI app with a login, a form that publishes, and streams that are private to a user.

pip install 'sse_edge[server]' fastapi
sse-edge serve fastapi_app:app --app-dir examples
then open http://127.0.0.1:8000, in a second browser too, and sign in as anybody
"""

import os
import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from sse_edge import Identity, Publisher, SignedCookie, SSEMiddleware

# memory:// serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)

# Without TLS browsers take it from this machine only, and Safari not at all: name="session", secure=False.
auth = SignedCookie(SECRET, name="__Host-session")
events = Publisher(BACKEND)

api = FastAPI()
app = SSEMiddleware(
    api,
    backend=BACKEND,
    auth=auth,
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
    """The user, as the same cookie proves it that opens the streams."""
    identity: Identity | None = auth.identify_scope(request.scope)
    if identity is None or identity.user is None:
        raise HTTPException(401, "sign in first")
    return identity.user


# JSON bodies: a form on a foreign site cannot post these without asking first (CORS).
@api.post("/login")
async def login(login: Login) -> Response:
    """Set the cookie that the streams ask for."""
    return Response(status_code=204, headers={"set-cookie": auth.set_cookie(login.user)})


@api.post("/publish")
async def publish(message: Message, user: Annotated[str, Depends(signed_in)]) -> dict[str, str]:
    """Tell everyone, or one user."""
    channel = f"user:{message.to}" if message.to else "news"
    return {"id": await events.publish(channel, json={"from": user, "text": message.text})}


@api.get("/", response_class=HTMLResponse)
async def page() -> str:
    """The whole page."""
    return PAGE


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sse_edge with FastAPI</title>
<style>body { font: 16px system-ui; max-width: 34rem; margin: 3rem auto; color-scheme: light dark }</style>
<form id="login">
  <label>Name <input name="user" pattern="[a-z0-9]+" required></label> <button>Sign in</button>
</form>
<form id="publish">
  <label>To <input name="to" placeholder="everyone"></label>
  <label>Message <input name="text" required></label> <button>Publish</button>
</form>
<ul id="list"></ul>
<script>
const post = (path, form) => fetch(path, {
  method: "POST",
  headers: {"content-type": "application/json"},
  body: JSON.stringify(Object.fromEntries([...new FormData(form)].filter(([, value]) => value))),
});
let stream;
login.onsubmit = async event => {
  event.preventDefault();
  if (!(await post("/login", login)).ok) return;
  stream?.close();
  stream = new EventSource("/events/me");
  stream.onmessage = event => {
    const item = document.createElement("li");
    const {from, text} = JSON.parse(event.data);
    item.textContent = `${from}: ${text}`;
    list.prepend(item);
  };
};
publish.onsubmit = event => { event.preventDefault(); post("/publish", publish); };
</script></html>"""
