"""``sse_edge.testing``: streams of an app within its process, for tests of one's own app."""

import asyncio
import contextlib
import gc
import itertools
import threading
import warnings
from functools import partial
from urllib.parse import parse_qsl

import pytest
from fastapi import BackgroundTasks, FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from sse_edge import (
    Anonymous,
    AnyOf,
    Channel,
    ConfigError,
    Event,
    Identity,
    Limits,
    MemoryBackend,
    Publisher,
    SignedCookie,
    Source,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.cookies import DjangoSession, FlaskSession, StarletteSession
from sse_edge.testing import RefusedError, StreamEndedError, client, sync_client
from sse_edge.testing.decoder import Decoder, Received
from sse_edge.testing.edges import edges
from sse_edge.tokens import BearerJWT

AUTH = SignedCookie("3c9f5b1e7a2d48e6b0c4f8a1d5e97263", name="edge")
CHANNELS = {
    "/events/me": "user:{user}",
    "/events/orders/{id}": "order:{id}",
    "/events/mine": ["user:{user}", Channel("news", compress=True)],
    "/events/news": Channel("news", compress=True),
}


STREAM = [(b"content-type", b"text/event-stream")]


def edge(app=None, **options):
    """An edge in memory, with a backend of its own."""
    return SSEMiddleware(app, **{"backend": MemoryBackend(), "auth": AUTH, "channels": CHANNELS, **options})


async def test_events_resets_and_the_end_of_a_stream():
    """Events are given in order, and what the edge says of the stream is seen beside them."""
    app = edge()
    events = Publisher(app.backend)
    async with client(app, user="u1") as c, c.stream("/events/me", after="5-5.abcde") as stream:
        assert (stream.status, stream.header("Content-Type")) == (200, "text/event-stream; charset=utf-8")
        one = await events.publish("user:u1", "a\nb", event="status")
        two = await events.publish("user:u1", json={"n": 1})
        first, second = await stream.take(2)
        assert first == Received("a\nb", "status", one)
        assert (second.id, second.event, second.json()) == (two, "message", {"n": 1})
        assert stream.last_event_id == two
        assert stream.retry >= 1000
        assert stream.resets == [("user:u1", "epoch")]
        assert (stream.dropped, stream.ending) == ([], None)
        await events.finish("user:u1", "last")
        assert [event.data async for event in stream] == ["last"]
        assert stream.ending == "finished"
        with pytest.raises(StreamEndedError, match="/events/me ended as finished before an event") as ended:
            await stream.next()
        assert ended.value.reason == "finished"
        with pytest.raises(StreamEndedError):
            await stream.none(0)
    assert stream.ending == "finished"


async def test_the_edges_own_events_are_given_to_who_asks():
    """With edge_events they are events as any other, and noted all the same."""
    app = edge()
    async with client(app, user="u1") as c:
        async with c.stream("/events/me", after="5-5.abcde", edge_events=True) as stream:
            assert (await stream.next()).event == "edge-reset"
            app.disconnect(user="u1")
            assert await stream.ended() == "revoked"
            assert (await stream.next()).json() == {"reason": "revoked"}
        assert stream.resets == [("user:u1", "epoch")]


async def test_too_late_and_too_much():
    """What does not come in time, and what comes where there was to be silence, is said with the path."""
    app = edge()
    async with client(app, user="u1", timeout=0.05) as c, c.stream("/events/me") as stream:
        with pytest.raises(TimeoutError, match=r"/events/me: waited 0.05 s for an event; status 200$"):
            await stream.next()
        await Publisher(app.backend).publish("user:u1", "x")
        with pytest.raises(TimeoutError, match=r"waited 0.01 s for 2 events; status 200, 1 not taken"):
            await stream.take(2, timeout=0.01)
        with pytest.raises(AssertionError, match=r"was to be silent for 0.1 s, and gave Received\(data='x'"):
            await stream.none()
        await stream.none(0.01)
        with pytest.raises(TimeoutError, match="the end of the stream"):
            await stream.ended(0.01)


async def test_to_leave_the_block_is_to_leave_the_stream():
    """Its slot is free and the stream gone when the block is left, also where the test failed in it."""
    app = edge(limits=Limits(per_user=1))
    async with client(app, user="u1") as c:
        for _ in range(5):
            async with c.stream("/events/me"):
                assert app.figures()["streams"] == 1
                with pytest.raises(RefusedError) as refused:
                    async with c.stream("/events/me"):
                        pytest.fail("the user has one stream already")
                assert (refused.value.status, refused.value.code) == (429, "user-limit")
            assert app.figures()["streams"] == 0
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/events/me"):
                raise ZeroDivisionError
        assert app.figures()["endings"] == {"client-gone": 6}


async def test_streams_that_are_still_open_end_with_the_client():
    """Also one that was opened without a block."""
    app = edge()
    async with client(app, user="u1") as c:
        stream = await c.stream("/events/me").__aenter__()
        assert app.figures()["streams"] == 1
    assert app.figures()["streams"] == 0
    with pytest.raises(StreamEndedError):
        await stream.next()


@pytest.mark.parametrize("refusals", ["auto", "status", "stream"])
@pytest.mark.parametrize(
    ("full", "path", "status", "code"),
    [
        (True, "/events/me", 503, "worker-full"),
        (False, "/events/orders/7", 403, "forbidden"),
        (False, "/events/other", 404, "not-found"),
    ],
)
async def test_a_refusal_is_raised_with_its_status_and_code(refusals, full, path, status, code):
    """However it was said; get returns it."""
    app = edge(refusals=refusals, limits=Limits(per_worker=1))
    async with contextlib.AsyncExitStack() as stack:
        c = await stack.enter_async_context(client(app, user="u1"))
        if full:
            await stack.enter_async_context(c.stream("/events/me"))
        with pytest.raises(RefusedError, match=f"^{path} gave no stream: {status} {code} ") as refused:
            async with c.stream(path):
                pytest.fail("there is no stream")
        assert (refused.value.status, refused.value.code) == (status, code)
        answer = await c.get(f"{path}?poll")
        assert (answer.status, answer.json()["error"]) == (status, code)


async def test_a_finished_channel_is_refused_to_who_has_had_it():
    """The 204 has a code, too."""
    app = edge()
    last = await Publisher(app.backend).finish("user:u1", "end")
    async with client(app, user="u1") as c:
        with pytest.raises(RefusedError, match="204 finished"):
            async with c.stream("/events/me", after=last):
                pytest.fail("there is nothing more")


async def test_who_asks():
    """user signs in as the app's own authenticator would have it, for the client or for a stream."""
    app = edge()
    async with client(app, user="u1", channels=["order:*"]) as c:
        async with c.stream("/events/orders/7"), c.stream("/events/me", user="u2") as stream:
            await Publisher(app.backend).publish("user:u2", "for u2")
            assert (await stream.next()).data == "for u2"
        with pytest.raises(RefusedError, match="forbidden"):
            async with c.stream("/events/orders/7", user="u2", channels=["order:8"]):
                pytest.fail("no order of u2's")
    cookie = AUTH.issue("u3")
    for options in ({"cookies": {"edge": cookie}}, {"headers": {"Cookie": f"a=b; edge={cookie}"}}):
        async with client(app, **options) as c, c.stream("/events/me") as stream:
            await Publisher(app.backend).publish("user:u3", "for u3")
            assert (await stream.next()).data == "for u3"


class Blocking:
    """As one that keeps its sessions in a database."""

    blocking = True

    def __init__(self):
        self.threads = set()

    def identify(self, request, now):
        user = request.first(b"x-user")
        return None if user is None else Identity(user)

    def headers_for(self, user, channels=()):
        self.threads.add(threading.get_ident())
        return [(b"x-user", user.encode())]


class Async:
    async def identify(self, request, now):
        user = request.first(b"x-user")
        return None if user is None else Identity(user)

    async def headers_for(self, user, channels=()):
        return [(b"x-user", user.encode())]


class Silent:
    def identify(self, request, now):
        return None


SECRET = "5e3c9f1b7a2d48e6b0c4f8a1d5e97263"

SIGN_IN = [
    AUTH,
    StarletteSession(SECRET),
    FlaskSession(SECRET),
    DjangoSession(SECRET, user="user_id"),
    BearerJWT(SECRET, algorithms=["HS256"]),
    Blocking(),
    Async(),
    AnyOf(Silent(), Async()),
    AnyOf(Silent(), Blocking()),
    AnyOf(AUTH, Anonymous()),
]


@pytest.mark.parametrize("auth", SIGN_IN, ids=lambda auth: type(auth).__name__)
async def test_authenticators_that_sign_in(auth):
    """However they answer, in one session for a client; one that blocks is asked in a thread."""
    app = edge(auth=auth)
    async with client(app, user="u1") as c, c.stream("/events/me") as one, c.stream("/events/mine") as two:
        await Publisher(app.backend).publish("user:u1", "hello")
        assert (await one.next()).data == (await two.next()).data == "hello"
        sessions = {stream.session for stream in app._worker.hub.streams}
        assert len(sessions) == 1
        for asked in getattr(auth, "each", [auth]):
            assert threading.get_ident() not in getattr(asked, "threads", ())


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (edge(auth=Silent()), "Silent has no headers_for"),
        (edge(auth=Anonymous(), channels={"/events/me": "news"}), "Anonymous has no headers_for"),
        (Starlette(), "no SSEMiddleware is found in the app"),
    ],
)
async def test_authenticators_that_cannot_sign_in(app, why):
    """It is said, and what to do instead."""
    async with client(app, user="u1") as c:
        with pytest.raises(ConfigError, match=f"^user: {why}.*: give cookies or headers"):
            await c.get("/events/me")


