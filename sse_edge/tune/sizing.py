"""What a number of streams needs: numbers in, numbers out.

Each figure names its source.  *Measured* is on one machine of two cores with Python 3.11, nginx 1.22,
Caddy 2.6 and Redis 7.0: 500 to 700 streams over TLS and HTTP/1.1 through the shipped configurations,
events of 150 bytes.  The figures tell orders of magnitude; a load test tells yours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from .history import EVENT_BYTES, Keep, memory

KIB, MIB = 1024, 1024 * 1024

PROXIES = ("nginx", "caddy")

MOST_CONNECTIONS = 1_000_000
"""Streams on one machine; above it one machine is the wrong answer."""

WORKER_BYTES = 64 * MIB
"""A worker without streams: 42 MiB measured, and some for the app."""

WORKER_STREAM_BYTES = 5 * KIB
"""An idle stream in a worker, with a channel of its own and a shared one: 4.5 KiB measured,
``loadtest/results/capacity-nginx.txt``."""

PROXY_STREAM_BYTES = {"nginx": 37 * KIB, "caddy": 150 * KIB}
"""A proxied TLS stream over HTTP/1.1: nginx 36.7 KiB, the same run, and 34.2 KiB of 3,000 that were idle from
their beginning (15.5 KiB without TLS; 43.2 KiB over HTTP/2 with a connection for each), ``deploy/TUNING.md``;
Caddy 150.3 KiB at 600 streams."""

PROXY_WORKER_BYTES = {"nginx": 10 * MIB, "caddy": 40 * MIB}
"""A proxy process without streams, rounded up."""

NGINX_SLOT_BYTES = 432
"""What nginx takes for each of worker_connections at its start, measured."""

ZONE_BYTES = 128
"""An address in one of nginx's zones: 10 MiB were full with 81,376 keys, measured."""

LEAST_ZONE = 10 * MIB
"""A zone of the shipped nginx.conf; a full one refuses everybody."""

KERNEL_STREAM_BYTES = 14 * KIB
"""Three sockets of a stream on this machine: 11.7 KiB, the same run, and their buffers when they are idle."""

WORKER_EVENT_SECONDS = 11e-6
"""CPU of a worker per delivered event, one at a time: 10.5 µs beside a busy proxy, the same
run; in bursts 0.3."""

PROXY_EVENT_SECONDS = {"nginx": 16e-6, "caddy": 35e-6}
"""CPU of the proxy per delivered event over TLS, one at a time: 15.5 µs, the same run, and 34.4 µs."""

WORKER_CONNECT_SECONDS = 0.46e-3
"""CPU of a worker per new stream with limits in Redis, 1,300 a second: 0.46 ms, the same run."""

PROXY_CONNECT_SECONDS = {"nginx": 0.38e-3, "caddy": 1.0e-3}
"""CPU of the proxy per new stream with a full TLS handshake and a P-256 key: 0.38 ms, the same run; Caddy
1.0 ms at 1,000 streams."""

REDIS_PUBLISH_SECONDS = 48e-6
"""CPU of Redis per published event, with append-only file, where several travel together: 48 µs measured.
Each by itself from one publisher it is 69 µs, ``loadtest/results/capacity-nginx.txt``."""

REDIS_BYTES = 8 * MIB
"""An empty Redis."""

REDIS_WORKER_CONNECTIONS = 3
"""Connections of a worker to Redis, measured."""

HISTORY, HISTORY_SECONDS = 100, 300
"""RedisBackend's defaults."""

PUBSUB_BYTES = 64 * MIB
"""The hard limit of a subscriber's output buffer in the shipped redis.conf."""

RECENT_BYTES = 32 * MIB
"""Bytes of recent events that a worker keeps at most, over all channels."""

RECENT_OVERHEAD = 30, 160
"""Bytes of such an event besides its own: what is counted, its id, and what is not, Python's objects; 188 in
all measured."""

PER_WORKER = 15_000
"""Limits(per_worker=…), the default."""

RESERVED_FILES = 200
"""Open files that an app needs besides streams, as ``sse-edge serve`` reckons."""

STREAMS_PER_WORKER = 10_000
"""Streams of one worker at most: below PER_WORKER, so that others can take those of a lost one."""

SMALL_SHARE, SMALL_WORKERS = 2_500, 4
"""Up to four workers, one for so many streams: a restart then moves a quarter of them."""

BUSY = 0.6
"""Share of a core that steady delivery may take, so that reconnects and bursts find room."""

