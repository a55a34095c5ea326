"""A drain and the requests that are not let in yet: they are refused, whatever they wait for."""

import asyncio
import itertools
import json
import signal
import threading
import time
import uuid

import pytest

from servers.sse import Decoder, get
from sse_edge import Anonymous, Channel, Identity, Limits, Source, SSEMiddleware

PLACES = ["identify", "channels", "authorize", "greeting", "source"]


class Slow:
    """Functions for each place that wait: in a thread, or async, and then not all heed a cancellation."""

    def __init__(self, how):
        self.how = how
        self.waiting = 0
        self.free = threading.Event()

    def sync(self, *args):
        self.waiting += 1
        self.free.wait(60)

    async def polite(self, *args):
        self.waiting += 1
        await asyncio.Event().wait()

    async def stubborn(self, *args):
        """Swallows it, and goes on as if nothing were."""
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return True

    async def deaf(self, *args):
        self.waiting += 1
        while not self.free.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    def settings(self, place):
        """Settings of an edge that waits in a place."""
        wait = getattr(self, self.how)
        made = {"auth": Anonymous(), "channels": {"/events/x": "x"}}
        if place == "identify":
            made["auth"] = type(
                "Users", (), {"blocking": self.how == "sync", "identify": staticmethod(wait)}
            )()
        elif place == "channels":
            made["channels"] = {"/events/x": wait}
        elif place == "authorize":
            made["auth"] = Named()
            made["channels"] = {"/events/{name}": ["a:{name}", "b:{name}"]}
            made["authorize"] = wait
        elif place == "greeting":
            made["channels"] = {"/events/x": Channel("x", greeting=wait)}
        else:
            made["channels"] = {"/events/x": Source(wait)}
        return made


class Named:
    """Everybody is u1."""

    def identify(self, request, now):
        return Identity("u1")


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr("sse_edge.admission.callback.PATIENCE", 0.2)
    made = []

    def make(how):
        made.append(Slow(how))
        return made[-1]

    yield make
    for one in made:
        one.free.set()


@pytest.fixture
async def edge():
    made = []

    def make(**settings):
        limits = Limits(per_user=5, per_ip=5, connects_per_ip=None)
        settings = {"backend": f"memory://{uuid.uuid4().hex}", "limits": limits, **settings}
        made.append(SSEMiddleware(hosts=["testserver"], **settings))
        return made[-1]

    yield make
    for middleware in made:
        await middleware.stop()


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def holds(middleware):
    hub = middleware._worker.hub
    leases = [middleware._leases.count(subject) for subject in ("user:u1", "ip:127.0.0.1")]
    return len(hub.streams), hub._feeds, len(hub._clock._wheel._buckets), leases, hub.opened


@pytest.mark.parametrize("how", ["polite", "sync", "stubborn", "deaf"])
@pytest.mark.parametrize("place", PLACES)
async def test_refused_at_once(edge, asgi, slow, place, how):
    """Whatever function of the application's a request waits for, a drain refuses it, and nothing of it is
    left; one that swallows its cancellation has a second."""
    wait = slow(how)
    middleware = edge(**wait.settings(place))
    kinds = {
        "stream": asgi(middleware, "/events/x", headers={"accept": "text/event-stream"}),
        "status": asgi(middleware, "/events/x"),
        "poll": asgi(middleware, "/events/x", query="poll=60"),
    }
    if place == "source":
        del kinds["poll"]
    for client in kinds.values():
        client.open()
    await eventually(lambda: wait.waiting == len(kinds))
    began = time.monotonic()
    await asyncio.wait_for(middleware.drain(10), 20)
    assert time.monotonic() - began < 5
    for kind, client in kinds.items():
        await client.ended()
        if kind == "stream":
            (event,) = Decoder().feed(client.body())
            assert (client.status, event.event) == (200, "edge-refused")
            assert json.loads(event.data)["error"] == "draining"
        else:
            assert (client.status, json.loads(client.body())["error"]) == (503, "draining")
    assert middleware.refusals == {"draining": len(kinds)}
    assert holds(middleware) == (0, {}, 0, [0, 0], 0)
    assert middleware.figures()["endings"] == {}


async def test_the_edge_is_stopped(edge, asgi, slow):
    """Who waits when the edge is stopped is refused likewise."""
    wait = slow("polite")
    middleware = edge(**wait.settings("authorize"))
    client = asgi(middleware, "/events/x").open()
    await eventually(lambda: wait.waiting)
    await middleware.stop()
    await client.ended()
    assert (client.status, json.loads(client.body())["error"]) == (503, "draining")


