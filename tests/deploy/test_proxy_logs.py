"""What proxies write with the shipped files: a line for each request, without its query and its headers."""

import contextlib

import pytest

from servers.fronts import Apache, HAProxy, Traefik
from servers.privacy import leaks
from servers.proxies import COOKIES, EVENT_SOURCE, NEW, PROXIES, Site, ask, until

TOKEN = "token.of-the-query"
SHORT = {"TRUSTED": "127.0.0.1/32", "MAX_DURATION": "0.3"}
ASKED = {**EVENT_SOURCE, "X-Api-Key": TOKEN, "Last-Event-ID": TOKEN, "Referer": f"https://localhost/?{TOKEN}"}
PATHS = [f"/events/me?token={TOKEN}", f"/large?last_event_id={TOKEN}", f"/events/none?a=b?&c=/?d={TOKEN}"]


async def look_through(site, written):
    """Ask with secrets wherever there can be one, also while the app is away; all that is written then."""
    for path in PATHS:
        await ask(site, path, headers=ASKED, cookies=COOKIES)
    for path in PATHS * 2:
        with site.connection() as client, contextlib.suppress(ConnectionError):
            client.sendall(site.say(path, [*ASKED.items(), ("Transfer-Encoding", "chunked")]) + b"zz\r\n")
            client.recv(1000)
    site.apps[0].kill()
    for path in [*PATHS[:2], "/the-last"]:
        await ask(site, path, headers=ASKED, cookies=COOKIES)

    async def logged():
        return "/the-last" in written() and all(path.partition("?")[0] in written() for path in PATHS)

    await until(logged)
    return written()


@pytest.mark.parametrize("kind", [*PROXIES, *NEW])
async def test_no_query_is_written(behind, kind):
    """A token or a cursor in the query, or in a header, is in no log: of requests, and of errors.

    Except that with the error of a page nginx writes the whole request, and cannot be told otherwise.
    """
    limits = {"connect_burst": "1"} if "nginx" in kind else {}
    site = behind(kind, apps=1, env=SHORT, **limits)
    site.proxy.access_log.touch()

    def written():
        site.proxy.requests()
        errors = [line for line in site.proxy.log.splitlines() if "nginx" not in kind or "/events" in line]
        return "\n".join([site.proxy.access_log.read_text(), *errors])

    assert leaks(await look_through(site, written), [TOKEN]) == []


async def test_no_query_is_written_by_haproxy(serve, serve_app, tmp_path):
    """Nor is it where HAProxy writes a line for each request."""
    app = serve_app("apps.edge:edge", env=SHORT)
    proxy = HAProxy(tmp_path, app, {"format raw local0 warning": "format raw local0 info"})
    proxy.start(serve)
    written = await look_through(Site(proxy, [app]), lambda: proxy.process.log)
    assert leaks(written, [TOKEN]) == []


async def test_no_query_is_written_by_apache(serve, serve_app, tmp_path):
    """Nor by Apache, with a request or with an error, also where what was asked is no path."""
    app = serve_app("apps.edge:edge", env=SHORT)
    proxy = Apache(tmp_path, app)
    proxy.start(serve)
    site = Site(proxy, [app])
    for target in (f"/events/../../x?{TOKEN}", f"x?{TOKEN}", f"/%zz?{TOKEN}"):
        with site.connection() as client:
            client.sendall(site.say(target))
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    written = await look_through(site, lambda: proxy.access_log.read_text() + proxy.log)
    assert leaks(written, [TOKEN]) == []


async def test_no_query_is_written_by_traefik(serve, serve_app, tmp_path):
    """Nor in Traefik's lines, which name no path at all."""
    app = serve_app("apps.everywhere:app")
    proxy = Traefik(tmp_path, app)
    proxy.start(serve)
    for path in PATHS:
        await ask(Site(proxy, [app]), path, headers=ASKED, method="POST")

    async def logged():
        return proxy.process.log.count('"RouterName":"streams@file"') == 2

    await until(logged)
    assert leaks(proxy.process.log, [TOKEN]) == []
