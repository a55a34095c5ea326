"""What an installed sse_edge must do: run by the Python of an environment that has nothing else.

    smoke.py NAME [ARGUMENT]    a name of CHECKS: an extra, or what is there without one

It ends with an error where something does not work.
"""

import asyncio
import contextlib
import importlib
import importlib.metadata
import json
import os
import pkgutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SECRET = "9a1e5f3c7b2d48e6a0c4f8b1d5e97362"
VERSION = importlib.metadata.version("sse_edge")
COMMAND = Path(sys.executable).with_name("sse-edge")
PUBLIC = (
    "sse_edge",
    "sse_edge.cookies",
    "sse_edge.htmx",
    "sse_edge.testing",
    "sse_edge.tokens",
)
OTHERS = {
    "pytest": "sse_edge.testing.plugin",
    "django": "sse_edge.django",
    "jwt": "sse_edge.admission.bearer.keys",
    "h11": "sse_edge.doctor.",
    "uvicorn": "sse_edge.cli.",
}
"""What does not come by itself, and the only modules that may miss it when they are imported."""


def run(*arguments: object, code: int = 0) -> str:
    """What a program says; it ends with ``code``."""
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


@contextlib.contextmanager
def running(*arguments: object, url: str) -> Iterator[None]:
    """While a server answers at ``url``."""
    with subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 60
            while True:
                assert process.poll() is None, arguments
                try:
                    urllib.request.urlopen(url, timeout=10).close()
                    break
                except urllib.error.URLError:
                    assert time.monotonic() < until, f"{url} does not answer"
                    time.sleep(0.1)
            yield
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def bare() -> None:
    """What needs no extra."""
    import sse_edge

    for name in PUBLIC:
        module = importlib.import_module(name)
        assert all(hasattr(module, each) for each in getattr(module, "__all__", ()))
    for found in pkgutil.walk_packages(sse_edge.__path__, "sse_edge."):
        try:
            importlib.import_module(found.name)
        except Exception as error:
            missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
            assert isinstance(missing, ModuleNotFoundError), (found.name, error)
            assert found.name.startswith(OTHERS.get(missing.name or "", "?")), (found.name, error)
    asyncio.run(hear())
    assert run(COMMAND, "--version") == f"sse-edge, version {VERSION}\n"
    for proxy in ("nginx", "caddy"):
        run(COMMAND, "tune", "--connections", 1000, "--proxy", proxy, "--write", proxy)
    written = {path.name for path in (*Path("nginx").iterdir(), *Path("caddy").iterdir())}
    assert {"nginx.conf", "Caddyfile", "sse-edge@.service", "sysctl.conf", "redis.conf"} <= written, written
    assert len(run(COMMAND, "token", "u1", "--secret", SECRET)) > 40


def lacking() -> None:
    """A command that needs an extra names it."""
    assert "sse_edge[server]" in run(COMMAND, "demo", code=1)
    assert "sse_edge[doctor]" in run(COMMAND, "doctor", "http://127.0.0.1:1/events/me", code=1)


async def hear() -> None:
    """An event is published and heard."""
    from sse_edge import Event, Publisher, SignedCookie, SSEMiddleware
    from sse_edge.testing import client

    edge = SSEMiddleware(None, auth=SignedCookie(SECRET), channels={"/events/me": "user:{user}"})
    async with client(edge, user="u1") as page, page.stream("/events/me") as stream:
        events = Publisher(edge.backend)
        await events.publish("user:u1", json={"n": 1}, event="number")
        heard = await stream.next(timeout=10)
        assert (heard.event, heard.json()) == ("number", {"n": 1})
    assert Event("a").data == "a"