def plain(app):
    """A middleware that is a function."""

    async def middle(scope, receive, send):
        await app(scope, receive, send)

    return middle


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        await self.inner(scope, receive, send)


class Proxy:
    """As werkzeug's: whatever is asked of it is asked of another, which is not there now."""

    def __getattribute__(self, name):
        raise RuntimeError("outside of a request")


class Keeping:
    """One with such a thing, with an empty slot, and with itself."""

    __slots__ = ("__dict__", "empty")

    def __init__(self, inner):
        self.proxy = Proxy()
        self.itself = [self]
        self.inner = {"inner": inner}

    async def __call__(self, scope, receive, send):
        await self.inner["inner"](scope, receive, send)


class Outer(BaseHTTPMiddleware):
    """As @app.middleware("http") makes one: it holds every answer's first bytes back for a turn."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


def added():
    """FastAPI's own list of middleware, which makes it when the first request comes."""
    app = FastAPI()
    app.add_middleware(SSEMiddleware, backend=MemoryBackend(), auth=AUTH, channels=CHANNELS)
    app.add_middleware(Outer)
    return app


HOLDING = [
    edge(),
    plain(edge()),
    plain(Slotted(edge())),
    Keeping(edge()),
    partial(edge().__call__),
    added(),
    Starlette(middleware=[Middleware(Outer)], routes=[Mount("/", edge(path="/events"))]),
    Outer(edge()),
]


