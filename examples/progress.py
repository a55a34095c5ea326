"""A job with a progress bar: a page opened at 60 % shows 60 % at once, and at 100 % the stream is over.

pip install 'sse_edge[server]' fastapi
sse-edge serve progress:app --app-dir examples
then open http://127.0.0.1:8000, start a job, and reload its page in the middle

`npm ci --prefix examples --ignore-scripts` first, and the same page is there with htmx.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as PathValue
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from sse_edge import Anonymous, Channel, MemoryBackend, Publisher, RedisBackend, Retention, SSEMiddleware

# How far a job is says everything: one event of each is enough, and tomorrow nobody asks.
KEPT = {"task:*": Retention(1, 86_400)}
# Memory serves one process.  For several: REDIS=redis://127.0.0.1:6379/0.
REDIS = os.environ.get("REDIS")
BACKEND = RedisBackend(REDIS, retention=KEPT) if REDIS else MemoryBackend(retention=KEPT)

events = Publisher(BACKEND)

api = FastAPI()
app = SSEMiddleware(
    api,
    backend=BACKEND,
    auth=Anonymous(),
    authorize=lambda identity, channel: True,  # whoever knows a job's name may look at it
    channels={"/events/tasks/{task}": Channel("task:{task}", first=1)},
)
Task = Annotated[str, PathValue(pattern=r"^[\w-]+$")]
jobs: set[asyncio.Task[None]] = set()


async def job(task: str) -> None:
    """What takes its time; it does not matter to it who looks, or whether anybody does."""
    for percent in range(100):
        await events.publish(f"task:{task}", bar(percent), event="progress")
        await asyncio.sleep(0.05)
    await events.finish(f"task:{task}", bar(100), event="complete")


def bar(percent: int) -> str:
    """What the page shows."""
    return f'<progress max="100" value="{percent}"></progress> {percent} %'


@api.post("/tasks")
async def start() -> RedirectResponse:
    """Begin a job here; a queue of jobs would do it in a process of its own, with a Publisher there."""
    task = secrets.token_urlsafe(9)
    running = asyncio.create_task(job(task))
    jobs.add(running)
    running.add_done_callback(jobs.discard)
    return RedirectResponse(f"/tasks/{task}", status_code=303)


@api.get("/", response_class=HTMLResponse)
async def first() -> str:
    """A button."""
    return page('<form method="post" action="/tasks"><button>Start a job</button></form>')


# The stream ends with the job.  An EventSource asks once more then, is answered 204, and is closed for good.
@api.get("/tasks/{task}", response_class=HTMLResponse)
async def plain(task: Task) -> str:
    """The bar with what every browser has."""
    return page(
        f"""<p id="bar">…</p><p><a href="/htmx/{task}">with htmx</a></p>
<script>
const stream = new EventSource(location.pathname.replace("tasks", "events/tasks"));
const show = event => bar.innerHTML = event.data;
stream.addEventListener("progress", show);
stream.addEventListener("complete", show);
</script>"""
    )


# The htmx extension asks again whatever it is answered, 204 too, and without the place where it was.
# `sse-close` names the last event: having heard it, it asks no more.
@api.get("/htmx/{task}", response_class=HTMLResponse)
async def htmx(task: Task) -> str:
    """The bar with htmx."""
    return page(
        f"""<script src="/node_modules/htmx.org/dist/htmx.min.js"></script>
<script src="/node_modules/htmx-ext-sse/dist/sse.min.js"></script>
<p id="bar" hx-ext="sse" sse-connect="/events/tasks/{task}"
   sse-swap="progress,complete" sse-close="complete">…</p>
<p><a href="/tasks/{task}">without htmx</a></p>"""
    )


api.mount("/node_modules", StaticFiles(directory=Path(__file__).parent / "node_modules", check_dir=False))


def page(content: str) -> str:
    """A whole page around ``content``."""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A job with a progress bar</title>
<style>
:root {{ font: 18px/1.6 system-ui; color-scheme: light dark }}
body {{ max-width: 30rem; margin: 15vh auto; padding: 0 1rem }}
progress {{ width: 75%; height: 1.2em; vertical-align: -0.2em; accent-color: #2a7d5f }}
button {{ font: inherit; padding: 0.4em 1.2em }}
</style>
{content}</html>"""
