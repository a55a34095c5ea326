"""How many processes hold so many streams, and whether this machine lets them: numbers in, numbers out."""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

from sse_edge.tune.machine import Machine
from sse_edge.tune.sizing import MIB, PER_WORKER, RESERVED_FILES, UNEVEN, Sizing, size

from ..measure import machine

Proxy = Literal["nginx", "caddy", "none"]
PROXIES: tuple[Proxy, ...] = get_args(Proxy)

STREAMS_PER_READER = 10_000  # that one process of clients holds at most

READER_STREAM_BYTES = {True: 45_000, False: 4_000}
"""Memory of a client's stream, with TLS and without, as Python holds it."""


@dataclass(frozen=True)
class Host:
    """What the machine allows: descriptors of one process, ports to one address, bytes of memory."""

    files: int
    ports: int
    memory: int

    @classmethod
    def read(cls) -> Self:
        """This machine; raises this process's limit on descriptors, and with it that of its children."""
        files = machine.raise_descriptors()
        return cls(files, Machine.read().ports or 28_232, machine.available_memory())


@dataclass(frozen=True)
class Layout:
    """The processes, and the sizing that ``sse-edge tune`` makes for them."""

    proxy: Proxy
    tls: bool
    workers: int
    proxies: int
    """Processes of the proxy: nginx's workers, or Caddys beside each other."""
    proxy_files: int
    sizing: Sizing


def arrange(streams: int, proxy: Proxy, workers: int, host: Host, *, tls: bool) -> Layout:
    """Processes for so many streams.  RuntimeError, with the remedy, when they do not fit."""
    sizing = size(streams, workers=workers, proxy="caddy" if proxy == "caddy" else "nginx")
    each = math.ceil(streams / workers)
    room = host.files - RESERVED_FILES
    if room < RESERVED_FILES:
        raise RuntimeError(
            f"a process may have only {host.files} descriptors: raise that (ulimit -Hn) to {streams + 1000}"
        )
    least = max(math.ceil(streams / room), math.ceil(streams / PER_WORKER))
    if workers < least:
        reason, remedy = f"the app has Limits(per_worker={PER_WORKER:_})", f"--workers {least}"
        if each <= PER_WORKER:
            reason = f"a process may have {host.files:,} descriptors (ulimit -Hn)"
            remedy += f", or raise that to {each + RESERVED_FILES}"
        raise RuntimeError(f"--workers {workers} would be {each:,} streams each, and {reason}: {remedy}")
    if proxy != "none" and each > host.ports:
        raise RuntimeError(
            f"--workers {workers} would be {each:,} connections from the proxy to each, and there are "
            f"{host.ports:,} local ports: --workers {math.ceil(streams / host.ports)}, or sysctl "
            'net.ipv4.ip_local_port_range="10240 65535"'
        )
    proxies = {
        "nginx": max(2, math.ceil(2 * UNEVEN * streams / room)),
        "caddy": math.ceil(2 * streams / room),
        "none": 0,
    }[proxy]
    taken = sizing.worker_memory + sizing.kernel_memory + sizing.redis_memory
    taken += streams * READER_STREAM_BYTES[tls] + (sizing.proxy_memory if proxies else 0)
    if taken > host.memory:
        raise RuntimeError(
            f"--streams {streams} takes about {taken // MIB:,} MiB of memory with its clients, and "
            f"{host.memory // MIB:,} MiB are available: give fewer streams"
        )
    return Layout(proxy, tls, workers, proxies, min(sizing.proxy_files, host.files), sizing)


def remarks(layout: Layout, cores: int) -> list[str]:
    """How this differs from what is shipped, and from production: one sentence each."""
    said = [
        "clients come from addresses of their own, 50 streams each, so that every cap stays as it is shipped",
        "clients, proxy, app and Redis share this machine; the clients are reported apart",
        "the kernel's work for a socket is done, and counted, in the process that sends or receives",
        "the kernel's memory is that of all sockets, the clients' too",
    ]
    plain = {
        "nginx": 'no TLS: the words "ssl http2" were removed from nginx.conf',
        "caddy": "no TLS: the site's name in the Caddyfile is an http:// address",
        "none": "no proxy: clients connect to the workers, without TLS",
    }
    tls = "TLS: full handshakes with a P-256 key, none resumed; HTTP/1.1, a connection for each stream"
    said.append(tls if layout.tls else plain[layout.proxy])
    if layout.proxy == "nginx" and layout.proxies != cores:
        said.append(f"nginx has {layout.proxies} workers on {cores} cores, for their descriptors")
    if layout.proxy == "caddy" and layout.proxies > 1:
        said.append(
            f"{layout.proxies} Caddys beside each other, since one would need {layout.sizing.proxy_files:,} "
            "descriptors, more than a process may have here (ulimit -Hn)"
        )
    return said