async def test_a_backend_leads_to_no_edge():
    """What else listens to the backend that an app names is not in the app."""
    backend = MemoryBackend()
    async with SSEMiddleware(backend=backend, auth=AUTH, channels=CHANNELS):
        assert edges([backend]) == []


@pytest.mark.parametrize("app", HOLDING, ids=range(len(HOLDING)))
async def test_the_edge_is_found_wherever_it_is(app):
    """Around, under and within other apps: users are signed in, and nothing of it runs on afterwards."""
    for _ in range(2):
        before = asyncio.all_tasks()
        async with client(app, user="u1") as c, c.stream("/events/me") as stream:
            (found,) = edges(app)
            await Publisher(found.backend).publish("user:u1", "hello")
            assert (await stream.next()).data == "hello"
            with pytest.raises(RefusedError, match="403 forbidden"):
                async with c.stream("/events/orders/7"):
                    pytest.fail("no order of u1's")
        assert asyncio.all_tasks() == before


async def test_a_refusal_that_middleware_holds_back():
    """Said as a stream, and later than its head: it is raised all the same when the block is entered."""
    async with client(Outer(edge(limits=Limits(per_worker=1))), user="u1") as c, c.stream("/events/me"):
        with pytest.raises(RefusedError, match="503 worker-full"):
            async with c.stream("/events/me"):
                pytest.fail("there is no room")


