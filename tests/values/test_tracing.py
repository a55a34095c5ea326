"""Spans for who publishes, who is let in, and each event in each worker; where nobody wants them nothing."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import RandomIdGenerator, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from parts.strands import also
from servers.processes import TESTS
from servers.sse import Decoder
from sse_edge import (
    Channel,
    Event,
    JSONLines,
    Publisher,
    PublishToken,
    SignedCookie,
    SSEMiddleware,
    SyncPublisher,
    tracing,
)
from sse_edge.backends.base import Outgoing
from sse_edge.logline import Seldom

AUTH = SignedCookie("a secret of the tests")
TOKENS = PublishToken("a secret of the tests")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHANNELS = {"/events/me": "user:{user}", "/events/orders/{order_id}": Channel("order:{order_id}", first=2)}


def cookie(user="u42"):
    return {"cookie": f"session={AUTH.issue(user, ['order:*'])}"}


class Spans:
    """What was traced."""

    def __init__(self, monkeypatch, **options):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", self.provider)

    def around(self, name="around"):
        """A span of the application's."""
        return self.provider.get_tracer("app").start_as_current_span(name)

    def named(self, begins=""):
        """Those that have ended and are ours, by what their names begin with."""
        return [
            span
            for span in self._exporter.get_finished_spans()
            if span.name.startswith(begins) and span.instrumentation_scope.name == "sse_edge"
        ]

    async def until(self, begins, count):
        """As soon as there are so many."""
        async with asyncio.timeout(10):
            while len(self.named(begins)) < count:
                await asyncio.sleep(0.01)
        found = self.named(begins)
        assert len(found) == count
        return found


@pytest.fixture
def spans(monkeypatch):
    monkeypatch.setattr(tracing, "_patterns", set())
    return Spans(monkeypatch)


@pytest.fixture
async def edge(url):
    edge = SSEMiddleware(
        None, backend=url, auth=AUTH, channels=CHANNELS, publish_path="/publish", publish_auth=TOKENS
    )
    async with edge:
        yield edge


@pytest.fixture
def listen(asgi, edge):
    """``await listen(path)``: a stream that has its place."""

    async def open_stream(path="/events/orders/7", **headers):
        path, _, query = path.partition("?")
        client = asgi(edge, path, headers={**cookie(), **headers}, query=query)
        await client.wait_for(b"edge-position")
        return client

    return open_stream


def is_child(span, of):
    return span.parent is not None and (span.parent.trace_id, span.parent.span_id) == (
        of.trace_id,
        of.span_id,
    )


async def test_from_a_publisher_to_the_streams(spans, listen, url):
    """One span of who publishes, one of the worker with a link to it, however many streams there are; and no
    client is told of it, now or from history."""
    clients = [await listen() for _ in range(5)]
    async with Publisher(url) as events:
        with spans.around() as around:
            id = await events.publish("order:7", "hello")
        for client in clients:
            await client.wait_for(b"data: hello\n\n")
        (publish,) = spans.named("publish")
        (deliver,) = await spans.until("deliver", 1)
        later = await listen()
        await later.wait_for(b"data: hello\n\n")
        resumed = await listen(**{"last-event-id": id.replace(id.split("-")[0], "0")})
        stored = await events.recent("order:7", 1)
    assert (publish.name, publish.kind) == ("publish order:*", SpanKind.PRODUCER)
    assert is_child(publish, around.get_span_context())
    assert dict(publish.attributes) == {
        "messaging.system": "sse_edge",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "order:7",
        "messaging.destination.template": "order:*",
    }
    assert (deliver.name, deliver.kind) == ("deliver order:{order_id}", SpanKind.CONSUMER)
    assert [link.context.span_id for link in deliver.links] == [publish.context.span_id]
    assert is_child(deliver, publish.context)
    assert deliver.attributes["sse_edge.streams"] == 5
    assert deliver.end_time >= deliver.start_time >= publish.start_time
    for client in (*clients, later, resumed):
        assert b"trace" not in client.body()
        assert Decoder().feed(client.body())[-1].data == "hello"
    assert stored[0].data == "hello"
    assert len(spans.named("deliver")) == 1


