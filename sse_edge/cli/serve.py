"""``sse-edge serve``: uvicorn, set up for many long streams."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..logline import about
from .failure import ENDS, Misuse, ended
from .options import host_option, port_option
from .serving.listen import bind, bind_unix, url_of
from .serving.logs import log_config, logged

logger = logging.getLogger("sse_edge")

RESERVED_FILES = 200
"""Open files that an application needs for itself, roughly: modules, logs, database connections."""

IDLE_SECONDS = 75
"""Longer than proxies keep idle connections (nginx: 60 s), so that it is they who close them."""


def _mode(context: click.Context, parameter: click.Parameter, text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise Misuse(f"--uds-mode: must be permissions in octal, such as 0660 (got {text!r})")
    return mode


def _check_place(context: click.Context) -> None:
    """Whoever says more than one place to listen at means another than the one that would be taken."""
    uds = context.params["uds"]
    for name in ("host", "port") if uds else ("uds_mode", "uds_group"):
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.DEFAULT:
            continue
        given = context.params[name]
        text = f"{given:04o}" if name == "uds_mode" else given
        if source is click.core.ParameterSource.ENVIRONMENT:
            text = f"{text}, from {context.auto_envvar_prefix}_{name.upper()}"
        why = f"with --uds {uds}" if uds else "without --uds"
        raise Misuse(f"--{name.replace('_', '-')}: is of no use {why} (got {text})")


@click.command(short_help="Run an ASGI app with uvicorn, tuned for streams.")
@click.argument("app")
@host_option()
@port_option()
@click.option("--uds", metavar="PATH", show_envvar=True, help="Listen on a unix socket instead.")
@click.option(
    "--uds-mode", metavar="OCTAL", default="0660", show_default=True, show_envvar=True, callback=_mode,
    help="Who may connect to it: the proxy has to be its owner or in its group.",
)  # fmt: skip
@click.option(
    "--uds-group", metavar="GROUP", show_envvar=True,
    help="The group that it belongs to, by name or number.  [default: this process's]",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 512), default=1, show_default=True, show_envvar=True,
    help="Processes, about one per CPU core. More than one needs Redis.",
)  # fmt: skip
@click.option(
    "--backlog", type=click.IntRange(1), default=4096, show_default=True, show_envvar=True,
    help="Connections that may wait to be accepted; Linux caps it at net.core.somaxconn.",
)  # fmt: skip
@click.option(
    "--app-dir", default=".", show_default=True, show_envvar=True, help="Directory to import APP from."
)
@click.option(
    "--events-path", default="/events", show_default=True, show_envvar=True,
    help="The middleware's path: streams below it are logged when they end, not when they begin.",
)  # fmt: skip
@click.option(
    "--status-path", default="/status", show_default=True, show_envvar=True,
    help="The middleware's status_path: probes below it are not logged.",
)  # fmt: skip
@click.option(
    "--grace", type=click.IntRange(0), default=25, show_default=True, show_envvar=True,
    help="Seconds that requests have to finish after SIGTERM. Streams are told at once.",
)  # fmt: skip
@click.option(
    "--head-limit", type=click.IntRange(1024, 1_048_576), default=65_536, show_default=True, show_envvar=True,
    help="Bytes of a request's head at most, and of its trailers; more is refused with 431.",
)  # fmt: skip
@click.option(
    "--head-timeout", type=click.IntRange(1, 3600), default=10, show_default=True, show_envvar=True,
    help="Seconds for a request's head to come, from the connection's beginning or its own first byte.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
    show_default=True, show_envvar=True, help="The least that is logged.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, show_envvar=True,
    help="Lines to read, or a JSON object on each line: deploy/LOGS.md.",
)  # fmt: skip
@click.pass_context
def serve(
    context: click.Context,
    app: str,
    host: str,
    port: int,
    uds: str | None,
    uds_mode: int,
    uds_group: str | None,
    workers: int,
    backlog: int,
    app_dir: str,
    events_path: str,
    status_path: str,
    grace: int,
    head_limit: int,
    head_timeout: int,
    log_level: str,
    log_format: str,
) -> None:
    """Run APP, given as module:attribute, with uvicorn tuned for streams.

    The garbage collector looks at young objects only: a pass over thousands of streams would stop them
    for a third of a second, and find nothing.

    What one client can take is bounded: the size of a request's head and the time it takes, how long a
    connection may be idle (75 seconds), and what is left of a body when the answer is complete (1 MiB).
    A body itself may be as large and as slow as APP allows.

    Behind a proxy: SSEMiddleware reads X-Forwarded-For itself, from its trusted_proxies.  SIGTERM and
    Ctrl-C end streams in good order and exit with 0; a second signal exits at once.

    \b
    sse-edge serve myapp:app
    sse-edge serve myapp:app --host 0.0.0.0 --port 8080 --workers 4
    sse-edge serve myapp:app --uds /run/myapp/myapp.sock --uds-group www-data
    """
    _check_place(context)
    from .serving.server import Settings, run_many, run_one  # noqa: PLC0415 - uvicorn is optional, and slow to import

    logs = log_config(log_level, events_path, status_path, log_format)

    def started() -> None:
        place = f"unix socket {uds}" if uds else url_of(sock, host)
        plural = "s" if workers > 1 else ""
        text = "Serving %s on %s with %d worker%s (Ctrl-C to stop)"
        logger.info(text, app, place, workers, plural, extra=about("serving", place=place, workers=workers))
        streams = max(0, files - RESERVED_FILES)
        text = "Open files are limited to %d: room for about %d streams in each worker"
        logger.info(text, files, streams, extra=about("room", files=files, streams=streams))

    with logged(logs, log_format):
        sys.path.insert(0, str(Path(app_dir).resolve()))
        loaded = _import(app)
        config = Settings(
            app if workers > 1 else loaded,
            workers=workers,
            backlog=backlog,
            log_config=logs,
            log_all=log_format == "json",
            timeout_graceful_shutdown=grace,
            timeout_keep_alive=IDLE_SECONDS,
            head_limit=head_limit,
            head_timeout=head_timeout,
            proxy_headers=False,
            server_header=False,
        )
        files = raise_file_limit()
        with bind_unix(uds, uds_mode, uds_group) if uds else bind(host, port) as sock:
            try:
                (run_many if workers > 1 else run_one)(config, sock, started)
            finally:
                if uds:
                    Path(uds).unlink(missing_ok=True)


def raise_file_limit() -> int:
    """Raise the soft limit on open files to the hard one; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS has a lower limit of its own than the hard one it tells
        return soft
    return hard


def _import(app: str) -> Callable[..., Any]:
    from uvicorn.importer import ImportFromStringError, import_from_string  # noqa: PLC0415

    module = app.partition(":")[0]
    try:
        loaded = import_from_string(app)
    except ImportFromStringError as error:
        raise Misuse(f"APP {app!r}: {error}") from error
    except ModuleNotFoundError as error:
        # A package above the module is missing, or the module itself imports what is not installed.
        where = "" if f"{module}.".startswith(f"{error.name}.") else f" (imported by {module})"
        raise Misuse(f"APP {app!r}: {error}{where}") from error
    except ENDS as error:
        raise ended(f"APP {app!r}", error) from None
    if not callable(loaded):
        raise Misuse(f"APP {app!r} is no ASGI app, but {type(loaded).__name__}")
    return loaded  # type: ignore[no-any-return]
