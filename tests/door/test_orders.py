"""What all workers are told: streams that end, and sessions that are revoked."""

import asyncio
import json
import time

import pytest

from parts.door import AUTH, TWO, answer, closed, cookie, eventually, said
from servers.sse import get
from sse_edge import (
    Anonymous,
    ConfigError,
    Identity,
    Limits,
    MemoryBackend,
    Publisher,
    RedisBackend,
    SignedCookie,
    SyncPublisher,
)
from sse_edge.backends.base import LONGEST_LIFE
from sse_edge.backends.redis import connection
from sse_edge.errors import EventError

SETTINGS = {"limits": Limits(per_user=None, per_ip=None, connects_per_ip=None)}
"""Of every edge here."""


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
