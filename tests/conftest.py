"""Fixtures: real servers and a real browser, each ended for certain; scripted clients."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import uuid
from pathlib import Path

import pytest

pytest.register_assert_rewrite("servers", "parts")

from parts.delivery import ScriptedBackend, make_hub  # noqa: E402
from parts.door import AUTH, CHANNELS, cookie  # noqa: E402
from parts.ears import listening  # noqa: E402
from parts.faulty import Proxy  # noqa: E402
from parts.fleet import Fleet  # noqa: E402
from parts.shipped import DEPLOY  # noqa: E402
from parts.sinks import Loops, complaints  # noqa: E402
from servers import examples  # noqa: E402
from servers.asgi import ASGIClient, Ledger, LifespanDriver  # noqa: E402
from servers.browser import Browser  # noqa: E402
from servers.deployments import RedisCluster  # noqa: E402
from servers.firefox import Firefox  # noqa: E402
from servers.processes import Processes, fork_server, guard  # noqa: E402
from servers.proxies import ALL, COOKIES, PATIENCE, IdleStreams, Site, issue_certificate  # noqa: E402
from servers.redis import RedisServer  # noqa: E402
from servers.scripted import Scripted  # noqa: E402
from servers.sse import StreamClient  # noqa: E402
from sse_edge import MemoryBackend, Publisher, RedisBackend, SSEMiddleware, SyncPublisher  # noqa: E402
from sse_edge.backends.redis import connection, inlet, pool  # noqa: E402
from sse_edge.backends.redis.subscriber import RedisSubscriber  # noqa: E402

LIVE = {
    "redis_server",
    "redis_url",
    "private_redis",
    "serve",
    "serve_app",
    "behind",
    "idle_streams",
    "browser",
    "page",
    "firefox",
    "tabs",
    "certificate",
}
"""Fixtures that start programs; a test that uses one is marked ``live``."""

TOGETHER = {
    "tests/deploy/test_caddy.py": "proxies",  # opens the idle streams
    "tests/deploy/test_nginx.py": "proxies",  # and while they are idle there is something to do
    "tests/deploy/test_proxies.py": "proxies",  # looks at them
    "tests/load/test_dashboard.py": "dashboard",
    "tests/deploy/test_cdn.py": "cdn",
    "tests/backends/test_deployments.py": "deployments",
    "tests/doctor/test_doctor_live.py": "doctor",
    "tests/deploy/test_behind.py": "behind",
    "tests/deploy/test_fronts.py": "fronts",
    "tests/doctor/test_doctor_planted.py": "doctor planted",
    "tests/doctor/test_doctor_behind.py": "doctor behind",
    "tests/backends/test_leases.py": "leases",
    "tests/admission/test_turnstile.py": "turnstile",
    "tests/deploy/test_upgrades.py": "upgrades",
    "tests/admission/test_signed_in.py": "signed in",
    "tests/admission/test_spellings.py": "spellings",
    "tests/house/test_supply.py": "supply",
    "tests/load/test_report.py": "report",
    "tests/pages/test_shown_python.py": "shown",
    "tests/pages/test_site.py": "site",
}
"""Files whose tests share something slow: of several processes one runs all tests of a group, in order."""


def pytest_addoption(parser):
    """Every test passes on each of the sinks, and under as much abuse as one likes."""
    parser.addoption(
        "--heavy",
        action="store_true",
        help="much more of what make test has a part of: make abuse, make openapi, make pages, make proxies",
    )
    parser.addoption(
        "--sink",
        choices=["auto", "task"],
        default="auto",
        help="task: the edge takes no connection over, in this process and in all that are started",
    )
    parser.addoption(
        "--tables",
        action="store_true",
        help="write what the tests find into the tables of docs/, instead of holding them to it",
    )


def pytest_configure(config):
    """Everything under test is on loopback: no client may go through a proxy of the environment."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
    os.environ["SSE_EDGE_SINK"] = config.getoption("--sink")


def pytest_unconfigure():
    """End the guard after everything it watched, and what forked for it."""
    guard.close()
    fork_server.close()


