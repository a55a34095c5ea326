"""A Celery worker that publishes how far its task is, to pages that another process serves.

pip install 'sse_edge[server]' fastapi celery
export REDIS=redis://127.0.0.1:6379/0
celery --workdir examples -A celery_app:worker worker & sse-edge serve celery_app:app --app-dir examples
then open http://127.0.0.1:8000, start a report, and reload its page in the middle

The same with `--pool gevent` (and gevent), or any other pool.
"""

import os
import secrets
import time

from celery import Celery
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from sse_edge import Anonymous, Channel, SSEMiddleware, SyncPublisher

REDIS = os.environ["REDIS"]

worker = Celery("reports", broker=REDIS)
worker.conf.broker_connection_retry_on_startup = True
events = SyncPublisher(REDIS)  # of this process, and of each that is forked from it


@worker.task(ignore_result=True)
def report(name: str) -> None:
    """What takes its time; it does not matter to it who looks, or whether anybody does."""
    for percent in range(0, 100, 2):
        events.publish(f"report:{name}", bar(percent), event="progress")
        time.sleep(0.05)
    events.finish(f"report:{name}", bar(100), event="complete")


def bar(percent: int) -> str:
    """What the page shows."""
    return f'<progress max="100" value="{percent}"></progress> {percent} %'


api = FastAPI()


@api.post("/reports")
def start() -> RedirectResponse:
    """Put a task into the queue; in a thread, because Celery waits for the broker."""
    name = secrets.token_urlsafe(9)
    report.delay(name)
    return RedirectResponse(f"/reports/{name}", status_code=303)


@api.get("/", response_class=HTMLResponse)
async def first() -> str:
    """A button."""
    return '<form method="post" action="/reports"><button>Start a report</button></form>'


@api.get("/reports/{name}", response_class=HTMLResponse)
async def page(name: str) -> str:
    """The bar."""
    return """<!doctype html><title>A report</title><p id="bar">…</p>
<script>
const stream = new EventSource("/events" + location.pathname);
const show = event => bar.innerHTML = event.data;
stream.addEventListener("progress", show);
stream.addEventListener("complete", show);
</script>"""


app = SSEMiddleware(
    api,
    backend=REDIS,
    auth=Anonymous(),
    authorize=lambda identity, channel: True,  # whoever knows a report's name may look at it
    channels={"/events/reports/{name}": Channel("report:{name}", first=1)},
)
