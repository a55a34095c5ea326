"""What stands before everything and may hold streams back: deploy/FRONTS.md says what is seen."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from apps.edge import AUTH
from servers.browser import wait_for
from servers.fronts import HAProxy
from servers.processes import Processes, free_port
from servers.proxies import COOKIES, Site, streams, until
from servers.table import Table
from servers.tabs import Tabs
from sse_edge import Publisher, RedisBackend, SyncPublisher
from sse_edge.doctor.examination import Examination
from sse_edge.doctor.wire import Target

PAGE = Path(__file__).parents[2] / "deploy" / "FRONTS.md"
NGINX = """
worker_processes 1;
pid DIR/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path DIR/1; proxy_temp_path DIR/2; fastcgi_temp_path DIR/3; uwsgi_temp_path DIR/4;
    scgi_temp_path DIR/5;
    server {{
        listen 127.0.0.1:PORT;
        proxy_set_header Host $http_host;
        {}
        location / {{ proxy_pass http://127.0.0.1:FRONT; }}
    }}
}}
"""
VARNISH = """
vcl 4.1;
backend site {{ .host = "127.0.0.1"; .port = "FRONT"; }}
{}
"""
IGNORED = "proxy_ignore_headers X-Accel-Buffering;"
CDNS = {
    "nginx, as it comes": ("nginx", ""),
    "nginx that ignores `X-Accel-Buffering`": ("nginx", IGNORED),
    "… and has `proxy_http_version 1.1`": ("nginx", f"{IGNORED} proxy_http_version 1.1;"),
    "… and has `proxy_buffering off`": ("nginx", f"{IGNORED} proxy_buffering off;"),
    "Varnish, as it comes": ("varnish", ""),
    "Varnish with `do_stream = false`": (
        "varnish",
        "sub vcl_backend_response { set beresp.do_stream = false; }",
    ),
    "Varnish with a pipe": (
        "varnish",
        'sub vcl_recv { if (req.url ~ "^/events(/|\\?|$)") { return (pipe); } }\n'
        "sub vcl_pipe { if (req.http.upgrade) { set bereq.http.upgrade = req.http.upgrade; } }",
    ),
}
SOME = ["nginx that ignores `X-Accel-Buffering`"]
"""Tried also without --heavy."""


def pytest_generate_tests(metafunc):
    """Every test for every one of them, with --heavy."""
    if "ends" in metafunc.fixturenames:
        cases = [("Varnish, as it comes", True), ("Varnish with a pipe", False)]
        metafunc.parametrize(("name", "ends"), cases if metafunc.config.getoption("--heavy") else cases[:1])
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", CDNS if metafunc.config.getoption("--heavy") else SOME)


@pytest.fixture
def table(pytestconfig):
    """What the page says."""
    return Table(PAGE, "held", writing=pytestconfig.getoption("--tables"), rows=CDNS)


@pytest.fixture(scope="module")
def origin(redis_server, tmp_path_factory):
    """The app behind HAProxy with the shipped file, which the CDNs ask."""
    processes = Processes()
    redis_server.start()
    try:
        env = {"BACKEND": redis_server.url, "TRUSTED": "127.0.0.1/32", "STATUS": "/status", "RETRY": "0.5"}
        app = processes.serve_app("apps.edge:edge", env=env)
        front = HAProxy(tmp_path_factory.mktemp("haproxy"), app)
        front.start(processes.serve)
        yield Site(front, [app])
    finally:
        processes.close()


@pytest.fixture
def before(origin, serve, tmp_path):
    """``before(name, **parameters)``: a Site whose "proxy" is one of CDNS, in front of all that."""

    def start(name, **parameters):
        kind, changes = CDNS[name]
        port, config = free_port(), tmp_path / "config"
        text = {"nginx": NGINX, "varnish": VARNISH}[kind].format(changes)
        for word, value in (("DIR", tmp_path), ("PORT", port), ("FRONT", origin.proxy.port)):
            text = text.replace(word, str(value))
        config.write_text(text)
        if kind == "nginx":
            command = ["nginx", "-e", "stderr", "-c", config, "-g", "daemon off;"]
        else:
            command = ["varnishd", "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-f", config]
            command += ["-n", tmp_path / "varnish", "-s", "malloc,16m", "-p", "vcc_allow_inline_c=off"]
            command += [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        serve(command, port=port)
        return Site(SimpleNamespace(port=port, authority=None), origin.apps)

    return start


@pytest.fixture
async def diagnosis(redis_server):
    """``await diagnosis(site)``: the codes of what ``sse-edge doctor`` finds."""
    backend = RedisBackend(redis_server.url)

    async def examine(site):
        examination = Examination(
            target=Target.of(f"{site.url}/events/me"),
            cookie=f"session={AUTH.issue('doctor')}",
            user="doctor",
            backend=backend,
            channel="user:doctor",
            here=False,
            patience=1.0,
        )
        return {finding.code async for finding in examination.findings()}

    yield examine
    await backend.close()


async def none_left(site):
    """Wait until the streams of the CDN before are gone with it."""

    async def gone():
        return await streams(site) == 0

    await until(gone)


async def test_what_a_cdn_makes_of_a_stream(before, connect, redis_server, diagnosis, name, table):
    """Whether events come, whether a client that leaves is noticed, and what the doctor says."""
    site = before(name)
    await none_left(site)
    async with Publisher(redis_server.url) as events:
        asking = asyncio.create_task(connect(f"{site.url}/events/me", cookies=COOKIES, timeout=30))

        async def opened():
            return await streams(site) == 1

        await until(opened)
        for number in range(3):
            await events.publish("news", str(number))
        held = False
        try:
            async with asyncio.timeout(1.5):
                client = await asyncio.shield(asking)
                assert [event.data for event in await client.take(3)] == ["0", "1", "2"]
        except TimeoutError:
            held = True
        table.holds(name, "events", "**are held back**" if held else "come")
        if held:
            asking.cancel()
            await asyncio.wait([asking])
        else:
            client.abort()

        async def gone():
            return await streams(site) == 0

        async def written_to():
            await events.publish("news", "x" * 10_000)
            return await gone()

        noticed = "**not before `max_duration`**"
        for condition, found in ((gone, "at once"), (written_to, "**when it is written to**")):
            with contextlib.suppress(TimeoutError):
                await until(condition, timeout=1.5)
                noticed = found
                break
        table.holds(name, "a client that leaves is noticed", noticed)
    found = await diagnosis(site)
    assert ("buffered" in found) == held
    table.holds(name, "`sse-edge doctor` says", "`buffered`" if held else "nothing of it")


def test_what_the_browsers_client_makes_of_it(before, page, redis_server, name, table):
    """It hears everything: as it comes, or where streams are held back by polling."""
    site = before(name)
    page.get(f"{site.url}/")
    page.add_cookie({"name": "session", "value": COOKIES["session"]})
    tabs = Tabs(page, site)
    tab = tabs.open(firstByte=1)
    tabs.live(tab)
    with SyncPublisher(redis_server.url) as publisher:  # the fixture would empty Redis under the app
        for number in range(3):
            publisher.publish("news", str(number))
            wait_for(page, f"heard.length === {number + 1}")
    assert tabs.heard(tab) == ["0", "1", "2"]
    polls = bool(tabs.run(tab, "return stream.state.polling"))
    assert polls == (CDNS[name][1] == IGNORED or "do_stream" in CDNS[name][1])
    table.holds(name, "`sse-edge.js`", "polls" if polls else "streams")
    tabs.run(tab, "stream.close()")


async def test_varnish_ends_what_takes_longer_than_its_time_in_all(
    before, connect, redis_server, name, ends, table
):
    """However much is said on a stream, Varnish ends it after its send_timeout, 600 s; and none in a pipe."""
    site = before(name, send_timeout=1)
    client = await connect(f"{site.url}/events/me", cookies=COOKIES)
    async with Publisher(redis_server.url) as events:
        for _ in range(10):
            await events.publish("news", "said")
            await asyncio.sleep(0.2)
    assert client.over == ends
    assert not client.clean_end
    table.holds(name, "ends in all", "**after 600 s**" if ends else "never")
