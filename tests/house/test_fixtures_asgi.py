"""The driver that asks ASGI apps for other tests."""

import asyncio

import pytest

from servers.asgi import ASGIClient


async def _stream_app(scope, receive, send):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]}
    )
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two ", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": b"late"})


async def test_a_request_step_by_step(asgi):
    """Head, body, disconnect and return are each seen when they happen."""
    client = asgi(_stream_app, "/here", root_path="/app", headers={"Cookie": "a=b"}, query="q=1")
    assert await client.start() == (200, [(b"x-path", b"/app/here")])
    assert client.header("X-Path") == "/app/here"
    assert await client.wait_for(b"two ") == b"one two "
    assert not client.task.done()
    client.disconnect()
    await client.ended()
    assert client.body() == b"one two "
    assert client.sends_after_disconnect == 1
    assert client.scope["headers"] == [(b"host", b"testserver"), (b"cookie", b"a=b")]


async def test_a_send_can_be_held_up(asgi):
    """A blocked send suspends the app until it is unblocked, or the client goes away."""
    client = asgi(_stream_app)
    client.block_send()
    with pytest.raises(TimeoutError):
        await client.start(0.02)
    assert client.waiting_sends == 1
    client.unblock_send()
    await client.wait_for(b"two")
    client.block_send()
    client.disconnect()
    await client.ended()


async def test_a_request_can_be_cancelled(asgi):
    """Cancelling ends the app's task."""
    client = asgi(_stream_app)
    await client.wait_for(b"two")
    await client.cancel()
    assert client.task.cancelled()


async def test_a_newer_server_raises_after_the_disconnect(asgi):
    """From ASGI 2.4 on a send after the disconnect raises OSError."""
    client = asgi(_stream_app, spec_version="2.4")
    await client.wait_for(b"two")
    client.disconnect()
    with pytest.raises(OSError, match="disconnected"):
        await client.ended()


SHARED = {"type": "http.response.body", "body": b"x", "more_body": True}


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"type": "http.response.body"}], "before http.response.start"),
        ([{"type": "http.response.start", "status": 200, "headers": []} for _ in range(2)], "twice"),
        ([{"type": "http.response.start", "status": "200"}], "status is"),
        ([{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}], "a header is"),
        ([{"type": "http.response.start", "status": 200, "headers": [(b"A", b"b")]}], "a header is"),
        ([{"type": "http.response.start", "status": 200}, SHARED, SHARED], "sent before"),
        (
            [
                {"type": "http.response.start", "status": 200},
                *({"type": "http.response.body"} for _ in range(2)),
            ],
            "after the last",
        ),
        ([{"type": "websocket.accept"}], "unexpected message"),
    ],
)
async def test_the_driver_notices_what_asgi_forbids(messages, why):
    """A fault is raised in the test even if the app swallows it."""

    async def app(scope, receive, send):
        try:
            for one in messages:
                await send(one)
        except AssertionError:
            pass

    client = ASGIClient(app).open()
    with pytest.raises(AssertionError, match=why):
        await client.ended()


async def test_two_requests_must_not_get_one_message(asgi):
    """A message or a header list shared between connections is a fault."""
    headers = [(b"a", b"b")]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    clients = ASGIClient(app), ASGIClient(app)
    clients[1]._ledger = clients[0]._ledger
    await clients[0].open().ended()
    with pytest.raises(AssertionError, match="this header list was sent before"):
        await clients[1].open().ended()


async def test_the_driver_notices_a_receive_loop(asgi):
    """An app that spins on receive after the disconnect is stopped."""

    async def app(scope, receive, send):
        while True:
            await receive()

    client = ASGIClient(app).open()
    client.disconnect()
    with pytest.raises(AssertionError, match="in a loop"):
        await client.ended()


async def test_an_exception_that_nobody_asked_for():
    """What the app raises reaches the test at the end of the request, once."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("broken app")

    client = ASGIClient(app)
    await client.start()
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="broken app"):
        await client.close()
    await client.close()


async def test_a_lifespan(lifespan):
    """Startup returns the state, shutdown returns after the app has."""
    steps = []

    async def app(scope, receive, send):
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            scope["state"][step] = True
            steps.append(step)
            await send({"type": f"lifespan.{step}.complete"})
        steps.append("returned")

    driver = lifespan(app)
    assert await driver.startup() == {"startup": True}
    assert steps == ["startup"]
    await driver.shutdown()
    assert steps == ["startup", "shutdown", "returned"]


async def test_a_lifespan_that_fails(lifespan):
    """A failed startup, an app that raises and one that just returns are told apart."""

    async def fails(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no secret"})

    async def raises(scope, receive, send):
        raise ValueError("no lifespan here")

    async def returns(scope, receive, send):
        pass

    with pytest.raises(RuntimeError, match="no secret"):
        await lifespan(fails).startup()
    with pytest.raises(ValueError, match="no lifespan here"):
        await lifespan(raises).startup()
    with pytest.raises(AssertionError, match="returned without completing startup"):
        await lifespan(returns).startup()
