"""Sources whose iterators have time-outs, failures and scopes of their own inside: a table of them."""

import asyncio
import contextlib
import gc
import uuid

import anyio
import pytest

from apps import inside
from parts.ears import until
from servers.sse import Decoder
from sse_edge import Anonymous, Limits, Source, SSEMiddleware
from sse_edge.delivery import source as playing

ITEMS = 35
"""Which take longer than an iterator that is to end may."""


@pytest.fixture
async def edge():
    """``edge(make)`` makes an SSEMiddleware with a Source at /events/x, stopped after the clients."""
    made = []
    inside.counts.update(dict.fromkeys(inside.counts, 0))

    def make(source):
        channels = {"/events/x": Source(source)}
        backend = f"memory://{uuid.uuid4().hex}"
        made.append(
            SSEMiddleware(
                backend=backend,
                auth=Anonymous(),
                channels=channels,
                hosts=["testserver"],
                limits=Limits(None, None, None, None),
            )
        )
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


def complaints(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


async def over(middleware):
    """All has ended, within the second that it has."""
    await until(lambda: not middleware._worker.hub.sources._pumps)
    assert inside.counts["finished"] == inside.counts["begun"]
    await until(lambda: inside.counts["connections"] == 0)


@pytest.mark.parametrize("kind", inside.KINDS)
async def test_it_lives_as_long_as_its_client(edge, asgi, caplog, monkeypatch, kind):
    """What it waits for and catches is its own; then all of it is closed, and nobody complains."""
    monkeypatch.setattr(playing, "PATIENCE", 0.3)
    before = asyncio.all_tasks()
    middleware = edge(inside.KINDS[kind])
    reads, drained = (asgi(middleware, "/events/x") for _ in range(2))
    for client in (reads, drained):
        await client.wait_for(b"data: x\n\n")
    await until(lambda: reads.complete or reads.body().count(b"data: x") > ITEMS)
    assert not reads.complete, reads.body()
    assert not drained.complete, drained.body()
    reads.disconnect()
    await reads.ended()
    await until(lambda: len(middleware._worker.hub.sources._pumps) == 1)
    await middleware.drain(0)
    await drained.whole()
    assert b'{"reason": "drain"}' in drained.body()
    await over(middleware)
    await middleware.stop()
    assert complaints(caplog) == []
    await until(lambda: {task for task in asyncio.all_tasks() - before if not task.done()} == set())


# ---- Where an item was given, and its client does not read


LARGE = "x" * 60_000


async def in_a_task_group(request, identity, after):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        while True:
            yield LARGE


async def in_an_anyio_group(request, identity, after):
    with anyio.move_on_after(60):
        async with anyio.create_task_group() as group, anyio.create_task_group() as inner:
            group.start_soon(anyio.sleep, 60)
            inner.start_soon(anyio.sleep, 60)
            while True:
                yield LARGE


async def a_task_of_it_fails(request, identity, after):
    async def fails():
        try:
            await anyio.sleep(60)
        finally:
            raise ValueError("not so fast")

    async with anyio.create_task_group() as group:
        group.start_soon(fails)
        while True:
            yield LARGE


@pytest.mark.parametrize(
    ("make", "lines"),
    [
        (in_a_task_group, []),
        (in_an_anyio_group, []),
        (a_task_of_it_fails, ["source failed to close for /events/x, user=-"]),
    ],
)
async def test_it_is_closed_where_it_gave_an_item(edge, asgi, caplog, make, lines):
    """A group says in its own way that it had to end: that a client left is no error, a failure is."""
    middleware = edge(make)
    client = asgi(middleware, "/events/x")
    await client.wait_for(b"retry: ")
    client.block_send()
    await until(lambda: client.waiting_sends)
    client.disconnect()
    await client.ended()
    await over(middleware)
    assert complaints(caplog) == lines
    assert ("not so fast" in caplog.text) is bool(lines)


async def its_timeout(turn):
    try:
        async with asyncio.timeout(0.1):
            while True:
                yield LARGE
                await turn()
    except TimeoutError:
        yield "too late"


async def its_scope(turn):
    with anyio.move_on_after(0.1):
        while True:
            yield LARGE
            await turn()
    yield "too late"


async def its_scope_and_more(turn):
    with anyio.CancelScope() as scope:
        while True:
            with anyio.move_on_after(0.1) as late:
                while True:
                    yield LARGE
                    await turn()
            if late.cancelled_caught:
                yield "too late"
                scope.cancel()
                await anyio.sleep_forever()


async def its_task_group(turn):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(inside.fails_later())
            while True:
                yield LARGE
                await turn()
    except* ConnectionError:
        pass
    yield "too late"


async def its_anyio_group(turn):
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(inside.fails_later)
            while True:
                yield LARGE
                await turn()
    except* ConnectionError:
        pass
    yield "too late"


async def waits():
    await asyncio.sleep(0)


async def waits_for_nothing():
    pass


async def passed_on(make):
    async with contextlib.aclosing(make(waits)) as items:
        async for item in items:
            yield item


@pytest.mark.parametrize(
    "make", [its_timeout, its_scope, its_scope_and_more, its_task_group, its_anyio_group]
)
@pytest.mark.parametrize("how", ["waits", "waits for nothing", "passed on"])
async def test_its_time_is_up_while_it_waits_for_its_client(edge, asgi, caplog, make, how):
    """What it has opened around its items ends there, as anywhere else, and it goes on."""

    def source(request, identity, after):
        if how == "passed on":
            return passed_on(make)
        return make(waits if how == "waits" else waits_for_nothing)

    middleware = edge(source)
    client = asgi(middleware, "/events/x")
    await client.wait_for(b"retry: ")
    client.block_send()
    await until(lambda: client.waiting_sends)
    (stream,) = middleware._worker.hub.streams
    await until(lambda: stream.queued + stream.sink.unsent > 65_536)
    await asyncio.sleep(0.2)
    client.unblock_send()
    await client.whole()
    *_, last, _ = events = Decoder().feed(client.body())
    assert last.data == "too late"
    assert {event.data for event in events[:-2]} == {LARGE}
    assert b'{"reason": "finished"}' in client.body()
    await over(middleware)
    assert complaints(caplog) == []


async def test_one_that_takes_long_to_end_is_let_go_of(edge, asgi, caplog, monkeypatch):
    """What it has open is closed there and then, from the inside, and nothing is left of it."""
    monkeypatch.setattr(playing, "PATIENCE", 0.1)
    before, left = asyncio.all_tasks(), []

    async def make(request, identity, after):
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 60)
                try:
                    yield "x"
                    await anyio.sleep(60)
                finally:
                    try:
                        with anyio.CancelScope(shield=True):
                            await anyio.sleep(60)
                    finally:
                        left.append("inner")
        finally:
            left.append("outer")

    middleware = edge(make)
    client = asgi(middleware, "/events/x")
    await client.wait_for(b"data: x")
    client.disconnect()
    await client.ended()
    await over(middleware)
    await middleware.stop()
    await until(lambda: {task for task in asyncio.all_tasks() - before if not task.done()} == set())
    gc.collect()
    await asyncio.sleep(0.01)
    assert left == ["inner", "outer"]
    assert complaints(caplog) == ["source did not stop within 0 s and was let go of, for /events/x, user=-"]
