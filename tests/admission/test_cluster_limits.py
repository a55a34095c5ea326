"""Limits over several workers as clients meet them: real processes, and edges that share one Redis."""

import asyncio
import json
import re
import time

import pytest

from apps.capped import AUTH
from parts.leasing import eventually
from servers.deployments import RedisCluster, SentinelTrio
from sse_edge import Identity, Limits, RedisBackend, SSEMiddleware
from sse_edge.admission import limits as limits_module
from sse_edge.backends.redis import windows
from sse_edge.backends.redis.leases import RedisLeases

CHANNELS = {"/events/me": ["user:{user}", "news"]}
CODE = re.compile(rb'"error": "([a-z-]+)"')


def session(user="u42"):
    """Headers with a cookie that lets ``user`` in."""
    return {"cookie": f"session={AUTH.issue(user)}"}


# ---- Real processes


class Crowd:
    """Many clients with a socket each; ``open`` are the writers of those that were let in."""

    def __init__(self):
        self.open = []

    async def attempt(self, url, cookie, source="127.0.0.1", accept="text/event-stream"):
        """Connect once; ``open``, or the code of the refusal, however it is said."""
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        head = f"GET /events/me HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nCookie: {cookie}\r\n\r\n"
        writer.write(head.encode())
        heard = b""
        while b"stream open" not in heard and not CODE.search(heard):
            data = await reader.read(4096)
            assert data, f"closed after {heard!r}"
            heard += data
        code = CODE.search(heard)
        if code is None:
            self.open.append(writer)
            return "open"
        writer.close()
        status = b"HTTP/1.1 200" if accept == "text/event-stream" else b"HTTP/1.1 429"
        assert heard.startswith(status), heard
        return code[1].decode()

    def leave(self):
        """Close every open stream."""
        for writer in self.open:
            writer.close()
        self.open.clear()


@pytest.fixture
async def crowd():
    crowd = Crowd()
    yield crowd
    crowd.leave()


def tally(answers):
    """How often each answer came."""
    return {answer: answers.count(answer) for answer in answers}


@pytest.mark.parametrize("kind", ["user", "address"])
async def test_exactly_six(serve_app, redis_server, redis_url, crowd, kind):
    """2,000 attempts at once on four workers, one user's or one address's: exactly six streams."""
    env = {"BACKEND": redis_url, "PER_USER" if kind == "user" else "PER_IP": "6"}
    process = serve_app("apps.capped:edge", workers=4, env=env)
    cookies = [session("u42" if kind == "user" else f"u{n}")["cookie"] for n in range(2000)]
    sources = [f"127.0.0.{n % 250 + 1}" if kind == "user" else "127.0.0.1" for n in range(2000)]
    accepts = ["text/event-stream", "*/*"]
    asked = [
        crowd.attempt(process.url, cookie, source, accepts[n % 2])
        for n, (cookie, source) in enumerate(zip(cookies, sources, strict=True))
    ]
    answers = await asyncio.gather(*asked)
    code, key = ("user-limit", "user:u42") if kind == "user" else ("ip-limit", "ip:127.0.0.1")
    assert tally(answers) == {"open": 6, code: 1994}
    client = redis_server.client()
    assert sum(map(int, client.hvals(f"sse:{{leases}}:{key}"))) == 6
    assert client.zcard("sse:{leases}:workers") == 4
    assert await crowd.attempt(process.url, cookies[0]) == code
    crowd.leave()
    async with asyncio.timeout(5):
        while await crowd.attempt(process.url, cookies[0]) != "open":
            await asyncio.sleep(0.02)
    assert "Traceback" not in process.log
    assert "WARNING" not in process.log


