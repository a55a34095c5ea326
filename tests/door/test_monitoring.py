"""Middlewares of others that measure requests: outside of the edge each takes a stream's life for a request's
time, inside of it, or around what the edge leaves to the application, none does.
"""

import asyncio
import functools
import inspect
import json
import os
import subprocess
import sys
import time
from datetime import datetime

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware.base import BaseHTTPMiddleware

from servers.processes import TESTS
from sse_edge import Anonymous, SSEMiddleware
from sse_edge.measurers import measurers
from sse_edge.streams.outlet import MEASURED

LIFE = 0.2
"""Seconds of each stream at least."""

EVENTS = {"channels": {"/events/news": "news"}, "hosts": ["testserver"]}
SETTINGS = {**EVENTS, "auth": Anonymous(), "keep_alive": LIFE}


NAME = "http_request_duration_seconds"


def page():
    return {"a": "page"}


def application(**options):
    app = FastAPI(**options)
    app.add_api_route("/page", page)
    return app


class Readings:
    """What OpenTelemetry measured."""

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.tracers = TracerProvider()

    def __call__(self):
        data = self._reader.get_metrics_data()
        points = [
            (metric, point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name in ("http.server.duration", "http.server.request.duration")
            for point in metric.data.data_points
        ]
        seconds = sum(point.sum / (1000 if metric.unit == "ms" else 1) for metric, point in points)
        return sum(point.count for _, point in points), seconds


def instrumentator(place):
    """prometheus-fastapi-instrumentator."""
    app, registry = application(), CollectorRegistry()
    options = {"excluded_handlers": ["^/events"]} if place == "excluded" else {}
    made = Instrumentator(registry=registry, should_group_untemplated=False, **options)
    if place == "inside":
        made.instrument(app)
    if place != "around":
        app.add_middleware(SSEMiddleware, **SETTINGS)
    if place != "inside":
        made.instrument(app)

    def read():
        samples = [sample for family in registry.collect() for sample in family.samples]
        ends = ("count", "sum")
        return [sum(each.value for each in samples if each.name == f"{NAME}_{end}") for end in ends]

    return (SSEMiddleware(app, **SETTINGS) if place == "around" else app), read


def otel_fastapi(place):
    """OpenTelemetry's instrumentation, for FastAPI: outside of all middlewares of its app."""
    app, read = application(), Readings()
    if place != "around":
        app.add_middleware(SSEMiddleware, **SETTINGS)
    FastAPIInstrumentor.instrument_app(
        app,
        meter_provider=read.meters,
        tracer_provider=read.tracers,
        excluded_urls="/events/" if place == "excluded" else None,
    )
    return (SSEMiddleware(app, **SETTINGS) if place == "around" else app), read


def otel_asgi(place):
    """OpenTelemetry's instrumentation, for any app."""
    app, read = application(), Readings()
    providers = {"meter_provider": read.meters, "tracer_provider": read.tracers}
    if place == "outside":
        return OpenTelemetryMiddleware(SSEMiddleware(app, **SETTINGS), **providers), read
    return SSEMiddleware(OpenTelemetryMiddleware(app, **providers), **SETTINGS), read


def fastapi(place):
    """FastAPI's telemetry, where that release has it."""
    read = Readings()
    telemetry = {"meter_provider": read.meters, "tracer_provider": read.tracers}
    if place == "excluded":
        telemetry["exclude"] = lambda scope: scope["path"].startswith("/events/")
    app = application(telemetry=telemetry)
    if place == "around":
        return SSEMiddleware(app, **SETTINGS), read
    app.add_middleware(SSEMiddleware, **SETTINGS)
    return app, read


def timing(place):
    """A middleware of the application's own that measures until the response is over."""
    app, taken = application(), []

    def timed(inner):
        async def measure(scope, receive, send):
            began = time.monotonic()
            try:
                await inner(scope, receive, send)
            finally:
                taken.append(time.monotonic() - began)

        return measure

    if place == "outside":
        return timed(SSEMiddleware(app, **SETTINGS)), lambda: (len(taken), sum(taken))
    return SSEMiddleware(timed(app), **SETTINGS), lambda: (len(taken), sum(taken))


HAS_TELEMETRY = "telemetry" in inspect.signature(FastAPI).parameters
PLACES = [
    (instrumentator, "outside", ("inside", "around", "excluded")),
    (otel_fastapi, "outside", ("around", "excluded")),
    (otel_asgi, "outside", ("around",)),
    (timing, "outside", ("around",)),
    *([(fastapi, "outside", ("around", "excluded"))] if HAS_TELEMETRY else []),
]


async def measured(asgi, made, place):
    """How many requests it measured, of a page and a stream, and their seconds together."""
    app, read = made(place)
    answer = asgi(app, "/page")
    await answer.whole()
    assert answer.status == 200
    stream = asgi(app, "/events/news")
    await stream.wait_for(b": keep-alive")
    stream.disconnect()
    await stream.ended()
    return read()


@pytest.mark.parametrize(("made", "wrong", "right"), PLACES, ids=lambda each: getattr(each, "__name__", ""))
async def test_where_a_middleware_belongs(asgi, caplog, made, wrong, right):
    """Outside of the edge it measures a stream's life, and the log says where it belongs; in each other place
    it measures the page alone.
    """
    count, seconds = await measured(asgi, made, wrong)
    assert count == 2
    assert seconds >= LIFE
    told = [each.sse_edge["detail"] for each in caplog.records if each.msg == MEASURED]
    assert told == ([] if made is timing else [made.__doc__.partition(",")[0].rstrip(".")])
    caplog.clear()
    places = [place for place in right if place != "excluded"]
    found = await asyncio.gather(*(measured(asgi, made, place) for place in places))
    assert [count for count, _ in found] == [1] * len(places), places
    assert MEASURED not in [each.msg for each in caplog.records]
    if "excluded" in right:
        count, _ = await measured(asgi, made, "excluded")
        assert count == 1


class Unbound:
    """A proxy of what is not there, as frameworks have of a request."""

    @property
    def __class__(self):
        raise RuntimeError("outside of a request")


def test_a_proxy_in_a_middleware():
    """To look for those that measure asks nothing of what they hold."""
    held = Unbound()

    async def send(message):
        held(message)

    assert measurers(send) == []
    assert measurers(functools.partial(send, held)) == []
    assert measurers(held) == []


async def test_a_base_http_middleware(asgi):
    """Starlette's own measures until a response begins, and is no worse off."""
    taken = []

    async def dispatch(request, call_next):
        began = time.monotonic()
        response = await call_next(request)
        taken.append(time.monotonic() - began)
        return response

    app = application()
    app.add_middleware(SSEMiddleware, **SETTINGS)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    stream = asgi(app, "/events/news")
    await stream.wait_for(b": keep-alive")
    stream.disconnect()
    await stream.ended()
    assert len(taken) == 1
    assert max(taken) < LIFE


SENTRY = """
import asyncio, json
import sentry_sdk
from sentry_sdk.transport import Transport
from test_monitoring import SETTINGS, application
from servers.asgi import ASGIClient
from sse_edge import SSEMiddleware

now, taken = [""], {}

class Kept(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            event = item.payload.json or {}
            if event.get("type") == "transaction":
                taken.setdefault(now[0], []).append([event["start_timestamp"], event["timestamp"]])

def sampler(context):
    return 0 if now[0] == "excluded" and context["asgi_scope"]["path"].startswith("/events/") else 1

async def visit(place):
    now[0] = place
    app = application()
    if place == "around":
        app = SSEMiddleware(app, **SETTINGS)
    else:
        app.add_middleware(SSEMiddleware, **SETTINGS)
    await ASGIClient(app, "/page").whole()
    stream = ASGIClient(app, "/events/news")
    await stream.wait_for(b": keep-alive")
    stream.disconnect()
    await stream.ended()

async def main():
    for place in ("outside", "around", "excluded"):
        await visit(place)

sentry_sdk.init(dsn="http://a@127.0.0.1:1/1", transport=Kept, traces_sampler=sampler)
asyncio.run(main())
print(json.dumps(taken))
"""


@pytest.mark.heavy
def test_where_sentry_belongs():
    """It is outside of each app's middlewares, so the edge belongs around the app, or its paths are not
    sampled.  In a process of its own, which it changes Starlette for.
    """
    path = {**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}:{TESTS / 'door'}"}
    command = [sys.executable, "-c", SENTRY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=path)
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout.splitlines()[-1])
    assert {place: len(times) for place, times in taken.items()} == {"outside": 2, "around": 1, "excluded": 1}
    assert max(map(lasted, taken["outside"])) >= LIFE
    # That it is not sampled cannot be seen.
    assert done.stderr.count("Sentry around the edge takes a stream's whole life") == 2


def lasted(times):
    began, ended = (datetime.fromisoformat(each) for each in times)
    return (ended - began).total_seconds()
