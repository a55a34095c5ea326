"""``sse_edge.testing``: plain requests, streams of the app itself, and apps that do not end."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route

from parts.staged import edge, shop
from sse_edge import (
    Publisher,
)
from sse_edge.testing import RefusedError, client
from sse_edge.testing.decoder import Received

STREAM = [(b"content-type", b"text/event-stream")]


async def test_plain_requests():
    """Of the same app on the same event loop: by JSON, forms, and cookies that stay until cleared."""
    async with client(shop()) as c:
        assert (await c.get("/events/me")).json()["error"] == "unauthenticated"
        assert (await c.post("/login", data={"name": "u1"})).status == 200
        async with c.stream("/events/me") as stream:
            answer = await c.put("/orders/u1", json={"n": 1})
            event = await stream.next()
            assert (answer.status, answer.json(), event.json()) == (200, event.id, {"n": 1})
            assert answer.header("Content-Type") == "application/json"
            assert (await c.get("/echo/a%20b/é?q=1%262+ü")).json() == {"path": "a b/é", "q": "1&2 ü"}
        await c.post("/logout")
        assert c.cookies == {}
        assert (await c.get("/nowhere")).text == '{"detail":"Not Found"}'


async def test_what_an_app_does_after_its_answer():
    """A background task goes on while the test listens, and is waited for at the end."""
    app = shop()
    async with client(app, user="u1") as c, c.stream("/events/me") as stream:
        assert (await c.patch("/later")).status == 200
        assert (await stream.next()).data == "begun"
    assert [event.data for event in await Publisher(app.backend).recent("user:u1", 9)] == ["begun", "done"]


async def test_what_an_app_raises_is_raised_in_the_test():
    """Or its answer is given, where the test wants to see that."""
    async with client(shop()) as c:
        with pytest.raises(ZeroDivisionError):
            await c.delete("/broken")
    async with client(shop(), raise_app_exceptions=False) as c:
        assert (await c.delete("/broken")).status == 500


async def test_a_plain_request_for_a_stream_does_not_hang():
    """It says what to use, and the stream is gone."""
    app = edge()
    async with client(app, user="u1") as c:
        with pytest.raises(
            RuntimeError, match=r"GET /events/me is answered with a stream: open it with stream"
        ):
            await c.get("/events/me")
        head = await c.request("HEAD", "/events/me")
        assert (head.status, head.header("Content-Type"), head.body) == (
            200,
            "text/event-stream; charset=utf-8",
            b"",
        )
        assert app.figures()["streams"] == 0


async def test_streams_of_the_app_itself():
    """Whatever sends text/event-stream can be listened to; who leaves is seen by it, too."""
    left = asyncio.Event()

    async def numbers(request):
        async def body():
            try:
                yield b": hello\r\n\r\ndata: 1\r\n\r\n"
                await asyncio.Event().wait()
            finally:
                left.set()

        return StreamingResponse(body(), media_type="text/event-stream")

    async def silent(scope, receive, send):
        if scope["path"].endswith("/raises"):
            raise ZeroDivisionError
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        if scope["path"].endswith("/late"):
            raise ZeroDivisionError

    app = Starlette(routes=[Route("/numbers", numbers), Mount("/silent", silent)])
    async with client(app) as c:
        async with c.stream("/numbers") as stream:
            assert await stream.next() == Received("1", "message", "")
            await stream.none(0.01)
        assert left.is_set()
        async with c.stream("/silent/") as stream:
            await stream.none(0.01)
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/silent/raises"):
                pytest.fail("no answer")
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/silent/late"):
                pass
        with pytest.raises(RefusedError, match=r"404 \(Not Found\)"):
            async with c.stream("/other"):
                pytest.fail("no stream")


async def test_an_app_that_sends_without_end_waits_for_the_test():
    """More than a megabyte that nobody has taken is not sent."""
    sent = 0

    async def endless(scope, receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        leaving = asyncio.ensure_future(receive_disconnect(receive))
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % sent, "more_body": True})
            sent += 1

    async def receive_disconnect(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    async with client(endless, lifespan=False) as c, c.stream("/") as stream:
        assert [event.data for event in await stream.take(1000)] == [str(n) for n in range(1000)]
        await asyncio.sleep(0)
        while sent != (before := sent) or before < 50_000:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 200_000


@pytest.mark.timeout(10)
async def test_an_app_that_only_sends(monkeypatch):
    """Who never looks whether somebody listens does not stop the test: it is cancelled, and that is said."""
    monkeypatch.setattr("sse_edge.testing.exchange.PATIENCE", 0.05)

    async def sends(scope, receive, send):
        headers = STREAM if scope["path"] == "/stream" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})

    async with client(sends, lifespan=False) as c:
        with pytest.raises(TimeoutError, match="did not return within"):
            async with c.stream("/stream") as stream:
                assert (await stream.next()).data == "x"
        with pytest.raises(TimeoutError):
            await c.get("/", timeout=0.05)


async def test_an_app_that_does_not_notice_that_its_client_has_left(monkeypatch):
    """It is cancelled after some seconds, and the test told."""
    monkeypatch.setattr("sse_edge.testing.exchange.PATIENCE", 0.05)
    cancelled = asyncio.Event()

    async def stubborn(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with client(stubborn, lifespan=False) as c:
        with pytest.raises(TimeoutError, match="did not return within"):
            async with c.stream("/"):
                pass
    assert cancelled.is_set()
