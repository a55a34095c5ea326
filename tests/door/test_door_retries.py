"""How a refusal is said to whom, and when its client is told to come back."""

import json
import time
from types import SimpleNamespace

import pytest

import sse_edge.streams.streams
from parts.door import answer, at_cap, cookie, decoded, fails, said, says_no
from sse_edge import Limits, MemoryBackend, RedisBackend, SyncPublisher
from sse_edge.outcome import MEDIA_TYPE, REFUSALS, TOO_LARGE, TOO_SLOW

SETTINGS = {"limits": Limits(per_user=None, per_ip=None, connects_per_ip=None)}
"""Of every edge here."""


def over():
    """Channels that have finished, and a client that has had all of it."""
    backend = MemoryBackend(history_ttl=86_400)
    with SyncPublisher(backend) as events:
        places = [events.finish(channel, "last") for channel in ("user:u42", "news")]
    return {"backend": backend, "headers": {"last-event-id": places[-1]}}


WAYS = {
    "finished": over(),
    "bad-request": {"path": "/events/two/a/\x01"},
    "unauthenticated": {"headers": {"cookie": "session=junk"}},
    "origin": {"headers": {"origin": "https://evil.example"}},
    "forbidden": {"path": "/events/two/a/b", "authorize": says_no},
    "not-found": {"path": "/events/nowhere"},
    "method": {"method": "POST"},
    "user-limit": at_cap(per_user=1),
    "ip-limit": at_cap(per_ip=1),
    "connect-rate": at_cap(connects_per_ip="1/hour"),
    "worker-full": at_cap(per_worker=1),
    "draining": {"draining": True},
    "backend-down": {"path": "/events/two/a/b", "authorize": fails},
}
"""How each refusal is come by."""

ACCEPTS = {
    "text/event-stream": True,
    "text/html, Text/Event-Stream;q=0.5": True,
    "*/*": False,
    "application/json": False,
    None: False,
}
"""Accept headers, and whether an EventSource or a client like one sends them."""


def test_every_refusal_is_in_the_table():
    """The table covers the catalogue, but for what is only said to whoever publishes."""
    bodies = {TOO_SLOW, TOO_LARGE, MEDIA_TYPE}
    assert list(WAYS) == [refusal.code for refusal in REFUSALS if refusal not in bodies]


async def refuse(edge, asgi, code, *, accept=None, method=None, **settings):
    """A client that was refused in one of the ways."""
    way = {**WAYS[code], **settings}
    headers = {**cookie(), **way.pop("headers", {}), **({"accept": accept} if accept else {})}
    path, method = way.pop("path", "/events/me"), way.pop("method", None) or method or "GET"
    others, draining = way.pop("others", 0), way.pop("draining", False)
    middleware = edge(**way)
    for _ in range(others):
        await asgi(middleware, "/events/me", headers=cookie()).start()
    if draining:
        await middleware.drain(0)
    client = asgi(middleware, path, method=method, headers=headers)
    await client.whole()
    assert middleware.figures()["refusals"] == {code: 1}
    return client


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("mode", ["auto", "status", "stream"])
@pytest.mark.parametrize("code", WAYS)
async def test_how_refusals_are_said(edge, asgi, code, mode, accept):
    """Only what passes by itself is said as a stream: always, or to whoever accepts one; and to no poll."""
    (refusal,) = [refusal for refusal in REFUSALS if refusal.code == code]
    client = await refuse(edge, asgi, code, accept=accept, refusals=mode, retry=2.0)
    passes = refusal.status in (429, 503)
    polls = accept == "application/json"
    varies = [value for name, value in client.headers if name == b"vary"]
    assert varies == [b"Origin", b"Accept"][: 1 + polls]
    assert client.header("cache-control") == "no-store, no-transform"
    if passes and not polls and (mode == "stream" or (mode == "auto" and ACCEPTS[accept])):
        assert client.status == 200
        assert client.header("content-type") == "text/event-stream; charset=utf-8"
        assert client.header("x-accel-buffering") == "no"
        assert client.header("retry-after") is None
        decoder, ((name, data, id),) = decoded(client)
        assert (name, json.loads(data)["error"], id) == ("edge-refused", code, "")
        assert set(json.loads(data)) == {"error", "detail"}
        assert 1000 <= decoder.retry <= 3000
        assert not decoder.pending
    elif refusal.status == 204:
        assert (client.status, client.body()) == (204, b"")
        assert client.header("content-type") is client.header("content-length") is None
    else:
        assert client.status == refusal.status
        assert client.header("content-type") == "application/json"
        assert json.loads(client.body())["error"] == code
        wait = client.header("retry-after")
        assert (int(wait) >= refusal.retry_after) if passes else (wait is None)