def server() -> None:
    """The demo: its page, its client, and a stream of somebody who has signed in."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with running(COMMAND, "demo", "--port", port, "--secret", SECRET, url=url):
        page = urllib.request.urlopen(url, timeout=10).read().decode()
        assert "<title>" in page
        for part in ("page.css", "page.js", "icon.svg", "events/sse-edge.js"):
            assert len(urllib.request.urlopen(f"{url}/{part}", timeout=10).read()) > 100, part
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        own = [("Sec-Fetch-Site", "same-origin"), ("Origin", url)]
        opener.addheaders = own
        opener.open(f"{url}/sign-in", data=b"user=alice", timeout=10).close()
        with opener.open(f"{url}/events/me", timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            opener.open(f"{url}/publish", data=b"to=everyone&text=Is+this+heard", timeout=10).close()
            while "Is this heard" not in (line := stream.readline().decode()):
                assert line, "the stream ended"


def metrics() -> None:
    """Figures for Prometheus."""
    from sse_edge import Anonymous, SSEMiddleware
    from sse_edge.testing import client

    async def scrape() -> None:
        edge = SSEMiddleware(None, auth=Anonymous(), channels={"/events/all": "all"}, status_path="/status")
        async with client(edge) as page:
            assert "sse_edge_streams 0" in (await page.get("/status/metrics")).text

    asyncio.run(scrape())


def orjson() -> None:
    """JSON is written by orjson, as the same text."""
    from sse_edge import Event, jsontext

    assert Event(json={"ä": [1.5, None]}).data == '{"ä":[1.5,null]}'
    assert "orjson" in sys.modules, jsontext


def jwt() -> None:
    """A token lets in whom it names."""
    import jwt as pyjwt

    from sse_edge import SSEMiddleware
    from sse_edge.testing import client
    from sse_edge.tokens import BearerJWT

    async def enter() -> None:
        auth = BearerJWT(SECRET, algorithms=["HS256"], audience="a")
        edge = SSEMiddleware(None, auth=auth, channels={"/events/me": "user:{user}"})
        token = pyjwt.encode({"sub": "u1", "aud": "a", "exp": int(time.time()) + 60}, SECRET, "HS256")
        async with (
            client(edge, headers={"Authorization": f"Bearer {token}"}) as page,
            page.stream("/events/me"),
        ):
            pass

    asyncio.run(enter())


def otel() -> None:
    """Who publishes has a span, where the application has a tracer."""
    from opentelemetry import trace

    from sse_edge import Publisher

    names: list[str] = []

    class Provider(trace.TracerProvider):
        def get_tracer(self, *arguments: object, **options: object) -> trace.Tracer:
            return Tracer()

    class Tracer(trace.NoOpTracer):
        def start_span(self, name: str, *arguments: object, **options: object) -> trace.Span:
            names.append(name)
            return trace.INVALID_SPAN

    async def publish() -> None:
        async with Publisher("memory://") as events:
            await events.publish("order:7", "a")

    trace.set_tracer_provider(Provider())
    asyncio.run(publish())
    assert names == ["publish order:*"], names


def doctor(server: str) -> None:
    """The doctor finds the demo, run by another environment's command, in order."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with running(server, "demo", "--port", port, "--secret", SECRET, url=url):
        said = json.loads(run(COMMAND, "doctor", f"{url}/events/me", "--secret", SECRET, "--json"))
    assert len(said["findings"]) > 10
    assert not [each for each in said["findings"] if each["level"] in ("warning", "failure")], said


def plugin() -> None:
    """pytest finds the fixtures without being told."""
    Path("test_it.py").write_text(
        "from sse_edge import SyncPublisher\n"
        "def test_it(sse_recorder):\n"
        "    with SyncPublisher('memory://') as events:\n"
        "        events.publish('a', 'b')\n"
        "    assert [each.data for each in sse_recorder.on('a')] == ['b']\n"
    )
    assert "1 passed" in run(sys.executable, "-m", "pytest", "-q")


def django() -> None:
    """What is published in a transaction is out when there is none."""
    from django.conf import settings

    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    from sse_edge import SyncPublisher
    from sse_edge.django import on_commit
    from sse_edge.testing import recorder

    with recorder() as published, SyncPublisher("memory://") as events:
        on_commit(events.publish)("a", "b")
        assert [each.data for each in published.on("a")] == ["b"]


def loadtest(source: str) -> None:
    """The load tests of the source tree begin."""
    os.chdir(source)
    assert "usage" in run(sys.executable, "-m", "loadtest", "--help").lower()


def bench(source: str) -> None:
    """The benchmark of the source tree begins."""
    os.chdir(source)
    assert "usage" in run(sys.executable, "-m", "loadtest.bench", "--help").lower()


CHECKS = {
    each.__name__: each
    for each in (bare, lacking, server, metrics, orjson, jwt, otel, doctor, plugin, django, loadtest, bench)
}

if __name__ == "__main__":
    CHECKS[sys.argv[1]](*sys.argv[2:])
