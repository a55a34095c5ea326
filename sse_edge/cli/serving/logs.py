"""What a served application logs: one format or JSON, and one line per stream, when it is over."""

from __future__ import annotations

import logging
import logging.config
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import click

from ...errors import EdgeError
from ...logline import Raised, about, asked_by, escaped, trace
from ...redaction import HIDDEN, without_credentials
from ..failure import as_failure

logger = logging.getLogger("sse_edge")


class Lines(logging.Formatter):
    """One line for each message, whatever is in it but passwords in URLs, and tracebacks indented below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        """See logging."""
        return escaped(without_credentials(super().formatMessage(record).rstrip()))

    def formatException(self, ei: Raised) -> str:  # noqa: N802
        """See logging."""
        return trace(ei)


class Requests(logging.Filter):
    """Drops the server's access lines for streams and for probes, and the queries of the others; and says
    ``unix`` for a client on a unix socket, of whom the server says nothing.

    The server writes them when a stream begins, with nothing to say yet; ``sse_edge.access`` has one
    when it ends or is refused.  HEAD and OPTIONS hold no stream, so their lines stay.  Probes below
    ``status`` that are answered come every few seconds, and the metrics count all.  A query may hold a
    token; also that of a WebSocket's path.
    """

    def __init__(self, path: str, status: str) -> None:
        super().__init__()
        self._path = path
        self._below = path.rstrip("/") + "/"
        self._status = status.rstrip("/") + "/"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; see ``uvicorn.access`` for its arguments."""
        match record.args:
            case (str(client), str(target), *status) if '"WebSocket %s"' in str(record.msg):
                asked, query, _ = target.partition("?")
                record.args = (asked_by(client)[0], f"{asked}?{HIDDEN}" if query else asked, *status)
            case (str(client), str(method), str(target), version, status):
                asked, query, _ = target.partition("?")
                path = unquote(asked)
                if path.startswith(self._status) and status in (200, 503):
                    return False
                shown = f"{asked}?{HIDDEN}" if query else asked
                record.args = (asked_by(client)[0], method, shown, version, status)
                if method not in ("HEAD", "OPTIONS"):
                    return path != self._path and not path.startswith(self._below)
        return True


def log_config(level: str, events_path: str, status_path: str, form: str = "text") -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``, in this process and in its workers.

    ``form`` is ``text``, or ``json`` for ``JSONLines``.
    """
    line = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"
    text = {"()": f"{__name__}.Lines", "format": line}
    ours = {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "sse_edge.JSONLines"} if form == "json" else text},
        "filters": {
            "requests": {"()": f"{__name__}.Requests", "path": events_path, "status": status_path},
            "sample": {"()": "sse_edge.LogSample"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"},
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "sse_edge": ours,
            "uvicorn": ours,
            # Its own children are set up by uvicorn unless they are named here.
            "uvicorn.error": {"level": level.upper(), "filters": ["requests", "sample"]},
            "uvicorn.access": {**ours, "filters": ["requests", "sample"]},
        },
    }


def log_the_rest() -> None:
    """Log what Python writes to stderr by itself: warnings, and exceptions that nobody caught."""
    logging.captureWarnings(True)

    def uncaught(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, where: str = ""
    ) -> None:
        raised = (kind, error or kind(), trace)
        logger.critical("nobody caught an exception%s", where, exc_info=raised, extra=about("uncaught"))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread is not None else "a thread"
        uncaught(args.exc_type, args.exc_value, args.exc_traceback, f" in {name}")

    sys.excepthook, threading.excepthook = uncaught, in_thread
    sys.unraisablehook = lambda args: uncaught(args.exc_type, args.exc_value, args.exc_traceback)


@contextmanager
def logged(config: dict[str, Any], form: str) -> Iterator[None]:
    """Have what a command fails with in the log, where that is JSON, and not beside it."""
    if form != "json":
        yield
        return
    logging.config.dictConfig(config)
    log_the_rest()
    try:
        yield
    except (click.ClickException, EdgeError) as error:
        failure = as_failure(error)
        said = failure.format_message()
        logger.critical("%s", said, extra=about("failed", detail=said))
        raise SystemExit(failure.exit_code) from error