STREAMS_PER_NGINX_WORKER = 25_000
"""Streams of one nginx worker, of which there are two at least."""

UNEVEN = 1.5
"""The kernel does not spread connections evenly over nginx's workers."""

FIRST_PORT, LAST_PORT = 10_240, 65_535
"""net.ipv4.ip_local_port_range in the shipped sysctl file."""

HERD_SECONDS = 4
"""What clients wait when they are told to come back, 2 to 6 s: so long a herd takes to arrive."""

FIRST_APP_PORT = 8001
"""The first worker's port; the others have the next ones."""

MOST_WORKERS = 512


@dataclass(frozen=True, slots=True)
class Sizing:
    """What so many streams need on one machine.  Sizes are in bytes, times in seconds, CPU in cores."""

    connections: int
    rate: float
    audience: int
    proxy: Literal["nginx", "caddy"]
    workers: int
    per_worker: int
    """For Limits(per_worker=…): above what a worker has when another is lost."""
    worker_files: int
    proxy_workers: int
    worker_connections: int
    """0 for Caddy, which has one process and no such limit."""
    proxy_files: int
    backlog: int
    syn_backlog: int
    conntrack: int
    keeps: tuple[Keep, ...] = ()

    @property
    def streams_per_worker(self) -> int:
        """When they are even."""
        return math.ceil(self.connections / self.workers)

    @property
    def streams_after_loss(self) -> int:
        """The same while one worker is away."""
        return math.ceil(self.connections / max(1, self.workers - 1))

    @property
    def worker_ports(self) -> int:
        """Local ports that connections to one worker take, while another is away."""
        return self.streams_after_loss

    @property
    def open_files(self) -> int:
        """On the whole machine."""
        return 3 * self.connections + self.workers * RESERVED_FILES

    @property
    def worker_memory(self) -> int:
        """Of all workers."""
        own = WORKER_BYTES + self.recent_memory
        return self.workers * own + self.connections * WORKER_STREAM_BYTES

    @property
    def recent_memory(self) -> int:
        """Of the recent events in one worker, if it hears all channels."""
        counted, beside = RECENT_OVERHEAD
        kept = [(self.history_channels * self.history_events, EVENT_BYTES)]
        kept += [(keep.channels * keep.events, keep.size) for keep in self.keeps]
        size = sum(events * (each + counted) for events, each in kept)
        taken = sum(events * (each + counted + beside) for events, each in kept)
        return taken if size <= RECENT_BYTES else round(taken * RECENT_BYTES / size)

    @property
    def memory_max(self) -> int:
        """What one worker may have: full, with its sockets, and as much again for bursts."""
        full = (
            WORKER_BYTES + self.recent_memory + self.per_worker * (WORKER_STREAM_BYTES + KERNEL_STREAM_BYTES)
        )
        return _power_of_two(2 * full / MIB) * MIB

    @property
    def proxy_memory(self) -> int:
        """Of the proxy, all of its processes."""
        slots = (
            self.proxy_workers * self.worker_connections * NGINX_SLOT_BYTES if self.proxy == "nginx" else 0
        )
        own = self.proxy_workers * PROXY_WORKER_BYTES[self.proxy]
        return own + slots + self.connections * PROXY_STREAM_BYTES[self.proxy]

    @property
    def zone(self) -> int:
        """Of each of nginx's zones, with an address for each stream, and as much again."""
        return max(LEAST_ZONE, math.ceil(2 * self.connections * ZONE_BYTES / MIB) * MIB)

    @property
    def kernel_memory(self) -> int:
        """Of the sockets, while nothing waits in them."""
        return self.connections * KERNEL_STREAM_BYTES

    @property
    def publishes(self) -> float:
        """Events published per second."""
        return self.connections * self.rate / self.audience

    @property
    def history_channels(self) -> int:
        """Of which the default is kept."""
        return math.ceil(self.connections / self.audience)

    @property
    def history_events(self) -> int:
        """Kept of each of them."""
        return min(HISTORY, math.ceil(self.publishes / self.history_channels * HISTORY_SECONDS))

    @property
    def history_memory(self) -> int:
        """Of those."""
        return memory(self.history_channels, self.history_events, EVENT_BYTES)

    @property
    def kept_memory(self) -> int:
        """Of the channels of which something else is kept."""
        return sum(keep.memory for keep in self.keeps)

    @property
    def redis_memory(self) -> int:
        """Of Redis, while every worker keeps up."""
        return REDIS_BYTES + self.history_memory + self.kept_memory

    @property
    def maxmemory(self) -> int:
        """For redis.conf: the default history twice, a quarter more than the rest, and every worker's output
        buffer full."""
        history = 2 * self.history_memory + math.ceil(1.25 * self.kept_memory)
        most = REDIS_BYTES + history + self.workers * PUBSUB_BYTES
        return max(256, _power_of_two(most / MIB)) * MIB

    @property
    def redis_connections(self) -> int:
        """Of the workers; publishers have theirs."""
        return self.workers * REDIS_WORKER_CONNECTIONS

    @property
    def memory(self) -> int:
        """Of everything together."""
        return self.worker_memory + self.proxy_memory + self.kernel_memory + self.redis_memory

    @property
    def worker_cpu(self) -> float:
        """Of all workers, to deliver."""
        return self.connections * self.rate * WORKER_EVENT_SECONDS

    @property
    def proxy_cpu(self) -> float:
        """Of the proxy, to deliver."""
        return self.connections * self.rate * PROXY_EVENT_SECONDS[self.proxy]

    @property
    def redis_cpu(self) -> float:
        """Of Redis, to publish; it has one core."""
        return self.publishes * REDIS_PUBLISH_SECONDS

    @property
    def cpu(self) -> float:
        """Of everything together, while nobody connects."""
        return self.worker_cpu + self.proxy_cpu + self.redis_cpu

    @property
    def herd_cpu(self) -> float:
        """CPU seconds until all streams are open again after all were cut."""
        return self.connections * (WORKER_CONNECT_SECONDS + PROXY_CONNECT_SECONDS[self.proxy])