async def test_a_generator_behind_the_gate():
    """A Source is played to the test as it reads, and closed when it leaves."""
    asked, closed = [], asyncio.Event()

    async def count(request, identity, after):
        try:
            for number in itertools.count(int(after or 0) + 1):
                asked.append(number)
                yield Event(json={"n": number, "user": identity.user}, id=str(number))
        finally:
            closed.set()

    app = edge(channels={"/events/count": Source(count)})
    async with client(app, user="u1") as c:
        async with c.stream("/events/count") as stream:
            events = await stream.take(3)
            assert [event.json()["n"] for event in events] == [1, 2, 3]
        async with asyncio.timeout(5):
            await closed.wait()
        assert len(asked) < 100_000
        async with c.stream("/events/count", after=events[-1]) as stream:
            assert (await stream.next()).json() == {"n": 4, "user": "u1"}


async def test_compressed():
    """A stream that comes compressed is read like any other."""
    app = edge()
    options = {"user": "u1", "headers": {"accept-encoding": "gzip"}}
    async with client(app, **options) as c, c.stream("/events/news") as stream:
        assert stream.header("content-encoding") == "gzip"
        await Publisher(app.backend).publish("news", "squeezed " * 100)
        assert (await stream.next()).data == "squeezed " * 100


async def test_origins():
    """A stream is asked for as by a page of the app's own, unless the test says from where."""
    async with client(edge(missing_origin="refuse"), user="u1") as c:
        async with c.stream("/events/me"):
            pass
        with pytest.raises(RefusedError, match="403 origin"):
            async with c.stream("/events/me", headers={"Origin": "https://evil.example"}):
                pytest.fail("a foreign page")
    options = {"base_url": "https://app.example.com", "peer": "192.0.2.7"}
    app = edge(hosts=["app.example.com"], origins=["https://other.example.com"])
    async with client(app, user="u1", **options) as c:
        async with c.stream("/events/me", headers={"Origin": "https://app.example.com"}):
            pass
        async with c.stream("/events/me", headers={"Origin": "https://other.example.com"}) as stream:
            assert stream.header("access-control-allow-origin") == "https://other.example.com"


def shop():
    """An app with a login, a form, a background task, and what goes wrong."""
    api = FastAPI()
    app = edge(api)
    events = Publisher(app.backend)

    @api.post("/login")
    async def login(request: Request):
        ((_, name),) = parse_qsl((await request.body()).decode())
        return Response(headers={"set-cookie": AUTH.set_cookie(name)})

    @api.post("/logout")
    def logout():
        return Response(headers={"set-cookie": AUTH.clear_cookie()})

    @api.put("/orders/{id}")
    async def put(id: str, order: dict):
        return await events.publish(f"user:{id}", json=order)

    @api.patch("/later")
    async def later(tasks: BackgroundTasks):
        async def tell():
            await events.publish("user:u1", "begun")
            await asyncio.sleep(0.05)
            await events.publish("user:u1", "done")

        tasks.add_task(tell)

    @api.get("/echo/{path:path}")
    async def echo(path: str, q: str):
        return {"path": path, "q": q}

    @api.delete("/broken")
    async def broken():
        raise ZeroDivisionError

    return app


async def test_plain_requests():
    """Of the same app on the same event loop: by JSON, forms, and cookies that stay until cleared."""
    async with client(shop()) as c:
        assert (await c.get("/events/me")).json()["error"] == "unauthenticated"
        assert (await c.post("/login", data={"name": "u1"})).status == 200
        async with c.stream("/events/me") as stream:
            answer = await c.put("/orders/u1", json={"n": 1})
            event = await stream.next()
            assert (answer.status, answer.json(), event.json()) == (200, event.id, {"n": 1})
            assert answer.header("Content-Type") == "application/json"
            assert (await c.get("/echo/a%20b/é?q=1%262+ü")).json() == {"path": "a b/é", "q": "1&2 ü"}
        await c.post("/logout")
        assert c.cookies == {}
        assert (await c.get("/nowhere")).text == '{"detail":"Not Found"}'


async def test_what_an_app_does_after_its_answer():
    """A background task goes on while the test listens, and is waited for at the end."""
    app = shop()
    async with client(app, user="u1") as c, c.stream("/events/me") as stream:
        assert (await c.patch("/later")).status == 200
        assert (await stream.next()).data == "begun"
    assert [event.data for event in await Publisher(app.backend).recent("user:u1", 9)] == ["begun", "done"]


