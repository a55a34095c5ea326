"""A reload of nginx and of Caddy cuts nothing, over any protocol; what does in the end; and upgrades."""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import time

import pytest

from servers.exchange import placed
from servers.http2 import http2
from servers.http3 import http3
from servers.proxies import (
    COOKIES,
    KINDS,
    NEW,
    PROXIES,
    ask,
    cookies,
    daemon,
    issue_certificate,
    streams,
    until,
    wait_until,
)
from servers.sse import StreamEndedError
from sse_edge import Publisher

COOKIE = {"cookie": f"session={COOKIES['session']}"}
EACH = 4
"""Streams of each protocol."""

HEAVY = [pytest.param(each, marks=pytest.mark.heavy) for each in NEW]
HTTP3 = pytest.param("nginx http3", marks=pytest.mark.heavy)
EVERY = pytest.mark.parametrize("kind", [*PROXIES, *NEW, HTTP3])
SOME = pytest.mark.parametrize("kind", [*PROXIES, *HEAVY])
NGINX = pytest.mark.parametrize("kind", ["nginx", HEAVY[0]])
CADDY = pytest.mark.parametrize("kind", ["caddy", "new caddy"])


class Streams:
    """Streams of each protocol that a site's proxy speaks."""

    def __init__(self, plain, shared):
        self.plain, self.shared = plain, shared

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, site, stream):
        """Some of each, open and with their places."""
        kinds = {"HTTP/2": http2} | ({"HTTP/3": http3} if site.proxy.speaks_http3 else {})
        plain = [await stream(site) for _ in range(EACH)]
        async with contextlib.AsyncExitStack() as stack:
            shared = {}
            for name, connect in kinds.items():
                client = await stack.enter_async_context(connect(site))
                shared[name] = [client.ask("/events/me", COOKIE) for _ in range(EACH)]
            for exchanges in shared.values():
                for exchange in exchanges:
                    await exchange.until(placed)
            yield cls(plain, shared)

    async def hear(self, data):
        """Until every one has heard it."""
        for client in self.plain:
            assert (await client.next()).data == data
        for exchanges in self.shared.values():
            for exchange in exchanges:
                await exchange.until(lambda each: each.over or data in [event.data for event in each.events])

    def over(self):
        """The protocols of which a stream is over."""
        every = {"HTTP/1.1": self.plain, **self.shared}
        return {name for name, each in every.items() if any(one.over for one in each)}


@EVERY
async def test_two_reloads_in_a_row(behind, stream, redis_url, kind):
    """Streams over HTTP/1.1, HTTP/2 and HTTP/3 go on, and hear what is published; new ones are served."""
    site = behind(kind, apps=1)
    async with Streams.of(site, stream) as opened, Publisher(redis_url) as events:
        for number in ("1", "2"):
            site.proxy.reload()
            await events.publish("news", number)
            await opened.hear(number)
        assert opened.over() == set()
        assert await streams(site) == EACH * (1 + len(opened.shared))
        await stream(site)


@SOME
async def test_a_broken_file(behind, stream, redis_url, kind):
    """A file that the proxy does not take is refused: streams go on, and new ones are served as before."""
    site = behind(kind, apps=1)
    async with Streams.of(site, stream) as opened, Publisher(redis_url) as events:
        site.proxy.config.write_text(site.proxy.config.read_text() + "\nnonsense {\n")
        if site.proxy.kind == "nginx":
            site.proxy.process.signal(signal.SIGHUP)
            wait_until(lambda: "unknown directive" in site.proxy.log, "nginx has read it")
        else:
            with pytest.raises(pytest.fail.Exception, match="nonsense|EOF|adapting"):
                site.proxy.reload()
        await stream(site)
        await events.publish("news", "all the same")
        await opened.hear("all the same")
        assert opened.over() == set()


@SOME
async def test_a_reload_while_everybody_comes(behind, stream, redis_url, kind):
    """While hundreds connect there are three reloads, and everybody gets in and hears everything.

    nginx turns nobody away.  Caddy closes a connection that is just being made: its client comes once more.
    """
    site = behind(kind, env={"PER_IP": "1000"})
    clients = []

    async def come(number):
        person, source = cookies(f"u{number}"), f"127.0.0.{10 + number // 5}"
        for _ in range(5):
            while True:
                try:
                    clients.append(await stream(site, cookies=person, source=source))
                    break
                except (OSError, StreamEndedError):
                    if site.proxy.kind == "nginx":
                        raise

    async def reload():
        for _ in range(3):
            await asyncio.to_thread(site.proxy.reload)

    await asyncio.gather(reload(), *map(come, range(50)))
    async with Publisher(redis_url) as events:
        await events.publish("news", "everybody")
    for client in clients:
        assert (await client.next()).data == "everybody"
    assert len(clients) == 250


