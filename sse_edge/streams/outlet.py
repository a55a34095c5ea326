"""Where a stream's bytes leave: the head of its response, and the sink behind that."""

from __future__ import annotations

import logging

from ..admission.gate import Admission
from ..asgi import JSON, NO_STORE, Headers, Receive, Scope, Send
from ..delivery.answer import Answer
from ..delivery.backlog import Bounds
from ..delivery.framing import unframed
from ..delivery.sink import Sink, TaskSink
from ..delivery.transport import is_own, open_sink
from ..logline import about
from ..measurers import measurers

logger = logging.getLogger("sse_edge")

# Measured: deploy/SERVERS.md.
TAKEN_OVER = "4 KiB for one that is idle, and the least CPU for an event"
MEASURED = (
    "%s around the edge takes a stream's whole life for the time of a request, unless it leaves out what is "
    "under the edge's path: put the edge around the app, app = SSEMiddleware(app, …); see docs/MONITORING.md"
)
WRAPPED = "2 to 11 times the CPU for an event, and 4 to 10 times the memory for a stream"
SENT = "1.5 to 6 times the CPU for an event, and 4 to 13 times the memory for a stream"

BY_ACCEPT: Headers = [(b"vary", b"Accept")]
STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *NO_STORE,
    (b"x-accel-buffering", b"no"),
]


class Outlet:
    """Opens sinks, and says once how events go out.

    ``handover`` is whether connections may be taken over from the server.
    """

    def __init__(self, bounds: Bounds, *, handover: bool) -> None:
        self._bounds = bounds
        self._handover = handover
        self._told = False

    def open(
        self, scope: Scope, receive: Receive, send: Send, head: Headers, wait: float | None, server: str
    ) -> Sink:
        """The sink of a request that ``server`` has passed on; a poll that will ``wait`` has an answer."""
        if wait is not None:
            return Answer(send, receive, head, self._bounds.age)
        sink = open_sink(unframed(scope, send), receive, head, handover=self._handover)
        # Streams over HTTP/1.0 go another way than all others.
        if not self._told and scope.get("http_version") != "1.0":
            self._told = True
            _tell(sink, send, server, meant=self._handover)
        return sink


def head_of(headers: Headers, admission: Admission, wait: float | None, *, told: bool) -> Headers:
    """The head of a stream, or of the answer to a poll; with whose it is if its client is to be ``told``."""
    if told:
        headers = [*headers, (b"edge-identity", admission.identity.mark.encode())]
    if wait is not None:
        return [JSON, *NO_STORE, *headers]
    return [*STREAM_HEADERS, *headers, *_coding(admission)]


def _coding(admission: Admission) -> Headers:
    """What a stream's head says of how it is coded."""
    if not admission.varies:
        return []
    vary = (b"vary", b"accept-encoding")
    return [vary, (b"content-encoding", b"gzip")] if admission.compress else [vary]


def _tell(sink: Sink, send: Send, server: str, *, meant: bool) -> None:
    """Say once how events go out, and where they need not cost as much."""
    if not isinstance(sink, TaskSink):
        text = "streams take their connections over from %s: %s"
        logger.info(text, server or "uvicorn", TAKEN_OVER, extra=about("taken-over", server=server))
    elif meant and "uvicorn" in server and not is_own(send):
        logger.warning(
            "streams go through the middlewares around the edge: %s, of app = SSEMiddleware(app, …) outside "
            "of them",
            WRAPPED,
            extra=about("wrapped", server=server),
        )
    else:
        logger.info(
            "streams go through the server's send%s: %s, of a connection that is taken over from uvicorn",
            f", {server}" if server else "",
            SENT,
            extra=about("sent", server=server),
        )
    if found := measurers(send):
        said = ", ".join(found)
        logger.warning(MEASURED, said, extra=about("measured", detail=said))