async def test_what_an_app_raises_is_raised_in_the_test():
    """Or its answer is given, where the test wants to see that."""
    async with client(shop()) as c:
        with pytest.raises(ZeroDivisionError):
            await c.delete("/broken")
    async with client(shop(), raise_app_exceptions=False) as c:
        assert (await c.delete("/broken")).status == 500


async def test_a_plain_request_for_a_stream_does_not_hang():
    """It says what to use, and the stream is gone."""
    app = edge()
    async with client(app, user="u1") as c:
        with pytest.raises(
            RuntimeError, match=r"GET /events/me is answered with a stream: open it with stream"
        ):
            await c.get("/events/me")
        head = await c.request("HEAD", "/events/me")
        assert (head.status, head.header("Content-Type"), head.body) == (
            200,
            "text/event-stream; charset=utf-8",
            b"",
        )
        assert app.figures()["streams"] == 0


async def test_streams_of_the_app_itself():
    """Whatever sends text/event-stream can be listened to; who leaves is seen by it, too."""
    left = asyncio.Event()

    async def numbers(request):
        async def body():
            try:
                yield b": hello\r\n\r\ndata: 1\r\n\r\n"
                await asyncio.Event().wait()
            finally:
                left.set()

        return StreamingResponse(body(), media_type="text/event-stream")

    async def silent(scope, receive, send):
        if scope["path"].endswith("/raises"):
            raise ZeroDivisionError
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        if scope["path"].endswith("/late"):
            raise ZeroDivisionError

    app = Starlette(routes=[Route("/numbers", numbers), Mount("/silent", silent)])
    async with client(app) as c:
        async with c.stream("/numbers") as stream:
            assert await stream.next() == Received("1", "message", "")
            await stream.none(0.01)
        assert left.is_set()
        async with c.stream("/silent/") as stream:
            await stream.none(0.01)
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/silent/raises"):
                pytest.fail("no answer")
        with pytest.raises(ZeroDivisionError):
            async with c.stream("/silent/late"):
                pass
        with pytest.raises(RefusedError, match=r"404 \(Not Found\)"):
            async with c.stream("/other"):
                pytest.fail("no stream")


async def test_an_app_that_sends_without_end_waits_for_the_test():
    """More than a megabyte that nobody has taken is not sent."""
    sent = 0

    async def endless(scope, receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        leaving = asyncio.ensure_future(receive_disconnect(receive))
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % sent, "more_body": True})
            sent += 1

    async def receive_disconnect(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    async with client(endless, lifespan=False) as c, c.stream("/") as stream:
        assert [event.data for event in await stream.take(1000)] == [str(n) for n in range(1000)]
        await asyncio.sleep(0)
        while sent != (before := sent) or before < 50_000:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 200_000


@pytest.mark.timeout(10)
async def test_an_app_that_only_sends(monkeypatch):
    """Who never looks whether somebody listens does not stop the test: it is cancelled, and that is said."""
    monkeypatch.setattr("sse_edge.testing.exchange.PATIENCE", 0.05)

    async def sends(scope, receive, send):
        headers = STREAM if scope["path"] == "/stream" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})

    async with client(sends, lifespan=False) as c:
        with pytest.raises(TimeoutError, match="did not return within"):
            async with c.stream("/stream") as stream:
                assert (await stream.next()).data == "x"
        with pytest.raises(TimeoutError):
            await c.get("/", timeout=0.05)


