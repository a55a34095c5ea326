"""An edge mounted in apps of three frameworks, at its own path and at another one: ``starlette``, …"""

from fastapi import FastAPI
from litestar import Litestar, Router, asgi
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.routing import Mount

from sse_edge import SSEMiddleware

from .edge import AUTH, BACKEND, CHANNELS


def edge(path="/events"):
    """One that stands alone."""
    channels = {template.replace("/events", path.rstrip("/"), 1): of for template, of in CHANNELS.items()}
    return SSEMiddleware(backend=BACKEND, auth=AUTH, channels=channels, path=path)


def litestar_mount(path, app):
    """What ``Mount`` is in Starlette; a function, because a router of Litestar's copies all that is in it."""

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return asgi(path, is_mount=True, copy_scope=False)(mounted)


starlette = Starlette(
    routes=[
        Mount("/events", edge()),
        Mount("/api", routes=[Mount("/events", edge())]),
        Mount("/live", edge("/")),
        Mount("/", edge()),
    ]
)

fastapi = FastAPI()
_api = FastAPI()
_api.mount("/events", edge())
fastapi.mount("/events", edge())
fastapi.mount("/api", _api)
fastapi.mount("/live", edge("/"))

litestar = Litestar(
    [
        litestar_mount("/events", edge()),
        Router("/api", route_handlers=[litestar_mount("/events", edge())]),
        litestar_mount("/live", edge("/")),
    ]
)
