"""Streams through Apache, Traefik, Envoy and HAProxy as shipped: what deploy/FRONTS.md says is what is seen.

What nginx and Caddy are held to is in test_proxies.py.  That none of these passes on an upgrade, lets another
spelling of a path round its limits, or logs a query, is in the tests of upgrades, spellings and proxy_logs.
"""

import asyncio
import json
import signal
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from servers.fronts import FRONTS
from servers.processes import Processes
from servers.proxies import (
    COOKIES,
    EVENT_SOURCE,
    OTHER,
    PATIENCE,
    Follower,
    Site,
    ask,
    assert_stream,
    comes_back_ms,
    figures,
    streams,
    until,
)
from servers.table import Table
from sse_edge import Publisher

PAGE = Path(__file__).parents[2] / "deploy" / "FRONTS.md"
TRUSTED = {"TRUSTED": "127.0.0.1/32", "STATUS": "/status", "REFUSALS": "status"}
PER_IP = 12
SHORT = {
    "apache": {"Timeout 75\nProxyTimeout 75": "Timeout 1\nProxyTimeout 1"},
    "traefik": {
        "readTimeout: 60s": "readTimeout: 1s",
        "idleTimeout: 75s": "idleTimeout: 1s",
        "responseHeaderTimeout: 30s": "responseHeaderTimeout: 1s",
    },
    "envoy": {"stream_idle_timeout: 75s": "stream_idle_timeout: 1s"},
    "haproxy": {
        "timeout client 75s": "timeout client 1s",
        "timeout server 75s": "timeout server 1s",
    },
}
"""The same files with time-outs of silence that a test can wait for."""
HEAVY = {
    "test_a_rolling_restart": ["haproxy"],
    "test_silence": ["envoy", "haproxy"],
    "test_streams_are_spread": ["envoy", "haproxy"],
}
"""What takes long, and on which fronts it is tried all the same where not all is."""


def pytest_generate_tests(metafunc):
    """Every test for every front, most of them also without --heavy."""
    if "kind" in metafunc.fixturenames:
        heavy = metafunc.config.getoption("--heavy")
        metafunc.parametrize("kind", FRONTS if heavy else HEAVY.get(metafunc.function.__name__, FRONTS))


@pytest.fixture
def table(pytestconfig):
    """What the page says."""
    return Table(PAGE, "fronts", writing=pytestconfig.getoption("--tables"))


@pytest.fixture(scope="module")
def redis_at(redis_server):
    """The url of the shared Redis, emptied once, since apps go on from one test to the next."""
    redis_server.start()
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="module")
def start(certificate, tmp_path_factory, redis_at):
    """``start(kind, apps=…, values=…, **env)``: a front with TLS before apps, its own if none are given."""
    processes = Processes()

    def site(kind, apps=None, values=None, **env):
        env = {"BACKEND": redis_at, **TRUSTED, **env}
        apps = apps or [processes.serve_app("apps.edge:edge", env=env) for _ in range(2)]
        front = FRONTS[kind](
            tmp_path_factory.mktemp(kind), apps[0], values, other=apps[1], certificate=certificate
        )
        front.start(processes.serve)
        return Site(front, apps)

    try:
        yield SimpleNamespace(site=site, processes=processes)
    finally:
        processes.close()


@pytest.fixture(scope="module")
def common(start):
    """``common(kind)``: each front once, before the same two apps, which say nothing by themselves."""
    sites, apps = {}, []

    def site(kind):
        if kind not in sites:
            env = {"KEEP_ALIVE": "3600", "PER_IP": str(PER_IP), "COMPRESS": "1"}
            sites[kind] = start.site(kind, apps, **env)
            apps[:] = sites[kind].apps
        return sites[kind]

    return site


@pytest.fixture(scope="module")
def talking(start):
    """An app that says something several times a second."""
    return start.processes.serve_app("apps.edge:edge", env={**TRUSTED, "KEEP_ALIVE": "0.3"})


