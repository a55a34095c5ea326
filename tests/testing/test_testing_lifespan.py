"""``sse_edge.testing``: start-up and shutdown of an app."""

import asyncio
import contextlib
import threading

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from parts.staged import edge
from sse_edge.testing import RefusedError, client, sync_client


async def test_lifespan():
    """It runs as a server would run it, with what it leaves for requests."""
    ran = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        ran.append("start")
        yield {"pool": "open"}
        ran.append("stop")

    async def show(request):
        return PlainTextResponse(request.state.pool)

    app = edge(Starlette(routes=[Route("/show", show)], lifespan=lifespan))
    async with client(app) as c:
        assert (await c.get("/show")).text == "open"
        assert ran == ["start"]
    assert ran == ["start", "stop"]
    async with client(app, lifespan=False):
        assert ran == ["start", "stop"]


async def test_a_lifespan_that_fails():
    """What the app raised is raised in the test; an app that has none is fine."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise ZeroDivisionError
        yield

    async def failing(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    @contextlib.asynccontextmanager
    async def broken(app):
        yield
        raise ZeroDivisionError

    async def stubborn(scope, receive, send):
        for step in ("startup.complete", "shutdown.failed"):
            await receive()
            await send({"type": f"lifespan.{step}", "message": "still busy"})

    async def none(scope, receive, send):
        assert scope["type"] == "http"
        await PlainTextResponse("hi")(scope, receive, send)

    with pytest.raises(ZeroDivisionError):
        async with client(Starlette(lifespan=lifespan)):
            pytest.fail("it did not start")
    with pytest.raises(RuntimeError, match="no database"):
        async with client(failing):
            pytest.fail("it did not start")
    with pytest.raises(ZeroDivisionError):
        async with client(Starlette(lifespan=broken)):
            pass
    with pytest.raises(RuntimeError, match="still busy"):
        async with client(stubborn):
            pass
    async with client(none) as c:
        assert (await c.get("/")).text == "hi"


@pytest.mark.parametrize("ignores", [False, True], ids=["cancelled", "ignores it"])
@pytest.mark.parametrize("step", ["start-up", "shutdown"])
async def test_a_lifespan_that_hangs(step, ignores, monkeypatch):
    """It is given up after the client's timeout with an error that says which step it was."""
    monkeypatch.setattr("sse_edge.testing.life.PATIENCE", 0.05)
    let_go = asyncio.Event()
    tasks = asyncio.all_tasks()

    async def hang():
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                if not ignores:
                    raise
        raise ZeroDivisionError

    @contextlib.asynccontextmanager
    async def lifespan(app):
        if step == "start-up":
            await hang()
        yield
        if step == "shutdown":
            await hang()

    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError, match=f"the app's {step} took longer than 0.1 s"):
            async with client(edge(Starlette(lifespan=lifespan)), timeout=0.1):
                pass
        if not ignores:
            assert asyncio.all_tasks() == tasks
        let_go.set()
        while asyncio.all_tasks() != tasks:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", ["startup.failed", "shutdown.complete"])
async def test_an_app_that_does_not_return_from_its_lifespan(said, monkeypatch):
    """It says that it is through, and is not: no test hangs for that."""
    monkeypatch.setattr("sse_edge.testing.life.PATIENCE", 0.05)

    async def app(scope, receive, send):
        for step in ("startup.complete", "shutdown.complete"):
            await receive()
            await send({"type": f"lifespan.{said if said[:7] == step[:7] else step}"})
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        with pytest.raises((TimeoutError, RuntimeError), match="start-up failed|shutdown took longer"):
            async with client(app, timeout=0.2):
                pass


async def test_an_edge_whose_redis_is_away():
    """What the edge answers to that comes before the client's own patience is over."""
    app = edge(backend="redis://127.0.0.1:1/0")
    async with client(app, user="u1") as c:
        with pytest.raises(RefusedError, match="503 backend-down"):
            async with c.stream("/events/me"):
                pytest.fail("there is no Redis")


def test_sync_that_does_not_start():
    """What the app raised is raised, and the thread is gone."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError), sync_client(Starlette(lifespan=lifespan)):
        pytest.fail("it did not start")
    assert not [thread for thread in threading.enumerate() if thread.name == "sse_edge.testing"]