async def test_an_app_that_does_not_notice_that_its_client_has_left(monkeypatch):
    """It is cancelled after some seconds, and the test told."""
    monkeypatch.setattr("sse_edge.testing.exchange.PATIENCE", 0.05)
    cancelled = asyncio.Event()

    async def stubborn(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with client(stubborn, lifespan=False) as c:
        with pytest.raises(TimeoutError, match="did not return within"):
            async with c.stream("/"):
                pass
    assert cancelled.is_set()


async def test_lifespan():
    """It runs as a server would run it, with what it leaves for requests."""
    ran = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        ran.append("start")
        yield {"pool": "open"}
        ran.append("stop")

    async def show(request):
        return PlainTextResponse(request.state.pool)

    app = edge(Starlette(routes=[Route("/show", show)], lifespan=lifespan))
    async with client(app) as c:
        assert (await c.get("/show")).text == "open"
        assert ran == ["start"]
    assert ran == ["start", "stop"]
    async with client(app, lifespan=False):
        assert ran == ["start", "stop"]


async def test_a_lifespan_that_fails():
    """What the app raised is raised in the test; an app that has none is fine."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise ZeroDivisionError
        yield

    async def failing(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    @contextlib.asynccontextmanager
    async def broken(app):
        yield
        raise ZeroDivisionError

    async def stubborn(scope, receive, send):
        for step in ("startup.complete", "shutdown.failed"):
            await receive()
            await send({"type": f"lifespan.{step}", "message": "still busy"})

    async def none(scope, receive, send):
        assert scope["type"] == "http"
        await PlainTextResponse("hi")(scope, receive, send)

    with pytest.raises(ZeroDivisionError):
        async with client(Starlette(lifespan=lifespan)):
            pytest.fail("it did not start")
    with pytest.raises(RuntimeError, match="no database"):
        async with client(failing):
            pytest.fail("it did not start")
    with pytest.raises(ZeroDivisionError):
        async with client(Starlette(lifespan=broken)):
            pass
    with pytest.raises(RuntimeError, match="still busy"):
        async with client(stubborn):
            pass
    async with client(none) as c:
        assert (await c.get("/")).text == "hi"


@pytest.mark.parametrize("ignores", [False, True], ids=["cancelled", "ignores it"])
@pytest.mark.parametrize("step", ["start-up", "shutdown"])
async def test_a_lifespan_that_hangs(step, ignores, monkeypatch):
    """It is given up after the client's timeout with an error that says which step it was."""
    monkeypatch.setattr("sse_edge.testing.life.PATIENCE", 0.05)
    let_go = asyncio.Event()
    tasks = asyncio.all_tasks()

    async def hang():
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                if not ignores:
                    raise
        raise ZeroDivisionError

    @contextlib.asynccontextmanager
    async def lifespan(app):
        if step == "start-up":
            await hang()
        yield
        if step == "shutdown":
            await hang()

    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError, match=f"the app's {step} took longer than 0.1 s"):
            async with client(edge(Starlette(lifespan=lifespan)), timeout=0.1):
                pass
        if not ignores:
            assert asyncio.all_tasks() == tasks
        let_go.set()
        while asyncio.all_tasks() != tasks:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", ["startup.failed", "shutdown.complete"])
async def test_an_app_that_does_not_return_from_its_lifespan(said, monkeypatch):
    """It says that it is through, and is not: no test hangs for that."""
    monkeypatch.setattr("sse_edge.testing.life.PATIENCE", 0.05)

    async def app(scope, receive, send):
        for step in ("startup.complete", "shutdown.complete"):
            await receive()
            await send({"type": f"lifespan.{said if said[:7] == step[:7] else step}"})
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        with pytest.raises((TimeoutError, RuntimeError), match="start-up failed|shutdown took longer"):
            async with client(app, timeout=0.2):
                pass


async def test_an_edge_whose_redis_is_away():
    """What the edge answers to that comes before the client's own patience is over."""
    app = edge(backend="redis://127.0.0.1:1/0")
    async with client(app, user="u1") as c:
        with pytest.raises(RefusedError, match="503 backend-down"):
            async with c.stream("/events/me"):
                pytest.fail("there is no Redis")


@pytest.mark.parametrize("kind", ["memory", "redis"])
@pytest.mark.parametrize("around", [lambda app: app, lambda app: Starlette(routes=[Mount("/", app)])])
def test_a_fresh_loop_for_each_test(kind, around, request):
    """One app serves tests that each have an event loop of their own, and leaves nothing open there."""
    backend = MemoryBackend() if kind == "memory" else request.getfixturevalue("redis_url")
    inner = edge(backend=backend)
    app = around(inner)
    events = Publisher(inner.backend)

    async def one(number):
        async with client(app, user="u1") as c, c.stream("/events/me") as stream:
            await events.publish("user:u1", f"number {number}")
            assert (await stream.next()).data == f"number {number}"

    for number in range(3):
        asyncio.run(one(number))
    with sync_client(app, user="u1") as c, c.stream("/events/me") as stream:
        c.wait(events.publish("user:u1", "sync"))
        assert stream.next().data == "sync"
    asyncio.run(one(4))
    gc.collect()  # whatever was left open would say so now, and warnings are errors


