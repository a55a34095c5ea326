"""What a served application logs: one format, and one line per stream, when it is over."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote


class WithoutStreams(logging.Filter):
    """Drops the server's access lines for streams.

    The server writes them when a stream begins, with nothing to say yet; ``sse_edge.access`` has one
    when it ends or is refused.  HEAD and OPTIONS hold no stream, so their lines stay.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._below = path.rstrip("/") + "/"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; see ``uvicorn.access`` for its arguments."""
        match record.args:
            case (_, str(method), str(target), *_) if method not in ("HEAD", "OPTIONS"):
                path = unquote(target.partition("?")[0])
                return path != self._path and not path.startswith(self._below)
        return True


def log_config(level: str, events_path: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``, in this process and in its workers."""
    ours = {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"},
        },
        "filters": {"without_streams": {"()": f"{__name__}.WithoutStreams", "path": events_path}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"},
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "sse_edge": ours,
            "uvicorn": ours,
            # Its own children are set up by uvicorn unless they are named here.
            "uvicorn.error": {"level": level.upper()},
            "uvicorn.access": {**ours, "filters": ["without_streams"]},
        },
    }
