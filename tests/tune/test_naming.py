"""Apps that are known by name: a proxy finds one that comes back at another address."""

import asyncio

import pytest

from servers.names import NameServer
from servers.processes import TESTS, command
from servers.proxies import EVENT_SOURCE, KINDS, Site, ask, streams, until
from sse_edge import ConfigError
from sse_edge.tune.naming import name_server, resolving, upstreams

MOVED = "127.0.0.2"


async def is_there(site):
    """Whether the app is asked."""
    return (await ask(site, headers={"Accept": "*/*"})).status == 401


async def moved(site, move, serve, stream):
    """An app goes, and comes back at another address, which ``move`` makes known: until a stream is there."""
    (first,) = site.apps
    await until(lambda: is_there(site))
    await stream(site)
    assert await streams(site) == 1
    first.kill()
    assert b"retry: " in (await ask(site, headers=EVENT_SOURCE)).body
    elsewhere = [*first.arguments]
    elsewhere[elsewhere.index("127.0.0.1")] = MOVED
    serve(elsewhere, env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}"})
    move()
    await until(lambda: is_there(site))
    await stream(site)


async def test_nginx_asks_again(tmp_path, certificate, serve, serve_app, stream):
    """nginx as ``sse-edge tune --resolver`` writes it asks for the name every two seconds, though the answer
    might be kept for ten minutes.
    """
    app = serve_app("apps.edge:edge")
    async with NameServer("app1", "127.0.0.1") as names:
        proxy = KINDS["new nginx"](tmp_path, certificate, [f"app1:{app.port}"], {})
        proxy.config.write_text(resolving(proxy.config.read_text(), names.place))
        proxy.start(serve)
        await moved(Site(proxy, [app]), lambda: setattr(names, "address", MOVED), serve, stream)


async def test_caddy_asks_by_itself(tmp_path, certificate, serve, serve_app, stream):
    """Caddy with the shipped file looks a name up whenever it connects.  (So does 2.6.)"""
    app = serve_app("apps.edge:edge")
    (hosts := tmp_path / "hosts").write_text("127.0.0.1 localhost app1\n")
    proxy = KINDS["new caddy"](tmp_path, certificate, [f"app1:{app.port}"], {})

    def with_hosts(arguments, **options):
        return serve(
            [command("bwrap"), "--dev-bind", "/", "/", "--bind", hosts, "/etc/hosts", *arguments], **options
        )

    await asyncio.to_thread(proxy.start, with_hosts)
    await moved(
        Site(proxy, [app]), lambda: hosts.write_text(f"127.0.0.1 localhost\n{MOVED} app1\n"), serve, stream
    )


HOSTS = ["127.0.0.1", "[::1]", "[2001:db8::7]", "app_1", "app-1.example.com", "localhost"]
PORTS = ["", ":1", ":8001", ":65535"]
NONE = [
    "::1", "2001:db8::7:53", "[::1", "[::1]53", "[a]:53", "[127.0.0.1]:53", "[fe80::1%lo]:53", "a:65536",
    "[::1]:65536", "a:99999", "a:0", "a:b", "a:", ":53", "a:1:2", "300.1.1.1:53", "unix:run/a.sock", "unix:",
    f"unix:/{'a' * 107}",
]  # fmt: skip


@pytest.mark.parametrize("place", [host + port for host in HOSTS for port in PORTS])
def test_places_that_there_are(place):
    """Addresses, IPv6 in brackets, and names; each with a port or without."""
    assert upstreams([place]) == [place]
    assert name_server(place) == place


def test_sockets():
    """Are workers' places, up to the longest that Linux has, and no name server's."""
    longest = f"unix:/{'a' * 106}"
    assert upstreams([longest]) == [longest]
    with pytest.raises(ConfigError, match="--resolver"):
        name_server(longest)


@pytest.mark.parametrize("place", NONE)
def test_places_that_nobody_reaches(place):
    """Are refused by the option's name."""
    with pytest.raises(ConfigError, match="--upstream: must be host:port or unix:/path"):
        upstreams([place])
    with pytest.raises(ConfigError, match="--resolver: must be a name server's host or host:port"):
        name_server(place)


def says(tmp_path, certificate, upstream, resolver):
    """What ``nginx -t`` says of a file with these."""
    proxy = KINDS["new nginx"](tmp_path, certificate, upstream, {})
    proxy.config.write_text(resolving(proxy.config.read_text(), "192.0.2.53").replace("192.0.2.53", resolver))
    return proxy.check()


def test_nginx_takes_what_is_written(tmp_path, certificate):
    """All kinds of places at once, as ``sse-edge tune --resolver`` writes them; and with each name server."""
    places = [host + port for host in HOSTS for port in PORTS] + ["unix:/run/a.sock", f"unix:/{'a' * 106}"]
    for resolver in ("127.0.0.11", "[::1]", "[::1]:5353", "localhost:65535"):
        assert "test is successful" in says(tmp_path, certificate, places, resolver), resolver


@pytest.mark.parametrize("place", ["::1", "127.0.0.1:65536", "[::1]:65536", "a:0"])
def test_nginx_refuses_what_is_refused(tmp_path, certificate, place):
    """It would not start with such a file."""
    with pytest.raises(ConfigError):
        upstreams([place])
    with pytest.raises(pytest.fail.Exception, match="test failed"):
        says(tmp_path, certificate, [place], "127.0.0.11")
    with pytest.raises(pytest.fail.Exception, match="test failed"):
        says(tmp_path, certificate, ["127.0.0.1:1"], place)
