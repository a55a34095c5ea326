"""One worker's side of what holds for all: refusals, sessions that end, orders, Redis away, the drain."""

import asyncio
import itertools
import json
import logging
import signal
import time
from types import SimpleNamespace

import pytest

import sse_edge.streams
from delivery import ListSink, ScriptedBackend, join, make_hub
from door import (
    AUTH,
    CHANNELS,
    Until,
    answer,
    at_cap,
    closed,
    cookie,
    decoded,
    eventually,
    fails,
    said,
    says_no,
)
from servers.sse import Decoder, get
from sse_edge import (
    Anonymous,
    ConfigError,
    Identity,
    Limits,
    MemoryBackend,
    Publisher,
    RedisBackend,
    SignedCookie,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge import worker as worker_module
from sse_edge.admission import callback
from sse_edge.backends.base import LONGEST_LIFE
from sse_edge.backends.memory.subscriber import MemorySubscriber
from sse_edge.backends.redis import connection
from sse_edge.delivery import clock as clock_module
from sse_edge.errors import EventError
from sse_edge.outcome import CLIENT_GONE, MEDIA_TYPE, REFUSALS, TOO_LARGE, TOO_SLOW
from sse_edge.server import Server

SETTINGS = {"limits": Limits(per_user=None, per_ip=None, connects_per_ip=None)}
"""Of every edge here."""
REDIS = pytest.param("redis", marks=pytest.mark.live)


# ---- Refusals


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
    monkeypatch.setattr(sse_edge.streams, "time", stopped)
    monkeypatch.setattr(sse_edge.streams, "random", SimpleNamespace(random=lambda: 0.5))
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


# ---- Sessions: the right to a channel, asked again


class Rights:
    """An ``authorize`` that says who may read what at the moment, and counts how often it is asked."""

    def __init__(self):
        self.lost = set()
        self.asked = []
        self.error = None
        self.hangs = False
        self.at_once = self.most = 0

    async def __call__(self, identity, channel):
        self.asked.append(channel)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return channel not in self.lost

    async def again(self, times=1):
        """Wait until it was asked so much more often."""
        before = len(self.asked)
        await eventually(lambda: len(self.asked) >= before + times)


@pytest.fixture
def rights():
    return Rights()


TWO = "/events/two/a/b"


async def test_a_channel_is_lost(edge, listen, url, async_publisher, rights):
    """Only what may not be read any more is dropped, and said to be; the stream goes on with the rest."""
    middleware = edge(backend=url, authorize=rights, reauthorize_every=0.2)
    client = await listen(middleware, path=TWO)
    rights.lost.add("a")
    await client.wait_for(b"edge-dropped")
    await async_publisher.publish("a", "lost")
    await async_publisher.publish("b", "kept")
    await client.wait_for(b"kept")
    assert said(client) == [("edge-dropped", {"channel": "a", "reason": "forbidden"}), ("message", "kept")]
    assert middleware.figures()["streams"] == 1
    rights.asked.clear()
    await rights.again(3)
    assert set(rights.asked) == {"b"}
    rights.lost.add("b")
    await closed(client, "forbidden")
    assert middleware.figures()["endings"] == {"forbidden": 1}
    assert middleware._worker.hub._feeds == {}


async def test_asked_again_with_the_values(edge, listen):
    """An ``authorize`` that takes the values is told them at first and each time it is asked again."""
    asked = []

    async def told(identity, channel, values):
        asked.append((channel, dict(values)))
        return True

    await listen(edge(authorize=told, reauthorize_every=0.1), path=TWO)
    expected = [("a", {"a": "a"}), ("b", {"b": "b"})]
    await eventually(lambda: len(asked) >= 6)
    assert asked[:6] == expected * 3


async def test_all_channels_are_lost(edge, listen, rights):
    """A stream with nothing left to hear ends, and only then."""
    middleware = edge(authorize=rights, reauthorize_every=0.2)
    client = await listen(middleware, path=TWO)
    other = await listen(middleware, path="/events/two/c/d")
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")
    assert [name for name, _ in said(client)] == ["edge-dropped", "edge-close"]
    assert middleware.figures()["streams"] == 1
    assert said(other) == []


async def test_authorize_fails(edge, listen, url, async_publisher, rights, caplog):
    """An ``authorize`` that fails, or whose database is away, ends nobody, and is asked again."""
    client = await listen(edge(backend=url, authorize=rights, reauthorize_every=0.2), path=TWO)
    rights.error = OSError("the database is away")
    await rights.again(4)
    await async_publisher.publish("a", "still here")
    await client.wait_for(b"still here")
    rights.error = None
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")
    assert "authorize failed" in caplog.text


async def test_authorize_is_cancelled(edge, listen, rights):
    """An ``authorize`` in which something else was cancelled, a query of its own perhaps, is asked again."""
    client = await listen(edge(authorize=rights, reauthorize_every=0.1), path=TWO)
    rights.error = asyncio.CancelledError()
    await rights.again()
    rights.error = None
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")


async def test_authorize_hangs(edge, listen, rights, monkeypatch):
    """However many wait for an answer that does not come, all are asked for again."""
    monkeypatch.setattr(worker_module, "ASKING", 2)
    monkeypatch.setattr(callback, "ANSWER", 0.2)
    middleware = edge(authorize=rights, reauthorize_every=0.1)
    clients = [await listen(middleware, f"u{n}", TWO) for n in range(4)]
    rights.hangs = True
    await rights.again(3)
    rights.hangs = False
    rights.lost |= {"a", "b"}
    for client in clients:
        await closed(client, "forbidden")


@pytest.mark.parametrize(
    ("path", "patterns", "every"),
    [
        pytest.param("/events/me", [], 0.1, id="template"),
        pytest.param(TWO, ["a", "b*"], 0.1, id="cookie"),
        pytest.param(TWO, [], None, id="off"),
    ],
)
async def test_not_asked_again(edge, asgi, rights, path, patterns, every):
    """What the template or the cookie opened is not asked for, and nothing is when it is off."""
    middleware = edge(authorize=rights, reauthorize_every=every)
    await asgi(middleware, path, headers=cookie(channels=patterns)).wait_for(b"\nid: ")
    (stream,) = middleware._worker.hub.streams
    assert stream.recheck == float("inf")
    assert rights.asked == ([] if every else ["a", "b"])


async def test_asking_is_spread(edge, listen, rights):
    """Streams that began together do not ask together, but each within 80 to 100 % of the setting."""
    middleware = edge(authorize=rights, reauthorize_every=100)
    await asyncio.gather(*(listen(middleware, f"u{n}", TWO) for n in range(50)))
    waits = [stream.recheck - stream.opened for stream in middleware._worker.hub.streams]
    assert 80 <= min(waits) < 85
    assert 95 < max(waits) <= 100.5
    assert len(set(waits)) == 50


async def test_asking_is_bounded(edge, listen, rights, monkeypatch):
    """However many are due, only so many ask at the same time, and all get their turn."""
    monkeypatch.setattr(worker_module, "ASKING", 4)
    middleware = edge(authorize=rights, reauthorize_every=0.3)
    await asyncio.gather(*(listen(middleware, f"u{n}", f"/events/two/a{n}/b{n}") for n in range(30)))
    rights.asked.clear()
    rights.most = 0
    await eventually(lambda: len(set(rights.asked)) == 60)
    assert rights.most <= 4


async def test_over_while_asked(edge, listen, rights):
    """A stream that ends while it is asked for is left in peace."""
    asking, go_on = asyncio.Event(), asyncio.Event()
    middleware = edge(authorize=rights, reauthorize_every=0.1)
    client = await listen(middleware, path=TWO)

    async def slow(identity, channel):
        asking.set()
        await go_on.wait()
        return False

    middleware._gate._authorize = slow
    await asyncio.wait_for(asking.wait(), 5)
    client.disconnect()
    await client.ended()
    go_on.set()
    await eventually(
        lambda: len(middleware._worker._tasks) == 2
    )  # what keeps it informed, and looks for the dead
    assert middleware.figures()["endings"] == {"client-gone": 1}


# ---- Sessions: orders to all workers


@pytest.fixture(params=["async", "sync"])
async def order(request, url):
    """``await order("disconnect", user=…)``, through a Publisher or a SyncPublisher."""
    if request.param == "async":
        async with Publisher(url) as async_publisher:

            async def give(name, *args, **named):
                await getattr(async_publisher, name)(*args, **named)

            yield give
    else:
        with SyncPublisher(url) as async_publisher:

            async def give(name, *args, **named):
                await asyncio.to_thread(getattr(async_publisher, name), *args, **named)

            yield give


@pytest.mark.parametrize("by", [{"user": "u42"}, {"channel": "user:u42"}, {"session": "s1"}], ids=str)
async def test_disconnect(edge, listen, url, async_publisher, order, by):
    """A user's, a channel's or a session's streams end on every worker within a second; no others do."""
    workers = [edge(backend=url) for _ in range(2)]
    chosen = [await listen(middleware, session="s1") for middleware in workers for _ in range(2)]
    others = [await listen(middleware, "u43", session="s2") for middleware in workers]
    await order("disconnect", **by)
    for client in chosen:
        await closed(client, "revoked")
    await async_publisher.publish("news", "still here")
    for client in others:
        await client.wait_for(b"still here")
    again = await listen(workers[0], session="s1")  # the cookie is as good as before
    assert not again.complete
    assert [middleware.figures()["endings"] for middleware in workers] == [{"revoked": 2}] * 2


class Unscanned(set):
    """A set that nobody may go through."""

    def __iter__(self):
        raise AssertionError("every stream was looked at")


@pytest.mark.parametrize(
    ("by", "ended"),
    [
        ({"user": "u1"}, "ab"),
        ({"session": "s2"}, "b"),
        ({"channel": "user:u3"}, "c"),
        ({"channel": "news"}, "abc"),
        ({"user": "nobody"}, ""),
    ],
    ids=str,
)
async def test_found_without_a_scan(edge, listen, by, ended):
    """Streams are found by user, session and channel without a look at the others, and counted once."""
    middleware = edge()
    clients = {
        name: await listen(middleware, user, session=session)
        for name, user, session in [("a", "u1", "s1"), ("b", "u1", "s2"), ("c", "u3", "s3")]
    }
    hub = middleware._worker.hub
    hub.streams = Unscanned(hub.streams)
    assert middleware.disconnect(**by) == len(ended)
    assert middleware.disconnect(**by) == 0
    for name in ended:
        await closed(clients[name], "revoked")
    assert {name for name, client in clients.items() if not client.complete} == set(clients) - set(ended)
    hub.streams = set()


@pytest.mark.parametrize("revoked", [1, 5000])
async def test_learned_without_a_scan(edge, listen, revoked):
    """However many sessions are revoked, learning of it looks at none but their streams."""
    middleware = edge()
    gone, stays = await listen(middleware, session="s0"), await listen(middleware, session="other")
    worker = middleware._worker
    worker.hub.streams = Unscanned(worker.hub.streams)
    for n in range(revoked):
        await middleware._backend.revoke(f"s{n}", time.time() + 60)
    await worker.control._learn_revoked()
    await closed(gone, "revoked")
    assert not stays.complete
    assert worker._gate.revocations.covers(f"s{revoked - 1}", time.time())
    worker.hub.streams = set()


async def test_revoke(edge, asgi, listen, url, order):
    """A revoked session's streams end, and its cookie is refused, on every worker and every new one."""
    workers = [edge(backend=url) for _ in range(2)]
    chosen = [await listen(middleware, session="s1") for middleware in workers]
    other = await listen(workers[0], session="s2")
    revoked = cookie(session="s1")
    await order("revoke", "s1")
    for client in chosen:
        await closed(client, "revoked")
    workers.append(edge(backend=url))
    for middleware in workers:
        assert await answer(asgi, middleware, **revoked) == "unauthenticated"
        assert await answer(asgi, middleware, **cookie(session="s2")) == 200
    assert not other.complete


MONTH = 30 * 86_400.0


class Own:
    """An authenticator of an application's own."""

    anonymous = False

    def identify(self, request, now):
        return Identity("u42", session="s1")


class OwnWithAge(Own):
    max_age = 3600


@pytest.mark.parametrize(
    ("auths", "life"),
    [
        ([SignedCookie("a secret of the tests", max_age=MONTH)], MONTH),
        ([SignedCookie("a secret of the tests", max_age=600)], 600),
        ([OwnWithAge(), SignedCookie("a secret of the tests", max_age=MONTH), Anonymous()], MONTH),
        ([OwnWithAge()], 3600),
        ([Own()], LONGEST_LIFE),
        ([Anonymous()], LONGEST_LIFE),
        ([], LONGEST_LIFE),
    ],
    ids=[
        "a month",
        "ten minutes",
        "the longest of several",
        "own",
        "own that says nothing",
        "none",
        "nobody",
    ],
)
async def test_a_revocation_lasts_as_long_as_the_cookie(edge, url, async_publisher, auths, life):
    """Nobody has to say how long: a revoked session stays out for as long as any worker would let it in."""
    for auth in auths:
        worker = edge(backend=url, auth=auth, channels={"/events/news": "news"})
        await worker.start()
        await worker._worker.control.informed()
    await async_publisher.revoke("s1")
    until = (await async_publisher._backend.revoked())["s1"]
    assert life - 1 <= until - time.time() <= life + 130  # clocks may differ
    late = edge(backend=url, auth=Anonymous(), channels={"/events/news": "news"})
    await late.start()
    await eventually(lambda: late._gate.revocations.covers("s1", until - 10))
    assert not late._gate.revocations.covers("s1", until + 10)


async def test_a_revoked_cookie_after_a_day(redis_server, redis_url, serve_app):
    """Real workers whose cookies live for a month refuse a revoked one when most of it has passed."""
    env = {"BACKEND": redis_url, "MAX_AGE": str(MONTH)}
    there = {"session": AUTH.issue("u42", session="s1")}

    async def status(process):
        return (await get(f"{process.url}/events/me", method="HEAD", cookies=there)).status

    assert await status(serve_app("apps.edge:edge", env=env)) == 200
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.revoke("s1")
    client = redis_server.client()
    for key in ("sse:revoked", "sse:since"):  # it was so many days ago
        for session in client.zrange(key, 0, -1):
            client.zincrby(key, -29 * 86_400, session)
    assert await status(serve_app("apps.edge:edge", env=env)) == 401


@pytest.mark.parametrize("max_age", [-1, "3600", True, float("nan")], ids=str)
def test_a_life_that_is_none(edge, max_age):
    """An authenticator whose ``max_age`` is no number of seconds is refused when the app begins."""
    auth = OwnWithAge()
    auth.max_age = max_age
    with pytest.raises(ConfigError, match="auth.max_age: must be a number of seconds"):
        edge(auth=auth)


async def test_how_long_sessions_live_is_said_again(edge, redis_server, redis_url, monkeypatch):
    """A worker's word would be forgotten while it runs, or with the data of Redis; it repeats it."""
    monkeypatch.setattr("sse_edge.control.EVERY", 0.05)
    monkeypatch.setattr("sse_edge.control.AGAIN", 0.05)
    middleware = edge(backend=redis_url, auth=SignedCookie("a secret of the tests", max_age=MONTH))
    await middleware.start()
    client = redis_server.client()
    for _ in range(2):
        await eventually(lambda: client.exists("sse:lives"))
        client.delete("sse:lives")


async def test_revoked_until(edge, asgi, listen, url, order):
    """After ``max_age`` nothing of it is left, on old workers and new ones."""
    old = edge(backend=url)
    client = await listen(old, session="s1")
    began = time.time()
    await order("revoke", "s1", max_age=1.0)
    await closed(client, "revoked")  # the order has come
    for middleware in (old, edge(backend=url)):
        assert await answer(asgi, middleware, **cookie(session="s1")) == "unauthenticated"
    for middleware in (old, edge(backend=url)):
        while await answer(asgi, middleware, **cookie(session="s1")) != 200:
            await asyncio.sleep(0.05)
        assert 0.95 <= time.time() - began <= 2.5  # Redis keeps whole seconds


async def test_revoked_twice(edge, asgi, url, async_publisher):
    """A shorter revocation takes nothing from a longer one."""
    await async_publisher.revoke("s1", max_age=60)
    await async_publisher.revoke("s1", max_age=0.01)
    await asyncio.sleep(0.02)
    assert await answer(asgi, edge(backend=url), **cookie(session="s1")) == "unauthenticated"


async def test_revoked_while_admitted(edge, asgi, listen, url, async_publisher):
    """A session that is revoked while ``authorize`` is asked gets no stream."""
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(identity, channel):
        asking.set()
        await go_on.wait()
        return True

    middleware = edge(backend=url, authorize=slow)
    await listen(middleware)
    client = asgi(middleware, TWO, headers=cookie(session="s1")).open()
    await asyncio.wait_for(asking.wait(), 5)
    await async_publisher.revoke("s1")
    await eventually(lambda: middleware._gate.revocations.covers("s1", time.time()))
    go_on.set()
    assert json.loads(await client.whole())["error"] == "unauthenticated"
    assert middleware.figures()["streams"] == 1


async def test_revoked_while_a_worker_begins(edge):
    """An order that is given before a new worker hears orders reaches it all the same."""

    class Backend(MemoryBackend):
        async def revoked(self, life):
            known = await super().revoked(life)
            await self.revoke("s1", time.time() + 60)  # too late for the answer, too early to be heard
            return known

    middleware = edge(backend=Backend())
    await middleware.start()
    await eventually(lambda: middleware._gate.revocations.covers("s1", time.time()))


async def test_a_worker_waits_for_what_is_revoked(edge, asgi):
    """The very first request to a new worker waits until it is known who is revoked, though not for ever."""
    go_on = asyncio.Event()

    class Backend(MemoryBackend):
        async def revoked(self, life):
            await go_on.wait()
            return await super().revoked(life)

    backend = Backend()
    await backend.revoke("s1", time.time() + 60)
    first, other = edge(backend=backend), edge(backend=backend)
    client = asgi(first, "/events/me", headers=cookie(session="s1")).open()
    began = time.monotonic()
    assert await answer(asgi, other) == 200
    assert 0.9 < time.monotonic() - began < 2
    other_client = asgi(edge(backend=backend), "/events/me", headers=cookie(session="s1")).open()
    await asyncio.sleep(0)
    go_on.set()
    assert json.loads(await other_client.whole())["error"] == "unauthenticated"
    await client.ended()
    assert said(client)[-1] == ("edge-close", {"reason": "revoked"})  # let in before anybody knew


@pytest.mark.parametrize("history", [100, 0])
async def test_revoked_while_cut_off(edge, asgi, listen, proxy, redis_url, history):
    """A worker that Redis was out of reach for when the order was given learns of it afterwards."""
    middleware = edge(backend=RedisBackend(proxy.url, history=history), refusals="status")
    client = await listen(middleware, session="s1", live=bool(history))
    await eventually(lambda: middleware.ready)
    proxy.refusing = True
    proxy.cut()
    await eventually(lambda: not middleware.ready)
    async with Publisher(RedisBackend(redis_url, history=history)) as async_publisher:
        await async_publisher.revoke("s1")
        await async_publisher._backend.close()
    assert not client.complete
    proxy.refusing = False
    await client.whole(5)
    assert said(client)[-1] == ("edge-close", {"reason": "revoked"})
    assert await answer(asgi, middleware, **cookie(session="s1")) == "unauthenticated"


async def test_disconnected_while_cut_off(edge, listen, proxy, redis_url):
    """The same with ``disconnect``, as long as history has the order."""
    middleware = edge(backend=proxy.url)
    client, other = await listen(middleware), await listen(middleware, "u43")
    proxy.refusing = True
    proxy.cut()
    await eventually(lambda: not middleware.ready)
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.disconnect(user="u42")
    proxy.refusing = False
    await client.whole(5)
    assert said(client)[-1] == ("edge-close", {"reason": "revoked"})
    assert said(other) == []


async def test_revoked_while_orders_are_not_heard(edge, listen, asgi, proxy, redis_url, monkeypatch):
    """However long the subscriber takes to come back, a worker that reaches Redis learns of it at once."""
    monkeypatch.setattr(connection, "BACK_OFF", (600.0, 600.0))
    middleware = edge(backend=proxy.url, on_backend_down="accept")
    client = await listen(middleware, session="s1")
    proxy.cut(commands=False)
    await eventually(lambda: not middleware.ready)
    blind = await listen(middleware, session="s1", live=False)
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.revoke("s1")
    for ended in (client, blind):
        await ended.whole(5)
        assert said(ended)[-1] == ("edge-close", {"reason": "revoked"})
    assert await answer(asgi, middleware, **cookie(session="s1")) == "unauthenticated"


async def test_a_worker_that_begins_while_redis_is_away(private_redis, serve_app, connect):
    """A stream that could not be checked, opened blindly, is ended as soon as Redis is there to ask."""
    server = private_redis(appendonly=True, appendfsync="always")
    async with Publisher(server.url) as async_publisher:
        await async_publisher.revoke("s1")
    server.kill()
    process = serve_app("apps.edge:edge", env={"BACKEND": server.url, "DOWN": "accept"})
    gone, there = [
        await connect(f"{process.url}/events/me", cookies={"session": AUTH.issue("u42", session=session)})
        for session in ("s1", "s2")
    ]
    assert (gone.status, there.status) == (200, 200)
    server.start()
    began = time.monotonic()
    event = await gone.until(lambda event: event.event == "edge-close")
    assert json.loads(event.data) == {"reason": "revoked"}
    assert time.monotonic() - began < 5  # a second, on a machine that has nothing else to do
    await there.until(lambda event: event.event == "edge-reset")
    again = await connect(f"{process.url}/events/me", cookies={"session": AUTH.issue("u42", session="s1")})
    assert again.status == 401


async def test_revocations_in_redis(redis_server, redis_url):
    """Redis keeps a revocation for as long as it matters, and none for longer."""
    client = redis_server.client()
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.revoke("old", max_age=0.01)
        assert 0 < client.zscore("sse:revoked", "old") - time.time() <= 1.01
        await async_publisher.revoke("s1", max_age=60)
        assert 59 < client.zscore("sse:revoked", "s1") - time.time() <= 61
        while time.time() <= client.zscore("sse:revoked", "old"):
            await asyncio.sleep(0.05)
        await async_publisher.revoke("s2", max_age=60)
        # As long as sessions live, and how long that is.
        seconds = client.time()[0]
        client.zadd("sse:since", {"gone": seconds - 61, "there": seconds - 50})
        client.zadd("sse:lives", {"60": seconds + 1000, "600": seconds - 1})
        await async_publisher.revoke("s3")
    assert client.zrange("sse:revoked", 0, -1) == ["s1", "s2"]
    assert client.zrange("sse:since", 0, -1) == ["there", "s3"]
    assert client.zrange("sse:lives", 0, -1) == ["60"]


WRONG_ORDERS = [{}, {"user": "u", "channel": "c"}, {"user": ""}, {"session": 5}, {"channel": b"news"}]
WRONG_AGES = [0, -1, True, "60", float("nan"), float("inf"), 1e10]


@pytest.mark.parametrize("named", WRONG_ORDERS, ids=str)
async def test_wrong_orders(order, named):
    """An order is about exactly one user, channel or session."""
    with pytest.raises(EventError):
        await order("disconnect", **named)


@pytest.mark.parametrize("args", [[""], [5], [None], [b"s"], *(["s", age] for age in WRONG_AGES)], ids=str)
async def test_wrong_revocations(order, args):
    """A revocation needs a session, and a time that makes sense."""
    named = {"max_age": args[1]} if len(args) > 1 else {}
    with pytest.raises(EventError):
        await order("revoke", args[0], **named)


def plain(data):
    """What a plain PUBLISH carries."""
    return json.dumps({"data": data})


MALFORMED = {
    "garbage": "garbage",
    "empty": "",
    "no data": "{}",
    "no JSON": plain("hello"),
    "no object": plain(["u42"]),
    "null": plain(None),
    "nobody": plain({}),
    "unknown": plain({"everybody": "u42"}),
    "two": plain({"user": "u42", "channel": "news"}),
    "number": plain({"user": 42}),
    "list": plain({"channel": ["news"]}),
    "until of a user": plain({"user": "u42", "until": 9e9}),
    "until nothing": plain({"until": 9e9}),
    "until text": plain({"session": "s", "until": "soon"}),
    "until true": plain({"session": "s", "until": True}),
    "until infinity": plain('{"session": "s", "until": Infinity}'),
    "until too far": plain('{"session": "s", "until": 1%s}' % ("0" * 400)),
    "until far too far": plain('{"session": "s", "until": 1%s}' % ("0" * 5000)),
    "object of a session": plain({"session": {"a": 1}, "until": 9e9}),
    "deep": plain("[" * 50_000),
    "two lines": plain('{"user":\n"u42"}'),
    "announcement": "- -\ndata: []\n\n",
    "not UTF-8": b"- -\ndata: \xff\xfe\n\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_orders(edge, listen, redis_server, redis_url, caplog, name):
    """Whatever is PUBLISHed on the control channel and is no order is dropped, with one line in the log."""
    middleware = edge(backend=redis_url)
    client = await listen(middleware, session="s")
    assert redis_server.client().publish("sse:\x01control", MALFORMED[name]) == 1
    await Publisher(middleware._backend).publish("news", "still here")
    await client.wait_for(b"still here")
    assert not client.complete
    warnings = [record for record in caplog.records if "dropped" in record.getMessage()]
    assert len(warnings) == 1
    assert len(warnings[0].getMessage()) < 1000
    assert [record for record in caplog.records if record.exc_info] == []
    assert middleware._worker.hub.subscriber.generation == 1  # the connection is the same


# ---- Redis is away


async def test_accepted_while_redis_is_away(edge, asgi, proxy, redis_url):
    """With a cursor: the first bytes at once, and later exactly what follows it, in order and once."""
    proxy.refusing = True
    async with Publisher(redis_url) as async_publisher:
        ids = [await async_publisher.publish("news", f"before {n}") for n in range(3)]
        middleware = edge(backend=proxy.url, on_backend_down="accept")
        client = asgi(middleware, "/events/me", headers={**cookie(), "last-event-id": ids[0]})
        began = time.monotonic()
        await client.wait_for(b"retry: ")
        assert time.monotonic() - began < 0.5
        assert client.status == 200
        assert not middleware.ready
        ids += [await async_publisher.publish("user:u42", f"away {n}") for n in range(3)]
        assert said(client) == []
        proxy.refusing = False
        await client.wait_for(b"away 2")
        ids.append(await async_publisher.publish("news", "after"))
        await client.wait_for(b"after")
    assert [event.id for event in decoded(client)[1]] == ids[1:]


async def test_accepted_without_a_cursor(edge, listen, proxy, redis_url):
    """Without one: first a reset for each channel, as nobody knows what was missed, and then live."""
    proxy.refusing = True
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.publish("news", "before")
        client = await listen(edge(backend=proxy.url, on_backend_down="accept"), live=False)
        await async_publisher.publish("news", "away")
        proxy.refusing = False
        await client.wait_for(b'news", "reason')
        await async_publisher.publish("news", "after")
        await client.wait_for(b"after")
    assert said(client) == [
        ("edge-reset", {"channel": "user:u42", "reason": "gap"}),
        ("edge-reset", {"channel": "news", "reason": "gap"}),
        ("message", "after"),
    ]


async def test_accepted_without_history(edge, listen, proxy, redis_url):
    """The same where nothing is numbered: what it missed cannot be named, and so is said."""
    proxy.refusing = True
    backend = RedisBackend(proxy.url, history=0)
    client = await listen(edge(backend=backend, on_backend_down="accept"), live=False)
    proxy.refusing = False
    await client.wait_for(b'news", "reason')
    async with Publisher(redis_url) as async_publisher:
        assert await async_publisher.publish("news", "after") == ""
    await client.wait_for(b"after")
    await backend.close()
    assert said(client) == [
        ("edge-reset", {"channel": "user:u42", "reason": "gap"}),
        ("edge-reset", {"channel": "news", "reason": "gap"}),
        ("message", "after"),
    ]


async def test_many_accepted(edge, listen, proxy, redis_url):
    """All that came while Redis was away hear everything once it is back."""
    proxy.refusing = True
    middleware = edge(backend=proxy.url, on_backend_down="accept")
    clients = [await listen(middleware, f"u{n}", live=False) for n in range(50)]
    proxy.refusing = False
    await asyncio.gather(*(client.wait_for(b"edge-reset") for client in clients))
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.publish("news", "after")
    await asyncio.gather(*(client.wait_for(b"after") for client in clients))


@pytest.mark.parametrize("policy", ["accept", "refuse"])
async def test_redis_stands_still(edge, asgi, listen, proxy, redis_url, policy):
    """The policy holds also for as long as nobody has noticed that Redis does not answer."""
    middleware = edge(backend=RedisBackend(proxy.url, timeout=0.3), on_backend_down=policy, refusals="status")
    await listen(middleware, "first")
    proxy.stall(requests=True, replies=True)
    assert middleware.ready
    client = asgi(middleware, "/events/me", headers=cookie())
    if policy == "refuse":
        assert json.loads(await client.whole())["error"] == "backend-down"
        return
    await client.wait_for(b"stream open", 3)
    proxy.resume()
    async with Publisher(redis_url) as async_publisher:
        await client.wait_for(b"\nid: ")
        await async_publisher.publish("user:u42", "after")
        await client.wait_for(b"after")


async def test_refused_while_redis_is_away(edge, asgi, proxy):
    """The default is to refuse, and to say so in a way that an EventSource survives."""
    proxy.refusing = True
    middleware = edge(backend=RedisBackend(proxy.url, timeout=0.1))
    client = asgi(middleware, "/events/me", headers={**cookie(), "accept": "text/event-stream"})
    await client.whole()
    assert said(client)[0][1]["error"] == "backend-down"
    proxy.refusing = False
    await eventually(lambda: middleware.ready)
    assert await answer(asgi, middleware) == 200


async def test_no_stream_outlives_its_session(edge, asgi, url):
    """A stream ends with its session, long before its maximum duration."""
    client = asgi(edge(backend=url, auth=Until(0.4)), "/events/me")
    began = time.monotonic()
    await client.wait_for(b"stream open")
    await client.whole()
    assert 0.4 <= time.monotonic() - began + 0.01 <= 1
    assert said(client)[-1] == ("edge-close", {"reason": "session-expired"})


@pytest.mark.parametrize("end", ["expires", "leaves", "drain", "disconnect", "stop"])
async def test_ends_while_redis_is_away(edge, asgi, proxy, end):
    """A stream that still waits for Redis ends like any other, and nothing of it is left."""
    proxy.refusing = True
    auth = Until(0.3 if end == "expires" else 60)
    middleware = edge(backend=proxy.url, auth=auth, on_backend_down="accept")
    client = asgi(middleware, "/events/me")
    await client.wait_for(b"stream open")
    hub = middleware._worker.hub
    (stream,) = hub.streams
    if end == "leaves":
        client.disconnect()
        await client.ended()
    elif end == "disconnect":
        middleware.disconnect(user="u42")
        await closed(client, "revoked")
    elif end == "drain":
        await asyncio.gather(middleware.drain(0), closed(client, "drain"))
    elif end == "stop":
        await asyncio.gather(middleware.stop(), closed(client, "drain"))
    else:
        await closed(client, "session-expired")
    await eventually(stream.waiting.done)
    assert (hub.streams, hub._feeds, hub._clock._wheel._buckets) == (set(), {}, {})
    assert middleware._leases.count("user:u42") == 0


async def test_history_is_read_once_channels_are_heard():
    """An accepted stream asks for its history once its channels are heard: nothing falls between."""
    backend = ScriptedBackend()
    hub = await make_hub(backend)
    heard, steps = asyncio.Event(), []

    async def subscribe(channels):
        steps.append("subscribe")
        await heard.wait()
        backend.counted.extend(channels)
        steps.append("heard")

    backend.subscribe = subscribe
    backend.before_replay = lambda: steps.append("replay")
    stream = hub.new_stream(("c",), ListSink(), None, None, None)
    hub.adopt(stream)
    hub.catch_up_later(stream, None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert steps == ["subscribe"]
    heard.set()
    await stream.waiting
    assert steps == ["subscribe", "heard", "replay"]
    assert backend.counted == ["c"]
    hub.close_stream(stream, CLIENT_GONE)
    assert backend.counted == []
    await hub.close()


# ---- Drain


class Client(ListSink):
    """A client that is gone as soon as its stream is finished; notes when."""

    def __init__(self, hub, ends):
        super().__init__()
        self.hub, self.ends = hub, ends
        self.stream = None

    def finish(self, data):
        super().finish(data)
        self.ends.append((self.hub.now, self))
        asyncio.get_running_loop().call_soon(self.hub.close_stream, self.stream, CLIENT_GONE)


async def populate(count):
    """A hub with so many live streams, the clients in the order they came, and the list of their ends."""
    hub = await make_hub(ScriptedBackend())
    ends, clients = [], []
    for _ in range(count):
        client = Client(hub, ends)
        client.stream = await join(hub, sink=client)
        clients.append(client)
    return hub, clients, ends


async def test_drain_is_spread():
    """Streams end in random order, evenly over the window, each with everything it was owed."""
    hub, clients, ends = await populate(400)
    hub.deliver("c", None, b"data: the last\n\n")
    began = hub.now
    await hub.drain(0.8)
    assert 0.75 <= hub.now - began <= 2
    order = [clients.index(client) for _, client in ends]
    assert sorted(order) == list(range(400))
    rising = sum(a < b for a, b in itertools.pairwise(order))
    assert 120 < rising < 280
    for part in range(4):
        within = [at for at, _ in ends if part <= 4 * (at - began) / 0.8 < part + 1]
        assert 20 <= len(within) <= 250
    for client in clients:
        decoder = Decoder()
        events = decoder.feed(client.data)
        assert [event.data for event in events] == ["the last", '{"reason": "drain"}']
        assert not decoder.pending
        assert decoder.retry >= 1
    assert hub.endings == {"drain": 400}
    await hub.close()


async def test_retries_after_a_drain_are_spread(edge, listen):
    """Drained clients are not told to come back together."""
    middleware = edge(retry=2.0)
    clients = [await listen(middleware, f"u{n}") for n in range(40)]
    await middleware.drain(0)
    waits = {decoded(client)[0].retry for client in clients}
    assert len(waits) > 30
    assert 1000 <= min(waits) < max(waits) <= 3000


async def test_a_few_are_no_herd():
    """A handful of streams does not wait for the whole window, and one alone for hardly anything."""
    for count, seconds in ((0, 0.05), (1, 0.1), (5, 0.5)):
        hub, _, ends = await populate(count)
        began = hub.now
        await hub.drain(30)
        assert len(ends) == count
        assert hub.now - began <= seconds
        await hub.close()


async def test_drain_of_an_edge(edge, asgi, listen, async_publisher, url):
    """At once nothing new is taken; what is open ends over the window, and then ``drain`` returns."""
    middleware = edge(backend=url, refusals="status")
    clients = [await listen(middleware, f"u{n}") for n in range(20)]
    assert middleware.ready
    draining = asyncio.create_task(middleware.drain(0.5))
    await asyncio.sleep(0)
    assert not middleware.ready
    assert middleware.figures()["ready"] is False
    assert await answer(asgi, middleware) == "draining"
    await async_publisher.publish("news", "to all who are left")
    began = time.monotonic()
    await draining
    assert time.monotonic() - began < 1.5
    ends = [said(client) for client in clients]
    assert all(events[-1] == ("edge-close", {"reason": "drain"}) for events in ends)
    assert [("message", "to all who are left")] in [events[:-1] for events in ends]
    assert all(client.complete and not decoded(client)[0].pending for client in clients)
    assert middleware.figures()["endings"] == {"drain": 20}


@pytest.mark.parametrize("how", ["drain", "hurry"])
async def test_a_second_time_at_once(how):
    """Being told again ends what is left at once."""
    hub, _, ends = await populate(300)
    first = asyncio.create_task(hub.drain(5))
    await eventually(lambda: ends)
    assert len(ends) < 300
    async with asyncio.timeout(1):
        if how == "drain":
            await hub.drain(0)
        else:
            hub.drain.hurry()
        await first
    assert len(ends) == 300
    await hub.close()


async def test_streams_that_leave_by_themselves():
    """A drain does not wait for those that are gone already."""
    hub, clients, ends = await populate(300)
    draining = asyncio.create_task(hub.drain(5))
    await eventually(lambda: ends)
    for client in clients:
        hub.close_stream(client.stream, CLIENT_GONE)
    await asyncio.wait_for(draining, 1)
    assert hub.endings["client-gone"] > 200
    await hub.close()


@pytest.mark.parametrize("first", ["_on_signal", "_on_stopping"])
async def test_a_second_signal(edge, listen, caplog, first):
    """The first signal drains over ``drain_window``, and the second ends what is left at once.

    A signal may be heard after the stop that it caused was seen: it is the first all the same.  The log says
    once that the drain begins, and once that it is over.
    """
    caplog.set_level(logging.INFO, "sse_edge")
    middleware = edge(drain_window=30)
    clients = [await listen(middleware, f"u{n}") for n in range(20)]
    getattr(middleware._worker, first)()
    if first == "_on_stopping":
        middleware._worker._on_signal()
    await eventually(lambda: any(client.complete for client in clients))
    assert not all(client.complete for client in clients)
    middleware._worker._on_signal()
    for client in clients:
        await closed(client, "drain")
    await middleware.stop()
    said = [record.sse_edge for record in caplog.records if record.msg.startswith("drain")]
    assert [(each["event"], each["streams"]) for each in said] == [("drain", 20), ("drained", 20)]


async def test_a_held_signal_after_a_drain(edge, monkeypatch):
    """A server that is kept from a signal hears of it also where the app itself had begun to drain."""
    heard, before = [], signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
        monkeypatch.setattr("sse_edge.worker.find", lambda: Server("one that cuts", cuts=True))
        middleware = edge()
        await middleware.drain(0)
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
        await eventually(lambda: heard)
        await middleware.stop()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stops", [True, False, None])
async def test_a_server_that_goes_on(edge, monkeypatch, caplog, stops):
    """Where a signal does not stop the server, one line says so; of some that cannot be known."""
    monkeypatch.setattr("sse_edge.worker.STILL", 0.05)
    server = Server(
        "uvicorn 1.0", None if stops is None else lambda: stops and middleware._worker.hub.drain.begun
    )
    monkeypatch.setattr("sse_edge.worker.find", lambda: server)
    middleware = edge()
    await middleware.start()
    worker = middleware._worker
    tasks = set(worker._tasks)
    worker._on_signal()
    (drain,) = worker._tasks - tasks
    await asyncio.wait_for(drain, 5)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (stops is False)
    assert all("uvicorn 1.0 goes on" in warning for warning in warnings)


async def test_nothing_to_drain(edge, asgi):
    """Without streams ``drain`` returns at once, also before the first request, and refuses new ones."""
    middleware = edge(refusals="status")
    async with asyncio.timeout(0.5):
        await middleware.drain(60)
    assert not middleware.ready
    assert await answer(asgi, middleware) == "draining"


async def test_drained_while_admitted(edge, asgi):
    """A stream whose admission the drain overtakes is refused, and nobody waits for it."""
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(identity, channel):
        asking.set()
        await go_on.wait()
        return True

    middleware = edge(authorize=slow, refusals="status")
    client = asgi(middleware, TWO, headers=cookie()).open()
    await asyncio.wait_for(asking.wait(), 5)
    async with asyncio.timeout(1):
        await middleware.drain(0)
        go_on.set()
        assert json.loads(await client.whole())["error"] == "draining"
        await middleware.drain(0)


async def test_drained_while_subscribing(edge, asgi):
    """A request whose channels are not heard yet when the drain comes is refused."""
    subscribing = asyncio.Event()

    class SlowSubscriber(MemorySubscriber):
        async def subscribe(self, channels):
            if "news" in channels:
                subscribing.set()
                await asyncio.Event().wait()
            await super().subscribe(channels)

    class Backend(MemoryBackend):
        def subscriber(self, receiver):
            return SlowSubscriber(self.store, receiver)

    middleware = edge(backend=Backend())
    client = asgi(middleware, "/events/me", headers=cookie()).open()
    await asyncio.wait_for(subscribing.wait(), 5)
    draining = asyncio.create_task(middleware.drain(0))
    assert json.loads(await client.whole())["error"] == "draining"
    await asyncio.wait_for(draining, 1)
    assert not middleware._worker.hub.streams


async def test_a_client_that_does_not_read(edge, listen, monkeypatch):
    """Who takes no goodbye does not hold up the drain for long."""
    monkeypatch.setattr(clock_module, "GOODBYE", 0.2)
    middleware = edge()
    client = await listen(middleware)
    client.block_send()
    async with asyncio.timeout(2):
        await middleware.drain(0)
    await client.ended()


async def test_a_client_that_does_not_read_while_the_server_waits(edge, listen, monkeypatch):
    """Nor for longer than its server waits: all requests are over before that gives up."""
    middleware = edge(drain_window=30)
    clients = [await listen(middleware, f"u{n}") for n in range(3)]
    monkeypatch.setattr(middleware._worker, "_server", Server("a server", grace=0.6))
    for client in clients:
        client.block_send()
    began = time.monotonic()
    await middleware._worker._drain()
    assert time.monotonic() - began < 2  # and not GOODBYE
    for client in clients:
        await client.ended()


# ---- Settings


def bad(field, *values):
    return [pytest.param(field, value, id=f"{field}={value!r}") for value in values]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *bad("refusals", "json", "", None, True, 200),
        *bad("on_backend_down", "wait", "", None, True),
        *bad("drain_window", -1, -0.001, 86_401, True, "10", None, float("nan"), float("inf")),
        *bad("reauthorize_every", 0, -1, True, "300", float("nan"), float("inf"), 1e9),
    ],
)
def test_bad_settings(field, value):
    """A setting it cannot work with is refused by name."""
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(auth=AUTH, channels=CHANNELS, **{field: value})
    assert caught.value.field == field
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"refusals": "status", "on_backend_down": "accept"},
        {"drain_window": 0, "reauthorize_every": 0.5},
        {"drain_window": 86_400, "reauthorize_every": None},
    ],
    ids=str,
)
def test_good_settings(settings):
    """What makes sense is taken."""
    SSEMiddleware(auth=AUTH, channels=CHANNELS, **settings)


@pytest.mark.parametrize("seconds", [-1, -0.001, True, "5", None, float("nan"), float("inf"), 86_401])
async def test_bad_seconds(edge, asgi, listen, seconds):
    """``drain`` with no time at all is refused, and drains nothing."""
    middleware = edge()
    client = await listen(middleware)
    with pytest.raises(ConfigError) as caught:
        await middleware.drain(seconds)
    assert caught.value.field == "seconds"
    assert middleware.ready
    assert not client.complete