async def test_a_killed_workers_leases(serve_app, redis_url, crowd):
    """kill -9 of a worker that holds 1,000 leases: all are free within twice the heartbeat."""
    env = {"BACKEND": redis_url, "PER_USER": "1", "HEARTBEAT": "1"}
    doomed, other = (serve_app("apps.capped:edge", env=env) for _ in range(2))
    cookies = [session(f"u{n}")["cookie"] for n in range(1000)]
    assert set(await asyncio.gather(*(crowd.attempt(doomed.url, one) for one in cookies))) == {"open"}
    assert set(await asyncio.gather(*(crowd.attempt(other.url, one) for one in cookies))) == {"user-limit"}
    killed = time.monotonic()
    doomed.kill()
    while await crowd.attempt(other.url, cookies[0]) != "open":
        await asyncio.sleep(0.02)
    assert time.monotonic() - killed <= 2.0 + 0.3
    assert set(await asyncio.gather(*(crowd.attempt(other.url, one) for one in cookies[1:]))) == {"open"}


# ---- Two workers in this process


@pytest.fixture
async def edge():
    """``edge(url, limits, …)`` makes an SSEMiddleware with a quick heartbeat, stopped at the end."""
    made = []

    class Backend(RedisBackend):
        def leases(self):
            return RedisLeases(self.server, "sse:{leases}", heartbeat=0.2)

    def make(url, limits, **settings):
        backend = Backend(url, timeout=0.5)
        defaults = {"auth": AUTH, "channels": CHANNELS, "refusals": "status"}
        made.append(SSEMiddleware(backend=backend, limits=limits, **{**defaults, **settings}))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()
        await middleware._backend.close()


@pytest.fixture
def ask(asgi):
    """``await ask(edge, user, …)``: 200, or the code of the refusal.  The stream is left unless kept."""

    async def ask(middleware, user="u42", address="192.0.2.1", *, keep=False, headers=None):
        headers = session(user) if headers is None else headers
        client = asgi(middleware, "/events/me", client=(address, 1), headers=headers)
        status, _ = await client.start()
        if status != 200:
            return json.loads(await client.whole())["error"]
        if not keep:
            client.disconnect()
            await client.ended()
        return 200

    return ask


def rate(text):
    """Nothing but a connect rate."""
    return Limits(per_user=None, per_ip=None, connects_per_ip=text)


async def test_shared_rate(edge, ask, redis_url):
    """Attempts count over all workers, per address, and are known to a worker that begins later."""
    a, b = edge(redis_url, rate("10/minute")), edge(redis_url, rate("10/minute"))
    answers = [await ask([a, b][n % 2]) for n in range(14)]
    assert answers == [200] * 10 + ["connect-rate"] * 4
    assert await ask(edge(redis_url, rate("10/minute"))) == "connect-rate"
    assert await ask(b, address="192.0.2.2") == 200


async def test_shared_rate_with_many_at_once(edge, ask, redis_url, caplog):
    """Hundreds at once are counted exactly, and are no reason to think that Redis is away."""
    workers = [edge(redis_url, rate("100/minute")) for _ in range(2)]
    answers = await asyncio.gather(*(ask(workers[n % 2]) for n in range(600)))
    assert tally(answers) == {200: 100, "connect-rate": 500}
    assert [middleware.figures()["degraded"] for middleware in workers] == [[], []]
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


async def test_ipv6(edge, ask, redis_url):
    """An IPv6 client is its /64, on every worker; IPv4 in IPv6's clothes is IPv4."""
    a, b = edge(redis_url, rate("4/minute")), edge(redis_url, rate("4/minute"))
    addresses = [f"2001:db8:0:1::{n:x}" for n in range(1, 4)] + ["2001:db8:0:1:ffff:ffff:ffff:ffff"]
    assert [await ask([a, b][n % 2], address=one) for n, one in enumerate(addresses)] == [200] * 4
    assert await ask(a, address="2001:db8:0:1:abcd::1") == "connect-rate"
    assert await ask(b, address="2001:db8:0:2::1") == 200
    mixed = ["192.0.2.1", "::ffff:192.0.2.1"]
    assert [await ask([a, b][n % 2], address=mixed[n % 2]) for n in range(5)] == [200] * 4 + ["connect-rate"]


