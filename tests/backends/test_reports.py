"""What each worker says of itself: one contract for memory and Redis; then what is read of strange ones."""

import asyncio
import json
import os
import socket
import time

import pytest

from apps.edge import AUTH
from parts.delivery import ListSink, frame, join
from parts.ears import out
from parts.reported import SAID
from sse_edge import Anonymous, MemoryBackend, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.asgi_server import Server
from sse_edge.backends.redis.presence import RedisPresence
from sse_edge.backends.reports import parse
from sse_edge.delivery.ranking import busiest, slowest
from sse_edge.status.report import Reporter, application

BEAT = 0.1
HERE = "sse:{leases}:here"
CHANNELS = {"/events/me": ["user:{user}", "news"]}
AS_U42 = {"cookie": f"session={AUTH.issue('u42')}"}


@pytest.fixture(params=["memory", "redis"])
def make(request, monkeypatch):
    """``make()``: one more backend of the same data."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": BEAT})
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda: RedisBackend(url, history=50)
    memory = MemoryBackend()
    return lambda: memory


async def become(backend, condition):
    """Wait until the reports are so; which they are."""
    async with asyncio.timeout(10):
        while not condition(reports := (await backend.reports())):
            await asyncio.sleep(0.01)
    return reports


async def test_over_all_workers(make, asgi):
    """Each worker says what it is, its settings, figures and channels; who stops is gone at once."""
    backends = [make(), make(), make()]
    edges = [SSEMiddleware(backend=each, auth=AUTH, channels=CHANNELS) for each in backends[:2]]
    began = time.time()
    try:
        for edge, clients in zip(edges, (2, 1), strict=True):
            for client in [asgi(edge, "/events/me", headers=AS_U42) for _ in range(clients)]:
                await client.wait_for(b"id: ")
        reports = await become(
            backends[2], lambda said: sorted(each["figures"]["streams"] for each in said.told) == [1, 2]
        )
        one, two = sorted(reports.told, key=lambda each: each["figures"]["streams"])
        assert one["worker"]["name"] != two["worker"]["name"]
        assert (two["worker"]["host"], two["worker"]["pid"]) == (socket.gethostname(), os.getpid())
        assert began - 1 < two["worker"]["began"] <= two["worker"]["now"] < two["heard"] + 1
        assert two["heard"] <= reports.now < two["heard"] + 10
        assert sorted(two["channels"]) == [["news", 2], ["user:u42", 2]]
        assert (two["figures"]["opened"], two["figures"]["ready"], two["slowest"]) == (2, True, [])
        assert two["figures"]["refusals"]["connect-rate"] == 0  # all of the catalogue is there
        assert two["settings"]["limits"]["per_user"] == 10
        assert two["settings"]["history"] == (100 if backends[0] is backends[2] else 50)
        assert one["settings"] == two["settings"]
        assert reports.silent == 0
        await edges[0].stop()
        assert len((await backends[2].reports()).told) == 1
    finally:
        for edge in edges:
            await edge.stop()
        for backend in backends:
            await backend.close()


async def test_nobody_is_there(make):
    """Then there are no reports."""
    backend = make()
    reports = await backend.reports()
    assert (reports.told, reports.silent) == ([], 0)
    await backend.close()


async def test_a_worker_in_another_thread():
    """It is asked on its own event loop; one whose loop is gone is not."""
    backend = MemoryBackend()
    there, over = asyncio.Event(), asyncio.Event()
    own = asyncio.get_running_loop()

    async def work():
        edge = SSEMiddleware(backend=backend, auth=Anonymous(), channels={"/events/news": "news"})
        await edge.start()
        own.call_soon_threadsafe(there.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(over.wait(), own))

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, work()))
    await there.wait()
    (report,) = (await backend.reports()).told
    assert (report["worker"]["pid"], report["figures"]["ready"]) == (os.getpid(), True)
    over.set()
    await thread
    assert (await backend.reports()).told == []


# ---- Redis


@pytest.fixture
async def worker(redis_url, monkeypatch):
    """An edge on Redis that has told once, and its backend."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": BEAT})
    backend = RedisBackend(redis_url)
    edge = SSEMiddleware(backend=backend, auth=Anonymous(), channels={"/events/news": "news"})
    await edge.start()
    await become(backend, lambda said: said.told)
    yield edge, backend
    await edge.stop()
    await backend.close()


