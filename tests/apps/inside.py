"""Sources that do much inside: what they wait for fails, is cancelled or has a deadline, and they go on.

``KINDS`` has them by name.  As an app: each at ``/events/<name>``, and at /figures how many have
``begun`` and ``finished``, and how many ``connections`` to their model there are.
"""

import asyncio
import contextlib
import contextvars
import json
import logging
import time

import anyio
import httpx

from sse_edge import Anonymous, Limits, Source, SSEMiddleware
from sse_edge.asgi import respond

PACE = 0.01
"""Seconds between two items."""

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
counts = {"begun": 0, "finished": 0, "connections": 0}
var = contextvars.ContextVar("var", default="outside")
tls = httpx.create_ssl_context()
KINDS = {}


def kind(make):
    """A source's generator, which is counted, and has to run in one task and context from begin to end."""

    async def counted(request, identity, after):
        task, token = asyncio.current_task(), var.set("inside")
        counts["begun"] += 1
        try:
            async with contextlib.aclosing(make()) as items:
                async for item in items:
                    yield item
        finally:
            assert asyncio.current_task() is task
            var.reset(token)
            await asyncio.sleep(0)
            counts["finished"] += 1

    KINDS[make.__name__] = counted
    return make


def fails():
    time.sleep(PACE)
    raise KeyError("none there")


async def fails_later():
    await asyncio.sleep(PACE)
    raise ConnectionError("try again")


# What is waited for fails, or is cancelled


@kind
async def timeout():
    """A heartbeat."""
    while True:
        try:
            async with asyncio.timeout(PACE):
                await asyncio.Event().wait()
        except TimeoutError:
            yield "x"


@kind
async def wait_for():
    queue = asyncio.Queue()
    while True:
        try:
            yield await asyncio.wait_for(queue.get(), PACE)
        except TimeoutError:
            yield "x"


@kind
async def move_on_after():
    while True:
        with anyio.move_on_after(PACE):
            await anyio.sleep_forever()
        yield "x"


@kind
async def fail_after():
    while True:
        try:
            with anyio.fail_after(PACE):
                await anyio.sleep_forever()
        except TimeoutError:
            yield "x"


@kind
async def failed_future():
    loop = asyncio.get_running_loop()
    while True:
        future = loop.create_future()
        loop.call_later(PACE, lambda future=future: future.done() or future.set_exception(OSError("away")))
        try:
            await future
        except OSError:
            yield "x"


@kind
async def failed_task():
    while True:
        try:
            await asyncio.create_task(fails_later())
        except ConnectionError:
            yield "x"


@kind
async def cancelled_task():
    """Another task was cancelled, and not this one."""
    while True:
        task = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_later(PACE, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                raise
            yield "x"


@kind
async def to_thread():
    while True:
        try:
            await asyncio.to_thread(fails)
        except KeyError:
            yield "x"


@kind
async def run_sync():
    while True:
        try:
            await anyio.to_thread.run_sync(fails)
        except KeyError:
            yield "x"


@kind
async def group_fails():
    while True:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                group.create_task(fails_later())
        except* ConnectionError:
            pass
        yield "x"


@kind
async def anyio_group_fails():
    while True:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 60)
                group.start_soon(fails_later)
        except* ConnectionError:
            pass
        yield "x"


# What is open around what they yield


@kind
async def around_timeout():
    async with asyncio.timeout(60):
        while True:
            yield "x"
            await asyncio.sleep(PACE)


@kind
async def around_scopes():
    with anyio.move_on_after(60), anyio.CancelScope():
        while True:
            yield "x"
            with anyio.CancelScope(shield=True):
                await anyio.sleep(PACE)


@kind
async def around_task_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        while True:
            yield "x"
            await asyncio.sleep(PACE)


@kind
async def around_anyio_group():
    async with anyio.create_task_group() as outer, anyio.create_task_group() as group:
        outer.start_soon(anyio.sleep, 60)
        group.start_soon(anyio.sleep_forever)
        while True:
            yield "x"
            await asyncio.sleep(PACE)


@kind
async def fed_by_a_group():
    """A task writes to what is read here."""
    write, read = anyio.create_memory_object_stream(1)

    async def feed():
        while True:
            await anyio.sleep(PACE)
            await write.send("x")

    with write, read:
        async with anyio.create_task_group() as group:
            group.start_soon(feed)
            async for item in read:
                yield item


@kind
async def nested():
    async def inner():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            while True:
                with anyio.move_on_after(PACE):
                    await anyio.sleep_forever()
                yield "x"

    async with contextlib.aclosing(inner()) as items:
        async for item in items:
            yield item


# A model's answer


async def answer(reader, writer):
    """As one that never ends."""
    counts["connections"] += 1
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PACE):
                    if not await reader.read(1):
                        return
    except ConnectionError:
        pass
    finally:
        counts["connections"] -= 1
        writer.close()


@contextlib.asynccontextmanager
async def answered():
    """A response that is streamed."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with httpx.AsyncClient(verify=tls, timeout=5) as client, client.stream("GET", url) as response:
            yield response
        server.close()


@kind
async def httpx_stream():
    async with answered() as response:
        async for text in response.aiter_text():
            yield text


@kind
async def httpx_in_a_group():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        async with answered() as response:
            async for text in response.aiter_text():
                yield text


async def inner(scope, receive, send):
    body = json.dumps({**counts, **edge.figures()}).encode()
    await respond(send, 200, [(b"content-type", b"application/json")], body)


edge = SSEMiddleware(
    inner,
    backend="memory://",
    auth=Anonymous(),
    channels={f"/events/{name}": Source(make) for name, make in KINDS.items()},
    limits=Limits(None, None, None, None),
    drain_window=0.5,
)