def pytest_collection_modifyitems(config, items):
    """Mark tests by the fixtures they use; without --heavy leave out what is marked so."""
    for item in items:
        if LIVE.intersection(item.fixturenames):
            item.add_marker("live")
    if not config.getoption("--heavy"):
        heavy = {item for item in items if item.get_closest_marker("heavy")}
        config.hook.pytest_deselected(items=list(heavy))
        items[:] = [item for item in items if item not in heavy]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What there is of tests stays to the end: to look for garbage in it again and again takes seconds.

    Hypothesis is imported before, which wants to see that trio keeps what it registers there.
    """
    import hypothesis  # noqa: F401, PLC0415

    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config, log):
    """With ``--dist loadgroup`` the groups of TOGETHER are run together, and every other test by itself.

    Without the plugin's own mark, xdist_group, which it appends to the tests' names.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - not there without the plugin

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if "firefox" in nodeid.lower():  # it takes seconds to start, and so it does once
                return "firefox"
            return TOGETHER.get(nodeid.partition("::")[0], nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "sse_edge", "sse_edge.access")


@pytest.fixture(autouse=True)
def _loggers():
    """What a test has these loggers set up to, as ``sse-edge serve`` does in its process, is over with it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [
        (each.level, each.handlers[:], each.filters[:], each.propagate, each.disabled) for each in loggers
    ]
    yield
    for each, (level, handlers, filters, propagate, disabled) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers[:], each.filters[:] = handlers, filters
        each.propagate, each.disabled = propagate, disabled


@pytest.fixture(scope="session")
def redis_server():
    """One Redis for the whole session.  ``redis_url`` gives it to a test empty."""
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def redis_url(redis_server):
    """The url of the shared Redis, flushed."""
    redis_server.start()  # nothing, unless a test stopped it
    redis_server.resume()
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def publisher(redis_url):
    """A publisher to it, for tests without an event loop."""
    with SyncPublisher(redis_url) as publisher:
        yield publisher


@pytest.fixture
def backend():
    """A backend that a test writes the script of."""
    return ScriptedBackend()


@pytest.fixture
async def hub(backend):
    """A hub on it, which a test tells what is heard."""
    hub = await make_hub(backend)
    yield hub
    await hub.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.live)])
def make_backend(request):
    """``make_backend(**settings)``: a fresh backend of each kind."""
    if request.param == "memory":
        return MemoryBackend
    url = request.getfixturevalue("redis_url")
    return lambda **settings: RedisBackend(url, **settings)


@pytest.fixture
async def start(make_backend):
    """``await start(**settings)``: a backend that ``make_backend`` makes, its subscriber, and the ear that it
    speaks to."""
    async with listening(make_backend, connected=False) as begin:
        yield begin


@pytest.fixture
async def events(make_backend):
    """A publisher on each kind of backend, where 1,000 events of a channel are kept."""
    backend = make_backend(history=1000)
    yield Publisher(backend)
    await backend.close()


@pytest.fixture
def remembered():
    """The same on memory alone."""
    return Publisher(MemoryBackend(history=1000))


@pytest.fixture
def quiet(caplog):
    """Of the log only what somebody is to read."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
async def opened():
    """``opened(url, **settings)``: a Redis backend that is closed with the test."""
    backends = []

    def make(url, **settings):
        backends.append(RedisBackend(url, **settings))
        return backends[-1]

    yield make
    for backend in backends:
        await backend.close()


@pytest.fixture
async def make_fleet():
    """``make_fleet(**backend settings)``: a Fleet that is ended with the test."""
    fleets = []

    def make(**settings):
        fleets.append(Fleet(**settings))
        return fleets[-1]

    yield make
    for fleet in fleets:
        await fleet.close()


@pytest.fixture
def hurried(impatient, monkeypatch):
    """Recover as in production, in less time."""
    monkeypatch.setitem(RedisSubscriber.__init__.__kwdefaults__, "watch", 0.5)


@pytest.fixture
def watchful(monkeypatch):
    """Ticks come often, so that a change shows soon."""
    monkeypatch.setitem(RedisSubscriber.__init__.__kwdefaults__, "watch", 0.1)


@pytest.fixture
def impatient(monkeypatch):
    """Whoever listens to Redis reconnects soon."""
    monkeypatch.setattr(connection, "BACK_OFF", (0.01, 0.2))


