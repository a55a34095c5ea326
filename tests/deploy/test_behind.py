"""What deploy/FRONTS.md says to change where something stands before the front: it is done, and tried.

A load balancer is a real HAProxy that passes connections on from 127.0.0.99; a CDN asks from 127.0.0.98.
"""

import contextlib
import re
import socket
import ssl
from pathlib import Path

import pytest

from servers.fronts import FRONTS, recipe, replaced
from servers.processes import Processes, free_port
from servers.proxies import COOKIES, EVENT_SOURCE, PATIENCE, NewCaddy, Nginx, Site, until
from servers.sse import get
from servers.table import Table
from sse_edge.tune.template import shipped

PAGE = Path(__file__).parents[2] / "deploy" / "FRONTS.md"
BALANCER, CDN, OTHER = "127.0.0.99", "127.0.0.98", "127.0.0.50"
CLIENT, CLAIMED = "203.0.113.7", "198.51.100.1"
KINDS = ["nginx", "caddy", *FRONTS]
SOME = ["nginx", "haproxy", "apache"]
"""Tried also without --heavy."""


def pytest_generate_tests(metafunc):
    """Every test for every front, with --heavy."""
    kinds = KINDS if metafunc.config.getoption("--heavy") else SOME
    if metafunc.function is test_cloudflare:
        kinds = [kind for kind in kinds if kind in CLOUDFLARE]
    metafunc.parametrize("kind", kinds)


@pytest.fixture
def table(pytestconfig):
    """What the page says."""
    return Table(PAGE, "behind", writing=pytestconfig.getoption("--tables"))


@pytest.fixture(scope="module")
def processes():
    """All that is started here."""
    processes = Processes()
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture(scope="module")
def app(processes):
    """The app, which believes the fronts and, as the page says for some, the CDN."""
    env = {"TRUSTED": f"127.0.0.1/32,{CDN}/32", "STATUS": "/status", "MAX_DURATION": "0.2"}
    return processes.serve_app("apps.edge:edge", env=env)


@pytest.fixture(scope="module")
def changed(processes, app, certificate, tmp_path_factory):
    """``changed(kind, recipe, network)``: the front with that recipe, for that network."""

    def start(kind, name, network, instead=()):
        places = recipe(PAGE, f"{name} {kind}")
        for before, after in (("192.0.2.0/24", network), *instead):
            places = {old: new.replace(before, after) for old, new in places.items()}
        directory, upstream = tmp_path_factory.mktemp(kind), [f"127.0.0.1:{app.port}"]
        if kind == "nginx":

            class Changed(Nginx):
                text = property(lambda self: replaced(shipped("nginx.conf"), places))

            front = Changed(directory, certificate, upstream, {})
        elif kind == "caddy":

            class Changed(NewCaddy):
                text = property(lambda self: replaced(shipped("Caddyfile"), places))

            front = Changed(directory, certificate, upstream, {})
        else:
            front = FRONTS[kind](directory, app, places, certificate=certificate)
        front.start(processes.serve)
        return Site(front, [app])

    return start


