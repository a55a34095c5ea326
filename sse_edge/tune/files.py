"""The shipped files with a sizing's numbers: which there are, and what is replaced in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError
from . import template
from .dialect import Version, spoken
from .naming import resolving, upstreams
from .sizing import FIRST_APP_PORT, MIB, Sizing

PROXY_FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile"}

DEPLOY = {
    "sse-edge@.service": "deploy/systemd/sse-edge@.service",
    "sse-edge.target": "deploy/systemd/sse-edge.target",
    "proxy-limits.conf": "deploy/systemd/proxy-limits.conf",
    "sysctl.conf": "deploy/sysctl.conf",
    "redis.conf": "deploy/redis.conf",
}
"""File → its place in the source tree and, in a wheel, beside this module."""

_PACKAGE = Path(__file__).parent

# These syntaxes have no comments at the end of a line, so the mark is on the line above.
_MARK = re.compile(
    r"^# tune: (?P<name>\w+)\n(?P<before>[^\n]*=[ \t]*|(?:# )?\S+[ \t]+)(?P<value>[^\n]+)$", re.MULTILINE
)


def text(name: str) -> str:
    """A shipped file as it is.  Raises ConfigError for any other name."""
    if name not in DEPLOY:
        return template.shipped(name)
    path = _PACKAGE / DEPLOY[name]
    if not path.exists():
        path = _PACKAGE.parents[1] / DEPLOY[name]
    return path.read_bytes().decode()


def marked(shipped: str) -> dict[str, str]:
    """The marked values of one of the deploy files.  Raises ConfigError for a mark without a value."""
    found = {match["name"]: match["value"] for match in _MARK.finditer(shipped)}
    if len(found) != shipped.count("# tune: "):
        raise ConfigError("# tune:", "a mark names no value, or one that is marked before")
    return found


def replace(shipped: str, values: Mapping[str, str]) -> str:
    """One of the deploy files with ``values`` in place of its own.

    Raises ConfigError for a name that is not marked.
    """
    own = marked(shipped)
    for name in values:
        if name not in own:
            raise ConfigError(name, f"is not marked in this file; marked are {', '.join(sorted(own))}")
    return _MARK.sub(
        lambda match: (
            f"# tune: {match['name']}\n{match['before']}{values.get(match['name'], match['value'])}"
        ),
        shipped,
    )


def tuned(
    sizing: Sizing, upstream: Sequence[str] = (), nginx: Version | None = None, *, resolver: str | None = None
) -> dict[str, str]:
    """File name → content, for the proxy, systemd, the kernel and Redis.

    ``upstream`` are the workers' addresses for the proxy, else ports from 8001 on; ``resolver`` is the name
    server that nginx asks for their names again.  ``nginx`` is the version that is to read the file, else
    every one is.  Raises ConfigError for what is no place of a worker, or no name server.
    """
    ports = [FIRST_APP_PORT + number for number in range(sizing.workers)]
    places = upstreams(upstream) or [f"127.0.0.1:{port}" for port in ports]
    backlog = str(sizing.backlog)
    if sizing.proxy == "nginx":
        proxy: dict[str, str | Sequence[str]] = {
            "upstream": places,
            "worker_connections": str(sizing.worker_connections),
            "files": str(sizing.proxy_files),
            "backlog": backlog,
            "address_zone": f"{sizing.zone // MIB}m",
        }
    else:
        proxy = {"upstream": [re.sub("^unix:", "unix/", place) for place in places]}
    name = PROXY_FILES[sizing.proxy]
    values: dict[str, dict[str, str]] = {
        "sse-edge@.service": {
            "backlog": backlog,
            "files": str(sizing.worker_files),
            "memory_max": f"{sizing.memory_max // MIB}M",
        },
        "sse-edge.target": {"instances": " ".join(f"sse-edge@{port}.service" for port in ports)},
        "proxy-limits.conf": {"proxy_files": str(sizing.proxy_files)},
        "sysctl.conf": {
            "backlog": backlog,
            "syn_backlog": str(sizing.syn_backlog),
            "conntrack": str(sizing.conntrack),
        },
        "redis.conf": {"maxmemory": f"{sizing.maxmemory // MIB}mb"},
    }
    shipped = text(name) if sizing.proxy == "caddy" else spoken(text(name), nginx)
    return {
        name: resolving(template.render(shipped, proxy), resolver),
        **{each: replace(text(each), values[each]) for each in DEPLOY},
    }