async def test_one_stream_alone(spans, listen, url):
    """What is written at once is delivered at once."""
    client = await listen("/events/me")
    async with Publisher(url) as events:
        await events.publish("user:u42", "hello")
    await client.wait_for(b"hello")
    (deliver,) = await spans.until("deliver", 1)
    assert deliver.name == "deliver user:{user}"


async def test_a_burst(spans, listen, url):
    """As many spans as events, each ended; none for a chunk or a stream."""
    clients = [await listen() for _ in range(5)]
    async with Publisher(url) as events:
        await asyncio.gather(*(events.publish("order:7", f"number {n}") for n in range(100)))
    for client in clients:
        await client.wait_for(b"number 99\n")
    await spans.until("deliver", 100)
    assert len(spans.named("publish")) == 100
    assert len(spans.named()) == 200 + 5  # who was let in


async def test_several_at_once(spans, listen, url):
    """They have one span, which says how many they are, and of which channels if of one kind."""
    client = await listen()
    async with Publisher(url) as events:
        await events.publish_many([("order:7", "a"), ("order:8", Event("b")), ("order:7", "c")])
        await events.publish_many([("order:7", "d"), ("news", "e")])
        await events.finish("order:7", "the end")
    await client.wait_for(b"the end")
    await spans.until("deliver", 4)
    first, second, last = spans.named("publish")
    assert (first.name, second.name, last.name) == ("publish order:*", "publish", "publish order:*")
    assert first.attributes["messaging.batch.message_count"] == 3
    assert "messaging.destination.name" not in first.attributes
    assert "messaging.destination.name" not in second.attributes
    assert {span.links[0].context.span_id for span in spans.named("deliver")} == {
        span.context.span_id for span in (first, second, last)
    }


async def test_a_thread_without_an_event_loop(spans, url):
    """What it publishes is part of what it does."""

    def publish():
        with SyncPublisher(url) as events, spans.around() as around:
            events.publish("news", "hello")
            return around.get_span_context()

    around = await asyncio.to_thread(publish)
    (span,) = spans.named()
    assert is_child(span, around)


async def test_publishing_over_http(spans, asgi, edge, listen):
    """Its parent is what the request says."""
    listener = await listen()
    head = {"content-type": "application/json", "traceparent": PARENT}
    head["authorization"] = f"Bearer {TOKENS.issue(['*'], name='billing')}"
    body = json.dumps({"channel": "order:7", "data": "hello"}).encode()
    client = asgi(edge, "/publish", method="POST", headers=head, body=body)
    await client.whole()
    await listener.wait_for(b"hello")
    (publish,) = spans.named("publish")
    assert f"{publish.parent.trace_id:032x}-{publish.parent.span_id:016x}" == PARENT[3:-3]
    (deliver,) = await spans.until("deliver", 1)
    assert is_child(deliver, publish.context)


@pytest.mark.parametrize(
    ("path", "headers", "code", "status", "route"),
    [
        ("/events/orders/7", cookie(), "accepted", 200, "/events/orders/{order_id}"),
        ("/events/me", cookie(), "accepted", 200, "/events/me"),
        ("/events/me", {}, "unauthenticated", 401, "/events/me"),
        ("/events/none", {}, "not-found", 404, None),
        (
            "/events/orders/7",
            {**cookie(), "origin": "https://evil.example"},
            "origin",
            403,
            "/events/orders/{order_id}",
        ),
    ],
)
async def test_who_is_let_in(spans, asgi, edge, path, headers, code, status, route):
    """A span until that is decided, with the code, below what the request says; it ends before the stream."""
    client = asgi(edge, path, headers={**headers, "traceparent": PARENT}, query="token=secret")
    await client.start()
    (span,) = spans.named("admission")
    assert span.name == f"admission {route}" if route else "admission"
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" in PARENT
    attributes = dict(span.attributes)
    assert attributes.pop("http.route", None) == route
    assert attributes == {
        "http.request.method": "GET",
        "url.path": path,
        "http.response.status_code": status,
        "sse_edge.code": code,
    }
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}], ids=["alone", "parent"])
async def test_urls_that_are_joined(spans, listen, headers):
    """Are of one trace, below the request that they came with, which has been let in by then."""
    client = await listen(f"/events/me?{also('/events/orders/7', '/events/none')}", **headers)
    first, *others = await spans.until("admission", 3)
    assert first.name == "admission /events/me"
    assert (first.parent is None) is (not headers)
    assert sorted(each.name for each in others) == ["admission", "admission /events/orders/{order_id}"]
    for each in others:
        assert is_child(each, first.context)
        assert each.kind is SpanKind.INTERNAL
    client.disconnect()
    await client.ended()