@pytest.fixture(scope="module")
def fragile(start):
    """``fragile(kind)``: each before apps of its own, which tests end."""
    sites = {}

    def site(kind):
        if kind not in sites:
            sites[kind] = start.site(kind)
        return sites[kind]

    return site


async def counts(site, wanted):
    """Whether the apps have so many streams."""
    return [(await figures(app))["streams"] for app in site.apps] == wanted


async def none_left(site):
    """Wait until the apps have noticed that everybody has left."""

    async def gone():
        return await streams(site) == 0

    await until(gone)


async def all_leave(site, redis_at, clients):
    """End streams, also where that is noticed only when something is written to them."""
    for client in clients:
        client.abort()
    async with Publisher(redis_at) as events:

        async def gone():
            await events.publish("news", "is anybody there?")
            return await streams(site) == 0

        await until(gone)


async def test_events_one_by_one(common, stream, redis_at, kind, table):
    """Headers come at once, each event as soon as it is published, and compressed only by the app."""
    site = common(kind)
    for accepted, coding in (("identity", None), ("gzip, deflate, br, zstd", "gzip")):
        client = await stream(site, headers={"Accept-Encoding": accepted})
        assert client.header("content-type") == "text/event-stream; charset=utf-8"
        assert client.header("content-encoding") == coding
        assert client.header("x-accel-buffering") == "no"  # nginx further out needs to hear it
        async with Publisher(redis_at) as events:
            for number in range(20):
                await events.publish("news", str(number))
                assert (await client.next()).data == str(number)  # before the next one is published
        await all_leave(site, redis_at, [client])
    table.holds("events as they come, compressed by the app alone", kind, "yes")


async def test_a_client_that_leaves(common, stream, redis_at, kind, table):
    """The app knows that a client has left, by FIN or RST, before it would have written to it; or not."""
    site = common(kind)
    for leave in ("close", "abort"):
        clients = [await stream(site) for _ in range(4)]
        for client in clients:
            getattr(client, leave)()
        if kind != "apache":
            await none_left(site)
            continue
        await asyncio.sleep(0.3)  # it would have been noticed
        assert await streams(site) == 4
        await all_leave(site, redis_at, [])
    found = "**when it is written to**" if kind == "apache" else "at once"
    table.holds("a client that leaves is noticed", kind, found)


