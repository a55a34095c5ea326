"""What is behind: clocks, workers, Redis, and the machine."""

# ruff: noqa: E501 - a table of sentences

from __future__ import annotations

from ..fault import Fault, Level

_FAIL, _WARN = Level.FAILURE, Level.WARNING

BEHIND = {
    "Clocks and workers": (
        Fault(
            "clock-skew", _WARN,
            "Clocks of a worker, of Redis, of the proxy and of this machine differ by more than two seconds.",
            "Have chrony or systemd-timesyncd set the clocks of all machines: sessions begin and end by them, and what "
            "the logs of two machines say cannot be put in order.",
            needs="--secret or --redis, to look past the proxy",
        ),
        Fault(
            "no-worker", _FAIL,
            "No worker reports to this Redis.",
            "Are --redis and --prefix the application's, and is its backend a RedisBackend? Then it does not reach Redis: "
            "see its log.",
            needs="--redis",
        ),
        Fault(
            "worker-not-ready", _FAIL,
            "A worker takes no new streams, or hears no events.",
            "It is about to stop, or does not reach Redis: see its log. Unless that is meant, no proxy should ask it: "
            "/status/ready.",
            needs="--redis",
        ),
        Fault(
            "worker-degraded", _WARN,
            "A worker counts limits alone, or writes nothing.",
            "Redis does not answer it, or refuses what it writes: see its log, and what is said of Redis here.",
            needs="--redis",
        ),
        Fault(
            "two-apps", _FAIL,
            "Workers of different applications report under one prefix.",
            "They hear each other's events, and count each other's users: give each its own RedisBackend(prefix=...), or "
            "the same channels, path and authenticators to all workers of one. While a release changes these, it passes.",
            needs="--redis",
        ),
        Fault(
            "versions-differ", _WARN,
            "Workers run different versions of sse_edge.",
            "During a rolling restart that passes; else some machine was left out.",
            needs="--redis",
        ),
        Fault(
            "history-differs", _FAIL,
            "Workers keep different amounts of history.",
            "What a client that comes back is given depends on who published: set history and history_ttl alike "
            "everywhere.",
            needs="--redis",
        ),
        Fault(
            "settings-differ", _WARN,
            "Workers of one application have different settings.",
            "Which of them a client gets is chance: set them alike, or see which machine was left out.",
            needs="--redis",
        ),
        Fault(
            "short-grace", _WARN,
            "A server gives its streams less time to end than drain_window.",
            "The drain is pressed into what the server waits, and everybody comes back at once: sse-edge serve --grace, "
            "uvicorn --timeout-graceful-shutdown, gunicorn --graceful-timeout must be longer than drain_window, or "
            "drain_window shorter.",
            needs="--redis",
        ),
        Fault(
            "server-warns", _WARN,
            "A worker has warned of its server's options.",
            "Its log says the same when it begins.",
            needs="--redis",
        ),
    ),
    "Redis": (
        Fault("redis-away", _FAIL, "Redis does not answer.", "Is it running, may this machine reach it, and does the URL say redis:// or rediss:// as it speaks?", needs="--redis"),
        Fault("redis-password", _FAIL, "Redis does not take this user and password.", "Is it the --redis that the app has? Redis has no such user, or another password for them.", needs="--redis"),
        Fault("redis-old", _FAIL, "Redis is older than 7.", "Redis 7 or later, or Valkey.", needs="--redis"),
        Fault(
            "redis-replica", _FAIL,
            "This Redis is a replica: it takes no writes.",
            "Name the primary; or have Sentinel name it, with redis+sentinel://.",
            needs="--redis",
        ),
        Fault(
            "redis-denied", _FAIL,
            "This user of Redis may not run commands that a worker needs.",
            "ACL SETUSER … with these commands, keys and channels: docs/REDIS.md, \"Permissions\".",
            needs="--redis",
        ),
        Fault(
            "redis-denied-limits", _WARN,
            "This user of Redis may not run commands that limits over all workers need, or revoked sessions.",
            "Without them caps count in each worker alone, and sessions cannot be revoked: docs/REDIS.md, \"Permissions\".",
            needs="--redis",
        ),
        Fault(
            "redis-evicts", _FAIL,
            "Redis may evict keys when it is full.",
            "maxmemory-policy noeviction: history and limits are not a cache.",
            needs="--redis",
        ),
        Fault(
            "redis-evicted", _WARN,
            "Redis has evicted keys since it began.",
            "History, limits or leases may be lost: clients got edge-reset, or more streams than they may. More maxmemory, "
            "and maxmemory-policy noeviction; a Redis of its own, if others fill this one. CONFIG RESETSTAT forgets it.",
            needs="--redis",
        ),
        Fault(
            "redis-full", _WARN,
            "Redis has nine tenths of the memory that it may have.",
            "When it is full publishing fails: more maxmemory, or less history; sse-edge tune says what that takes.",
            needs="--redis",
        ),
        Fault(
            "redis-rejects", _WARN,
            "Redis has turned connections away since it began.",
            "Its maxclients were all there: three for each worker, and two for who publishes.",
            needs="--redis",
        ),
        Fault(
            "redis-buffer", _FAIL,
            "Redis cuts off subscribers for whom little waits.",
            "client-output-buffer-limit pubsub 32mb 8mb 60: below it a burst of events cuts the workers off.",
            needs="--redis",
        ),
        Fault(
            "redis-not-durable", _FAIL,
            "Redis may lose what it was told last.",
            "RedisBackend(durable=True) promises what only appendonly yes and appendfsync always keep.",
            needs="--redis and --durable",
        ),
        Fault(
            "redis-not-writing", _FAIL,
            "Redis cannot write to its disk.",
            "Redis refuses writes while it cannot save: look for a full disk.",
            needs="--redis",
        ),
    ),
    "The machine": (
        Fault(
            "few-files", _WARN,
            "The processes that listen may not open two files for each stream.",
            "A proxy needs two open files for each stream. LimitNOFILE= in its systemd unit.",
            "worker_rlimit_nofile and worker_connections", "LimitNOFILE= in caddy.service",
            needs="on the proxy's machine",
        ),
        Fault(
            "few-ports", _WARN,
            "Few ports for outgoing connections.",
            "sysctl net.ipv4.ip_local_port_range='1024 65535', several ports for the app, or unix sockets.",
            "more server lines in upstream", "more to lines in reverse_proxy",
            needs="on the proxy's machine",
        ),
        Fault(
            "short-backlog", _WARN,
            "Few connections may wait to be accepted.",
            "sysctl net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096; it caps every listener's backlog.",
            "listen 443 ssl http2 backlog=4096;",
            needs="on the proxy's machine",
        ),
    ),
}  # fmt: skip