@pytest.fixture
def balancer(serve, tmp_path):
    """``balancer(site)``: HAProxy before a front, which tells it in the PROXY protocol who asks."""

    def start(site):
        port, config = free_port(), tmp_path / "balancer.cfg"
        config.write_text(
            f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen balancer
    bind 127.0.0.1:{port}
    source {BALANCER}
    server front 127.0.0.1:{site.proxy.port} send-proxy-v2
"""
        )
        serve(["haproxy", "-db", "-f", config], port=port)
        return port

    return start


@pytest.fixture
async def counted(app):
    """``await counted(site, source, claims)``: which address the app has for a stream through the front."""

    async def address(site, source, claims=(), port=None):
        url = f"https://localhost:{port or site.proxy.port}/events/me"
        options = {"ssl": site.ssl, "source": source, "headers": claims, "cookies": COOKIES}
        async with ended(app) as addresses:
            assert (await get(url, timeout=PATIENCE, **options)).status == 200
        return addresses

    return address


@contextlib.asynccontextmanager
async def ended(app):
    """A list that has, afterwards, whose streams ended meanwhile; one at least is waited for."""
    before, addresses = len(app.log), []
    yield addresses

    async def written():
        return re.search(r"ended: .*address=", app.log[before:])

    await until(written)
    addresses += re.findall(r"ended: .* address=(\S+)", app.log[before:])


async def test_proxy_protocol(changed, balancer, counted, kind, table):
    """The address is the one that the load balancer tells, whatever the client claims in headers.

    Whoever else tells one is refused or has its own, where the front can be told whom to believe.
    """
    site = changed(kind, "proxy", f"{BALANCER}/32")
    claims = {"X-Forwarded-For": CLAIMED, "X-Real-IP": CLAIMED, "Forwarded": f"for={CLAIMED}"}
    assert await counted(site, "127.0.0.67", claims, balancer(site)) == ["127.0.0.67"]
    table.holds("PROXY protocol", kind, "yes")
    told = f"PROXY TCP4 {CLIENT} 127.0.0.1 4000 443\r\n".encode()
    ask = site.say("/events/me", [("Cookie", f"session={COOKIES['session']}"), *EVENT_SOURCE.items()])
    async with contextlib.AsyncExitStack() as stack:
        plain = stack.enter_context(
            socket.create_connection(("127.0.0.1", site.proxy.port), PATIENCE, source_address=(OTHER, 0))
        )
        plain.sendall(told)
        try:
            client = stack.enter_context(site.ssl.wrap_socket(plain, server_hostname="localhost"))
        except (ssl.SSLError, ConnectionError):
            address = None
        else:
            async with ended(site.apps[0]) as addresses:
                client.sendall(ask)
                client.recv(1000)
            (address,) = addresses
    assert address in (None, OTHER, CLIENT)
    found = "**believed**" if address == CLIENT else "not believed"
    table.holds("PROXY protocol from anybody else", kind, found)


async def test_a_cdn(changed, counted, kind, table):
    """The address is the one that the CDN adds, not what is left of it or what another peer claims."""
    site = changed(kind, "cdn", f"{CDN}/32")
    claims = {"X-Forwarded-For": f"{CLAIMED}, {CLIENT}", "X-Real-IP": CLAIMED, "Forwarded": f"for={CLAIMED}"}
    assert await counted(site, CDN, claims) == [CLIENT]
    assert await counted(site, OTHER, claims) == [OTHER]
    assert await counted(site, CDN) == [CDN]
    table.holds("a CDN's `X-Forwarded-For`", kind, "yes")
    table.holds("`X-Forwarded-For` from anybody else", kind, "not believed")


CLOUDFLARE = {
    "nginx": [("real_ip_header X-Forwarded-For", "real_ip_header CF-Connecting-IP")],
    "caddy": [("trusted_proxies_strict", "client_ip_headers CF-Connecting-IP")],
    "haproxy": [("req.hdr(X-Forwarded-For,-1)", "req.hdr(CF-Connecting-IP)")],
    "apache": [("RemoteIPHeader X-Forwarded-For", "RemoteIPHeader CF-Connecting-IP")],
}
"""What is said in the recipes for a CDN with the header that Cloudflare has for it."""


async def test_cloudflare(changed, counted, kind):
    """Where the page says that CF-Connecting-IP may stand instead, it may, for what Cloudflare says."""
    site = changed(kind, "cdn", f"{CDN}/32", CLOUDFLARE[kind])
    claims = {"CF-Connecting-IP": CLIENT, "X-Forwarded-For": f"{CLAIMED}, {CLAIMED}"}
    assert await counted(site, CDN, claims) == [CLIENT]
    assert await counted(site, OTHER, claims) == [OTHER]
