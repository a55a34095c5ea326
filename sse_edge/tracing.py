"""Spans, where the application has set OpenTelemetry up; otherwise nothing, and nothing is imported.

Three kinds: who publishes (``publish``), who is let in (``admission``), and one for each traced event in each
worker that has streams for it, until all of them are written it (``deliver``).  None is made for a stream's
life, a chunk, or a stream and event.

What OpenTelemetry calls is the application's, and may raise anything: see ``_guarded``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakKeyDictionary

from .logline import Seldom, about

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

logger = logging.getLogger("sse_edge")

SYSTEM = "sse_edge"

PATTERNS = 100
"""Names of spans at most: what comes before a channel's first colon may be anything."""

CONTEXT = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
"""What travels with an event: a ``traceparent`` (W3C Trace Context, section 3.2)."""

_CONTEXT = re.compile(CONTEXT)
_patterns: set[str] = set()
_tracers: WeakKeyDictionary[Any, Tracer] = WeakKeyDictionary()
_seldom = Seldom()

Headers = Sequence[tuple[bytes, bytes]]
Attributes = Sequence[tuple[str, str]]

E = TypeVar("E")
P = TypeVar("P")


def tracer() -> Tracer | None:
    """The application's tracer, or None where it has set none up.

    Whoever sets OpenTelemetry up has imported it, so it is looked for among what is imported.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    # Asking is ten times as dear as this, which is all that most processes ever do.
    if api is None or getattr(api, "_TRACER_PROVIDER", api) is None:
        return None
    with _guarded("tracer"):
        return _tracer(api)
    return None


def _tracer(api: Any) -> Tracer | None:
    provider = api.get_tracer_provider()
    if isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
        return None
    known = _tracers.get(provider)
    if known is None:
        known = _tracers[provider] = provider.get_tracer(SYSTEM)
    return known


@contextmanager
def _guarded(function: str) -> Iterator[None]:
    """Around all that asks OpenTelemetry for something: what it raises is logged, and all goes on without.

    ``function`` is whose: ``publish``, ``admission``, ``deliver``, ``log`` or ``tracer``.
    """
    try:
        yield
    except Exception as error:
        if _seldom.takes(function):  # asked first: to log it may raise the same
            text = "OpenTelemetry failed in %s, which goes on without it"
            logger.warning(text, function, exc_info=error, extra=about("telemetry-failed", function=function))


def current() -> dict[str, str]:
    """The ids of the span that this runs in, if there is one, for a line of a log."""
    if tracer() is None:
        return {}
    with _guarded("log"):
        from opentelemetry import trace  # noqa: PLC0415 - an extra

        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    return {}


def publishing(
    publish: Callable[[Sequence[E]], Awaitable[P]], parent: Headers = ()
) -> Callable[[Sequence[E]], Awaitable[P]]:
    """``publish``, or where there is a tracer, the same within a span, which travels with the events.

    An event has ``channel`` and ``trace``, a named tuple's.  ``parent`` are a request's headers, whose
    ``traceparent`` is the parent unless there is a span around already.
    """
    made = tracer()
    if made is None:
        return publish

    async def publish_traced(events: Sequence[Any]) -> P:
        channels = {event.channel for event in events}
        names = {pattern(channel) for channel in channels}
        name = names.pop() if len(names) == 1 else ""
        with _span(made, "publish", name, "producer", parent) as span:
            if span is not None:
                with _guarded("publish"):
                    events = _sent(span, events, channels, name)
            return await publish(events)

    return publish_traced


def _sent(span: Span, events: Sequence[Any], channels: set[str], pattern: str) -> Sequence[Any]:
    """The events as they are published within ``span``, which is told of them."""
    if not span.is_recording():
        return events
    _describe(span, "publish", "send", channels, pattern)
    if len(events) > 1:
        span.set_attribute("messaging.batch.message_count", len(events))
    context = _written(span.get_span_context())
    return [event._replace(trace=context) for event in events]


class Traced:
    """A request until it is let in or refused; see ``admission``."""

    def __init__(
        self, around: AbstractContextManager[Span | None] | None = None, about: Attributes = ()
    ) -> None:
        self._around = around
        self._about = about
        self.span: Span | None = None

    def __enter__(self) -> Self:
        if self._around is not None:
            self.span = self._around.__enter__()
        if self.span is not None:
            with _guarded("admission"):
                for name, value in self._about:
                    self.span.set_attribute(name, value)
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._around is not None:
            self._around.__exit__(*raised)

    def tell(self, code: str, status: int) -> None:
        """What came of it: a refusal's code, or ``accepted``, and the answer's status."""
        if self.span is None:
            return
        with _guarded("admission"):
            self.span.set_attribute("sse_edge.code", code)
            self.span.set_attribute("http.response.status_code", status)
            if status >= 500:
                from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

                self.span.set_status(Status(StatusCode.ERROR, code))


_UNTRACED = Traced()


def admission(
    method: str,
    path: str,
    template: Callable[[str], str | None],
    parent: Headers,
    within: Traced | None = None,
) -> Traced:
    """What is decided about a request: within a span, where there is a tracer.

    ``template`` says which one ``path`` was made of; see ``publishing`` for ``parent``.  What is joined is a
    part of the request that it came ``within``, though that was let in before.
    """
    made = tracer()
    if made is None:
        return _UNTRACED
    route = template(path)
    about = [("http.request.method", method), ("url.path", path), *([("http.route", route)] if route else [])]
    before = None if within is None else within.span
    return Traced(_span(made, "admission", route or "", "server", parent, before), about)


def delivering(channel: str, pattern: str, context: str, streams: int) -> Callable[[], None] | None:
    """Begin a span for an event that was published in ``context``, of which it is a child and has a link;
    what comes back ends it, when it is written.  None where there is no tracer."""
    made = tracer()
    if made is None:
        return None
    span: Span | None = None
    with _guarded("deliver"):
        span = _heard(made, pattern, context)
    if span is None:
        return None
    with _guarded("deliver"):
        _describe(span, "deliver", "process", {channel}, pattern)
        span.set_attribute("sse_edge.streams", streams)

    def end() -> None:
        with _guarded("deliver"):
            span.end()

    return end


def _heard(tracer: Tracer, pattern: str, context: str) -> Span | None:
    published = _read(context)
    if published is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    return tracer.start_span(
        f"deliver {pattern}".rstrip(),
        context=trace.set_span_in_context(trace.NonRecordingSpan(published)),
        kind=trace.SpanKind.CONSUMER,
        links=[trace.Link(published)],
    )


def pattern(channel: str) -> str:
    """A channel without what differs between those of a kind: ``order:*`` for ``order:7``, as far as there
    are few of those; else nothing."""
    head, colon, _ = channel.partition(":")
    made = f"{head}:*" if colon else head
    if made not in _patterns:
        if len(_patterns) >= PATTERNS:
            return ""
        _patterns.add(made)
    return made


@contextmanager
def _span(
    tracer: Tracer, what: str, of: str, kind: str, parent: Headers, before: Span | None = None
) -> Iterator[Span | None]:
    """Run what is within it in a span, or without one where that cannot be had."""
    around: AbstractContextManager[Span] | None = None
    span: Span | None = None
    with _guarded(what):
        made = _around(tracer, f"{what} {of}".rstrip(), kind, parent, before)
        span = made.__enter__()
        around = made
    try:
        yield span
    except BaseException:
        if around is not None:
            with _guarded(what):
                around.__exit__(*sys.exc_info())
        raise
    if around is not None:
        with _guarded(what):
            around.__exit__(None, None, None)


def _around(
    tracer: Tracer, name: str, kind: str, parent: Headers, before: Span | None
) -> AbstractContextManager[Span]:
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    around: Context | None = None
    is_around = before is not None or trace.get_current_span().get_span_context().is_valid
    if before is not None:
        around = trace.set_span_in_context(before)
    elif parent and not is_around:
        from opentelemetry.propagate import extract  # noqa: PLC0415 - an extra

        around = extract({name.decode("latin-1"): value.decode("latin-1") for name, value in parent})
    # What another instrumentation has of the request is the server's span.
    kinds = {
        "producer": trace.SpanKind.PRODUCER,
        "server": trace.SpanKind.INTERNAL if is_around else trace.SpanKind.SERVER,
    }
    return tracer.start_as_current_span(name, context=around, kind=kinds[kind])


def _describe(span: Span, name: str, kind: str, channels: set[str], pattern: str) -> None:
    span.set_attribute("messaging.system", SYSTEM)
    span.set_attribute("messaging.operation.name", name)
    span.set_attribute("messaging.operation.type", kind)
    if len(channels) == 1:
        (channel,) = channels
        span.set_attribute("messaging.destination.name", channel)
    if pattern:
        span.set_attribute("messaging.destination.template", pattern)


def _written(context: SpanContext) -> str | None:
    """A sampled context as it travels."""
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _read(text: str) -> SpanContext | None:
    if not _CONTEXT.fullmatch(text):
        return None
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - an extra

    _, trace_id, span_id, flags = text.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return context if context.is_valid else None