async def test_what_authorize_does(spans, asgi):
    """Is part of it; and what could not be decided is an error."""

    async def authorize(identity, channel):
        with spans.around("a query"):
            raise OSError("no database")

    channels = {"/events/room": "room"}
    async with SSEMiddleware(
        None, auth=AUTH, channels={"/events/{room}": "room:{room}"} | channels, authorize=authorize
    ) as edge:
        client = asgi(edge, "/events/a", headers={"cookie": f"session={AUTH.issue('u42')}"})
        with spans.around() as around:
            await client.start()
    (span,) = spans.named("admission")
    (query,) = [each for each in spans._exporter.get_finished_spans() if each.name == "a query"]
    assert is_child(query, span.context)
    assert (span.kind, is_child(span, around.get_span_context())) == (SpanKind.INTERNAL, True)
    assert (span.attributes["sse_edge.code"], span.status.status_code) == ("backend-down", StatusCode.ERROR)


async def test_what_is_not_sampled(monkeypatch, listen, url):
    """Travels with no event, and nothing is made for it."""
    spans = Spans(monkeypatch, sampler=ALWAYS_OFF)
    client = await listen()
    taken = []
    monkeypatch.setattr("sse_edge.delivery.hub.Hub.traced", lambda *given: taken.append(given))
    async with Publisher(url) as events:
        await events.publish("order:7", "hello")
    await client.wait_for(b"hello")
    assert (taken, spans.named()) == ([], [])


async def test_nobody_set_it_up(listen, url, monkeypatch):
    """The library alone traces nothing: the publisher asks the backend itself."""
    assert tracing.tracer() is None
    client = await listen()
    taken = []
    monkeypatch.setattr("sse_edge.delivery.hub.Hub.traced", lambda *given: taken.append(given))
    async with Publisher(url) as events:
        publish = events._backend.publish
        assert tracing.publishing(publish) == publish
        await events.publish("order:7", "hello")
    await client.wait_for(b"hello")
    assert taken == []


@pytest.mark.parametrize("context", ["", "x", PARENT[:-1], f"00-{'0' * 32}-{'0' * 16}-01", PARENT.upper()])
def test_what_is_no_context(spans, context):
    """Is nobody's, and breaks nothing."""
    assert tracing.delivering("news", "news", context, 1) is None


def test_names_are_few(spans):
    """Whatever channels are called, only so many names of spans are made of them."""
    names = {tracing.pattern(f"u{n}:inbox") for n in range(1000)}
    assert len(names) == tracing.PATTERNS + 1
    assert "" in names


def test_a_line_of_the_log(spans):
    """It says within which span it was logged, as JSON."""
    record = logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO})
    with spans.around() as span:
        within = json.loads(JSONLines().format(record))
    context = span.get_span_context()
    assert within["trace_id"] == f"{context.trace_id:032x}"
    assert within["span_id"] == f"{context.span_id:016x}"
    assert "trace_id" not in json.loads(JSONLines().format(record))


class Broken(SpanProcessor):
    """Raises where it is said to, as does each of those below."""

    def __init__(self, on, error=RuntimeError):
        self._on = on
        self._error = error

    def on_start(self, span, parent_context=None):
        if self._on == "start":
            raise self._error("no start")

    def on_end(self, span):
        if self._on == "end":
            raise self._error("no end")


class BrokenSampler(Sampler):
    def should_sample(self, *given, **named):
        raise RuntimeError("no sample")

    def get_description(self):
        return "broken"


class BrokenIds(RandomIdGenerator):
    def generate_span_id(self):
        raise RuntimeError("no id")


class BrokenPropagator:
    def extract(self, *given, **named):
        raise RuntimeError("no context")


