"""What a Redis user must be allowed to do, and whether it is."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .names import Names
from .server import Verbs


def for_events(names: Names, verbs: Verbs) -> list[tuple[str, ...]]:
    """Every command that workers and publishers need, each with a key or channel of theirs."""
    clock, stream, dedupe = names.clock, names.stream("x"), names.dedupe("x", "x")
    return [
        ("TIME",),
        ("INFO", "server"),
        ("HGET", clock, "last"),
        ("HSET", clock, "last", "x"),
        (verbs.subscribe, names.announce("x")),
        (verbs.unsubscribe,),
        (verbs.publish, names.announce("x"), "x"),
        ("XRANGE", stream, "-", "+"),
        ("XREVRANGE", stream, "+", "-"),
        ("XADD", stream, "*", "b", "x"),
        ("PEXPIRE", stream, "1"),
        ("GET", dedupe),
        ("SET", dedupe, "x"),
    ]


def for_limits(names: Names, leases: str) -> list[tuple[str, ...]]:
    """What counting caps, connects and open streams over all workers, with keys that begin with ``leases``,
    revoking sessions, and writers need besides."""
    return [
        ("ZSCORE", f"{leases}workers", "x"),
        ("ZADD", f"{leases}workers", "1", "x"),
        ("HGETALL", f"{leases}x"),
        ("HSET", f"{leases}x", "x", "1"),
        ("HDEL", f"{leases}x", "x"),
        ("GET", f"{leases}rate:x"),
        ("SET", f"{leases}rate:x", "x"),
        ("ZADD", f"{leases}here:workers", "1", "x"),
        ("ZREM", f"{leases}here:workers", "x"),
        ("ZRANGEBYSCORE", f"{leases}here:workers", "0", "1"),
        ("ZREMRANGEBYSCORE", f"{leases}here:workers", "0", "1"),
        ("HGET", f"{leases}here:x", "x"),
        ("HSET", f"{leases}here:x", "x", "1"),
        ("HDEL", f"{leases}here:x", "x"),
        ("PEXPIRE", f"{leases}here:x", "1"),
        *(
            command
            for key in (names.revoked, names.since, names.lives)
            for command in (
                ("ZADD", key, "1", "x"),
                ("ZREMRANGEBYSCORE", key, "0", "1"),
                ("ZRANGEBYSCORE", key, "0", "1"),
            )
        ),
        ("ZADD", names.writers, "1", "x"),
        ("ZSCORE", names.writers, "x"),
        ("ZRANGEBYSCORE", names.writers, "0", "1"),
        ("ZREM", names.writers, "x"),
        ("ZREMRANGEBYSCORE", names.dead, "0", "1"),
        ("HGET", names.writing, "x"),
        ("HSET", names.writing, "x", "x"),
        ("HDEL", names.writing, "x"),
    ]


def asked(commands: Sequence[tuple[str, ...]]) -> list[str]:
    """The arguments of ``permitted.lua``."""
    return [json.dumps(command) for command in commands]


def said(command: tuple[str, ...]) -> str:
    """A command and what it is about, for people: ``XADD sse:history:*``."""
    name, *about = command
    target = about[0] if about and about[0] != "server" else ""
    if target.endswith("x"):
        target = target.removesuffix("x").removesuffix("x\x01") + "*"
    return f"{name} {target}".strip()
