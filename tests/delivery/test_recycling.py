"""Servers that stop by themselves, as they do after so many requests: streams are drained all the same.

On each server: test_servers.py.
"""

import asyncio
import json
import signal

import pytest

from apps.edge import AUTH
from servers.sse import get

COOKIES = {"session": AUTH.issue("u42")}
PURE = ["--http", "h11", "--loop", "asyncio"]


async def told(clients):
    """All of them hear that they are drained, and their responses end."""
    for client in clients:
        goodbye = await client.until(lambda event: event.event == "edge-close")
        assert goodbye.data == '{"reason": "drain"}'
        assert await client.ended()


async def pid(process):
    """Of the worker that answers, once there is one."""
    while True:
        try:
            return json.loads((await get(f"{process.url}/figures")).body)["pid"]
        except (OSError, AssertionError, EOFError):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("server", "options", "app", "sink"),
    [
        ("uvicorn", [], "apps.edge:edge", "task"),
        ("uvicorn", [], "apps.around:both_wrapped", "auto"),
        ("uvicorn", ["--limit-max-requests-jitter", "1", *PURE], "apps.around:send_wrapped", "auto"),
        ("gunicorn", ["-k", "uvicorn_worker.UvicornWorker"], "apps.around:both_wrapped", "auto"),
    ],
)
async def test_after_so_many_requests(serve_app, connect, server, options, app, sink):
    """However its streams are written, a worker drains them when it has had as many requests as it may; it
    ends, or another is in its place."""
    limit = "--limit-max-requests" if server == "uvicorn" else "--max-requests"
    process = serve_app(app, server=server, options=[limit, "12", *options], env={"SSE_EDGE_SINK": sink})
    clients = [await connect(f"{process.url}/events/me", cookies=COOKIES) for _ in range(4)]
    before = await pid(process)
    for _ in range(12):
        await pid(process)
    await told(clients)
    if server == "uvicorn":
        await process.exited(5)
    else:
        async with asyncio.timeout(10):
            while await pid(process) == before:
                await asyncio.sleep(0.05)
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("server", "options", "lines"),
    [
        ("uvicorn", ["--limit-concurrency", "5"], 1),
        ("uvicorn", ["--limit-concurrency", "5", "--lifespan", "off"], 1),
        ("uvicorn", [], 0),
    ],
)
async def test_a_limit_that_strands_pages(serve_app, connect, server, options, lines):
    """What uvicorn answers above --limit-concurrency ends an EventSource for good: one line says so."""
    process = serve_app("apps.edge:edge", server=server, options=options)
    for _ in range(2):
        await connect(f"{process.url}/events/me", cookies=COOKIES)
    assert process.log.count("--limit-concurrency 5 counts open streams") == lines


@pytest.mark.parametrize("sink", ["auto", "task"])
@pytest.mark.parametrize("stopped_by", ["a signal", "requests"])
async def test_a_server_that_waits_for_less_than_the_drain_takes(serve_app, connect, sink, stopped_by):
    """All are told within the time that uvicorn waits, on both sinks."""
    options = ["--timeout-graceful-shutdown", "1", "--limit-max-requests", "3"]
    process = serve_app("apps.edge:edge", options=options, env={"SSE_EDGE_SINK": sink})
    clients = await asyncio.gather(
        *(connect(f"{process.url}/events/me", cookies=COOKIES, timeout=30) for _ in range(250))
    )
    if stopped_by == "a signal":
        process.signal(signal.SIGTERM)
    else:
        for _ in range(3):
            await pid(process)
    await told(clients)  # over the whole window that would take longer
    await process.exited(10)
    assert process.log.count("ended: drain after") == 250
    assert "Traceback" not in process.log
    assert "timeout graceful shutdown exceeded" not in process.log
