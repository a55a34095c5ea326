"""How a Redis server is set up."""

from __future__ import annotations

from ...backends.redis.inspection import RedisState
from ..finding import Finding, found, ok, unknown

MIB = 1 << 20

FULL = 0.9
"""Of the memory that it may have."""

WORDS = {
    "redis-password": (
        "username-password",
        "Authentication required",
        "WRONGPASS",
        "NOAUTH",
        "no password is set",
    ),
    "redis-denied": ("no permissions", "NOPERM", "can't run this command", "No permissions"),
}
"""What Redis says where it is there, and does not do what it is asked."""


def unanswered(check: str, said: str) -> Finding:
    """Redis did not do what it was asked: in its own words, or in those of the way to it."""
    for code, words in WORDS.items():
        if any(word in said for word in words):
            return found(check, code, said)
    if "no answer" in said:
        said += "; does it speak TLS, and the URL (rediss://) not, or the other way round?"
    return found(check, "redis-away", said)


def server(state: RedisState, *, durable: bool) -> list[Finding]:
    """One Redis server.  ``durable``: whether RedisBackend(durable=True) is promised."""
    info, config = state.info, state.config
    findings = [_version(info), *_troubles(info)]
    if state.denied:
        findings.append(found("redis permissions", "redis-denied", ", ".join(state.denied)))
    elif state.denied_limits:
        findings.append(found("redis permissions", "redis-denied-limits", ", ".join(state.denied_limits)))
    else:
        findings.append(ok("redis permissions", "all that is needed"))
    for key in ("rdb_last_bgsave_status", "aof_last_write_status"):
        if info.get(key, "ok") != "ok":
            findings.append(found("redis disk", "redis-not-writing", f"{key}: {info[key]}"))
    if config is None:
        return [
            *findings,
            unknown("redis settings", "this user may not use CONFIG GET; look into redis.conf"),
        ]
    policy, most = config.get("maxmemory-policy", "noeviction"), int(config.get("maxmemory", "0"))
    if most and policy != "noeviction":
        findings.append(found("redis memory", "redis-evicts", f"{policy} at {most // MIB} MiB"))
    else:
        findings.append(ok("redis memory", f"{policy}, {f'{most // MIB} MiB' if most else 'no limit'}"))
    findings += _output_buffer(config.get("client-output-buffer-limit", ""))
    log, sync = config.get("appendonly"), config.get("appendfsync")
    kept = f"appendonly {log}, appendfsync {sync}" if log == "yes" else "appendonly no"
    if durable and (log, sync) != ("yes", "always"):
        findings.append(found("redis history", "redis-not-durable", kept))
    else:
        means = "" if durable else "; after a restart of Redis clients get edge-reset"
        findings.append(ok("redis history", kept + means))
    return findings


def _troubles(info: dict[str, str]) -> list[Finding]:
    """What has happened to it since it began, and will go on to."""
    troubles = []
    if info.get("role") == "slave":
        troubles.append(found("redis role", "redis-replica", f"a replica of {info.get('master_host', '?')}"))
    if evicted := int(info.get("evicted_keys", 0)):
        troubles.append(found("redis evictions", "redis-evicted", f"{evicted:,} keys"))
    if rejected := int(info.get("rejected_connections", 0)):
        troubles.append(found("redis clients", "redis-rejects", f"{rejected:,} connections"))
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > FULL * most:
        seen = f"{used / MIB:.1f} of {most / MIB:.1f} MiB"
        troubles.append(found("redis memory in use", "redis-full", seen))
    return troubles


def _version(info: dict[str, str]) -> Finding:
    if "valkey_version" in info:
        return ok("redis version", f"Valkey {info['valkey_version']}")
    version = info.get("redis_version", "unknown")
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < 7:
        return found("redis version", "redis-old", f"Redis {version}")
    return ok("redis version", f"Redis {version}")


def _output_buffer(value: str) -> list[Finding]:
    words = value.split()
    if "pubsub" not in words:
        return []
    hard, soft, seconds = (int(word) for word in words[words.index("pubsub") + 1 :][:3])
    shown = f"pubsub {hard / MIB:g}mb {soft / MIB:g}mb {seconds}"
    if 0 < hard < 32 * MIB or 0 < soft < 8 * MIB:
        return [found("redis buffer", "redis-buffer", shown)]
    return [ok("redis buffer", shown)]
