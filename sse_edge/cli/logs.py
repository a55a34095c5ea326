"""What a served application logs: one format, and one line per stream, when it is over."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote

from ..logline import Raised, escaped, trace


class Lines(logging.Formatter):
    """One line for each message, whatever is in it, and tracebacks indented below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        """See logging."""
        return escaped(super().formatMessage(record).rstrip())

    def formatException(self, ei: Raised) -> str:  # noqa: N802
        """See logging."""
        return trace(ei)


class Requests(logging.Filter):
    """Drops the server's access lines for streams and for probes, and the queries of the others.

    The server writes them when a stream begins, with nothing to say yet; ``sse_edge.access`` has one
    when it ends or is refused.  HEAD and OPTIONS hold no stream, so their lines stay.  Probes below
    ``status`` that are answered come every few seconds, and the metrics count all.  A query may hold a
    token.
    """

    def __init__(self, path: str, status: str) -> None:
        super().__init__()
        self._path = path
        self._below = path.rstrip("/") + "/"
        self._status = status.rstrip("/") + "/"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; see ``uvicorn.access`` for its arguments."""
        match record.args:
            case (client, str(method), str(target), version, status):
                asked, query, _ = target.partition("?")
                path = unquote(asked)
                if path.startswith(self._status) and status in (200, 503):
                    return False
                if query:
                    record.args = (client, method, f"{asked}?***", version, status)
                if method not in ("HEAD", "OPTIONS"):
                    return path != self._path and not path.startswith(self._below)
        return True


def log_config(level: str, events_path: str, status_path: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``, in this process and in its workers."""
    ours = {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": f"{__name__}.Lines",
                "format": "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s",
            },
        },
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
            "uvicorn.error": {"level": level.upper(), "filters": ["sample"]},
            "uvicorn.access": {**ours, "filters": ["requests", "sample"]},
        },
    }