@CADDY
async def test_what_grace_period_cuts(behind, stream, redis_url, kind):
    """When it is over, a Caddy of these days cuts streams over HTTP/3, and no others; 2.6 cuts nothing."""
    site = behind(kind, apps=1, grace_period="300ms")
    async with Streams.of(site, stream) as opened, Publisher(redis_url) as events:
        site.proxy.reload()
        cut = {"HTTP/3"} if kind == "new caddy" else set()

        async def all_cut():
            return opened.over() == cut and await streams(site) == EACH * (3 - len(cut))

        if not cut:
            await asyncio.sleep(1)  # nothing is to happen
        await until(all_cut)
        await events.publish("news", "after")
        await opened.hear("after")
        assert opened.over() == cut


OPEN = """
window.lost = window.opened = 0
window.sources = Array.from({length: arguments[0]}, (_, number) => {
    const source = new EventSource("/events/me?" + number)
    source.onopen = () => opened++
    source.onerror = () => lost += source.readyState === EventSource.CLOSED
    return source
})
"""


@NGINX
async def test_a_browser_comes_back_once(behind, page, kind):
    """When old workers end, and their connections with them, each EventSource opens once more, and stays."""
    site = behind(kind, apps=1, env={"RETRY": "0.3"}, shutdown_timeout="1s")
    page.get(f"{site.url}/")
    page.add_cookie({"name": "session", "value": COOKIES["session"]})
    page.execute_script(OPEN, 10)

    async def opened(count):
        async def there():
            return (
                await asyncio.to_thread(
                    page.execute_script, "return sources.every(each => each.readyState === EventSource.OPEN)"
                )
                and page.execute_script("return opened") == count
            )

        await until(there)

    await opened(10)
    site.proxy.reload()
    await opened(20)
    site.proxy.reload()
    await opened(30)
    assert page.execute_script("return lost") == 0
    assert await streams(site) == 10


@NGINX
async def test_an_upgrade_of_nginx(behind, stream, redis_url, kind):
    """SIGUSR2 starts the new program beside the old one, which goes when its streams have ended."""
    site = behind(daemon(KINDS[kind]), apps=1)
    async with Streams.of(site, stream) as opened, Publisher(redis_url) as events:
        site.proxy.upgrade()
        await stream(site)
        await events.publish("news", "upgraded")
        await opened.hear("upgraded")
        assert opened.over() == set()
        assert await streams(site) == EACH * 2 + 1


@SOME
async def test_a_renewed_certificate(behind, stream, redis_url, tmp_path, kind):
    """After a reload new connections get the new certificate, and streams go on."""
    issued = []
    for name in ("old", "new", "now"):
        (tmp_path / name).mkdir()
        issued.append(issue_certificate(tmp_path / name))
    *both, now = issued
    put_there(both[0], now)
    for path in now:  # since 1.27 nginx reads a file again if the second is another that it was changed in
        os.utime(path, (0, time.time() - 60))
    values = {"certificate": str(now[0]), "certificate_key": str(now[1])} if "nginx" in kind else {}
    site = behind(kind, apps=1, **values)
    site.proxy.authority = tmp_path / "both.pem"
    site.proxy.authority.write_text("".join(certificate.read_text() for certificate, _ in both))
    if site.proxy.kind == "caddy":
        text = site.proxy.config.read_text()
        line = "# tls /etc/caddy/fullchain.pem /etc/caddy/privkey.pem"
        assert line in text
        site.proxy.config.write_text(text.replace(line, f"tls {now[0]} {now[1]}"))
        site.proxy.reload()

    def presented():
        with site.connection() as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))

    client = await stream(site)
    assert presented() == both[0][0].read_text()
    put_there(both[1], now)
    assert presented() == both[0][0].read_text()
    site.proxy.reload()
    assert presented() == both[1][0].read_text()
    async with Publisher(redis_url) as events:
        await events.publish("news", "renewed")
    assert (await client.next()).data == "renewed"


def put_there(pair, place):
    """Copy a certificate and its key."""
    for source, target in zip(pair, place, strict=True):
        shutil.copy(source, target)


@pytest.mark.parametrize("kind", ["caddy", HEAVY[1]])
async def test_a_stop_of_caddy(behind, stream, redis_url, kind):
    """It waits for its streams and serves nobody else, until it is asked again."""
    site = behind(kind, apps=1)
    client = await stream(site)
    site.proxy.process.signal(signal.SIGINT)

    async def refuses():
        try:
            await ask(site, "/")
        except OSError:
            return True
        return False

    await until(refuses)
    async with Publisher(redis_url) as events:
        await events.publish("news", "still here")
    assert (await client.next()).data == "still here"
    site.proxy.process.signal(signal.SIGINT)
    assert not await client.ended()  # it is cut
    assert site.proxy.process.wait() != 0