@pytest.fixture(params=["RESP2", "RESP3", "redis-py's parser"])
def spoken(request, monkeypatch):
    """However the connection is spoken and read, all is the same."""
    if request.param == "RESP3":
        manners = pool.manners
        monkeypatch.setattr(pool, "manners", lambda timeout: {**manners(timeout), "protocol": 3})
    elif request.param != "RESP2":
        monkeypatch.setattr(inlet, "hiredis", None)
    return request.param


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.live)])
def url(request):
    """The URL of an empty backend, one of each kind."""
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
async def async_publisher(url):
    """A publisher to it."""
    async with Publisher(url) as publisher:
        yield publisher


@pytest.fixture
async def edge(request):
    """``edge(app, backend=…, …)`` makes an SSEMiddleware that is stopped after the test's clients.

    What it is not told is as the module's SETTINGS say, or else as for all tests of the door.
    """
    made = []

    def make(app=None, **settings):
        usual = {"backend": f"memory://{uuid.uuid4().hex}", "auth": AUTH, "channels": CHANNELS}
        made.append(SSEMiddleware(app, **{**usual, **getattr(request.module, "SETTINGS", {}), **settings}))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()
        await middleware.backend.close()  # also the backend objects that tests made for it


@pytest.fixture
def listen(asgi):
    """``await listen(edge, user, …)`` opens a stream and waits until it is live."""

    async def listen(middleware, user="u42", path="/events/me", *, live=True, session=None, **headers):
        client = asgi(middleware, path, headers={**cookie(user, session=session), **headers})
        await client.wait_for(b"\nid: " if live else b"stream open")
        return client

    return listen


@pytest.fixture
async def terminated():
    """``await terminated(edge)`` starts an edge and sends this process a SIGTERM that only it minds."""
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda number, frame: loop.call_soon_threadsafe(heard.set))

    async def terminate(middleware):
        await middleware.start()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 5)

    yield terminate
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
async def proxy(redis_server, redis_url):
    """A Proxy in front of the shared Redis."""
    proxy = await Proxy(redis_server.port).start()
    yield proxy
    await proxy.close()


@pytest.fixture(scope="module")
def cluster():
    """Three primaries for the tests of a module."""
    cluster = RedisCluster(replicas=0)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def private_redis():
    """``private_redis(**options)`` starts a Redis of the test's own; options are RedisServer's."""
    servers = []

    def start(**options):
        servers.append(RedisServer(**options))
        return servers[-1].start()

    try:
        yield start
    finally:
        for server in servers:
            server.close()


@pytest.fixture
def broken(tmp_path):
    """``broken(name, old, new)`` is a copy of a file of deploy/ with one thing changed."""

    def make(name, old, new):
        text = (DEPLOY / name).read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {name}"
        copy = tmp_path / Path(name).name
        copy.write_text(text.replace(old, new, 1))
        return copy

    return make


@pytest.fixture
def _processes():
    processes = Processes()
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture
def serve(_processes):
    """``serve([command, …], port=…)`` starts a server and waits for it; see Processes.serve."""
    return _processes.serve


@pytest.fixture
def serve_app(_processes):
    """``serve_app("apps.hello:app", server=…, workers=…)``; see Processes.serve_app."""
    return _processes.serve_app


@pytest.fixture
def serve_example(serve):
    """``serve_example("plain_asgi:app", …)`` runs an example with ``sse-edge serve``."""
    return lambda app="plain_asgi:app", *options, **more: examples.serve_example(serve, app, *options, **more)


@pytest.fixture(scope="session")
def scripted_server():
    """One apps.scripted for the whole session; ``scripted`` gives it to a test fresh."""
    processes = Processes()
    try:
        yield Scripted(processes.serve_app("apps.scripted:app"))
    finally:
        processes.close()