class BrokenSpan:
    """Of another SDK."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


class BrokenTracer:
    def start_span(self, *given, **named):
        return BrokenSpan()

    @contextlib.contextmanager
    def start_as_current_span(self, *given, **named):
        with trace.use_span(BrokenSpan()) as span:
            yield span


class BrokenProvider:
    """Is not even to be remembered."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer):
        self._tracer = tracer

    def get_tracer(self, name):
        if self._tracer is None:
            raise RuntimeError("no tracer")
        return self._tracer


def processor(on):
    provider = TracerProvider()
    provider.add_span_processor(Broken(on))
    return provider


BROKEN = {
    "start": lambda: processor("start"),
    "end": lambda: processor("end"),
    "sampler": lambda: TracerProvider(sampler=BrokenSampler()),
    "ids": lambda: TracerProvider(id_generator=BrokenIds()),
    "propagator": TracerProvider,
    "span": lambda: BrokenProvider(BrokenTracer()),
    "provider": lambda: BrokenProvider(None),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_broken(monkeypatch, caplog, listen, asgi, edge, url, what):
    """Whatever raises of what the application has set up, who is let in and who is not, publishing and
    delivering are as without it; the log says so, once for each kind."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", BROKEN[what]())
    monkeypatch.setattr(tracing, "_seldom", Seldom())
    if what == "propagator":
        monkeypatch.setattr("opentelemetry.propagate._HTTP_TEXT_FORMAT", BrokenPropagator())
    clients = [await listen(traceparent=PARENT) for _ in range(3)]
    refused = asgi(edge, "/events/me", headers={"traceparent": PARENT})
    await refused.start()
    assert refused.status == 401
    async with Publisher(url) as events:
        ids = [await events.publish("order:7", "hello") for _ in range(3)]
        # What a publisher that is in order sends, to workers of which nobody is.
        await events._backend.publish([Outgoing("order:7", b"data: traced\n\n", trace=PARENT)])
        await events.publish("order:7", "the last")
    for client in clients:
        await client.wait_for(b"data: the last\n\n")
        seen = [each.data for each in Decoder().feed(client.body()) if each.data]
        assert [each for each in seen if "{" not in each] == ["hello", "hello", "hello", "traced", "the last"]
    assert len(set(ids)) == 3
    logged = [each.sse_edge for each in caplog.records if hasattr(each, "sse_edge")]
    functions = [each["function"] for each in logged if each["event"] == "telemetry-failed"]
    assert 1 <= len(functions) <= 4
    assert len(set(functions)) == len(functions)
    assert "backend-away" not in [each["event"] for each in logged]


async def test_an_end_is_passed_on(monkeypatch, listen, url):
    """What ends a task is no failure of telemetry; and what a traced call raises is raised."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", processor("end"))

    async def publish(events):
        raise errors.pop()

    errors = [asyncio.CancelledError(), ValueError("no")]
    for kind in (ValueError, asyncio.CancelledError):
        with pytest.raises(kind):
            await tracing.publishing(publish)([])
    provider = TracerProvider()
    provider.add_span_processor(Broken("start", KeyboardInterrupt))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with pytest.raises(KeyboardInterrupt):
        await tracing.publishing(publish)([])


def test_a_broken_line_of_the_log(monkeypatch, capsys):
    """It is written without the span, and what tells of that too."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    monkeypatch.setattr(trace, "get_current_span", BrokenSpan)
    monkeypatch.setattr(tracing, "_seldom", Seldom())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines())
    logger = logging.getLogger("sse_edge")
    monkeypatch.setattr(logger, "handlers", [handler])
    logger.warning("hello")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in said] == ["telemetry-failed", "log"]
    assert said[0]["function"] == "log"
    assert said[1]["message"] == "hello"


WITHOUT = """
import asyncio, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
from sse_edge import Publisher, SSEMiddleware, Anonymous
from sse_edge.testing import AsyncClient

async def main():
    edge = SSEMiddleware(None, auth=Anonymous(), channels={"/events/news": "news"})
    async with edge, Publisher(edge.backend) as events:
        await events.publish("news", "hello")
        assert [each.data for each in await events.recent("news", 1)] == ["hello"]

asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
print("fine")
"""


def test_without_the_package():
    """Nothing is imported, and all goes on."""
    code = WITHOUT.replace("from sse_edge.testing import AsyncClient\n", "")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=TESTS.parent,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")