def test_sync():
    """The whole of it for tests without an event loop, while other threads publish."""
    app = shop()
    events = SyncPublisher(app.backend)
    with sync_client(app) as c:
        assert c.get("/events/me").status == 401
        c.post("/login", data={"name": "u1"})
        assert set(c.cookies) == {"edge"}
        with c.stream("/events/me", after="5-5.abcde") as stream:
            assert (stream.status, stream.header("content-type")) == (200, "text/event-stream; charset=utf-8")
            events.publish("user:u1", "one")
            c.put("/orders/u1", json={"n": 2})
            assert [event.data for event in stream.take(2)] == ["one", '{"n":2}']
            stream.none(0.01)
            assert (stream.resets, stream.dropped) == ([("user:u1", "epoch")], [])
            assert stream.last_event_id
            assert stream.retry
            assert (b"content-type", b"text/event-stream; charset=utf-8") in stream.headers
            events.finish("user:u1", "end")
            assert [event.data for event in stream] == ["end"]
            assert stream.ended() == "finished"
        assert (c.patch("/later").status, c.delete("/nowhere").status) == (200, 404)
        with pytest.raises(RefusedError, match="403 forbidden"), c.stream("/events/orders/7"):
            pytest.fail("no order of u1's")
    assert stream.ending == "finished"
    with pytest.raises(RuntimeError, match="use with"):
        c.get("/")
    assert not [thread for thread in threading.enumerate() if thread.name == "sse_edge.testing"]


def test_sync_that_does_not_start():
    """What the app raised is raised, and the thread is gone."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError), sync_client(Starlette(lifespan=lifespan)):
        pytest.fail("it did not start")
    assert not [thread for thread in threading.enumerate() if thread.name == "sse_edge.testing"]


@pytest.mark.parametrize(
    ("field", "arguments", "options"),
    [
        ("app", (None,), {}),
        ("base_url", (edge(),), {"base_url": "app.example.com"}),
        ("base_url", (edge(),), {"base_url": "ftp://app.example.com"}),
    ],
)
def test_refused_settings(field, arguments, options):
    """What no client can be made of is refused where it is made."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        client(*arguments, **options)


async def test_a_stream_is_a_context_manager():
    """One that was not entered says so."""
    async with client(edge(), user="u1") as c:
        with pytest.raises(RuntimeError, match="use async with"):
            await c.stream("/events/me").next()


STREAMS = [
    (b"data: a\n\n", [Received("a")]),
    (b"\xef\xbb\xbfdata:a\r\rdata: b\r\n\r\n", [Received("a"), Received("b")]),
    (b"event: e\ndata\ndata:  b\nid: 7\n\n", [Received("\n b", "e", "7")]),
    (b": hi\nevent: lost\n\ndata: a\n\n", [Received("a")]),
    (b"id: 5\n\nid: 6\0\ndata: a\n\n", [Received("a", "message", "5")]),
    (b"data: \xc3\xa9\xff\n\ndata: half", [Received("é\ufffd")]),
    (b"retry: 12\nretry: 1x\nunknown: a\ndata: b\n\n", [Received("b")]),
]


@pytest.mark.parametrize(("stream", "events"), STREAMS, ids=range(len(STREAMS)))
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_decoder(stream, events, size):
    """Bytes in pieces of any size are the events of the specification."""
    decoder = Decoder()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == events


async def of_httpx(app, headers):
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost", headers=headers) as c:
        return (await c.get("/events/me")).status_code


async def of_starlette(app, headers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the httpx that it is used with
        from starlette.testclient import TestClient  # noqa: PLC0415
    c = TestClient(app, base_url="http://localhost", headers=headers)
    return (await asyncio.to_thread(c.get, "/events/me")).status_code


@pytest.mark.parametrize("ask", [of_httpx, of_starlette])
async def test_other_clients_wait_for_the_end_of_a_stream(ask):
    """What the page says of them: not even the head of a stream is seen before it has ended."""
    app = edge()
    headers = {name.decode(): value.decode() for name, value in AUTH.headers_for("u1")}
    asked = asyncio.create_task(ask(app, headers))
    async with asyncio.timeout(10):
        while not app.figures()["streams"]:
            assert not asked.done() or await asked
            await asyncio.sleep(0.01)
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done
    await Publisher(app.backend).disconnect(user="u1")
    assert await asked == 200
    if ask is of_httpx:  # the other's event loop is gone
        await app.stop()