async def test_ipv6_caps(edge, ask, redis_url):
    """The cap per address counts a /64 as one, too."""
    limits = Limits(per_user=None, per_ip=2, connects_per_ip=None)
    a, b = edge(redis_url, limits), edge(redis_url, limits)
    assert await ask(a, "u1", "2001:db8::1", keep=True) == 200
    assert await ask(b, "u2", "2001:db8::2", keep=True) == 200
    assert await ask(a, "u3", "2001:db8::3") == "ip-limit"
    assert await ask(b, "u3", "2001:db8:0:1::3") == 200


@pytest.mark.live
@pytest.mark.parametrize(
    "make", [lambda: RedisCluster(replicas=0), SentinelTrio], ids=["cluster", "sentinel"]
)
async def test_shared_rate_on_several_servers(edge, ask, make):
    """The rate is shared through a Cluster, and through the primary that Sentinel names."""
    servers = make()
    try:
        await asyncio.to_thread(servers.start)
        a, b = edge(servers.url, rate("4/minute")), edge(servers.url, rate("4/minute"))
        assert [await ask([a, b][n % 2]) for n in range(6)] == [200] * 4 + ["connect-rate"] * 2
        assert a.figures()["degraded"] == b.figures()["degraded"] == []
        await a.stop()
        await b.stop()
    finally:
        servers.close()


async def test_sentinels_have_passwords_of_their_own():
    """Redis's user and password are for Redis, and the sentinels get theirs, if any."""
    server = RedisBackend("rediss+sentinel://u:p%20w@h:1,h:2/s/3?sentinel_password=t").server
    connections = server._pools.get().connections
    expected = {"username": "u", "password": "p w", "db": 3}
    assert {key: connections.connection_kwargs[key] for key in expected} == expected
    assert "SSL" in connections.connection_class.__name__
    for client in connections.sentinel_manager.sentinels:
        given = client.connection_pool.connection_kwargs
        assert (given.get("username"), given["password"]) == (None, "t")


async def test_rate_before_the_cookie(edge, ask, redis_url):
    """Whoever comes too fast costs no look at a cookie."""

    class Auth:
        anonymous = False
        asked = 0

        def identify(self, request, now):
            self.asked += 1
            return Identity("u42")

    auth = Auth()
    middleware = edge(redis_url, rate("2/minute"), auth=auth)
    assert [await ask(middleware) for _ in range(5)] == [200, 200] + ["connect-rate"] * 3
    assert auth.asked == 2


def lines(caplog):
    """Log lines about limits, without the reasons in brackets."""
    return [
        record.getMessage().partition(" (")[0] for record in caplog.records if "count" in record.getMessage()
    ]


CONNECTS_ALONE = "connects are counted in this worker alone while Redis is away"
LEASES_ALONE = "leases are counted in this worker alone while Redis is away"
LEASES_REFUSED = "leases are counted in this worker alone while Redis refuses it"
CONNECTS_BACK, LEASES_BACK = "Redis counts connects again", "Redis counts leases again"


async def test_limits_while_redis_is_away(edge, ask, proxy, redis_url, monkeypatch, caplog):
    """Rate and caps hold in each worker, the figures say so, and the log in one line each way."""
    monkeypatch.setattr(limits_module, "AWAY", 0.1)
    limits = Limits(per_user=2, per_ip=None, connects_per_ip="6/minute")
    middleware = edge(proxy.url, limits, on_backend_down="accept")
    assert await ask(middleware, keep=True) == 200
    assert middleware.figures()["degraded"] == []
    proxy.refusing = True
    proxy.cut()
    await eventually(lambda: not middleware.ready)
    assert [await ask(middleware, keep=True) for _ in range(4)] == [
        200,
        "user-limit",
        "user-limit",
        "user-limit",
    ]
    assert sorted(middleware.figures()["degraded"]) == ["connect-rate", "leases"]
    await asyncio.sleep(0.3)  # both have tried again meanwhile, and say no more
    assert [await ask(middleware, "u43") for _ in range(3)] == [200, 200, "connect-rate"]
    assert sorted(lines(caplog)) == [CONNECTS_ALONE, LEASES_ALONE]
    proxy.refusing = False
    await eventually(lambda: middleware.ready)
    await asyncio.sleep(0.1)
    assert await ask(middleware, address="192.0.2.2") == "user-limit"
    await eventually(lambda: middleware.figures()["degraded"] == [])
    assert sorted(lines(caplog)) == sorted([CONNECTS_ALONE, LEASES_ALONE, CONNECTS_BACK, LEASES_BACK])
    assert await ask(edge(redis_url, limits)) == "user-limit"  # granted while away, and known to all now
    assert [record for record in caplog.records if record.exc_info] == []


