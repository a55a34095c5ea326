"""What works in each framework: the table of docs/FRAMEWORKS.md, each of whose cells is found by a test."""

import ast
import asyncio
import json
import re
import ssl
import sys

import pytest

from apps import mounted, passing
from apps.edge import AUTH
from servers.browser import wait_for
from servers.examples import EXAMPLES, serve_example
from servers.processes import TESTS, free_port
from servers.sse import get
from servers.table import Table

DOCS = TESTS.parent / "docs"
EXAMPLE = {
    "FastAPI": "fastapi_app",
    "Starlette": "starlette_app",
    "Litestar": "litestar_app",
    "Quart": "quart_app",
    "Django": "django_asgi",
    "Flask": "flask_nginx/run.py",
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def table(pytestconfig):
    """The page's table, of what works."""
    return Table(DOCS / "FRAMEWORKS.md", "works", writing=pytestconfig.getoption("--tables"))


@pytest.fixture
def example(serve, redis_url, tmp_path):
    """``example("Quart")`` runs a framework's example as its first lines say; its url."""

    def run(framework, *options):
        name = EXAMPLE[framework]
        env = {
            "REDIS": redis_url,
            "SECRET": "a secret of the tests",
            "DATABASE": str(tmp_path / "db.sqlite3"),
        }
        if framework == "Flask":
            port = free_port()
            serve([sys.executable, EXAMPLES / name], port=port, env={**env, "PORT": str(port)}, timeout=30)
            return f"https://localhost:{port}"
        if framework == "Django":
            assert serve([sys.executable, EXAMPLES / f"{name}.py"], env=env).wait() == 0
        return serve_example(serve, name, *options, env=env).url

    return run


class User:
    """Somebody who uses an example: asks with the cookie that it was given."""

    def __init__(self, url):
        self.url = url
        # The certificate of the example was made by itself, a moment ago.
        self.ssl = ssl._create_unverified_context() if url.startswith("https") else None
        self.cookie = ""

    @property
    def _headers(self):
        return {"Cookie": self.cookie} if self.cookie else {}

    async def get(self, path):
        return await get(self.url + path, headers=self._headers, ssl=self.ssl)

    async def post(self, path, **content):
        headers = {"Content-Type": "application/json", **self._headers}
        body = json.dumps(content).encode()
        answer = await get(self.url + path, method="POST", headers=headers, body=body, ssl=self.ssl)
        if answer.status < 300 and answer.header("set-cookie"):
            self.cookie = answer.header("set-cookie").partition(";")[0]
        return answer

    async def listen(self, connect, path="/events/me"):
        stream = await connect(self.url + path, headers=self._headers, ssl=self.ssl)
        assert stream.status == 200
        return stream


@pytest.mark.parametrize("framework", EXAMPLE)
async def test_example(framework, example, connect, table):
    """Nobody listens or publishes without the framework's own session; a message reaches its user, or all."""
    url = example(framework)
    stranger, ann, ben = User(url), User(url), User(url)
    assert b"EventSource" in (await stranger.get("/")).body
    assert (await stranger.get("/events/me")).status == 401
    assert (await stranger.post("/publish", text="x")).status == 401
    assert (await stranger.post("/login", user="a:b")).status == 422
    await ann.post("/login", user="ann")
    await ben.post("/login", user="ben")
    stranger.cookie = ann.cookie[:-4] + "AAAA"
    assert (await stranger.get("/events/me")).status == 401
    hers, his = await ann.listen(connect), await ben.listen(connect)
    await ann.post("/publish", text="for Ben", to="ben")
    answer = await ann.post("/publish", text="for all")
    assert [json.loads(event.data)["text"] for event in await his.take(2)] == ["for Ben", "for all"]
    event = await hers.next()
    assert json.loads(event.data) == {"from": "ann", "text": "for all"}
    assert json.loads(answer.body) == {"id": event.id}
    table.holds(framework, "its own session opens a stream", "yes")

    elsewhere = User(url)  # the same user's other session
    await elsewhere.post("/login", user="ann")
    other, old = await elsewhere.listen(connect), ann.cookie
    async with asyncio.timeout(1):
        assert (await ann.post("/logout")).status == 204
        assert json.loads((await hers.next()).data) == {"reason": "revoked"}
        await hers.ended()
    ann.cookie = old
    assert (await ann.get("/events/me")).status == 401
    await ben.post("/publish", text="for Ann", to="ann")
    assert json.loads((await other.next()).data)["text"] == "for Ann"
    table.holds(framework, "revoked, it ends within a second, and opens none", "yes")


@pytest.mark.parametrize("framework", ["FastAPI", pytest.param("Flask", marks=pytest.mark.heavy)])
def test_example_in_a_browser(framework, example, page):
    """Chromium keeps the cookie, here without TLS too, and shows messages until the session ends."""
    page.get(example(framework) + "/")
    for form, values in (("login", {"user": "ann"}), ("publish", {"text": "hello"})):
        for name, value in values.items():
            page.find_element("css selector", f"#{form} [name={name}]").send_keys(value)
        page.find_element("css selector", f"#{form} button").click()
        wait_for(page, "document.getElementById('state').textContent === 'Listening.'")
    wait_for(page, "list.textContent === 'ann: hello'")
    page.find_element("css selector", "#logout button").click()
    wait_for(page, "document.getElementById('state').textContent.endsWith('revoked.')")
    wait_for(page, "stream.readyState === EventSource.CLOSED")


async def test_django_tells_of_an_order_when_it_is_committed(example, connect):
    """Whoever the ORM says owns an order hears of it, on each worker; others are refused."""
    url = example("Django", "--workers", 2)
    ann, ben = User(url), User(url)
    await ann.post("/login", user="ann")
    await ben.post("/login", user="ben")
    order = json.loads((await ann.post("/orders")).body)["order"]
    streams = [await ann.listen(connect, f"/events/orders/{order}") for _ in range(4)]
    assert (await ben.get(f"/events/orders/{order}")).status == 403
    assert (await ben.post(f"/orders/{order}/ship")).status == 404
    assert (await ann.post(f"/orders/{order}/ship")).status == 200
    for stream in streams:
        event = await stream.next()
        assert (event.event, json.loads(event.data)) == ("state", {"order": order, "state": "shipped"})


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.heavy)])
async def test_celery(serve, redis_url, connect, pool):
    """A task publishes from a worker of each pool, up to its end."""
    env = {"REDIS": redis_url}
    worker = [sys.executable, "-m", "celery", "--workdir", EXAMPLES, "-A", "celery_app:worker", "worker"]
    serve([*worker, "--pool", pool, "--concurrency", "2"], env=env)
    url = serve_example(serve, "celery_app", env=env).url
    answer = await get(f"{url}/reports", method="POST", body=b"")
    page = answer.header("location")
    assert b"EventSource" in (await get(url + page)).body
    stream = await connect(f"{url}/events{page}")
    event = await stream.until(lambda event: event.event == "complete", timeout=20)
    assert event.data == '<progress max="100" value="100"></progress> 100 %'
    assert sum(event.event == "progress" for event in stream.events) > 10
    assert await stream.ended()