@pytest.fixture
def scripted(scripted_server, page):
    """A server that answers as it is told, and the browser on its page."""
    scripted_server.fresh()
    page.get(scripted_server.url)
    return scripted_server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost and 127.0.0.1: paths of certificate and key."""
    return issue_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def behind(serve, serve_app, certificate, redis_url, tmp_path_factory):
    """``behind("nginx", apps=2, env=…, **values)``: apps.edge behind a proxy with the shipped file, a Site.

    The other kinds are ``caddy``, Debian's like that, ``new nginx``, ``new caddy``, and ``nginx http1``; or
    it is a class like theirs.
    ``values`` replace marked values besides those that every test needs replaced.
    """

    def start(kind, *, apps=2, app="apps.edge:edge", env=None, unix=False, **values):
        make = ALL.get(kind, kind)
        directory = tmp_path_factory.mktemp(make.kind)
        env = {"BACKEND": redis_url, "TRUSTED": "unix" if unix else "127.0.0.1/32", **(env or {})}
        sockets = [str(directory / f"{number}.sock") if unix else None for number in range(apps)]
        processes = [serve_app(app, env=env, unix=socket) for socket in sockets]
        places = [f"unix:{each.unix}" if unix else f"127.0.0.1:{each.port}" for each in processes]
        proxy = make(directory, certificate, places, values)
        proxy.start(serve)
        return Site(proxy, processes)

    return start


@pytest.fixture(scope="session")
def idle_streams(certificate, tmp_path_factory):
    """Streams through both proxies that nothing is published to until a test does; see IdleStreams."""
    streams = IdleStreams(tmp_path_factory.mktemp, certificate)
    try:
        yield streams
    finally:
        streams.close()


@pytest.fixture
async def connect():
    """``await connect(url, …)`` opens a stream that the end of the test closes; see StreamClient.connect."""
    clients = []

    async def open_stream(url, **options):
        clients.append(await StreamClient.connect(url, **options))
        return clients[-1]

    yield open_stream
    for client in clients:
        client.abort()
    for client in clients:
        await client.aclose()


@pytest.fixture
async def stream(connect):
    """``await stream(site, …)`` opens a stream through a proxy and waits until it has its place."""

    async def open_stream(site, path="/events/me", placed=True, **options):
        options = {"cookies": COOKIES, "timeout": PATIENCE, **options}
        client = await connect(f"{site.url}{path}", ssl=site.ssl, **options)
        async with asyncio.timeout(PATIENCE):
            while placed and not client.last_event_id:
                assert not client.over, bytes(client.raw)
                await asyncio.sleep(0.01)
        return client

    return open_stream


@pytest.fixture(scope="module")
def loops():
    """The event loops that servers of a module's tests run on; see ``sinks``."""
    with contextlib.closing(Loops()) as loops:
        yield loops


@pytest.fixture(scope="module")
def unix(tmp_path_factory):
    """Where those servers have their unix sockets."""
    return tmp_path_factory.mktemp("unix")


@pytest.fixture
def uncomplaining(caplog):
    """No sink makes uvicorn complain, unless a test says so by taking its complaints."""
    yield
    assert complaints(caplog) == []


@pytest.fixture
async def asgi():
    """``asgi(app, path, …)`` makes an ASGIClient; no two of a test may get the same message object."""
    ledger = Ledger()
    clients = []

    def make(app, path="/", **options):
        clients.append(ASGIClient(app, path, ledger=ledger, **options))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def lifespan():
    """``lifespan(app)`` makes a LifespanDriver, cancelled at the end if it is still there."""
    drivers = []

    def make(app):
        drivers.append(LifespanDriver(app))
        return drivers[-1]

    yield make
    for driver in drivers:
        await driver.close()


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for the whole session."""
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def page(browser):
    """A fresh tab without cookies, as a selenium driver; all its connections end with the test."""
    page = browser.open_page()
    try:
        yield page
    finally:
        browser.close_page()


@pytest.fixture(scope="session")
def firefox():
    """One headless Firefox for the whole session."""
    firefox = Firefox()
    try:
        yield firefox
    finally:
        firefox.close()


@pytest.fixture(params=["chromium", pytest.param("firefox", marks=pytest.mark.heavy)])
def tabs(request):
    """Either browser, without cookies: ``tabs.open(url)`` is a tab, and as many more as one likes.

    Firefox with ``--heavy``; without, it is asked what all clients are asked, by test_clients.
    """
    browser = request.getfixturevalue("browser" if request.param == "chromium" else "firefox")
    browser.fresh()
    try:
        yield browser
    finally:
        browser.fresh()
