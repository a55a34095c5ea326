"""``sse_edge.testing``: streams of an app within its process, for tests of one's own app."""

import asyncio
import contextlib
import gc
import threading
import warnings

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.routing import Mount

from parts.staged import AUTH, edge, shop
from sse_edge import (
    ConfigError,
    Limits,
    MemoryBackend,
    Publisher,
    SyncPublisher,
)
from sse_edge.testing import RefusedError, StreamEndedError, client, sync_client
from sse_edge.testing.decoder import Received


async def test_events_resets_and_the_end_of_a_stream():
    """Events are given in order, and what the edge says of the stream is seen beside them."""
    app = edge()
    events = Publisher(app.backend)
    async with client(app, user="u1") as c, c.stream("/events/me", after="5-5.abcde") as stream:
        assert (stream.status, stream.header("Content-Type")) == (200, "text/event-stream; charset=utf-8")
        one = await events.publish("user:u1", "a\nb", event="status")
        two = await events.publish("user:u1", json={"n": 1})
        first, second = await stream.take(2)
        assert first == Received("a\nb", "status", one)
        assert (second.id, second.event, second.json()) == (two, "message", {"n": 1})
        assert stream.last_event_id == two
        assert stream.retry >= 1000
        assert stream.resets == [("user:u1", "epoch")]
        assert (stream.dropped, stream.ending) == ([], None)
        await events.finish("user:u1", "last")
        assert [event.data async for event in stream] == ["last"]
        assert stream.ending == "finished"
        with pytest.raises(StreamEndedError, match="/events/me ended as finished before an event") as ended:
            await stream.next()
        assert ended.value.reason == "finished"
        with pytest.raises(StreamEndedError):
            await stream.none(0)
    assert stream.ending == "finished"


async def test_the_edges_own_events_are_given_to_who_asks():
    """With edge_events they are events as any other, and noted all the same."""
    app = edge()
    async with client(app, user="u1") as c:
        async with c.stream("/events/me", after="5-5.abcde", edge_events=True) as stream:
            assert (await stream.next()).event == "edge-reset"
            app.disconnect(user="u1")
            assert await stream.ended() == "revoked"
            assert (await stream.next()).json() == {"reason": "revoked"}
        assert stream.resets == [("user:u1", "epoch")]


async def test_too_late_and_too_much():
    """What does not come in time, and what comes where there was to be silence, is said with the path."""
    app = edge()
    async with client(app, user="u1", timeout=0.05) as c, c.stream("/events/me") as stream:
        with pytest.raises(TimeoutError, match=r"/events/me: waited 0.05 s for an event; status 200$"):
            await stream.next()
        await Publisher(app.backend).publish("user:u1", "x")
        with pytest.raises(TimeoutError, match=r"waited 0.01 s for 2 events; status 200, 1 not taken"):
            await stream.take(2, timeout=0.01)
        with pytest.raises(AssertionError, match=r"was to be silent for 0.1 s, and gave Received\(data='x'"):
            await stream.none()
        await stream.none(0.01)
        with pytest.raises(TimeoutError, match="the end of the stream"):
            await stream.ended(0.01)


async def test_to_leave_the_block_is_to_leave_the_stream():
    """Its slot is free and the stream gone when the block is left, also where the test failed in it."""
    app = edge(limits=Limits(per_user=1))
    async with client(app, user="u1") as c:
        for _ in range(5):
            async with c.stream("/events/me"):
                assert app.figures()["streams"] == 1
                with pytest.raises(RefusedError) as refused:
                    async with c.stream("/events/me"):
                        pytest.fail("the user has one stream already")
                assert (refused.value.status, refused.value.code) == (429, "user-limit")
            assert app.figures()["streams"] == 0
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/events/me"):
                raise ZeroDivisionError
        assert app.figures()["endings"] == {"client-gone": 6}


async def test_streams_that_are_still_open_end_with_the_client():
    """Also one that was opened without a block."""
    app = edge()
    async with client(app, user="u1") as c:
        stream = await c.stream("/events/me").__aenter__()
        assert app.figures()["streams"] == 1
    assert app.figures()["streams"] == 0
    with pytest.raises(StreamEndedError):
        await stream.next()


@pytest.mark.parametrize("refusals", ["auto", "status", "stream"])
@pytest.mark.parametrize(
    ("full", "path", "status", "code"),
    [
        (True, "/events/me", 503, "worker-full"),
        (False, "/events/orders/7", 403, "forbidden"),
        (False, "/events/other", 404, "not-found"),
    ],
)
async def test_a_refusal_is_raised_with_its_status_and_code(refusals, full, path, status, code):
    """However it was said; get returns it."""
    app = edge(refusals=refusals, limits=Limits(per_worker=1))
    async with contextlib.AsyncExitStack() as stack:
        c = await stack.enter_async_context(client(app, user="u1"))
        if full:
            await stack.enter_async_context(c.stream("/events/me"))
        with pytest.raises(RefusedError, match=f"^{path} gave no stream: {status} {code} ") as refused:
            async with c.stream(path):
                pytest.fail("there is no stream")
        assert (refused.value.status, refused.value.code) == (status, code)
        answer = await c.get(f"{path}?poll")
        assert (answer.status, answer.json()["error"]) == (status, code)


async def test_a_finished_channel_is_refused_to_who_has_had_it():
    """The 204 has a code, too."""
    app = edge()
    last = await Publisher(app.backend).finish("user:u1", "end")
    async with client(app, user="u1") as c:
        with pytest.raises(RefusedError, match="204 finished"):
            async with c.stream("/events/me", after=last):
                pytest.fail("there is nothing more")


