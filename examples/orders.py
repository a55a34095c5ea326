"""An order's state, there as soon as the page is; and a dashboard of twelve orders over one stream.

pip install 'sse_edge[server]' fastapi
sse-edge serve orders:app --app-dir examples
then open http://127.0.0.1:8000 in two windows, as a customer and as staff
"""

import os
import secrets
from enum import StrEnum

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

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

# The newest state of an order says everything.
KEPT = {"order:*": Retention(1, 7 * 86_400)}
# Memory serves one process.  For several: REDIS=redis://127.0.0.1:6379/0, and one SECRET for all.
REDIS = os.environ.get("REDIS")
BACKEND = RedisBackend(REDIS, retention=KEPT) if REDIS else MemoryBackend(retention=KEPT)
SECRET = os.environ.get("SECRET") or secrets.token_urlsafe(32)
TWELVE = range(1, 13)

# Without TLS browsers take it from this machine only, and Safari not at all: name="session", secure=False.
auth = SignedCookie(SECRET, name="__Host-session")
events = Publisher(BACKEND)

api = FastAPI()
app = SSEMiddleware(
    api,
    backend=BACKEND,
    auth=auth,
    channels={
        "/events/orders/{order}": Channel("order:{order}", first=1),
        # A list without placeholders would be for everybody who is signed in.  What a function names is for
        # those whose cookie covers all of it.
        "/events/dashboard": lambda request: [Channel(f"order:{order}", first=1) for order in TWELVE],
    },
)


class State(StrEnum):
    """What becomes of an order."""

    RECEIVED = "received"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"


class Change(BaseModel):
    """A step of an order."""

    state: State


# A real application asks for a password first, and knows who ordered what.
@api.get("/login/customer/{order}")
async def customer(order: int) -> RedirectResponse:
    """Somebody who may look at one order."""
    cookie = auth.set_cookie("customer", channels=[f"order:{order}"])
    return RedirectResponse(f"/orders/{order}", headers={"set-cookie": cookie})


@api.get("/login/staff")
async def staff() -> RedirectResponse:
    """Somebody who may look at all of them, and change them."""
    cookie = auth.set_cookie("staff", channels=["order:*"])
    return RedirectResponse("/dashboard", headers={"set-cookie": cookie})


@api.post("/orders/{order}")
async def change(order: int, change: Change, request: Request) -> dict[str, str]:
    """Write the new state into the database, and tell who looks; who comes later is told it first."""
    identity: Identity | None = auth.identify_scope(request.scope)
    if identity is None or identity.user != "staff":
        raise HTTPException(403, "for staff only")
    news = {"order": order, "state": change.state}
    return {"id": await events.publish(f"order:{order}", json=news, event="state")}


@api.get("/", response_class=HTMLResponse)
async def index() -> str:
    """Who looks?"""
    return page(
        '<p><a href="/login/customer/7">The customer who ordered number 7</a></p>'
        '<p><a href="/login/staff">Staff, who see all twelve</a></p>'
    )


@api.get("/orders/{order}", response_class=HTMLResponse)
async def one(order: int) -> str:
    """One order, as its customer sees it."""
    return page(card(order), f"/events/orders/{order}")


@api.get("/dashboard", response_class=HTMLResponse)
async def dashboard() -> str:
    """Twelve orders, and one stream."""
    return page("".join(card(order, change=True) for order in TWELVE), "/events/dashboard")


def card(order: int, *, change: bool = False) -> str:
    """An order that nothing was heard of so far."""
    buttons = "".join(f"<button>{state}</button>" for state in State) if change else ""
    return f'<section id="order-{order}"><h2>Order {order}</h2><b>…</b><div>{buttons}</div></section>'


def page(content: str, stream: str = "") -> str:
    """A whole page around ``content``, which the stream at the address ``stream`` keeps up to date."""
    return PAGE.replace("CONTENT", content).replace("STREAM", stream)


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Orders</title>
<style>
:root { font: 16px/1.5 system-ui; color-scheme: light dark }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)) }
section { border: 1px solid #8886; border-radius: 0.6rem; padding: 0.8rem 1rem }
h2 { font-size: 1rem; margin: 0 }
b { font-size: 1.4rem; color: light-dark(#1d6b4f, #6fcf9f) }
button { font-size: 0.75rem; margin: 0 0.2rem 0.2rem 0 }
</style>
<main>CONTENT</main>
<script>
if ("STREAM") new EventSource("STREAM").addEventListener("state", event => {
  const {order, state} = JSON.parse(event.data);
  document.querySelector(`#order-${order} b`).textContent = state;
});
document.onclick = ({target}) => {
  if (target.tagName !== "BUTTON") return;
  fetch("/orders/" + target.closest("section").id.replace("order-", ""), {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify({state: target.textContent}),
  });
};
</script></html>"""
