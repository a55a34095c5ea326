"""Whatever way a path is spelt: where it opens a stream, the proxy's own limits have counted it.

The app has a stream at every path under /events, so that any spelling that reaches it is one.
"""

import pytest

from servers.fronts import FRONTS, HAProxy, Traefik
from servers.processes import Processes
from servers.proxies import Caddy, NewCaddy, Nginx, Site
from servers.sse import ResponseReader

SPELLINGS = [
    "/events",
    "/events/",
    "/events/me",
    "/events//me",
    "/events?/../../x",
    "/events#/../../x",
    "/events/me#/../../x",
    "/events/../x",
    "/events/../x/b",
    "/events/..",
    "/events/.",
    "/events/./me",
    "/events/x/../../y",
    "/events/x/../me",
    "/events//../x",
    "/events/..//x",
    "/events/../../x",
    "/events/.../x",
    "/events/..;/x",
    "/events/..%00/x",
    "/events/%2e%2e/x",
    "/events/%2E%2e/x",
    "/events/.%2e/x",
    "/events/%2e/x",
    "/events%2f..%2fx",
    "/events/..%2fx",
    "/events/..%2Fx",
    "/events%2f../x",
    "/events/%2e%2e%2fx",
    "/events/..%252fx",
    "/events/%252e%252e/x",
    "/events/..\\x",
    "/events/..%5cx",
    "/events\\..\\x",
    "/events/\\../x",
    "/events%5c..%5cx",
    "/x/../events/me",
    "/x/..%2fevents/me",
    "/x/%2e%2e/events/me",
    "/./events/me",
    "/../events/me",
    "//events/me",
    "///events//me",
    "//x/../events/me",
    "/%2fevents/me",
    "/%65vents/me",
    "/%65%76%65%6e%74%73/me",
    "/events%2Fme",
    "/events%2fme",
    "/%65vents/../x",
    "/%65vents%2f..%2fx",
    "/%2565vents/me",
    "/events%252Fme",
    "/EVENTS/me",
    "/Events/me",
    "/events;a/me",
    "/events;a=b",
    "/events/;a/../../x",
    "/events%3Bx",
    "/events%3f/me",
    "/events%23/../x",
    "/events/%ff/../x",
    "/events/%c0%ae%c0%ae/x",
    "/events/\xc0\xae\xc0\xae/x",
    "/events\t/me",
    "/events%20/me",
    "/events%0a/me",
    "/events/%0d%0a/../x",
    "http://localhost/events/me",
    "http://localhost/events/../x",
    "http://localhost/x/../events/me",
    "http://localhost/%65vents/../x",
    "HTTP://LOCALHOST/events/me",
    "http://localhost:80/events/./me",
    "http://localhost//events/../x",
    "http://localhost?/events/me",
    "https://localhost/events/..",
    "events/me",
    "*",
    "localhost:443",
]


@pytest.fixture(scope="module")
def doors(certificate, tmp_path_factory):
    """``doors(kind, server)``: a proxy that lets one address have one stream, or no further connect."""
    processes, started = Processes(), {}

    def app(server, **env):
        return processes.serve_app("apps.everywhere:app", server=server, env=env)

    def start(kind, server):
        directory = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        if kind == "haproxy":
            behind = app(server)
            proxy = HAProxy(directory, behind, {"sc_http_req_rate(0) gt 600": "sc_http_req_rate(0) gt 1"})
        elif kind == "traefik":
            behind = app(server)
            proxy = Traefik(directory, behind, {"amount: 120": "amount: 1"})
        elif kind == "nginx":
            behind = app(server)
            proxy = Nginx(directory, certificate, [f"127.0.0.1:{behind.port}"], {"per_address": "1"})
        elif kind in FRONTS:  # neither has limits of its own for an address: the app's have to hold
            behind = app(server, PER_IP="1")
            proxy = FRONTS[kind](directory, behind)
        else:  # it has no limits of its own: the app's have to hold
            behind = app(server, PER_IP="1")
            proxy = {"caddy": Caddy, "new caddy": NewCaddy}[kind](
                directory, certificate, [f"127.0.0.1:{behind.port}"], {}
            )
        proxy.start(processes.serve)
        return Site(proxy, [behind])

    def door(kind, server):
        if (kind, server) not in started:
            started[kind, server] = start(kind, server)
        return started[kind, server]

    try:
        yield door
    finally:
        processes.close()


def opens(client, site, target):
    """Whether the answer to a request for ``target`` is a stream; it is left open."""
    client.sendall(site.say(target, [("Accept", "*/*")]))
    reader, body = ResponseReader(), b""
    while not reader.complete and (data := client.recv(65536)):
        if data.startswith((b"HTTP/1.0", b"<")):  # what is no HTTP/1.1 is answered so, and hung up on
            return False
        body += reader.feed(data)
        if b": stream open" in body:
            return True
    return False


@pytest.mark.parametrize(
    ("kind", "server"),
    [
        ("nginx", "uvicorn"),
        ("nginx", "hypercorn"),
        ("nginx", "granian"),
        ("caddy", "uvicorn"),
        ("new caddy", "hypercorn"),
        ("haproxy", "uvicorn"),
        ("haproxy", "hypercorn"),
        ("traefik", "uvicorn"),
        ("traefik", "hypercorn"),
        ("envoy", "uvicorn"),
        ("envoy", "hypercorn"),
        ("apache", "uvicorn"),
        ("apache", "hypercorn"),
    ],
)
def test_no_spelling_goes_round_the_limits(doors, kind, server):
    """While an address has all the streams that it may have, no spelling gets it another one."""
    site = doors(kind, server)
    with site.connection() as first:
        assert opens(first, site, "/events/me")
        got = []
        for target in SPELLINGS:
            with site.connection() as client:
                if opens(client, site, target):
                    got.append(target)
        assert got == []


@pytest.mark.parametrize("kind", ["nginx", "haproxy", "traefik"])
def test_another_address_is_counted_apart(doors, kind):
    """What one address has is nothing to another, by whatever name either asks."""
    site = doors(kind, "uvicorn")
    with site.connection() as first, site.connection(source="127.0.0.9") as other:
        opens(first, site, "/events/me")
        assert opens(other, site, "/events/me")
