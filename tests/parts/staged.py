"""Parts for tests of ``sse_edge.testing``: an edge of one."""

import asyncio
from urllib.parse import parse_qsl

from fastapi import BackgroundTasks, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sse_edge import (
    Channel,
    MemoryBackend,
    Publisher,
    SignedCookie,
    SSEMiddleware,
)

AUTH = SignedCookie("3c9f5b1e7a2d48e6b0c4f8a1d5e97263", name="edge")
CHANNELS = {
    "/events/me": "user:{user}",
    "/events/orders/{id}": "order:{id}",
    "/events/mine": ["user:{user}", Channel("news", compress=True)],
    "/events/news": Channel("news", compress=True),
}


def edge(app=None, **options):
    """An edge in memory, with a backend of its own."""
    return SSEMiddleware(app, **{"backend": MemoryBackend(), "auth": AUTH, "channels": CHANNELS, **options})


def shop():
    """An app with a login, a form, a background task, and what goes wrong."""
    api = FastAPI()
    app = edge(api)
    events = Publisher(app.backend)

    @api.post("/login")
    async def login(request: Request):
        ((_, name),) = parse_qsl((await request.body()).decode())
        return Response(headers={"set-cookie": AUTH.set_cookie(name)})

    @api.post("/logout")
    def logout():
        return Response(headers={"set-cookie": AUTH.clear_cookie()})

    @api.put("/orders/{id}")
    async def put(id: str, order: dict):
        return await events.publish(f"user:{id}", json=order)

    @api.patch("/later")
    async def later(tasks: BackgroundTasks):
        async def tell():
            await events.publish("user:u1", "begun")
            await asyncio.sleep(0.05)
            await events.publish("user:u1", "done")

        tasks.add_task(tell)

    @api.get("/echo/{path:path}")
    async def echo(path: str, q: str):
        return {"path": path, "q": q}

    @api.delete("/broken")
    async def broken():
        raise ZeroDivisionError

    return app
