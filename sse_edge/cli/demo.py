"""``sse-edge demo``: a page that shows it working."""

from __future__ import annotations

import secrets
import socket

import click

from ..admission.address import is_loopback
from ..errors import BackendError
from ..publishing.sync_publisher import SyncPublisher
from ..redaction import redacted
from .failure import Failure
from .options import DEFAULT_REDIS, host_option, port_option, redis_option
from .serving.listen import bind, url_of

SHUTDOWN_SECONDS = 2


@click.command(short_help="See it work in the browser.")
@port_option()
@host_option()
@redis_option("demo", "Use this Redis instead of memory.", default=None)
@click.option("--secret", show_envvar=True, help="Signs the cookies; a new one for every run, unless given.")
def demo(port: int, host: str, redis: str | None, secret: str | None) -> None:
    """Show it working: a small shop with live updates, at http://127.0.0.1:8000.

    Needs nothing else: events live in this process's memory.  With --redis they go through Redis, and
    `sse-edge publish` can send some from another terminal.

    \b
    sse-edge demo
    sse-edge demo --port 9000
    sse-edge demo --redis redis://127.0.0.1:6379/0
    """
    from ..demo.app import create_app  # noqa: PLC0415 - only what is used is imported
    from .serving.server import Settings, run_one  # noqa: PLC0415

    with bind(host, port) as sock:
        if redis is not None:
            _check(redis)
        config = Settings(
            create_app(redis or "memory://", secret or secrets.token_urlsafe(32), hosts=_hosts(sock, host)),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        run_one(config, sock, lambda: click.echo(_banner(url_of(sock, host), redis)))
    click.echo("\nStopped.")


def _hosts(sock: socket.socket, host: str) -> list[str] | None:
    """The names that the demo answers to on this machine: not a page's that was given its address.

    Who lets others in from the network does it under whatever name they know.
    """
    address = sock.getsockname()[0]
    if not is_loopback(address):
        return None
    names = ("127.0.0.1", "::1", address, host)
    return ["localhost", "*.localhost", *(f"[{name}]" if ":" in name else name for name in names)]


def _check(redis: str) -> None:
    try:
        with SyncPublisher(redis) as events:
            events.cursor()
    except BackendError as error:
        raise Failure(f"cannot use {redacted(redis)}: {error}") from error


def _banner(url: str, redis: str | None) -> str:
    lines = [
        "",
        f"  The sse_edge demo is at  {click.style(url, bold=True)}",
        f"  Events go through        {'memory' if redis is None else redacted(redis)}",
    ]
    if redis is not None:
        where = "" if redis == DEFAULT_REDIS else f" --redis {redacted(redis)}"
        lines += [f"  From another terminal    sse-edge publish shop 'Hello'{where}"]
    return "\n".join([*lines, "  To stop                  Ctrl-C", ""])
