"""Streams through nginx and Caddy as shipped, in front of real apps: what holds for both."""

import asyncio
import contextlib
import gzip
import json
import signal
import socket
import ssl
import time

import pytest

from apps.edge import LARGE
from servers.proxies import (
    COOKIES,
    EVENT_SOURCE,
    KINDS,
    NEW,
    OTHER,
    PATIENCE,
    PROXIES,
    Follower,
    ask,
    comes_back_ms,
    cookies,
    figures,
    streams,
    until,
)
from servers.sse import get
from sse_edge import Publisher

PROXY = pytest.mark.parametrize(
    "proxy", [*PROXIES, *(pytest.param(each, marks=pytest.mark.heavy) for each in NEW)]
)
EVERY = pytest.mark.parametrize("proxy", [*PROXIES, *NEW])
"""Where versions differ, or one did once."""


@EVERY
async def test_events_one_by_one(behind, stream, redis_url, proxy):
    """Headers come at once, each event as soon as it is published, uncompressed also for who accepts gzip."""
    site = behind(proxy)
    headers = {"Accept-Encoding": "gzip, deflate, br, zstd", "Origin": site.url}  # its own, with the port
    client = await stream(site, headers=headers)
    assert client.status == 200
    assert client.header("content-type") == "text/event-stream; charset=utf-8"
    assert client.header("content-encoding") is None
    assert client.header("x-accel-buffering") == "no"  # another nginx in front needs to hear it
    async with Publisher(redis_url) as events:
        for number in range(20):
            await events.publish("news", str(number))
            assert (await client.next()).data == str(number)  # before the next one is published


