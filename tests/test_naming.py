"""Apps that are known by name: a proxy finds one that comes back at another address."""

import asyncio

from servers.names import NameServer
from servers.processes import TESTS, command
from servers.proxies import EVENT_SOURCE, KINDS, Site, ask, streams, until
from sse_edge.tune.naming import resolving

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
