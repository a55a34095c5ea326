"""What the doctor makes of a Redis, and of this machine: tables."""

import pytest

from parts.judged import codes
from sse_edge.backends.redis.inspection import RedisState
from sse_edge.doctor.fault import Level
from sse_edge.doctor.judgement import machine, redis
from sse_edge.doctor.machine import Machine

MIB = 1 << 20


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Redis: invalid username-password pair or user is disabled.", "redis-password"),
        ("Redis: Authentication required.", "redis-password"),
        ("Redis: this user has no permissions to run the 'publish' command", "redis-denied"),
        ("Redis: Error 111 connecting to 127.0.0.1:1.", "redis-away"),
        ("Redis: no answer in time", "redis-away"),
    ],
)
def test_a_redis_that_does_not(said, expected):
    """Is not there, does not know who asks, or does not let them: in its own words."""
    finding = redis.unanswered("redis", said)
    assert finding.code == expected
    assert finding.seen.startswith(said)
    assert ("rediss://" in finding.seen) is ("in time" in said)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Machine((20_000,), 28_232, 4096, 4096), []),
        (Machine((10_000, 10_000), 64_512, 65_535, 512), []),
        (Machine((1024, 1024), 28_232, 4096, 4096), ["few-files"]),
        (Machine((20_000,), 10_000, 4096, 4096), ["few-ports"]),
        (Machine((20_000,), 28_232, 128, 4096), ["short-backlog"]),
        (Machine((20_000,), 28_232, 4096, 128), ["short-backlog"]),
        (Machine(), []),
    ],
)
def test_the_machine(seen, expected):
    """Room for 10,000 streams: two files each, ports, and a backlog for when all come back."""
    assert codes(machine.room(seen, 10_000)) == expected


CONFIG = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "appendonly": "no",
    "appendfsync": "everysec",
}


@pytest.mark.parametrize(
    ("info", "config", "durable", "expected"),
    [
        ({"redis_version": "7.0.15"}, {}, False, []),
        ({"redis_version": "8.2.1"}, {}, False, []),
        ({"redis_version": "6.2.14"}, {}, False, ["redis-old"]),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, {}, False, []),
        ({"rdb_last_bgsave_status": "err"}, {}, False, ["redis-not-writing"]),
        ({"aof_last_write_status": "err"}, {}, False, ["redis-not-writing"]),
        ({}, {"maxmemory": "1", "maxmemory-policy": "allkeys-lru"}, False, ["redis-evicts"]),
        ({}, {"maxmemory": "1", "maxmemory-policy": "volatile-ttl"}, False, ["redis-evicts"]),
        ({}, {"maxmemory-policy": "allkeys-lru"}, False, []),
        ({}, {"maxmemory": "1"}, False, []),
        ({}, {"client-output-buffer-limit": "pubsub 65536 0 0"}, False, ["redis-buffer"]),
        ({}, {"client-output-buffer-limit": f"pubsub {32 * MIB} 100 60"}, False, ["redis-buffer"]),
        ({}, {"client-output-buffer-limit": "pubsub 0 0 0"}, False, []),
        ({}, {}, True, ["redis-not-durable"]),
        ({}, {"appendonly": "yes"}, True, ["redis-not-durable"]),
        ({}, {"appendonly": "yes", "appendfsync": "always"}, True, []),
    ],
)
def test_redis(info, config, durable, expected):
    """Version, eviction, output buffer, and what a restart costs against what is promised."""
    assert codes(redis.server(RedisState(info, {**CONFIG, **config}), durable=durable)) == expected


def test_permissions_that_are_missing():
    """Every command that is denied is named."""
    findings = redis.server(RedisState({}, denied=("XADD sse:history:*", "HSET sse:clock")), durable=False)
    assert [(finding.code, finding.seen) for finding in findings if finding.code] == [
        ("redis-denied", "XADD sse:history:*, HSET sse:clock")
    ]
    findings = redis.server(RedisState({}, denied_limits=("ZADD sse:revoked",)), durable=False)
    assert [finding.code for finding in findings if finding.code] == ["redis-denied-limits"]


def test_a_redis_that_does_not_tell_its_settings():
    """Is judged by what it tells."""
    findings = redis.server(RedisState({"redis_version": "7.0.0"}), durable=True)
    assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.UNKNOWN]