async def test_compressed():
    """A stream that comes compressed is read like any other."""
    app = edge()
    options = {"user": "u1", "headers": {"accept-encoding": "gzip"}}
    async with client(app, **options) as c, c.stream("/events/news") as stream:
        assert stream.header("content-encoding") == "gzip"
        await Publisher(app.backend).publish("news", "squeezed " * 100)
        assert (await stream.next()).data == "squeezed " * 100


async def test_origins():
    """A stream is asked for as by a page of the app's own, unless the test says from where."""
    async with client(edge(missing_origin="refuse"), user="u1") as c:
        async with c.stream("/events/me"):
            pass
        with pytest.raises(RefusedError, match="403 origin"):
            async with c.stream("/events/me", headers={"Origin": "https://evil.example"}):
                pytest.fail("a foreign page")
    options = {"base_url": "https://app.example.com", "peer": "192.0.2.7"}
    app = edge(hosts=["app.example.com"], origins=["https://other.example.com"])
    async with client(app, user="u1", **options) as c:
        async with c.stream("/events/me", headers={"Origin": "https://app.example.com"}):
            pass
        async with c.stream("/events/me", headers={"Origin": "https://other.example.com"}) as stream:
            assert stream.header("access-control-allow-origin") == "https://other.example.com"


@pytest.mark.parametrize("kind", ["memory", "redis"])
@pytest.mark.parametrize("around", [lambda app: app, lambda app: Starlette(routes=[Mount("/", app)])])
def test_a_fresh_loop_for_each_test(kind, around, request):
    """One app serves tests that each have an event loop of their own, and leaves nothing open there."""
    backend = MemoryBackend() if kind == "memory" else request.getfixturevalue("redis_url")
    inner = edge(backend=backend)
    app = around(inner)
    events = Publisher(inner.backend)

    async def one(number):
        async with client(app, user="u1") as c, c.stream("/events/me") as stream:
            await events.publish("user:u1", f"number {number}")
            assert (await stream.next()).data == f"number {number}"

    for number in range(3):
        asyncio.run(one(number))
    with sync_client(app, user="u1") as c, c.stream("/events/me") as stream:
        c.wait(events.publish("user:u1", "sync"))
        assert stream.next().data == "sync"
    asyncio.run(one(4))
    gc.collect()  # whatever was left open would say so now, and warnings are errors


def test_sync():
    """The whole of it for tests without an event loop, while other threads publish."""
    app = shop()
    events = SyncPublisher(app.backend)
    with sync_client(app) as c:
        assert c.get("/events/me").status == 401
        c.post("/login", data={"name": "u1"})
        assert set(c.cookies) == {"edge"}
        with c.stream("/events/me", after="5-5.abcde") as stream:
            assert (stream.status, stream.header("content-type")) == (200, "text/event-stream; charset=utf-8")
            events.publish("user:u1", "one")
            c.put("/orders/u1", json={"n": 2})
            assert [event.data for event in stream.take(2)] == ["one", '{"n":2}']
            stream.none(0.01)
            assert (stream.resets, stream.dropped) == ([("user:u1", "epoch")], [])
            assert stream.last_event_id
            assert stream.retry
            assert (b"content-type", b"text/event-stream; charset=utf-8") in stream.headers
            events.finish("user:u1", "end")
            assert [event.data for event in stream] == ["end"]
            assert stream.ended() == "finished"
        assert (c.patch("/later").status, c.delete("/nowhere").status) == (200, 404)
        with pytest.raises(RefusedError, match="403 forbidden"), c.stream("/events/orders/7"):
            pytest.fail("no order of u1's")
    assert stream.ending == "finished"
    with pytest.raises(RuntimeError, match="use with"):
        c.get("/")
    assert not [thread for thread in threading.enumerate() if thread.name == "sse_edge.testing"]


@pytest.mark.parametrize(
    ("field", "arguments", "options"),
    [
        ("app", (None,), {}),
        ("base_url", (edge(),), {"base_url": "app.example.com"}),
        ("base_url", (edge(),), {"base_url": "ftp://app.example.com"}),
    ],
)
def test_refused_settings(field, arguments, options):
    """What no client can be made of is refused where it is made."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        client(*arguments, **options)


async def test_a_stream_is_a_context_manager():
    """One that was not entered says so."""
    async with client(edge(), user="u1") as c:
        with pytest.raises(RuntimeError, match="use async with"):
            await c.stream("/events/me").next()


async def of_httpx(app, headers):
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost", headers=headers) as c:
        return (await c.get("/events/me")).status_code


async def of_starlette(app, headers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the httpx that it is used with
        from starlette.testclient import TestClient  # noqa: PLC0415
    c = TestClient(app, base_url="http://localhost", headers=headers)
    return (await asyncio.to_thread(c.get, "/events/me")).status_code


@pytest.mark.parametrize("ask", [of_httpx, of_starlette])
async def test_other_clients_wait_for_the_end_of_a_stream(ask):
    """What the page says of them: not even the head of a stream is seen before it has ended."""
    app = edge()
    headers = {name.decode(): value.decode() for name, value in AUTH.headers_for("u1")}
    asked = asyncio.create_task(ask(app, headers))
    async with asyncio.timeout(10):
        while not app.figures()["streams"]:
            assert not asked.done() or await asked
            await asyncio.sleep(0.01)
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done
    await Publisher(app.backend).disconnect(user="u1")
    assert await asked == 200
    if ask is of_httpx:  # the other's event loop is gone
        await app.stop()
