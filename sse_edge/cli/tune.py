"""``sse-edge tune``: what so many streams need, and the shipped files for them."""

from __future__ import annotations

import re
from dataclasses import asdict
from json import dumps
from pathlib import Path

import click

from ..tune.dialect import installed, said, version
from ..tune.files import tuned
from ..tune.history import EVENT_BYTES, Keep
from ..tune.machine import Machine, shortfalls
from ..tune.naming import RESOLVE, name_server, upstreams
from ..tune.sizing import (
    KIB,
    MIB,
    PROXIES,
    PROXY_STREAM_BYTES,
    WORKER_STREAM_BYTES,
    Sizing,
    size,
)
from .failure import Failure, Misuse

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

SHOWN = (
    "streams_per_worker", "streams_after_loss", "worker_ports", "open_files", "worker_memory", "memory_max",
    "proxy_memory", "kernel_memory", "redis_memory", "kept_memory", "recent_memory", "maxmemory", "memory",
    "publishes", "redis_connections", "worker_cpu", "proxy_cpu", "redis_cpu", "cpu", "herd_cpu",
)  # fmt: skip
"""What --json says of a sizing besides its fields."""


def _bytes(context: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    if given is None:
        return None
    match = re.fullmatch(r"(\d{1,9})([KMGT]?)(?:i?B)?", given, re.IGNORECASE)
    if match is None:
        raise Misuse(f"--memory {given!r} is no size; write it as 4G or 512M")
    return int(match[1]) * UNITS[match[2].upper()]


def _upstreams(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(upstreams(given))


def _name_server(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    return None if given is None else name_server(given)


@click.command(short_help="Work out what N streams need, and write the configuration.")
@click.option(
    "--connections", type=int, metavar="N", required=True, show_envvar=True,
    help="Streams that are to be open at once.",
)  # fmt: skip
@click.option(
    "--workers", type=int, metavar="N", show_envvar=True, help="App processes; as many as fit, if not given."
)
@click.option(
    "--memory", metavar="SIZE", callback=_bytes, show_envvar=True,
    help="Memory that all of it may have, such as 4G; this machine's, if not given.",
)  # fmt: skip
@click.option(
    "--proxy", metavar="|".join(PROXIES), default="nginx", show_default=True, show_envvar=True,
    help="Which proxy is in front.",
)  # fmt: skip
@click.option(
    "--rate", type=float, default=1.0, show_default=True, show_envvar=True,
    help="Events that each stream gets per second.",
)  # fmt: skip
@click.option(
    "--audience", type=int, default=10, show_default=True, show_envvar=True,
    help="Streams that hear one event.",
)  # fmt: skip
@click.option(
    "--keep", metavar="PATTERN=EVENTS/SECONDS:CHANNELS[:BYTES]", multiple=True, show_envvar=True,
    help="CHANNELS that PATTERN fits have had an event within SECONDS, and EVENTS of each are kept, of BYTES "
    f"each ({EVENT_BYTES}, if not given). Can be repeated.",
)  # fmt: skip
@click.option(
    "--upstream", metavar="PLACE", multiple=True, callback=_upstreams, show_envvar=True,
    help="A worker's host:port or unix:/path, for the proxy; IPv6 in brackets. Can be repeated; "
    "127.0.0.1:8001 and on, if not given.",
)  # fmt: skip
@click.option(
    "--nginx", metavar="VERSION", show_envvar=True,
    help="The nginx that is to read nginx.conf; the one that is installed here, if not given.",
)  # fmt: skip
@click.option(
    "--resolver", metavar="ADDRESS", callback=_name_server, show_envvar=True,
    help="The name server that nginx, 1.27.3 or later, asks again and again for each --upstream that is a "
    "name; with Docker it is 127.0.0.11.",
)  # fmt: skip
@click.option(
    "--write", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), show_envvar=True,
    help="Write the files for proxy, systemd, kernel and Redis there.",
)  # fmt: skip
@click.option("--force", is_flag=True, show_envvar=True, help="Overwrite files there that are different.")
@click.option("--json", is_flag=True, show_envvar=True, help="Print JSON.")
def tune(
    connections: int,
    workers: int | None,
    memory: int | None,
    proxy: str,
    rate: float,
    audience: int,
    keep: tuple[str, ...],
    upstream: tuple[str, ...],
    nginx: str | None,
    resolver: str | None,
    write: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Work out what N streams need on one machine, and where this machine falls short.

    The numbers are reckoned from measured figures; a load test tells yours.

    \b
    sse-edge tune --connections 10000
    sse-edge tune --connections 50000 --rate 0.2 --memory 16G
    sse-edge tune --connections 10000 --proxy caddy --write /tmp/sse-edge
    sse-edge tune --connections 10000 --keep 'task:*=10000/3600:300' --keep 'order:*=1/86400:50000'
    """
    if upstream and workers not in (None, len(upstream)):
        raise Misuse(f"--workers is {workers}, and --upstream names {len(upstream)}")
    if resolver and proxy != "nginx":
        raise Misuse(f"--resolver is for nginx, and --proxy is {proxy}; Caddy asks for names by itself")
    sizing = size(
        connections,
        workers=len(upstream) or workers,
        proxy=proxy,
        rate=rate,
        audience=audience,
        keeps=[Keep.parse(text) for text in keep],
    )
    if memory is not None and memory < sizing.memory:
        raise Misuse(
            f"--memory is {memory // MIB:,} MiB, and {connections:,} streams need about "
            f"{sizing.memory // MIB:,} MiB"
        )
    machine = Machine.read()
    warnings = shortfalls(sizing, machine, memory)
    if nginx and proxy != "nginx":
        raise Misuse(f"--nginx is {nginx}, and --proxy is {proxy}")
    found = nginx or (installed() if write and proxy == "nginx" else None)
    reader = version(found) if found else None
    if resolver and reader and reader < RESOLVE:
        raise Misuse(
            f"--resolver takes nginx {said(RESOLVE)}, and this is {said(reader)}; --nginx names another"
        )
    written = _write(write, tuned(sizing, upstream, reader, resolver=resolver), force) if write else []
    if json:
        figures = {**asdict(sizing), **{name: getattr(sizing, name) for name in SHOWN}}
        answer = {
            "sizing": figures, "machine": asdict(machine), "warnings": warnings, "written": written,
        }  # fmt: skip
        click.echo(dumps(answer, indent=2))
        return
    for title, rows in _table(sizing):
        click.echo(f"{title}")
        for name, value, note in rows:
            click.echo(f"  {name:<22}{value:>12}  {note}".rstrip())
        click.echo()
    click.echo("Assumed")
    for line in _assumptions(sizing):
        click.echo(f"  {line}")
    click.echo()
    click.echo("This machine" if warnings else "This machine has what is needed.")
    for warning in warnings:
        click.echo(f"  ! {warning}")
    if written:
        click.echo()
        click.echo(f"Written, for nginx {said(reader)}" if reader else "Written")
        for path in written:
            click.echo(f"  {path}")


def _write(directory: Path, files: dict[str, str], force: bool) -> list[str]:
    """All of the files, or none."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = directory / name
            if path.exists() and path.read_bytes() != content.encode() and not force:
                raise Misuse(f"{path} exists and is different; nothing was written (--force overwrites it)")
        for name, content in files.items():
            (directory / name).write_bytes(content.encode())
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}") from error
    return [str(directory / name) for name in files]


def _table(sizing: Sizing) -> list[tuple[str, list[tuple[str, str, str]]]]:
    caddy = sizing.proxy == "caddy"
    proxy = [
        (
            "open files",
            f"{sizing.proxy_files:,}",
            "LimitNOFILE" if caddy else "worker_rlimit_nofile, LimitNOFILE",
        ),
        ("memory", _mib(sizing.proxy_memory), ""),
        ("CPU", _cores(sizing.proxy_cpu), "cores, to deliver"),
    ]
    if not caddy:
        proxy[:0] = [
            ("workers", f"{sizing.proxy_workers}", "at least; worker_processes auto is one per core"),
            ("sockets per worker", f"{sizing.worker_connections:,}", "worker_connections"),
        ]
    return [
        (f"{sizing.connections:,} streams", [
            ("memory", _mib(sizing.memory), "in all"),
            ("CPU", _cores(sizing.cpu), f"cores, at {_events(sizing.rate)} a second each"),
            ("everybody reconnects", f"{sizing.herd_cpu:,.0f} s", "of CPU, spread over the cores"),
        ]),
        ("App", [
            ("workers", f"{sizing.workers}", f"ports 8001 to {8000 + sizing.workers}"),
            ("streams each", f"{sizing.streams_per_worker:,}",
             f"{sizing.streams_after_loss:,} when one is away"),
            ("cap each", f"{sizing.per_worker:,}", f"Limits(per_worker={sizing.per_worker:_})"),
            ("open files each", f"{sizing.worker_files:,}", "LimitNOFILE"),
            ("local ports each", f"{sizing.worker_ports:,}", "when one is away; none with unix sockets"),
            ("memory", _mib(sizing.worker_memory), f"all; MemoryMax={sizing.memory_max // MIB}M each"),
            ("CPU", _cores(sizing.worker_cpu), "cores, to deliver"),
        ]),
        ("Caddy" if caddy else "nginx", proxy),
        ("Kernel", [
            ("backlog", f"{sizing.backlog:,}", "net.core.somaxconn and every listener's"),
            ("half-open", f"{sizing.syn_backlog:,}", "net.ipv4.tcp_max_syn_backlog"),
            ("open files", f"{sizing.open_files:,}", "on the whole machine"),
            ("memory", _mib(sizing.kernel_memory), "sockets, while nothing waits in them"),
        ]),
        ("Redis", [
            ("published", f"{sizing.publishes:,.0f}/s", f"one event for {sizing.audience:,} streams"),
            ("CPU", _cores(sizing.redis_cpu), "of its one core"),
            ("connections", f"{sizing.redis_connections}", "of the workers"),
            *((f"memory, {each.pattern}"[:22], _mib(each.memory), _kept(each)) for each in sizing.keeps),
            ("memory", _mib(sizing.redis_memory), f"in all; maxmemory {sizing.maxmemory // MIB}mb"),
        ]),
    ]  # fmt: skip


def _kept(keep: Keep) -> str:
    return (
        f"{keep.channels:,} of {keep.events:,} events; each is gone {keep.gone_after:,.0f} s after its last"
    )


def _assumptions(sizing: Sizing) -> list[str]:
    return [
        f"{_events(sizing.rate)} a second for each stream (--rate)",
        f"{sizing.audience:,} streams that hear one event (--audience)",
        f"events of {EVENT_BYTES} bytes, of which Redis keeps 100 per channel for 300 s (--keep)",
        f"{WORKER_STREAM_BYTES // KIB} KiB per stream in a worker, "
        f"{PROXY_STREAM_BYTES[sizing.proxy] // KIB} in {sizing.proxy}, measured with TLS and HTTP/1.1",
        "app, proxy and Redis on one machine",
        *_retention(sizing),
    ]


def _retention(sizing: Sizing) -> list[str]:
    """What the app has to say for it."""
    if not sizing.keeps:
        return []
    said = (f"{each.pattern!r}: Retention({each.events:_}, {each.seconds:g})" for each in sizing.keeps)
    return ["RedisBackend(…, retention={", *(f"    {one}," for one in said), "})"]


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"


def _events(rate: float) -> str:
    return f"{rate:g} event{'' if rate == 1 else 's'}"


def _cores(cpu: float) -> str:
    return f"{cpu:.2f}"
