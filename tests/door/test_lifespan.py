"""Start-up and shutdown around apps that have a lifespan, have none, or break theirs."""

import asyncio
import signal
import uuid
import warnings

import pytest
import trio

from servers.asgi import ASGIClient
from sse_edge import MemoryBackend, Publisher, SignedCookie, SSEMiddleware

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have httpx's successor
    from starlette.testclient import TestClient

AUTH = SignedCookie("a secret of the tests")
COOKIE = {"cookie": f"session={AUTH.issue('u42')}"}


@pytest.fixture
async def edge():
    """``edge(app)`` makes an SSEMiddleware, stopped at the end if the test did not."""
    made = []

    def make(app=None, **settings):
        settings = {"backend": f"memory://{uuid.uuid4().hex}", **settings}
        made.append(SSEMiddleware(app, auth=AUTH, channels={"/events/me": "user:{user}"}, **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


def connected(middleware):
    return middleware.figures()["connected"]


class Inner:
    """An app with a lifespan that notes, at each step, whether the middleware was up."""

    def __init__(self):
        self.edge = None
        self.seen = []
        self.scope = None

    async def __call__(self, scope, receive, send):
        self.scope = scope
        self.note(await receive())
        scope["state"]["database"] = "open"
        self.note("app is up")
        await send({"type": "lifespan.startup.complete"})
        self.note("complete was sent")
        self.note(await receive())
        self.note("app is down")
        await send({"type": "lifespan.shutdown.complete"})
        self.note("shutdown was sent")

    def note(self, step):
        self.seen.append((step["type"] if isinstance(step, dict) else step, connected(self.edge)))


async def test_order(edge, lifespan):
    """The middleware is up before the server hears of the start, and until after the app is down."""
    app = Inner()
    app.edge = edge(app)
    driver = lifespan(app.edge)
    await driver.startup()
    assert connected(app.edge)
    await driver.shutdown()
    assert app.seen == [
        ("lifespan.startup", False),
        ("app is up", False),
        ("complete was sent", True),
        ("lifespan.shutdown", True),
        ("app is down", True),
        ("shutdown was sent", False),
    ]


async def test_state(edge, lifespan):
    """The app's lifespan state is the server's own, so that what it leaves there reaches requests."""
    app = Inner()
    app.edge = edge(app)
    driver = lifespan(app.edge)
    assert await driver.startup() == {"database": "open"}
    assert app.scope["state"] is driver.state
    await driver.shutdown()


async def test_stands_alone(edge, lifespan):
    """Without an app the middleware answers the lifespan itself."""
    middleware = edge(None)
    async with lifespan(middleware):
        assert connected(middleware)
    assert not connected(middleware)


async def _raises(scope, receive, send):
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def _reads_and_raises(scope, receive, send):
    await receive()
    raise AssertionError("no lifespan here")


async def _returns(scope, receive, send):
    return


async def _reads_and_returns(scope, receive, send):
    await receive()


@pytest.mark.parametrize("app", [_raises, _reads_and_raises, _returns, _reads_and_returns])
async def test_app_without_a_lifespan(edge, lifespan, app):
    """For an app that raises or returns before it answers the start, the middleware answers everything."""
    middleware = edge(app)
    driver = lifespan(middleware)
    await driver.startup()
    assert connected(middleware)
    assert not driver.task.done()
    await driver.shutdown()
    assert not connected(middleware)


async def test_app_that_returns_after_the_start(edge, lifespan):
    """An app that returns without waiting for the shutdown has the shutdown answered for it."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})

    middleware = edge(app)
    driver = lifespan(middleware)
    await driver.startup()
    assert connected(middleware)
    await driver.shutdown()
    assert not connected(middleware)


async def test_app_that_returns_at_the_shutdown(edge, lifespan):
    """An app that returns at the shutdown, without an answer, has it answered."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    middleware = edge(app)
    async with lifespan(middleware):
        pass
    assert not connected(middleware)


async def test_app_that_raises_after_the_start(edge, lifespan):
    """An app that fails after its start fails the lifespan as it would alone, and streams go on."""
    fail = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await fail.wait()
        raise RuntimeError("the app's own fault")

    middleware = edge(app)
    driver = lifespan(middleware)
    await driver.startup()
    fail.set()
    with pytest.raises(RuntimeError, match="the app's own fault"):
        await driver.task
    assert connected(middleware)


async def test_app_that_raises_at_the_shutdown(edge, lifespan):
    """An app that fails at the shutdown fails it as it would alone, and the middleware still stops."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("the app's own fault")

    middleware = edge(app)
    driver = lifespan(middleware)
    await driver.startup()
    with pytest.raises(RuntimeError, match="the app's own fault"):
        await driver.shutdown()
    assert not connected(middleware)


async def test_startup_failed(edge, lifespan):
    """An app that says startup.failed fails the server's start, and nothing was started."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    middleware = edge(app)
    driver = lifespan(middleware)
    with pytest.raises(RuntimeError, match="no database"):
        await driver.startup()
    await asyncio.wait_for(driver.task, 5)
    assert not connected(middleware)


async def test_startup_failed_and_raised(edge, lifespan):
    """An app that says startup.failed and then raises, as Starlette does, raises."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise OSError("no database")

    driver = lifespan(edge(app))
    with pytest.raises(RuntimeError, match="no database"):
        await driver.startup()
    with pytest.raises(OSError, match="no database"):
        await driver.task


async def test_shutdown_failed(edge, lifespan):
    """An app's shutdown.failed reaches the server, and the middleware still stops."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})

    middleware = edge(app)
    driver = lifespan(middleware)
    await driver.startup()
    with pytest.raises(RuntimeError, match="stuck"):
        await driver.shutdown()
    await asyncio.wait_for(driver.task, 5)
    assert not connected(middleware)


async def test_open_streams_end_with_the_lifespan(edge, lifespan, asgi):
    """At the shutdown open streams end, and are drained."""
    middleware = edge(None)
    driver = lifespan(middleware)
    await driver.startup()
    client = asgi(middleware, "/events/me", headers=COOKIE)
    await client.wait_for(b"\nid: ")
    await driver.shutdown()
    assert b'"reason": "drain"' in await client.whole()


async def test_writers_end_with_the_lifespan(edge, lifespan):
    """At the shutdown what the app still writes is abandoned, after the app's own shutdown; a middleware that
    stops while the server goes on leaves it alone."""
    backend = MemoryBackend()
    middleware = edge(None, backend=backend)
    events = Publisher(backend)

    async def forever():
        yield "x"
        await asyncio.sleep(3600)

    driver = lifespan(middleware)
    await driver.startup()
    writes = asyncio.create_task(events.write("a", forever()))
    async with asyncio.timeout(5):
        while not await events.recent("a", 1):
            await asyncio.sleep(0.01)
    await middleware.stop()
    assert [event.event for event in await events.recent("a", 9)] == ["token"]
    await driver.shutdown()
    assert writes.done()
    assert (await writes).reason == "abandoned"
    assert [event.event for event in await events.recent("a", 9)] == ["token", "abandoned"]


async def test_without_lifespan(edge, asgi):
    """Where the server has no lifespan, the first request starts everything; later ones share it."""
    backend = MemoryBackend()
    middleware = edge(None, backend=backend)
    assert not connected(middleware)
    clients = [asgi(middleware, "/events/me", headers=COOKIE).open() for _ in range(3)]
    for client in clients:
        await client.wait_for(b"\nid: ")
    assert connected(middleware)
    assert len(backend.store._ears) == 1
    await Publisher(backend).publish("user:u42", "hello")
    for client in clients:
        await client.wait_for(b"data: hello")


@pytest.fixture
def handlers():
    """The signal handlers from before, put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_without_lifespan_signals_are_heard(edge, asgi, handlers):
    """Also where the first request starts it, SIGTERM ends streams, and the server's handler is called."""
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    middleware = edge(None)
    client = asgi(middleware, "/events/me", headers=COOKIE)
    await client.wait_for(b"\nid: ")
    signal.raise_signal(signal.SIGTERM)
    assert b'"reason": "drain"' in await client.whole()
    assert heard == [signal.SIGTERM]


async def test_context_manager(edge, asgi):
    """``async with`` starts and stops it, and open streams end cleanly at its end."""
    async with edge(None) as middleware:
        assert connected(middleware)
        client = asgi(middleware, "/events/me", headers=COOKIE)
        await client.wait_for(b"\nid: ")
    assert b'"reason": "drain"' in await client.whole()
    assert not connected(middleware)


async def test_start_and_stop_twice(edge, lifespan, handlers):
    """Starting or stopping twice is like once; afterwards it can start again."""
    backend = MemoryBackend()
    middleware = edge(None, backend=backend)
    for _ in range(2):
        await middleware.start()
        async with middleware:
            assert len(backend.store._ears) == 1
        await middleware.stop()
        assert backend.store._ears == []
        assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_new_event_loop_for_every_request(handlers):
    """Each event loop gets a working hub of its own, and those of closed loops are let go of."""
    backend = MemoryBackend()
    middleware = SSEMiddleware(None, backend=backend, auth=AUTH, channels={"/events/me": "user:{user}"})

    async def request(number):
        async with ASGIClient(middleware, "/events/me", headers=COOKIE) as client:
            await client.wait_for(b"\nid: ")
            await Publisher(backend).publish("user:u42", f"event {number}")
            await client.wait_for(b"data: event %d\n\n" % number)

    for number in range(5):
        asyncio.run(request(number))
        assert middleware.figures()["streams"] == 0
    assert len(backend.store._ears) == 1
    asyncio.run(middleware.stop())
    assert signal.getsignal(signal.SIGTERM) == handlers[signal.SIGTERM]


@pytest.mark.parametrize("entered", [False, True])
def test_starlette_test_client(entered):
    """Starlette's TestClient works, with its lifespan and without, which is a loop for every request."""
    backend = MemoryBackend()
    middleware = SSEMiddleware(
        None, backend=backend, auth=AUTH, channels={"/events/me": "user:{user}"}, max_duration=0.2
    )
    client = TestClient(middleware, headers=COOKIE)

    def twice():
        for _ in range(2):
            answer = client.get("/events/me")
            assert answer.status_code == 200
            assert '"reason": "max-duration"' in answer.text
        assert client.get("/events/none").status_code == 404

    if entered:
        with client:
            twice()
        assert backend.store._ears == []
    else:
        twice()
        assert len(backend.store._ears) <= 1


NO_ASYNCIO = "sse_edge needs asyncio, or uvloop, and this server runs something else"


def test_a_server_without_asyncio():
    """Its start fails with one sentence; a request without a start before says the same."""
    middleware = SSEMiddleware(auth=AUTH, channels={"/events/me": "user:{user}"})
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    trio.run(middleware, {"type": "lifespan"}, receive, send)
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith(NO_ASYNCIO)
    client = ASGIClient(middleware, "/events/me", headers=COOKIE)
    with pytest.raises(RuntimeError, match=NO_ASYNCIO):
        trio.run(middleware, client.scope, receive, send)


async def test_hypercorn_with_trio(serve_app):
    """hypercorn's trio worker does not start, and says why; its own exit code is 0."""
    process = serve_app("apps.edge:edge", server="hypercorn", options=["-k", "trio"])
    assert await process.exited(10) == 0
    assert NO_ASYNCIO in process.log
    assert "no running event loop" not in process.log