async def test_a_spoofed_address(common, stream, redis_at, kind, table):
    """Whatever a client writes into X-Forwarded-For and its like, its own address is counted and logged.

    What the app says of one too many comes through as the app says it.
    """
    site = common(kind)
    claims = [
        {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
        for number in range(PER_IP + 2)
    ]
    # The app trusts 127.0.0.1, so that it would believe whatever the front let through from there.
    clients = [await stream(site, headers=claim) for claim in claims[:PER_IP]]
    for claim in claims[PER_IP:]:
        answer = await ask(site, headers=claim, cookies=COOKIES)
        assert answer.status == 429
        assert json.loads(answer.body)["error"] == "ip-limit"
        assert int(answer.header("retry-after")) >= 1
    clients.append(await stream(site, headers=claims[0], source="127.0.0.67"))
    await all_leave(site, redis_at, clients)

    async def logged():
        return any("address=127.0.0.67" in app.log for app in site.apps)

    await until(logged)
    assert not any("203.0.113" in app.log for app in site.apps)
    table.holds("an address that a client claims", kind, "changes nothing")


async def test_what_the_app_says_is_untouched(common, kind, table):
    """Refusals by the app come through with its own status and body, also to an EventSource."""
    site = common(kind)
    for given, status, code in (
        ({}, 401, "unauthenticated"),
        ({"cookies": COOKIES, "headers": {**EVENT_SOURCE, "Origin": "https://other.example"}}, 403, "origin"),
        ({"cookies": COOKIES, "path": "/events/nowhere"}, 404, "not-found"),
    ):
        answer = await ask(site, **given)
        assert (answer.status, json.loads(answer.body)["error"]) == (status, code)
    assert (await ask(site, "/nowhere")).body == b"not found"
    table.holds("what the app refuses", kind, "as the app says it")


async def test_one_connection_of_http2(common, redis_at, kind, table):
    """How many streams one HTTP/2 connection has at the same time, of as many as an address may have."""
    site = common(kind)
    opened = []

    async def open_one(client, stack):
        request = client.stream("GET", f"{site.url}/events/me", headers=EVENT_SOURCE, cookies=None)
        response = await stack.enter_async_context(request)
        assert (response.status_code, response.http_version) == (200, "HTTP/2")
        opened.append(response)

    context = ssl.create_default_context(cafile=site.proxy.authority)
    async with (
        httpx.AsyncClient(
            http2=True, verify=context, timeout=PATIENCE, trust_env=False, cookies=COOKIES
        ) as client,
        AsyncExitStack() as stack,
    ):
        wanted = 6 if kind == "apache" else PER_IP
        for _ in range(wanted):
            await open_one(client, stack)
        assert await streams(site) == wanted
        if kind == "apache":
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{site.url}/", timeout=0.5)
    await all_leave(site, redis_at, [])
    found = "**six, and what comes then waits**" if kind == "apache" else f"{PER_IP} of {PER_IP}"
    table.holds("streams in one HTTP/2 connection", kind, found)


async def test_a_reload_cuts_nothing(common, stream, redis_at, kind, table):
    """Streams go on over a reload, and hear what is published afterwards; new ones too."""
    site = common(kind)
    clients = [await stream(site, source=f"127.0.0.{number}") for number in range(20, 30)]
    site.proxy.reload()
    clients.append(await stream(site))
    async with Publisher(redis_at) as events:
        await events.publish("news", "reloaded")
    for client in clients:
        assert (await client.next()).data == "reloaded"
        assert not client.over
    await all_leave(site, redis_at, clients)
    table.holds("a reload cuts", kind, "nothing")


async def test_apache_when_all_threads_have_streams(start, stream, redis_at):
    """Who comes then waits without an answer, for a page too, until a stream has ended."""
    few = {
        "ThreadsPerChild 128": "ThreadsPerChild 4",
        "ServerLimit 32": "ServerLimit 2",
        "MaxRequestWorkers 2048": "MaxRequestWorkers 8",
        "MinSpareThreads 256": "MinSpareThreads 4",
        "MaxSpareThreads 2048": "MaxSpareThreads 8",
    }
    site = start.site("apache", values=few)
    clients = [await stream(site) for _ in range(8)]
    waiting = asyncio.create_task(ask(site, "/"))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    clients[0].abort()
    async with Publisher(redis_at) as events:
        while not waiting.done():
            await events.publish("news", "is anybody there?")
            await asyncio.sleep(0.1)
    assert (await waiting).status == 200


async def test_silence(start, talking, stream, kind, table):
    """The file's time-outs of silence, shortened here, end a stream without keep-alives, none that has them.

    While the app takes requests and does not answer, an EventSource is told to come back.
    """
    site = start.site(kind, [talking, talking], SHORT[kind])
    client = await stream(site)
    began = time.monotonic()
    while time.monotonic() < began + 2.5:
        await client.comment()
    talking.signal(signal.SIGSTOP)
    try:
        asked = [ask(site, headers=headers, cookies=COOKIES) for headers in (EVENT_SOURCE, OTHER)]
        answer, other = await asyncio.gather(*asked)
        assert (answer.status, answer.header("content-type")) == (200, "text/event-stream")
        assert other.status in (502, 503, 504)
        if kind == "traefik":
            assert not client.over
        else:
            await client.ended()
    finally:
        talking.signal(signal.SIGCONT)
    found = "**never**" if kind == "traefik" else "after 75 s, five keep-alives"
    table.holds("silence ends a stream", kind, found)


@pytest.mark.timeout(120)
async def test_a_rolling_restart(fragile, start, stream, redis_at, kind, table):
    """Apps are restarted one after the other under load: nobody meets an error, or misses an event."""
    site = fragile(kind)
    followers = [Follower(site, stream) for _ in range(6)]
    tasks = [asyncio.create_task(follower.follow()) for follower in followers]
    number = 0
    try:
        async with asyncio.timeout(PATIENCE):
            for follower in followers:
                await follower.placed.wait()
        async with Publisher(redis_at) as events:

            async def heard_all():
                nonlocal number
                number += 1
                await events.publish("news", str(number))
                async with asyncio.timeout(PATIENCE):
                    while not all(follower.heard and follower.heard[-1] >= number for follower in followers):
                        await asyncio.sleep(0.05)

            await heard_all()
            first = number
            for at, app in enumerate(site.apps):
                app.signal(signal.SIGTERM)
                while app.alive:
                    number += 1
                    await events.publish("news", str(number))
                    await asyncio.sleep(0.1)
                env = {"BACKEND": redis_at, **TRUSTED}
                site.apps[at] = start.processes.serve_app("apps.edge:edge", env=env, port=app.port)
                await heard_all()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert number > first
    for follower in followers:
        assert follower.heard == list(range(follower.heard[0], follower.heard[-1] + 1))
        assert follower.statuses == {200}
    table.holds("a rolling restart loses", kind, "no event")


async def test_streams_are_spread(fragile, start, stream, redis_at, kind, table):
    """While one of two apps is down the other serves everybody; when it is back it gets the new streams."""
    site = fragile(kind)
    await all_leave(site, redis_at, [])
    site.apps[1].kill()
    while (await figures(site.apps[0]))["streams"] < 6:
        # Traefik until its check has noticed, and Envoy in its first second, ask the one that is down, too.
        client = await stream(site, headers=EVENT_SOURCE, placed=kind not in ("traefik", "envoy"))
        assert client.status == 200
    env = {"BACKEND": redis_at, **TRUSTED}
    site.apps[1] = start.processes.serve_app("apps.edge:edge", env=env, port=site.apps[1].port)

    async def back():
        await (await stream(site)).aclose()
        async with Publisher(redis_at) as events:
            await events.publish("news", "once more")  # for a front that looks at a client only then
            await events.publish("news", "and again")
        return (await figures(site.apps[1]))["opened"] > 0

    await until(back)
    await until(lambda: counts(site, [6, 0]))
    for _ in range(6):
        await stream(site)
    spread = [(await figures(app))["streams"] for app in site.apps]
    assert spread == ([9, 3] if kind == "apache" else [6, 6])
    found = "**by turns**, once one was away" if kind == "apache" else "where the least are"
    table.holds("new streams go", kind, found)


async def test_the_app_is_away(fragile, kind, table):
    """From that moment an EventSource gets an empty stream and a time to come back; others get the status."""
    site = fragile(kind)
    for app in site.apps:
        app.kill()
    retries = []
    headers = {**EVENT_SOURCE, "Origin": "https://other.example"}
    for answer in await asyncio.gather(*(ask(site, headers=headers) for _ in range(15))):
        if kind == "traefik":
            assert_stream(answer)
            assert answer.body == b"OK"
        else:
            retries.append(comes_back_ms(answer, "https://other.example"))
    if retries:
        assert all(2000 <= retry < 6000 for retry in retries)
        assert len(set(retries)) > 4  # Envoy's by the millisecond
        assert max(retries) - min(retries) > 1000
    for path, method, headers in (
        ("/events/me", "GET", OTHER),
        ("/events/me", "HEAD", EVENT_SOURCE),
        ("/", "GET", EVENT_SOURCE),
        ("/eventsource", "GET", EVENT_SOURCE),
    ):
        assert (await ask(site, path, method=method, headers=headers)).status in (502, 503), (path, method)
    found = "200, and what the app told last" if kind == "traefik" else "200 and `retry:` of 2 to 6 s"
    table.holds("while the app is away an EventSource gets", kind, found)