# ---- what wraps, and what is wrapped


async def say(app, text):
    """Open a WebSocket at /echo, say something, and what comes back."""
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/echo",
        "raw_path": b"/echo",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
    }
    heard, said = [], asyncio.Queue()
    for message in ({"type": "websocket.connect"}, {"type": "websocket.receive", "text": text}):
        said.put_nowait(message)

    async def send(message):
        heard.append(message)
        if message["type"] == "websocket.send":
            said.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async with asyncio.timeout(5):
        await app(scope, said.get, send)
    return [message["text"] for message in heard if message["type"] == "websocket.send"]


@pytest.mark.parametrize("framework", passing.FRAMEWORKS)
async def test_wrapped(framework, lifespan, table):
    """An app keeps its WebSockets, and is told of the server's start and end."""
    passing.LIFE.clear()
    app = passing.wrapped(framework)
    driver = lifespan(app)
    await driver.startup()
    assert passing.LIFE == ["started"]
    assert await say(app, "hello") == ["hello"]
    await driver.shutdown()
    assert passing.LIFE == ["started", "stopped"]
    table.holds(framework, "wrapped, it keeps WebSockets and lifespan", "yes")


@pytest.mark.parametrize("framework", passing.FRAMEWORKS)
async def test_inside(framework, asgi, table):
    """The edge as one of the framework's own middlewares: Litestar asks those only where it has a route."""
    app = passing.inside(framework)
    client = asgi(app, "/events/me", headers={"cookie": f"session={passing.AUTH.issue('u42')}"})
    status = (await client.start())[0]
    table.holds(framework, "the edge as its middleware", {200: "yes", 404: "404"}[status])
    if status == 200:
        await client.wait_for(b"\nid: ")
    client.disconnect()
    await client.ended()


