"""Bodies that a proxy itself cannot read, or that never come, keep nobody away and are not waited for."""

import asyncio
import contextlib
import itertools
import json
import ssl
from collections import Counter

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from servers.processes import Processes
from servers.proxies import COOKIES, KINDS, PATIENCE, Site, ask, figures, until

WORKERS = 4
ROUNDS = 20
ELSEWHERE = "127.0.0.9"
COOKIE = ("Cookie", f"session={COOKIES['session']}")
CHUNKED = ("Transfer-Encoding", "chunked")

BODIES = [
    (CHUNKED, b"zz\r\n"),
    (CHUNKED, b"1;" + b"x" * 70_000 + b"\r\nx\r\n0\r\n\r\n"),
    (CHUNKED, b"1\r\nx\r\n0\r\nx: " + b"x" * 20_000 + b"\r\n\r\n"),
    (CHUNKED, b"5\r\nx"),
    (("Content-Length", "100000"), b"x"),
]
"""A size that is no number, a long extension, a long trailer; and two that are broken off."""

TARGETS = [("GET", "/events/me"), ("GET", "/figures"), ("POST", "/events/me"), ("POST", "/")]


@pytest.fixture(scope="module")
def sites(certificate, tmp_path_factory):
    """Each proxy in front of the same four workers."""
    processes = Processes()
    try:
        apps = [
            processes.serve_app("apps.edge:edge", env={"TRUSTED": "127.0.0.1/32"}) for _ in range(WORKERS)
        ]
        places = [f"127.0.0.1:{app.port}" for app in apps]
        started = {}
        for kind, proxy in KINDS.items():
            own = proxy(tmp_path_factory.mktemp(kind.replace(" ", "-")), certificate, places, {})
            own.start(processes.serve)
            started[kind] = Site(own, apps)
        yield started
    finally:
        processes.close()


async def send_one(site, head, body, context):
    """Send it, and leave with the answer or after a tenth of a second."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.proxy.port, ssl=context, server_hostname="localhost"
        )
        try:
            writer.write(head + body)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(1000)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def send_over_http2(site, method, path, context):
    """A body that is shorter, and one that is longer, than was announced."""
    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    place = {":scheme": "https", ":authority": f"localhost:{site.proxy.port}", ":path": path}
    for stream, size in ((1, 2), (3, 9)):
        head = {":method": method, **place, "content-length": "5", "cookie": COOKIE[1]}
        client.send_headers(stream, list(head.items()))
        client.send_data(stream, b"x" * size, end_stream=True)
    await send_one(site, b"", client.data_to_send(), context)


async def attack(site):
    """All of it, again and again."""
    context = ssl.create_default_context(cafile=site.proxy.authority)
    context.set_alpn_protocols(["h2"])
    while True:
        for (method, path), (header, body) in itertools.product(TARGETS, BODIES):
            await send_one(site, site.say(path, [COOKIE, header], method), body, site.ssl)
        for method, path in TARGETS:
            await send_over_http2(site, method, path, context)


@pytest.mark.live
@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_is_turned_away(sites, stream, kind):
    """While bodies come that the proxy cannot read, others are served, and by every worker."""
    site = sites[kind]
    attacks = [asyncio.create_task(attack(site)) for _ in range(4)]
    asked, opened = Counter(), Counter()
    before = [(await figures(app))["opened"] for app in site.apps]
    try:
        for _ in range(ROUNDS):
            page = await ask(site, "/figures", source=ELSEWHERE)
            asked[page.status, json.loads(page.body)["pid"] if page.status == 200 else None] += 1
            client = await stream(site, placed=False, source=ELSEWHERE)
            opened[client.status, client.header("x-accel-buffering")] += 1
            await client.aclose()
        # Who is chosen among workers that are equal is chance: none of them is left out for good.
        for _ in range(10 * ROUNDS):
            after = [(await figures(app))["opened"] for app in site.apps]
            if all(now > was for was, now in zip(before, after, strict=True)):
                break
            await (await stream(site, placed=False, source=ELSEWHERE)).aclose()
    finally:
        for attempt in attacks:
            attempt.cancel()
        await asyncio.wait(attacks)
    assert len(asked) == WORKERS
    assert {status for status, _ in asked} == {200}
    assert opened == {(200, "no"): ROUNDS}, "some were told to come back by the proxy"
    assert all(now > was for was, now in zip(before, after, strict=True)), (before, after)


@pytest.mark.parametrize("kind", ["caddy", "new caddy"])
async def test_a_body_that_never_comes(behind, stream, kind):
    """Such a connection is not kept, and a stream, which has no body, goes on for longer; its end is seen."""
    site = behind(kind, apps=1, env={"KEEP_ALIVE": "3600"}, read_body="1s", idle="1s")
    client = await stream(site)
    for head in (site.say("/", [COOKIE, ("Content-Length", "9")], "POST"), site.say("/", [CHUNKED], "POST")):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.proxy.port, ssl=site.ssl, server_hostname="localhost"
        )
        writer.write(head)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert not client.over
    client.abort()

    async def gone():
        return (await figures(site.apps[0]))["endings"] == {"client-gone": 1}

    await until(gone)
