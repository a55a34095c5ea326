"""What the programs of docs/HTMX.md are served with by its test: their pages, and what a proxy does to them.

``POST /call/<module>/<function>`` runs one of theirs, and ``POST /refuse/<status>`` has every request for the
orders' stream answered like that, as a proxy does whose server is away; ``/refuse/0`` ends it.
"""

from functools import partial
from importlib import import_module

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

import sse_edge

# Before live.py takes it: a browser that comes back soon, and few streams for each user.
sse_edge.SSEMiddleware = partial(sse_edge.SSEMiddleware, retry=0.2, limits=sse_edge.Limits(per_user=3))

live = import_module("live")
for name in ("account", "glance", "load", "notifications", "orders", "progress"):
    import_module(name)

live.pages.mount("/static", StaticFiles(directory="static"))
refusing = {"status": 0}


@live.pages.post("/call/{module}/{name}")
async def call(module: str, name: str, request: Request):
    await getattr(import_module(module), name)(*await request.json())


@live.pages.post("/refuse/{status}")
async def refuse(status: int):
    refusing["status"] = status


@live.pages.get("/", response_class=HTMLResponse)
async def first():
    return "<!doctype html><title>first</title>"


@live.pages.get("/pages/{name}", response_class=HTMLResponse)
async def page(name: str):
    """``progress``, ``load`` and ``shared`` are there at once, the others are asked for by htmx."""
    if name == "shared":
        place = await live.events.cursor()
        body = written(name, place=place, texts=import_module("notifications").unread.get("ann", []))
    elif name in ("progress", "load"):
        body = written(name)
    else:
        body = f'<p hx-get="/{name}" hx-trigger="load" hx-swap="outerHTML"></p>'
    head = f'<meta charset="utf-8"><link rel="icon" href="data:,"><title>{name}</title>{written("head")}'
    rest = f"<body>{body}{written('signed_in')}</body>"
    return f"<!doctype html><html><head>{head}</head>{rest}</html>"


def written(name, **values):
    return live.templates.get_template(f"{name}.html").render(**values)


async def app(scope, receive, send):
    """All of it, and a line on standard output for each stream that is asked for."""
    status = refusing["status"] if scope["type"] == "http" and scope["path"] == "/events/orders" else 0
    if scope["type"] == "http" and scope["path"].startswith("/events/"):
        print("asked for", scope["path"], status or "", flush=True)
    if status:
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"<h1>Bad Gateway</h1>"})
    else:
        await live.app(scope, receive, send)