@pytest.mark.parametrize("framework", ["FastAPI", "Starlette", "Litestar"])
async def test_mounted(framework, asgi, table):
    """The edge mounted in the app, at its own path."""
    app = getattr(mounted, framework.lower())
    client = asgi(app, "/events/me", headers={"cookie": f"session={AUTH.issue('u42')}"})
    table.holds(framework, "the edge mounted in it", "yes" if (await client.start())[0] == 200 else "no")
    await client.wait_for(b"\nid: ")


@pytest.mark.parametrize(
    ("app", "server", "said"),
    [
        ("apps.edge:edge", "uvicorn", "streams take their connections over from uvicorn"),
        ("apps.mounted:starlette", "uvicorn", "streams go through the middlewares around"),
        ("apps.edge:edge", "hypercorn", "streams go through the server's send"),
    ],
)
async def test_the_log_says_what_is_around(serve_app, connect, monkeypatch, app, server, said):
    """The first stream of a worker says how events go out, and no other does."""
    monkeypatch.setenv("SSE_EDGE_SINK", "auto")
    process = serve_app(app, server=server)
    for _ in range(2):
        stream = await connect(f"{process.url}/events/me", cookies={"session": AUTH.issue("u42")})
        assert stream.status == 200
    process.wait_for_log(said)
    assert len(re.findall("streams (take|go)", process.log)) == 1


# ---- what is silent


RUNSERVER = """
import sys
from django.conf import settings
sys.path.insert(0, "examples")
import django_asgi
from django.core.management import call_command
{before}
call_command("runserver", "--noreload", "127.0.0.1:{port}")
"""
DAPHNE = """
from django.apps import apps
settings.ASGI_APPLICATION = "django_asgi.app"
settings.INSTALLED_APPS = ["daphne", *settings.INSTALLED_APPS]
apps.set_installed_apps(settings.INSTALLED_APPS)
"""
DJANGO_CLIENT = """
import asyncio, sys
sys.path.insert(0, "examples")
import django_asgi
from django.test import AsyncClient
print(asyncio.run(AsyncClient().get("/events/me", headers={"host": "localhost"})).status_code)
"""


@pytest.fixture
def project(tmp_path):
    """The environment of the Django example, in memory."""
    return {"SECRET": "a secret of the tests", "DATABASE": str(tmp_path / "db.sqlite3"), "REDIS": "memory://"}


@pytest.mark.parametrize(("before", "status"), [("", 404), (DAPHNE, 401)], ids=["alone", "daphne"])
async def test_runserver(serve, project, before, status):
    """Django's development server has streams only where daphne makes it one of ASGI."""
    port = free_port()
    code = RUNSERVER.format(before=before, port=port)
    serve([sys.executable, "-c", code], port=port, env=project, cwd=TESTS.parent)
    assert (await get(f"http://127.0.0.1:{port}/events/me")).status == status


def test_djangos_test_client(serve, project):
    """Django's own test client asks Django, and not what is around it."""
    client = serve([sys.executable, "-c", DJANGO_CLIENT], env=project, cwd=TESTS.parent)
    assert client.wait() == 0
    assert client.log.split()[-1] == "404"


def test_the_page_says_what_was_found(table):
    """Its table is that of the results, and what it shows is Python."""
    assert table.is_written
    blocks = re.findall(r"```python\n(.*?)```", table.page.read_text(), re.DOTALL)
    assert len(blocks) == 1
    for block in blocks:
        ast.parse(block)
