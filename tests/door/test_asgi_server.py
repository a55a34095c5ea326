"""The server around us, as it is found: when it stops, how long it waits, what it does at a signal."""

import asyncio
import contextlib
import importlib.metadata
import sys
from types import SimpleNamespace

import pytest

from sse_edge.asgi_server import find

CODE = """
async def _serve(self):
    server = getattr(self, "server", None)  # as a worker of gunicorn's calls uvicorn's
    await self.wait()

async def worker_serve(config, context, wait):
    await wait()

async def main(self):
    await _serve(self)
"""


class Listener:
    def __init__(self):
        self.open = True

    def is_serving(self):
        return self.open


@pytest.fixture
async def running():
    """``running(module, function, …)`` has a function of that module's run, as a server's own would."""
    async with contextlib.AsyncExitStack() as stack:

        async def run(module, function, *arguments):
            names = {"__name__": module}
            exec(CODE, names)
            task = asyncio.create_task(names[function](*arguments))
            stack.push_async_callback(asyncio.wait, [task])
            stack.callback(task.cancel)
            await asyncio.sleep(0)

        yield run


def uvicorn(*, grace=None, most=None):
    config = SimpleNamespace(timeout_graceful_shutdown=grace, limit_concurrency=most)
    return SimpleNamespace(config=config, should_exit=False, servers=[Listener()], wait=asyncio.Event().wait)


async def test_none():
    """In a test, or under a server that we know nothing of, none is found."""
    assert find() is None


@pytest.mark.parametrize("function", ["_serve", "main"])
async def test_uvicorn(running, function):
    """Its server, alone or in somebody's main function: it stops when it says so, or has closed."""
    await running("uvicorn.server", function, server := uvicorn(grace=7))
    found = find()
    assert found.name == f"uvicorn {importlib.metadata.version('uvicorn')}"
    assert (found.grace, found.cuts, found.stop, found.warnings) == (7, False, None, ())
    assert not found.stops()
    server.servers[0].open = False
    assert found.stops()
    server.servers[0].open, server.should_exit = True, True
    assert found.stops()


async def test_before_it_listens(running):
    """While the lifespan begins there are no listeners yet, and nothing stops."""
    await running("uvicorn.server", "_serve", server := uvicorn())
    del server.servers
    assert not find().stops()


@pytest.mark.parametrize(
    ("version", "cuts"), [("0.42.0", False), ("0.43.0", True), ("0.44.0", True), ("0.45.0", False)]
)
async def test_uvicorn_that_says_everybody_has_left(running, monkeypatch, version, cuts):
    """Two releases cut streams at a signal, and are named."""
    monkeypatch.setattr("importlib.metadata.version", lambda package: version)
    await running("uvicorn.server", "_serve", uvicorn())
    found = find()
    assert found.cuts is cuts
    assert [warning.partition(" says")[0] for warning in found.warnings] == [f"uvicorn {version}"] * cuts


@pytest.mark.parametrize(("graceful", "timeout", "grace"), [(30, 20, 20), (10, 20, 10), (30, 0, 30)])
async def test_uvicorn_in_gunicorn(running, graceful, timeout, grace):
    """gunicorn kills a worker that takes too long, or gives no sign of life, as uvicorn's then does."""
    inner = uvicorn()
    cfg = SimpleNamespace(graceful_timeout=graceful, timeout=timeout)
    names = {"__name__": "uvicorn.server"}
    exec(CODE, names)
    worker = SimpleNamespace(cfg=cfg, alive=True, server=inner, wait=lambda: names["_serve"](inner))
    await running("uvicorn_worker._workers", "_serve", worker)
    found = find()
    assert found.grace == grace
    assert not found.stops()
    inner.should_exit = True
    assert found.stops()


async def test_a_worker_of_gunicorns_that_is_told_to_quit(running):
    """SIGQUIT tells the worker alone: uvicorn hears of it from us."""
    inner = uvicorn()
    cfg = SimpleNamespace(graceful_timeout=30, timeout=30)
    worker = SimpleNamespace(cfg=cfg, alive=True, server=inner, wait=asyncio.Event().wait)
    await running("uvicorn_worker._workers", "_serve", worker)
    found = find()
    assert not found.stops()
    worker.alive = False
    assert found.stops()
    assert inner.should_exit


async def test_gunicorn(running):
    """Its own worker says whether it is alive."""
    cfg = SimpleNamespace(graceful_timeout=12)
    worker = SimpleNamespace(cfg=cfg, alive=True, wait=asyncio.Event().wait)
    await running("gunicorn.workers.gasgi", "_serve", worker)
    found = find()
    assert (found.stops(), found.grace) == (False, 12)
    worker.alive = False
    assert found.stops()


async def test_hypercorn(running):
    """Its worker has no handler for signals; it can be made to stop."""
    terminate, terminated = asyncio.Event(), asyncio.Event()

    async def ask():
        terminate.set()

    context = SimpleNamespace(terminate=SimpleNamespace(set=ask), terminated=terminated)
    config = SimpleNamespace(graceful_timeout=3.0)
    await running("hypercorn.asyncio.run", "worker_serve", config, context, asyncio.Event().wait)
    found = find()
    assert (found.stops(), found.grace) == (False, 3.0)
    found.stop()
    await asyncio.wait_for(terminate.wait(), 5)
    terminated.set()
    assert found.stops()


async def test_two_beside_each_other(running):
    """With two servers on one event loop there is one until both stop."""
    servers = [uvicorn(), uvicorn()]
    for server in servers:
        await running("uvicorn.server", "_serve", server)
    found = find()
    assert not found.stops()
    servers[0].should_exit = True
    assert not found.stops()
    servers[1].should_exit = True
    assert found.stops()


async def test_daphne(monkeypatch):
    """It ends all responses at a signal, and is known by its event loop."""
    loop = asyncio.get_running_loop()
    monkeypatch.setitem(sys.modules, "daphne.server", SimpleNamespace(twisted_loop=loop))
    assert find().cuts
    monkeypatch.setitem(sys.modules, "daphne.server", SimpleNamespace(twisted_loop=asyncio.new_event_loop()))
    assert find() is None
    sys.modules["daphne.server"].twisted_loop.close()


async def test_a_release_that_is_different_inside(running):
    """One that has not what we look for is no server that we know of."""
    await running("uvicorn.server", "_serve", SimpleNamespace(wait=asyncio.Event().wait))
    assert find() is None