class At:
    """Awaits something, and calls ``then`` at its ``n``-th suspension."""

    def __init__(self, awaitable, n, then):
        self.awaitable = awaitable
        self.left = n
        self.then = then

    def __await__(self):
        steps, error = self.awaitable.__await__(), None
        while True:
            try:
                waits = steps.send(None) if error is None else steps.throw(error)
            except StopIteration:
                return
            self.left -= 1
            if self.left == 0:
                self.then()
            try:
                error = None
                yield waits
            except BaseException as thrown:  # noqa: BLE001 - to be thrown into what is awaited
                error = thrown


@pytest.mark.live
async def test_drained_at_every_await(edge, asgi, redis_url):
    """A drain at whichever of its awaits refuses a request or ends its stream, and leaves nothing behind."""

    async def greeting(request, identity):
        await asyncio.sleep(0)
        return "hello"

    async def yes(identity, channel):
        await asyncio.sleep(0)
        return True

    answers = []
    while not answers or answers[-1] != "not drained":
        channels = {"/events/{name}": Channel("{name}", greeting=greeting)}
        middleware = edge(backend=redis_url, auth=Named(), authorize=yes, channels=channels)
        await middleware.start()
        hub, drains = middleware._worker.hub, []
        async with asyncio.timeout(10):
            while not (hub.subscriber.connected and middleware._worker.control.is_informed):
                await asyncio.sleep(0.005)

        async def served(
            scope,
            receive,
            send,
            middleware=middleware,
            drain=lambda m=middleware, d=drains: d.append(asyncio.ensure_future(m.drain(0))),
        ):
            await At(middleware(scope, receive, send), len(answers) + 1, drain)

        client = asgi(served, "/events/x", headers={"accept": "text/event-stream"}).open()
        while not drains and "hello" not in client.body().decode():
            await asyncio.sleep(0.005)
        if drains:
            await client.ended()
            answers.append(Decoder().feed(client.body())[-1].event)
        else:
            client.disconnect()
            await client.ended()
            answers.append("not drained")
        await asyncio.gather(*drains)
        assert holds(middleware)[:4] == (0, {}, 0, [0, 0]), answers
    kinds = [kind for kind, _ in itertools.groupby(answers)]
    assert kinds == ["edge-refused", "edge-close", "not drained"]
    assert answers.count("edge-refused") >= 3  # authorize, leases, greeting


SERVERS = {
    "uvicorn": ({"server": "uvicorn"}, -signal.SIGTERM),
    "uvicorn, task": ({"server": "uvicorn", "env": {"SSE_EDGE_SINK": "task"}}, -signal.SIGTERM),
    "sse-edge serve": ({"server": "sse-edge serve"}, 0),
    "gunicorn asgi": ({"server": "gunicorn", "options": ["-k", "asgi"]}, 0),
    "granian": ({"server": "granian"}, 0),
    "daphne": ({"server": "daphne"}, 0),
}
PENDING = ["wait/authorize", "wait/deaf", "channels", "greeting", "source"]


@pytest.mark.parametrize("name", SERVERS)
async def test_sigterm(serve_app, connect, name):
    """At SIGTERM a server answers what waits, and what publishes, and exits soon and quietly."""
    server, code = SERVERS[name]
    process = serve_app("apps.pending:edge", **server)
    opened = await connect(f"{process.url}/events/news")
    paths = [(path, {}) for path in PENDING] + [("news", {"wait": "yes"})]
    asked = [
        asyncio.create_task(get(f"{process.url}/events/{path}", headers=headers)) for path, headers in paths
    ]
    token = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    body = json.dumps({"channel": "news", "data": "hi"}).encode()
    published = asyncio.create_task(get(f"{process.url}/publish", method="POST", headers=token, body=body))
    async with asyncio.timeout(10):
        while json.loads((await get(f"{process.url}/figures")).body)["pending"] < len(paths) + 1:
            pass
    process.signal(signal.SIGTERM)
    began = time.monotonic()
    for task in asked:
        (refused,) = Decoder().feed((await task).body)
        assert (refused.event, json.loads(refused.data)["error"]) == ("edge-refused", "draining")
    assert (await published).status == 200
    goodbye = await opened.until(lambda event: event.event == "edge-close")
    assert goodbye.data == '{"reason": "drain"}'
    assert await process.exited(10) == code
    assert time.monotonic() - began < 5
    assert "Traceback" not in process.log
    assert "ERROR" not in process.log
