"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..backends.redis.url import Parts
from .failure import Misuse

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


def redis_option(command: str, help: str, *, default: str | None = DEFAULT_REDIS) -> Decorator:
    """``--redis``, from SSE_EDGE_<command>_REDIS or, for all commands, SSE_EDGE_REDIS."""
    return click.option(
        "--redis",
        metavar="URL",
        default=default,
        show_default=default is not None,
        envvar=[f"SSE_EDGE_{command.upper()}_REDIS", "SSE_EDGE_REDIS"],
        show_envvar=True,
        callback=_check_redis,
        help=help,
    )


def prefix_option(help: str = "As RedisBackend's.") -> Decorator:
    """``--prefix``."""
    return click.option("--prefix", default="sse:", show_default=True, show_envvar=True, help=help)


def partitions_option(help: str = "As RedisBackend's.") -> Decorator:
    """``--partitions``."""
    return click.option("--partitions", type=int, default=1, show_default=True, show_envvar=True, help=help)


def port_option(default: int = 8000) -> Decorator:
    """``--port``."""
    return click.option(
        "--port", type=click.IntRange(0, 65535), default=default, show_default=True, show_envvar=True,
        help="Port to listen on; 0 takes any free one.",
    )  # fmt: skip


def host_option() -> Decorator:
    """``--host``."""
    return click.option(
        "--host", default="127.0.0.1", show_default=True, show_envvar=True,
        help="Address to listen on; 0.0.0.0 is every IPv4 address.",
    )  # fmt: skip


def _check_redis(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    if url is not None and Parts.of(url).scheme == "memory":
        raise Misuse(
            "memory:// lives inside one process and cannot be reached from another; name a Redis instead"
        )
    return url