async def test_rate_while_redis_stands_still(edge, ask, proxy, monkeypatch, caplog):
    """Hundreds that come while Redis does not answer wait for one moment all together."""
    monkeypatch.setattr(windows, "ANSWER", 0.2)
    middleware = edge(proxy.url, rate("100/minute"), on_backend_down="accept")
    assert await ask(middleware) == 200
    proxy.stall(requests=True, replies=True)
    began = time.monotonic()
    waits = await asyncio.gather(*(middleware._gate.rate.hit("192.0.2.7") for _ in range(500)))
    assert time.monotonic() - began < 1
    assert waits.count(None) == 100
    assert lines(caplog) == [CONNECTS_ALONE]
    assert "no answer" in caplog.text


@pytest.mark.parametrize("command", ["SCRIPT FLUSH", "FLUSHALL"])
async def test_scripts_are_lost(edge, ask, redis_server, redis_url, caplog, command):
    """A Redis that forgot its scripts is no reason to count alone."""
    middleware = edge(redis_url, Limits(per_user=2, per_ip=None, connects_per_ip="100/minute"))
    assert await ask(middleware, keep=True) == 200
    redis_server.cli(*command.split())
    assert [await ask(middleware, keep=True) for _ in range(2)] == [200, "user-limit"]
    assert middleware.figures()["degraded"] == []
    assert lines(caplog) == []


BOTH = ["connect-rate", "leases"]
ERRORS = [
    pytest.param("CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory 0", BOTH, id="OOM"),
    pytest.param("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", BOTH, id="READONLY"),
    pytest.param("ACL SETUSER default -eval -evalsha", "ACL SETUSER default +@all", BOTH, id="NOPERM"),
    pytest.param("SET sse:{leases}:workers x", "DEL sse:{leases}:workers", ["leases"], id="WRONGTYPE"),
]


@pytest.mark.parametrize("began", ["before", "after"])
@pytest.mark.parametrize(("broken", "mended", "alone"), ERRORS)
async def test_redis_answers_with_errors(
    edge, ask, private_redis, monkeypatch, caplog, broken, mended, alone, began
):
    """OOM, READONLY, NOPERM and the like: limits hold in the worker, and nobody sees an error."""
    monkeypatch.setattr(limits_module, "AWAY", 0.1)
    server = private_redis(config=["maxmemory-policy noeviction"])
    limits = Limits(per_user=3, per_ip=None, connects_per_ip="100/minute")
    middleware = edge(server.url, limits, on_backend_down="accept")
    if began == "before":
        assert await ask(middleware, keep=True) == 200
        server.client().delete("sse:{leases}:workers")
    server.cli(*broken.split())
    answers = [await ask(middleware, keep=True) for _ in range(5)]
    assert answers == [200] * (2 if began == "before" else 3) + ["user-limit"] * (
        3 if began == "before" else 2
    )
    # Whether the worker's own clock has noticed that Redis takes no writes is a matter of when it ticked.
    assert sorted({*middleware.figures()["degraded"]} - {"writes"}) == alone
    server.cli(*mended.split())
    await eventually(lambda: middleware.ready)
    await asyncio.sleep(0.1)  # connects count alone for so long
    assert await ask(middleware) == "user-limit"
    await eventually(lambda: middleware.figures()["degraded"] == [])
    assert lines(caplog).count(LEASES_REFUSED) == lines(caplog).count(LEASES_BACK) == 1
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
