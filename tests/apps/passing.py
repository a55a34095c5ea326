"""The same app in each framework: it notes its start and end in ``LIFE``, and its WebSocket says back what it
hears.  ``inside`` has each with the edge put into it by the framework's own means, where it has any.
"""

import contextlib

from fastapi import FastAPI
from litestar import Litestar, websocket
from litestar import WebSocket as LitestarSocket
from litestar.middleware import DefineMiddleware
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from sse_edge import MemoryBackend, SignedCookie, SSEMiddleware

LIFE = []
AUTH = SignedCookie("a secret of the tests")
SETTINGS = {"auth": AUTH, "channels": {"/events/me": "user:{user}"}}


@contextlib.asynccontextmanager
async def _life(app):
    LIFE.append("started")
    yield
    LIFE.append("stopped")


async def _echo(socket: WebSocket):
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


def starlette():
    return Starlette(routes=[WebSocketRoute("/echo", _echo)], lifespan=_life)


def fastapi():
    app = FastAPI(lifespan=_life)
    app.add_api_websocket_route("/echo", _echo)
    return app


def litestar(**options):
    @websocket("/echo")
    async def echo(socket: LitestarSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return Litestar([echo], lifespan=[_life], **options)


def quart():
    app = Quart(__name__)

    @app.while_serving
    async def life():
        LIFE.append("started")
        yield
        LIFE.append("stopped")

    @app.websocket("/echo")
    async def echo():
        await quart_websocket.send(await quart_websocket.receive())

    return app


FRAMEWORKS = {"FastAPI": fastapi, "Starlette": starlette, "Litestar": litestar, "Quart": quart}


def wrapped(name):
    """The app of a framework, in an edge."""
    return SSEMiddleware(FRAMEWORKS[name](), backend=MemoryBackend(), **SETTINGS)


def inside(name):
    """The app of a framework with an edge in it."""
    if name == "Litestar":
        return litestar(middleware=[DefineMiddleware(SSEMiddleware, **SETTINGS)])
    app = FRAMEWORKS[name]()
    if name == "Quart":
        app.asgi_app = SSEMiddleware(app.asgi_app, **SETTINGS)
    else:
        app.add_middleware(SSEMiddleware, **SETTINGS)
    return app
