"""Apps of two frameworks with everything of their own, wrapped from outside."""

import asyncio
import contextlib
import os
from pathlib import Path

from fastapi import FastAPI, WebSocket

from sse_edge import SSEMiddleware

from .edge import AUTH, BACKEND


@contextlib.asynccontextmanager
async def _lifespan(app):
    app.state.started = True
    yield {"answer": 42}
    await asyncio.to_thread(Path(os.environ["STOPPED"]).write_text, "stopped in good order")


api = FastAPI(lifespan=_lifespan)


@api.get("/started")
async def started():
    """Whether the app's own lifespan ran."""
    return {"started": api.state.started}


@api.websocket("/echo")
async def echo(socket: WebSocket):
    """Say back what is said, with what the lifespan left in the state."""
    await socket.accept()
    await socket.send_text(f"{await socket.receive_text()} {socket.state.answer}")
    await socket.close()


fastapi = SSEMiddleware(api, backend=BACKEND, auth=AUTH, channels={"/events/me": "user:{user}"})