async def test_no_secret_is_told(redis_url, redis_server, monkeypatch, asgi):
    """Neither the application's nor a client's, nor what events say."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": BEAT})
    backend = RedisBackend(redis_url)
    auth = SignedCookie("the secret of the application", name="sid", secure=False)
    edge = SSEMiddleware(backend=backend, auth=auth, channels=CHANNELS)
    cookie = auth.issue("u42")
    try:
        client = asgi(edge, "/events/me", query="token=hidden", headers={"cookie": f"sid={cookie}"})
        await client.wait_for(b"id: ")
        await backend.publish([out("news", "what is said")])
        await client.wait_for(b"what is said")
        reports = await become(backend, lambda said: said.told and said.told[0]["channels"])
        said = json.dumps(reports.told)
        assert "user:u42" in said
        assert not [
            each for each in ("the secret", cookie, "hidden", "what is said", redis_url) if each in said
        ]
    finally:
        await edge.stop()
        await backend.close()


@pytest.mark.parametrize("told", ["", "{", "[]", '{"worker": {"name": "x"}}', "[" * 100_000, "\xff"])
async def test_what_is_no_report(worker, redis_server, told):
    """It is passed over, counted, and hides no other."""
    _, backend = worker
    client = redis_server.client()
    client.hset(f"{HERE}:other", mapping={"report": "1", "told": told} if told else {"report": "1"})
    client.zadd(f"{HERE}:workers", {"other": time.time() * 1000 + 60_000})
    reports = await backend.reports()
    assert (len(reports.told), reports.silent) == (1, 1)


async def test_a_killed_worker(worker):
    """Its report is gone within two heartbeats."""
    edge, backend = worker
    edge._worker._presence._task.cancel()
    reports = await become(backend, lambda said: not said.told)
    assert reports.silent == 0


async def test_data_are_lost(worker, redis_server):
    """Each worker says it again."""
    _, backend = worker
    redis_server.flush()
    await become(backend, lambda said: said.told)


async def test_two_applications_on_one_redis(worker, redis_url):
    """Another prefix or database knows nothing of it."""
    for other in (
        RedisBackend(redis_url, prefix="other:"),
        RedisBackend(redis_url.rpartition("/")[0] + "/1"),
    ):
        assert (await other.reports()).told == []
        await other.close()


async def test_a_user_whose_name_utf8_cannot_carry(worker):
    """It is told all the same."""
    edge, backend = worker
    stream = await join(edge._worker.hub, "news", user="\ud800", sink=ListSink())
    stream.sink.lag, stream.behind = 100_000, 1
    reports = await become(backend, lambda said: said.told and said.told[0]["slowest"])
    assert reports.told[0]["slowest"][0]["user"] == "\ud800"


# ---- Reading


def test_a_report_is_read():
    """With when it was heard; what it has besides stays, and figures may be missing."""
    read = parse(json.dumps({**SAID, "more": 1, "figures": {"streams": 3}}).encode(), 9.5)
    assert read == {**SAID, "more": 1, "figures": {"streams": 3}, "heard": 9.5}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("worker",), []),
        (("worker", "pid"), "7"),
        (("worker", "pid"), True),
        (("worker", "pid"), 10**400),
        (("figures", "opened"), 10**400),
        (("worker", "now"), None),
        (("worker", "now"), float("nan")),
        (("worker", "name"), None),
        (("figures", "streams"), "3"),
        (("figures", "streams"), 1e400),
        (("figures", "refusals"), 3),
        (("figures", "refusals"), {"x": "y"}),
        (("figures", "degraded"), [1]),
        (("figures", "admission"), ["accepted"]),
        (("figures", "unsent"), {"counts": [1], "sum": 1}),
        (("figures", "unsent"), {"counts": [1] * 6, "sum": 1}),
        (("figures", "delivery"), 3),
        (("settings", "grace"), float("inf")),
        (("channels",), [["news"]]),
        (("channels",), [["news", "3"]]),
        (("channels",), {}),
        (("slowest",), [{"user": 3}]),
        (("slowest", 0, "channels"), [None]),
        (("slowest", 0, "user"), 7),
    ],
)
def test_what_has_another_shape(where, value):
    """It is no report."""
    said = json.loads(json.dumps(SAID))
    place = said
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert parse(json.dumps(said).encode(), 1.0) is None


@pytest.mark.parametrize(
    "other",
    [("/other", [("/events/a", ("a",))], "session"), ("/events", [], "session"), ("/events", [], "sid")],
)
def test_applications_are_told_apart(other):
    """By paths, channels and cookie; the same ones are the same."""
    own = ("/events", [("/events/a", ("a",))], "session")
    assert application(*own) == application(*own) != application(*other)


async def test_what_others_chose_is_short(hub):
    """Names and paths have an end, few channels of a stream are named, and a warning is one line."""
    long = "x" * 1000
    sink = ListSink()
    stream = await join(hub, *(f"c{n}" for n in range(9)), long, user=long, sink=sink)
    sink.lag, stream.behind = 100_000, 1
    server = Server("a server", lambda: False, 5.0, warnings=("two\nlines",))
    said = await Reporter("/events", {"keep_alive": 15.0}, lambda: {"streams": 1}).report(hub, server)
    (slow,) = said["slowest"]
    assert slow["user"] == "x" * 255 + "…"
    assert slow["channels"] == ["c0", "c1", "c2", "c3"]
    assert ["x" * 255 + "…", 1] in said["channels"]
    assert said["settings"] == {"keep_alive": 15.0, "grace": 5.0, "warnings": ["two%0Alines"]}
    assert parse(json.dumps(said).encode(), 1.0) == {**said, "heard": 1.0}


# ---- Finding


async def test_channels_with_most_streams(hub):
    """The largest first, however many there are."""
    for number in range(1200):
        await join(hub, f"c{number}")
    for count, channel in ((3, "c700"), (2, "c3"), (4, "c1199")):
        for _ in range(count):
            await join(hub, channel)
    assert await busiest(hub.census, 3) == [("c1199", 5), ("c700", 4), ("c3", 3)]


async def test_clients_that_are_behind(hub):
    """Who does not read is found while it does not; who reads, or has just been written to, is not."""
    stuck, reading, new = ListSink(stuck=True), ListSink(), ListSink()
    streams = [
        await join(hub, "c", user=user, sink=sink)
        for user, sink in (("a", stuck), ("b", reading), ("c", new))
    ]
    hub.bounds = hub._rounds._bounds = type(hub.bounds)(10_000, None)
    clock = [hub.now]
    assert await slowest(hub.streams, 5, lambda: clock[0]) == []
    for n in range(1, 3):
        reading.lag = 60
        hub.deliver("c", None, frame(n))
        hub.flush()
        for stream in streams[:2]:
            assert not hub._rounds.is_slow(stream, clock[0])
        reading.lag = 0
        clock[0] += 7
    new.lag = 100
    (behind,) = await slowest(hub.streams, 5, lambda: clock[0])
    assert (behind.stream.user, behind.waits, behind.unsent) == ("a", pytest.approx(14, abs=1), stuck.unsent)
    stuck.stuck = False
    assert await slowest(hub.streams, 5, lambda: clock[0]) == []