@EVERY
async def test_pages_are_compressed(behind, proxy):
    """What is no stream is compressed, and comes through whole."""
    site = behind(proxy, apps=1)
    answer = await ask(site, "/large", headers={"Accept-Encoding": "gzip"})
    assert answer.header("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == LARGE
    plain = await ask(site, "/large")
    assert plain.header("content-encoding") is None
    assert plain.body == LARGE


@PROXY
async def test_plain_http_leads_to_https(behind, proxy):
    """A request on the plain port is sent to the same place with TLS."""
    site = behind(proxy, apps=1)
    answer = await get(f"{site.plain_url}/events/me")
    assert answer.status == 308
    assert answer.header("location").startswith("https://localhost")
    assert answer.header("location").endswith("/events/me")


@EVERY
async def test_other_names(behind, proxy):
    """Another name than the site's gets nothing of the app: no certificate, and 421 where it lies in TLS.

    Neither does the site's own with something behind it that is no port.
    """
    site = behind(proxy, apps=1)
    for name in ("evil.example", "localhost.evil.example", "127.0.0.1"):
        plain = await get(f"{site.plain_url}/events/me", headers={"Host": name})
        if site.proxy.kind == "nginx":
            assert (plain.status, plain.header("location")) == (421, None)
        else:
            assert (plain.status, plain.header("location")) == (308, f"https://{name}/events/me")
    others = ["evil.example", "localhost.evil.example", "127.0.0.1", "localhost:evil.example", "localhost:1x"]
    for name in [*others, "localhost:evil.example:443", "localhost:443@evil.example"]:
        behind_tls = await ask(site, headers={"Host": name}, cookies=COOKIES)
        assert behind_tls.status == 421 or (behind_tls.status == 400 and name not in others[:3]), name
        assert b"stream" not in behind_tls.body
    unverified = ssl._create_unverified_context()
    for name in ("evil.example", None):
        plain = socket.create_connection(("127.0.0.1", site.proxy.port), timeout=PATIENCE)
        with plain, pytest.raises(ssl.SSLError, match="unrecognized name|alert"):
            unverified.wrap_socket(plain, server_hostname=name)
    assert (await figures(site.apps[0]))["refusals"] == {}


@PROXY
async def test_transport_security(behind, proxy):
    """Over TLS browsers are told to stay with it, once; without TLS they are not."""
    site = behind(proxy, apps=1)
    for path in ("/", "/events/me"):
        assert (await ask(site, path)).header("strict-transport-security") == "max-age=31536000"
    assert (await get(f"{site.plain_url}/")).header("strict-transport-security") is None


@EVERY
@pytest.mark.parametrize("leave", ["close", "abort"])
async def test_a_client_that_leaves(behind, stream, proxy, leave):
    """The app knows that a client has left, by FIN or RST, before it would have written to it again."""
    site = behind(proxy, env={"KEEP_ALIVE": "3600"})
    clients = [await stream(site) for _ in range(4)]
    assert await streams(site) == 4
    for client in clients:
        getattr(client, leave)()

    async def gone():
        return await streams(site) == 0

    await until(gone)
    endings = [(await figures(app))["endings"] for app in site.apps]
    assert sum(ending.get("client-gone", 0) for ending in endings) == 4


@PROXY
async def test_a_slow_consumer(behind, stream, redis_url, proxy):
    """Who does not read is ended as slow, with a bounded amount underway; its neighbours hear everything."""
    site = behind(proxy, apps=1)
    slow = await stream(site, receive_buffer=8192)
    neighbour = await stream(site, cookies=cookies("neighbour"))
    slow.stop_reading()
    published = 0
    async with Publisher(redis_url) as events:
        while "slow" not in (await figures(site.apps[0]))["endings"]:
            assert published < 400, "40 MB, and the slow one is still there"
            await events.publish("news", f"{published:06}" + "x" * 100_000)
            assert (await neighbour.next()).data[:6] == f"{published:06}"
            published += 1
        await events.publish("news", "after")
    assert (await neighbour.next()).data == "after"
    assert (await figures(site.apps[0]))["streams"] == 1


@PROXY
async def test_a_reload_cuts_nothing(behind, stream, redis_url, proxy):
    """500 streams go on over a reload of the proxy, and hear what is published afterwards; new ones too."""
    site = behind(proxy)
    people = [cookies(f"u{number}") for number in range(50)]

    async def ten(number):
        return [
            await stream(site, cookies=people[5 * number + each % 5], source=f"127.0.0.{10 + number}")
            for each in range(50)
        ]

    clients = [client for ten in await asyncio.gather(*map(ten, range(10))) for client in ten]
    assert await streams(site) == 500
    site.proxy.reload()
    new = await stream(site)
    async with Publisher(redis_url) as events:
        await events.publish("news", "reloaded")
    for client in [*clients, new]:
        assert (await client.next()).data == "reloaded"
        assert not client.over
    assert await streams(site) == 501


@pytest.mark.parametrize("proxy", KINDS)
async def test_an_app_that_is_down(behind, stream, proxy):
    """While one of two apps is down, everybody is served by the other, without an error."""
    site = behind(proxy)
    site.apps[0].kill()
    for _ in range(10):
        assert (await ask(site, "/")).status == 200
    for _ in range(10):
        assert (await stream(site)).status == 200
    assert (await figures(site.apps[1]))["streams"] == 10


@PROXY
async def test_streams_are_spread(behind, stream, serve_app, redis_url, proxy):
    """An app that was restarted gets the new streams, all at once, until it has as many as the others."""
    site = behind(proxy)
    site.apps[1].kill()
    for _ in range(6):
        await stream(site)
    env = {"BACKEND": redis_url, "TRUSTED": "127.0.0.1/32"}
    site.apps[1] = serve_app("apps.edge:edge", env=env, port=site.apps[1].port)
    if site.proxy.kind == "caddy":  # which asks once a second who is there

        async def back():
            await (await stream(site)).aclose()
            return (await figures(site.apps[1]))["opened"] > 0

        await until(back)
    for _ in range(6):
        await stream(site)
    assert [(await figures(app))["streams"] for app in site.apps] == [6, 6]


@PROXY
async def test_apps_on_unix_sockets(behind, stream, redis_url, proxy):
    """The apps may listen on unix sockets, and still know where a client comes from."""
    site = behind(proxy, unix=True)
    client = await stream(site, source="127.0.0.77")
    async with Publisher(redis_url) as events:
        await events.publish("news", "over a socket")
    assert (await client.next()).data == "over a socket"
    await client.aclose()

    async def logged():
        return any("address=127.0.0.77" in app.log for app in site.apps)

    await until(logged)


@EVERY
async def test_the_app_is_away(behind, proxy):
    """Then an EventSource gets an empty stream with a time of its own to come back; others get the status."""
    site = behind(proxy)
    for app in site.apps:
        app.kill()
    headers = {**EVENT_SOURCE, "Origin": "https://other.example"}
    # At the same time: a Caddy of these days looks for an app for two seconds each time.
    answers = await asyncio.gather(*(ask(site, headers=headers) for _ in range(25)))
    retries = [comes_back_ms(answer, "https://other.example") for answer in answers]
    assert all(2000 <= retry < 6000 for retry in retries)
    assert len(set(retries)) > 15
    assert max(retries) - min(retries) > 1500
    other, near, head, *pages = await asyncio.gather(
        ask(site, headers=OTHER),
        ask(site, "/events", headers=EVENT_SOURCE),
        ask(site, method="HEAD", headers=EVENT_SOURCE),
        *(ask(site, path, headers=EVENT_SOURCE) for path in ("/", "/eventsource")),
    )
    assert other.status in (502, 503)
    assert other.header("retry-after") == "5"
    assert near.status == 200
    for answer in (head, *pages):
        assert answer.status in (502, 503)


@PROXY
async def test_the_app_hangs(behind, proxy):
    """An app that accepts and does not answer is like one that is away: for others, 502 or 504."""
    site = behind(proxy, apps=1, read_timeout="1s")
    site.apps[0].signal(signal.SIGSTOP)
    answer = await ask(site, headers=EVENT_SOURCE, cookies=COOKIES)
    assert answer.status == 200
    assert answer.body.startswith(b"retry: ")
    answer = await ask(site, headers=OTHER, cookies=COOKIES)
    assert answer.status in (502, 503, 504)
    assert answer.header("retry-after") == "5"


@PROXY
async def test_what_the_app_says_is_untouched(behind, stream, proxy):
    """Refusals by the app come through with its own status, body and headers."""
    site = behind(proxy, apps=1, env={"PER_WORKER": "1", "REFUSALS": "status"})
    for given, status, code in (
        ({}, 401, "unauthenticated"),
        ({"cookies": COOKIES, "headers": {**EVENT_SOURCE, "Origin": "https://other.example"}}, 403, "origin"),
        ({"cookies": COOKIES, "path": "/events/nowhere"}, 404, "not-found"),
    ):
        answer = await ask(site, **given)
        assert answer.status == status
        assert json.loads(answer.body)["error"] == code
    await stream(site)
    for _ in range(3):
        full = await ask(site, cookies=COOKIES)
        assert full.status == 503
        assert json.loads(full.body)["error"] == "worker-full"
        assert int(full.header("retry-after")) >= 5
    assert (await ask(site, "/nowhere")).body == b"not found"


@PROXY
async def test_a_spoofed_address_changes_nothing(behind, stream, proxy):
    """Whatever a client writes into X-Forwarded-For and its like, its own address is counted and logged."""
    site = behind(proxy, apps=1, env={"PER_IP": "3", "REFUSALS": "status"})
    claims = [
        {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
        for number in range(5)
    ]
    # The app trusts 127.0.0.1, so that it would believe whatever the proxy let through from there.
    for claim in claims[:3]:
        await stream(site, headers=claim)
    for claim in claims[3:]:
        answer = await ask(site, headers=claim, cookies=COOKIES)
        assert answer.status == 429
        assert json.loads(answer.body)["error"] == "ip-limit"
    other = await stream(site, headers=claims[0], source="127.0.0.67")
    await other.aclose()

    async def logged():
        return "address=127.0.0.67" in site.apps[0].log

    await until(logged)
    assert "203.0.113" not in site.apps[0].log


@PROXY
async def test_the_cap_of_the_app_holds_through_the_proxy(behind, stream, proxy):
    """A cap per user counts over all apps behind the proxy, is said as the app says it, and heals at once."""
    site = behind(proxy, env={"PER_USER": "3"})
    clients = [await stream(site) for _ in range(3)]
    refused = await ask(site, cookies=COOKIES)
    assert refused.status == 200
    assert b"user-limit" in refused.body
    await clients[0].aclose()

    async def free():
        client = await stream(site, placed=False)
        with contextlib.suppress(TimeoutError):
            await client.ended(0.5)
        return not client.over

    await until(free)


OPEN_MANY = """
window.heard = []; window.lost = 0; window.opened = 0
window.sources = Array.from({length: arguments[0]}, (_, number) => {
    const source = new EventSource("/events/me?" + number)
    heard.push([])
    source.onopen = () => opened++
    source.onerror = () => lost += source.readyState === EventSource.CLOSED
    source.onmessage = event => heard[number].push(Number(event.data))
    return source
})
"""


def visit(page, site):
    """Go to the site's page, signed in."""
    page.get(f"{site.url}/")
    page.add_cookie({"name": "session", "value": COOKIES["session"]})


async def true_in(page, expression, timeout=PATIENCE):
    """Wait until a JavaScript expression is true in the page, while this loop goes on."""

    async def holds():
        return await asyncio.to_thread(page.execute_script, f"return Boolean({expression})")

    try:
        await until(holds, timeout)
    except TimeoutError:
        state = page.execute_script("return [opened, lost, sources.map(source => source.readyState), heard]")
        raise AssertionError(f"not within {timeout} s: {expression}; {str(state)[:2000]}") from None


@PROXY
async def test_thirty_streams_in_one_connection(behind, page, redis_url, proxy):
    """A browser has 30 streams over one HTTP/2 connection, more than HTTP/1.1 allows; a reload keeps them."""
    site = behind(proxy)
    visit(page, site)
    page.execute_script(OPEN_MANY, 30)
    await true_in(page, "sources.every(source => source.readyState === EventSource.OPEN)")
    assert await streams(site) == 30
    async with Publisher(redis_url) as events:
        await events.publish("news", "1")
    await true_in(page, "heard.every(numbers => numbers.length === 1)")
    site.proxy.reload()
    async with Publisher(redis_url) as events:
        await events.publish("news", "2")
    await true_in(page, "heard.every(numbers => numbers.length === 2)")
    protocols = page.execute_script(
        "return performance.getEntriesByType('navigation').map(entry => entry.nextHopProtocol)"
    )
    assert protocols == ["h2"]
    assert page.execute_script("return [opened, lost]") == [30, 0]
    page.execute_script("sources.forEach(source => source.close())")

    async def gone():
        return await streams(site) == 0

    await until(gone)


@PROXY
@pytest.mark.timeout(120)
async def test_a_restart_strands_nobody(behind, stream, serve_app, page, redis_url, proxy):
    """All apps are restarted under load: no EventSource ends closed, and nobody misses an event."""
    site = behind(proxy)
    env = {"BACKEND": redis_url, "TRUSTED": "127.0.0.1/32"}
    visit(page, site)
    page.execute_script(OPEN_MANY, 8)
    await true_in(page, "sources.every(source => source.readyState === EventSource.OPEN)")
    followers = [Follower(site, stream) for _ in range(10)]
    tasks = [asyncio.create_task(follower.follow()) for follower in followers]
    number = 0
    try:
        async with asyncio.timeout(PATIENCE):
            for follower in followers:
                await follower.placed.wait()
        async with Publisher(redis_url) as events:

            async def load(seconds):
                nonlocal number
                began = time.monotonic()
                while time.monotonic() - began < seconds:
                    number += 1
                    await events.publish("news", str(number))
                    await asyncio.sleep(0.1)

            async def heard_all():
                last = number
                await true_in(page, f"heard.every(numbers => numbers.at(-1) >= {last})")
                async with asyncio.timeout(PATIENCE):
                    while not all(follower.heard and follower.heard[-1] >= last for follower in followers):
                        await asyncio.sleep(0.05)

            await load(0.5)
            await heard_all()
            first = number
            for app in site.apps:  # a restart in good order, and one by a crash
                app.signal(signal.SIGTERM) if app is site.apps[0] else app.kill()
            site.apps[0].wait()
            await load(3)  # nobody is there: browsers are told to come back by the proxy alone
            site.apps = [serve_app("apps.edge:edge", env=env, port=app.port) for app in site.apps]
            await load(1)
            await heard_all()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert number > first + 10
    assert page.execute_script("return lost") == 0
    for numbers in page.execute_script("return heard"):
        assert numbers[0] <= first
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    for follower in followers:
        assert follower.heard == list(range(follower.heard[0], follower.heard[-1] + 1))
        assert follower.statuses == {200}


@pytest.mark.timeout(150)
async def test_idle_streams_stay(idle_streams):
    """A stream without any event is still open after 95 seconds, and then hears one at once.

    Longer than the 75 s of both proxies and the 60 s of nginx's send_timeout.  The streams were opened
    by test_caddy.py, minutes ago if everything is run.
    """
    await asyncio.sleep(max(0, idle_streams.streams[-1].opened + 95 - time.monotonic()))
    posted = await get(f"{idle_streams.app.url}/publish/news", method="POST", body=b"good morning")
    assert posted.status == 200
    for stream in idle_streams.streams:
        while not stream.events:
            stream.read()
        assert [event.data for event in stream.events] == ["good morning"]
        assert len(stream.decoder.comments) >= 5  # keep-alives
        assert stream.decoder.last_event_id == posted.body.decode()
    assert (await figures(idle_streams.app))["opened"] == len(idle_streams.streams) == 6
