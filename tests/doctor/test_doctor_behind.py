"""Faults planted behind the proxy, in workers and in Redis: the doctor names each."""

import asyncio
import json
from functools import partial

import pytest
import redis

from apps.planted import AUTH, EARLY
from servers.doctored import codes, examined, together
from servers.processes import Processes
from servers.redis import RedisServer
from sse_edge import RedisBackend
from sse_edge.doctor.backstage import Backstage

DEAF = "user deaf on >secret ~* &* +@all -subscribe -ssubscribe -psubscribe"
"""A user of Redis that may not listen."""

ALONE = "user alone on >secret ~* &* +@all -hgetall"
"""One that may not look how many streams others have."""

NARROW = "user narrow on >secret ~* &* +@all -zadd -zscore -zrem -zrangebyscore -hdel -hgetall"
"""One that may publish and listen, and no more."""

UVICORN = "uvicorn"
CUT = ["--timeout-graceful-shutdown", "2", "--limit-concurrency", "500", "--limit-max-requests", "1000"]

FLEETS = {
    "two-apps": (
        ({"SETTINGS": {"path": "/events"}}, []),
        ({"SETTINGS": {"path": "/", "keep_alive": 5}}, []),
    ),
    "apart": (
        ({"REDIS": {"history": 50}, "VERSION": "0.0.9"}, []),
        ({"REDIS": {"history": 80}, "SETTINGS": {"keep_alive": 20}}, []),
    ),
    "cut": (({"SETTINGS": {"drain_window": 10}}, CUT),),
    "deaf": (({}, []),),
    "alone": (({}, []),),
    "skewed": (({"SKEW": -5}, []),),
}
"""Name → the environments of its workers, and options of their servers.  Each has a database of its own."""


@pytest.fixture(scope="module")
def fleets():
    """Name → the URL of its Redis, and of a worker."""
    processes, server = Processes(), RedisServer(config=[DEAF, ALONE, NARROW])

    def start(place, env, options):
        said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in env.items()}
        new = bool(EARLY & said.keys())
        return processes.serve_app(
            "apps.planted:edge", env={"BACKEND": place, **said}, options=options, new=new
        )

    try:
        server.start()
        places = {name: server.url.removesuffix("0") + str(number) for number, name in enumerate(FLEETS)}
        workers = [(name, *worker) for name, fleet in FLEETS.items() for worker in fleet]
        starts = []
        for name, env, options in workers:
            whose = f"redis://{name}:secret@" if name in ("deaf", "alone") else "redis://"
            who = places[name].replace("redis://", whose)
            starts.append(partial(start, who, env, options))
        started = dict(zip((name for name, *_ in workers), together(*starts), strict=False))
        yield {name: (places[name], started[name].url) for name in FLEETS}, server
    finally:
        processes.close()
        server.close()


async def reported(place, count):
    """Wait until so many workers have said something of themselves."""
    backend = RedisBackend(place, history=50)
    try:
        async with asyncio.timeout(30):
            while len((await backend.reports()).told) < count:
                await asyncio.sleep(0.1)
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("name", "expected", "says"),
    [
        ("two-apps", {"two-apps"}, "2 applications"),
        ("apart", {"versions-differ", "history-differs", "settings-differ"}, "0.0.9"),
        ("cut", {"short-grace", "server-warns"}, "waits 2 s, and drain_window is 10 s"),
        ("cut", {"short-grace", "server-warns"}, "Limits(per_worker=…)"),
        ("deaf", {"worker-not-ready", "refused"}, "no stream but backend-down: the event source"),
        ("skewed", {"clock-skew"}, "behind"),
    ],
)
async def test_workers(name, expected, says, fleets):
    """Each fault of theirs is found in what they say of themselves, and no other is."""
    place, url = fleets[0][name]
    await reported(place, len(FLEETS[name]))
    settings = {"history": 50} if name == "apart" else {}
    channel = "order:1" if name == "two-apps" else None
    path = "/events/orders/1" if channel else "/events/me"
    faults = codes(await examined(url + path, (place, settings), channel=channel))
    assert faults.keys() == expected
    assert any(says in each.seen for each in faults.values())


async def looked(url, *, durable=False, **options):
    """What is wrong behind: code → what was seen."""
    backend = RedisBackend(url)
    try:
        findings = await Backstage(backend, durable, {}, **options).findings()
    finally:
        await backend.close()
    return {each.code: each.seen for each in findings if each.code}


async def test_no_worker_reports(fleets):
    """Where the prefix, the database or the backend is another one."""
    _, server = fleets
    place = server.url.removesuffix("0") + "15"
    assert await looked(place, patience=1.0) == {"no-worker": "none reports"}


@pytest.mark.parametrize(
    ("user", "expected"), [("narrow", {"redis-denied-limits"}), ("deaf", {"redis-denied"})]
)
async def test_a_user_that_may_not_everything(user, expected, fleets):
    """What is missing is named; that no worker can be heard then is none of theirs."""
    place = fleets[1].url.removesuffix("0").replace("redis://", f"redis://{user}:secret@") + "15"
    assert (await looked(place, patience=0)).keys() == expected


async def test_a_wrong_password(fleets):
    """Redis is there, and does not know who asks."""
    place = fleets[1].url.replace("redis://", "redis://narrow:wrong@")
    assert (await looked(place, patience=0)).keys() == {"redis-password"}


async def test_a_worker_that_counts_alone(fleets, connect):
    """It says so, once it has had to."""
    place, url = fleets[0]["alone"]
    await connect(f"{url}/events/me", cookies={"session": AUTH.issue("u42")})
    async with asyncio.timeout(30):
        while (found := await looked(place)).keys() != {"worker-degraded"}:
            await asyncio.sleep(0.1)
    assert "leases" in found["worker-degraded"]


EVICTING = ["maxmemory 3mb", "maxmemory-policy allkeys-lru"]


def fill(client):
    """More than there is room for."""
    for number in range(4000):
        client.set(f"other:{number}", "x" * 1000)


def crowd(client):
    """One more connection than there may be."""
    limit = int(client.config_get("maxclients")["maxclients"])
    pool = [client.connection_pool.make_connection() for _ in range(limit + 1)]
    try:
        for each in pool:
            each.connect()
    except redis.ConnectionError:
        pass
    finally:
        for each in pool:
            each.disconnect()


@pytest.mark.parametrize(
    ("config", "done", "options", "expected"),
    [
        (
            ["maxmemory 3mb", "maxmemory-policy allkeys-lru"],
            fill,
            {},
            {"redis-evicts", "redis-evicted", "redis-full"},
        ),
        (["maxclients 10"], crowd, {}, {"redis-rejects"}),
        (["replicaof 127.0.0.1 1"], None, {}, {"redis-replica"}),
        ([], None, {"durable": True}, {"redis-not-durable"}),
        (["appendonly yes", "appendfsync always"], None, {"durable": True}, set()),
    ],
    ids=["full", "crowded", "replica", "not durable", "durable"],
)
async def test_redis(config, done, options, expected, private_redis):
    """What has happened to a Redis, and what it is; besides no worker reports to it."""
    server = private_redis(config=config)
    if done is not None:
        done(server.client())
    assert (await looked(server.url, patience=0, **options)).keys() == {"no-worker", *expected}


async def test_a_redis_that_is_away(private_redis):
    """Is named as that, once."""
    server = private_redis()
    server.stop()
    assert (await looked(server.url)).keys() == {"redis-away"}