@pytest.mark.parametrize("mode", ["auto", "stream"])
async def test_head_is_told_by_its_status(edge, asgi, mode):
    """HEAD, which has no body to read, gets the status."""
    client = await refuse(edge, asgi, "draining", method="HEAD", accept="text/event-stream", refusals=mode)
    assert client.status == 503


async def test_cors_on_a_refusal_as_a_stream(edge, asgi):
    """A page of another origin may read why it was refused."""
    origin = "https://app.example.com"
    client = await refuse(
        edge, asgi, "draining", accept="text/event-stream", origins=[origin], headers={"origin": origin}
    )
    assert client.status == 200
    assert client.header("access-control-allow-origin") == origin
    assert client.header("access-control-allow-credentials") == "true"


async def test_backend_that_is_not_there(edge, asgi):
    """Without a backend the answer comes as soon as its timeout allows, and not as a traceback."""
    backend = RedisBackend("redis://127.0.0.1:1/0", timeout=0.1)
    client = asgi(edge(backend=backend), "/events/me", headers={**cookie(), "accept": "text/event-stream"})
    await client.whole(2)
    assert said(client)[0][1]["error"] == "backend-down"


@pytest.fixture
def clock(monkeypatch):
    """The clock and the chance that the middleware waits by; chance gives the mean."""
    clock = SimpleNamespace(now=1000.0)
    stopped = SimpleNamespace(time=time.time, monotonic=lambda: clock.now)
    monkeypatch.setattr(sse_edge.streams.streams, "time", stopped)
    monkeypatch.setattr(sse_edge.streams.streams, "random", SimpleNamespace(random=lambda: 0.5))
    return clock


async def retry_of(asgi, middleware, *, headers=None, accept="text/event-stream", **options):
    """Seconds that a refused client is told to wait."""
    client = asgi(middleware, "/events/me", headers={**(headers or cookie()), "accept": accept}, **options)
    await client.whole()
    return decoded(client)[0].retry / 1000 if client.status == 200 else int(client.header("retry-after"))


async def test_retry_grows(edge, asgi, listen, clock):
    """A client that keeps being refused waits ever longer, and begins anew after it was left in peace."""
    middleware = edge(limits=Limits(per_user=1, connects_per_ip=None), retry=1.0)
    await listen(middleware)
    mine = cookie()
    waits = []
    for _ in range(7):
        waits.append(await retry_of(asgi, middleware, headers=mine))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    clock.now += 31
    assert await retry_of(asgi, middleware, headers=mine) == 1


async def test_retry_after_grows(edge, asgi, listen, clock):
    """Retry-After grows in the same way, from the least that makes sense."""
    middleware = edge(limits=Limits(per_user=1, connects_per_ip=None), retry=1.0)
    await listen(middleware)
    waits = [await retry_of(asgi, middleware, headers=MINE, accept="*/*") for _ in range(7)]
    assert waits == [5, 5, 5, 8, 16, 30, 30]


MINE = cookie()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"headers": cookie("u43")}, id="cookie"),
        pytest.param({"client": ("192.0.2.7", 1), "headers": MINE}, id="address"),
    ],
)
async def test_retry_of_others_does_not_grow(edge, asgi, listen, clock, other):
    """One client's refusals are not counted against another."""
    middleware = edge(limits=Limits(per_worker=1, connects_per_ip=None), retry=1.0)
    await listen(middleware)
    assert [await retry_of(asgi, middleware, headers=MINE) for _ in range(3)] == [1, 2, 4]
    assert await retry_of(asgi, middleware, **other) == 1
    assert await retry_of(asgi, middleware, headers=MINE) == 8


async def test_retry_is_jittered(edge, asgi, listen):
    """Clients that are refused together do not come back together."""
    middleware = edge(limits=Limits(per_worker=1, connects_per_ip=None), retry=2.0)
    await listen(middleware)
    waits = {await retry_of(asgi, middleware, headers=cookie(f"u{n}")) for n in range(30)}
    assert len(waits) > 20
    assert 1 <= min(waits) < max(waits) <= 3


async def test_refused_and_then_admitted(edge, asgi, listen):
    """A client that was refused at its cap gets its stream once a place is free."""
    middleware = edge(limits=Limits(per_user=1, connects_per_ip=None))
    first = await listen(middleware)
    assert await answer(asgi, middleware) == "user-limit"
    first.disconnect()
    await first.ended()
    assert await answer(asgi, middleware) == 200