def size(
    connections: int,
    *,
    workers: int | None = None,
    proxy: str = "nginx",
    rate: float = 1.0,
    audience: int = 10,
    keeps: Sequence[Keep] = (),
) -> Sizing:
    """What ``connections`` streams need.

    ``workers``: app processes, else as many as fit; ``rate``: events that each stream gets per second;
    ``audience``: streams that hear one event; ``keeps``: channels of which something else is kept than the
    default.  Raises ConfigError.
    """
    _whole("connections", connections, MOST_CONNECTIONS)
    _whole("audience", audience, MOST_CONNECTIONS)
    if workers is not None:
        _whole("workers", workers, MOST_WORKERS)
    if proxy not in PROXIES:
        raise ConfigError("proxy", f"must be one of {', '.join(PROXIES)}", proxy)
    if not (isinstance(rate, int | float) and 0 <= rate <= 1000):
        raise ConfigError("rate", "must be events per second and stream, 0 to 1000", rate)
    audience = min(audience, connections)
    if workers is None:
        workers = max(
            2,
            min(SMALL_WORKERS, math.ceil(connections / SMALL_SHARE)),
            math.ceil(connections / STREAMS_PER_WORKER),
            math.ceil(connections * rate * WORKER_EVENT_SECONDS / BUSY),
        )
        if workers > MOST_WORKERS:
            raise ConfigError("rate", f"needs {workers} workers, more than {MOST_WORKERS}", rate)
    after_loss = math.ceil(connections / max(1, workers - 1))
    per_worker = max(PER_WORKER, _up(after_loss, 1000))
    proxy_workers = max(2, math.ceil(connections / STREAMS_PER_NGINX_WORKER)) if proxy == "nginx" else 1
    sockets = 2 * UNEVEN * connections / proxy_workers
    worker_connections = _up(math.ceil(sockets), 4096) if proxy == "nginx" else 0
    backlog = min(65_536, max(4096, _power_of_two(connections / HERD_SECONDS)))
    return Sizing(
        connections=connections,
        rate=rate,
        audience=audience,
        proxy="nginx" if proxy == "nginx" else "caddy",
        workers=workers,
        per_worker=per_worker,
        worker_files=_power_of_two(per_worker + RESERVED_FILES),
        proxy_workers=proxy_workers,
        worker_connections=worker_connections,
        proxy_files=_up(max(2000, math.ceil(1.2 * (worker_connections or 2 * connections))), 1000),
        backlog=backlog,
        syn_backlog=2 * backlog,
        conntrack=max(262_144, _power_of_two(4 * connections)),
        keeps=tuple(keeps),
    )


def _whole(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(name, f"must be a whole number from 1 to {most}", value)


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(least) - 1).bit_length()


def _up(least: int, step: int) -> int:
    return -(-least // step) * step
