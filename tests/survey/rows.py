"""The servers: how each is started, and which versions are asked."""

import signal
from dataclasses import dataclass
from importlib.metadata import version

DEPENDENCIES = ("redis[hiredis]", "itsdangerous", "limits", "click", "asgiref", "uvloop", "httptools", "h11")
"""What an environment with another uvicorn needs besides."""


@dataclass(frozen=True)
class Row:
    """One server.

    ``recycling`` are options with which it replaces its workers by itself, or a signal that makes it.
    ``other`` is a version of uvicorn that is not the one at hand.
    """

    name: str
    packages: tuple[str, ...]
    server: str
    options: tuple[str, ...] = ()
    app: str = "apps.surveyed:app"
    http2: bool = False
    recycling: tuple[str, ...] | signal.Signals | None = None
    other: str | None = None

    @property
    def versions(self):
        """Of the packages that are it, as installed here."""
        return ", ".join(self.other or version(package) for package in self.packages)

    def start(self, serve_app, *options, python=None, **env):
        """Run it by ``Processes.serve_app``."""
        env = {"SSE_EDGE_SINK": "auto", **env}
        options = [*self.options, *options]
        return serve_app(self.app, server=self.server, options=options, python=python, env=env, new=True)


HTTPTOOLS = ("--http", "httptools", "--loop", "uvloop")
PURE = ("--http", "h11", "--loop", "asyncio")
LIMIT = ("--limit-max-requests", "9")
MOST = ("--max-requests", "9")


def _uvicorn(name, options=(), **more):
    return Row(f"uvicorn{name}", ("uvicorn",), "uvicorn", options, recycling=LIMIT, **more)


ROWS = [
    Row("`sse-edge serve`", ("uvicorn",), "sse-edge serve"),
    _uvicorn(", httptools, uvloop", HTTPTOOLS),
    _uvicorn(", h11, asyncio", PURE),
    _uvicorn(", by `add_middleware`", app="apps.surveyed:added"),
    _uvicorn(", under an http middleware", app="apps.surveyed:under"),
    Row(
        "gunicorn `-k uvicorn_worker.UvicornWorker`",
        ("gunicorn", "uvicorn"),
        "gunicorn",
        ("-k", "uvicorn_worker.UvicornWorker"),
        recycling=MOST,
    ),
    Row("gunicorn `-k asgi`", ("gunicorn",), "gunicorn", ("-k", "asgi"), recycling=MOST),
    Row("granian", ("granian",), "granian", ("--backpressure", "4096"), recycling=signal.SIGHUP),
    Row("hypercorn, HTTP/1.1", ("hypercorn",), "hypercorn", recycling=MOST),
    Row("hypercorn, HTTP/2", ("hypercorn",), "hypercorn", http2=True, recycling=MOST),
    Row("daphne", ("daphne",), "daphne"),
]
"""What the tests try, with the versions at hand."""

OTHERS = [
    _uvicorn(f" {other}, {name}", options, other=other)
    for other in ("0.51.0", "0.44.0", "0.43.0", "0.40.0")
    for name, options in (("httptools, uvloop", HTTPTOOLS), ("h11, asyncio", PURE))
]
"""Other uvicorns: the oldest that the extra ``server`` allows, and older ones that people have."""
