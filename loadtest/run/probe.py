"""Is there a stream to load at all?  One is opened at each address, and an event sent, before all are."""

from __future__ import annotations

import errno
import os
import time
from typing import Any

import gevent

from sse_edge import SyncPublisher
from sse_edge.errors import ConfigError, EdgeError

from ..checker import payload
from ..client.stream import State, Stream
from ..client.swarm import Swarm
from ..client.target import TargetError
from .member import target as named
from .options import secret

SECONDS = 5.0
"""Within which a stream begins, and an event arrives."""

REASONS = {
    "401": "SSE_EDGE_SECRET is not the secret of the app, or --cookie not its cookie",
    "403": "the app does not let this origin or user in",
    "404": "there is no stream at this path",
}

DOCTOR = "`sse-edge doctor` with the same URL says more"


class ProbeError(RuntimeError):
    """There is nothing to load, for this reason."""


def examine(options: Any) -> None:
    """Raises ProbeError, which says what to change."""
    if not secret():
        raise ProbeError("no secret: set SSE_EDGE_SECRET to the one of the app's SignedCookie")
    try:
        target = named(options)
    except (TargetError, ValueError, OSError) as error:
        raise ProbeError(f"--target: {error}") from error
    try:
        publisher = SyncPublisher(options.redis)
    except ConfigError as error:
        raise ProbeError(f"--redis: {error}") from error
    swarm = Swarm(target, index=700)  # no other process has the users of that one
    try:
        swarm.add(len(target.addresses))
        for stream in list(swarm.streams.values()):
            _open(swarm, stream)
        _hear(swarm, publisher, options)
    finally:
        swarm.close()
        publisher.close()


def _held(place: str) -> str:
    return f"a proxy on the way to {place} holds the stream back (proxy_buffering on, or a compressor)"


def _open(swarm: Swarm, stream: Stream) -> None:
    """Wait until it is live."""
    place = f"{swarm.target.host}:{swarm.target.address(stream.number)[1]}"
    deadline = time.monotonic() + SECONDS
    while stream.state != State.LIVE:
        for second in swarm.tally.seconds.values():
            for code in second.errors:
                raise ProbeError(_failed(code, place))
            for code in second.refusals:
                raise ProbeError(_refused(code, place))
        if time.monotonic() > deadline:
            raise ProbeError(f"nothing came within {SECONDS:g} s: {_held(place)}; {DOCTOR}")
        gevent.sleep(0.01)


def _failed(code: str, place: str) -> str:
    number = getattr(errno, code, None)
    if number is not None:
        return f"--target: {place} cannot be reached: {os.strerror(number)}"
    if code.startswith("TLS: "):
        return f"--target: no TLS with {place}: {code[5:]}; a private authority needs --cacert"
    return f"--target: {place} sends no event stream: {code.removeprefix('no stream: ')}; {DOCTOR}"


def _refused(code: str, place: str) -> str:
    if code.startswith("status "):
        status = code.removeprefix("status ")
        return f"{place} answers {status}: {REASONS.get(status, 'that is no stream')}; {DOCTOR}"
    if code == "proxy":
        return f"the proxy at {place} answers by itself: the app behind it cannot be reached"
    return f"{place} refuses streams: {code}; {DOCTOR}"


def _hear(swarm: Swarm, publisher: SyncPublisher, options: Any) -> None:
    """Publish one event, and wait until each stream has it."""
    redis = options.redis.rpartition("@")[2]  # without what is secret in it
    at = time.time()
    try:
        publisher.publish(options.channel, payload(options.channel, 1, at))
    except EdgeError as error:
        raise ProbeError(f"--redis: {redis}: {error}") from error
    deadline = time.monotonic() + SECONDS
    while swarm.behind({options.channel: (1, at)})["behind"]:
        if time.monotonic() > deadline:
            raise ProbeError(
                f"an event published to {options.channel!r} on {redis} did not arrive within {SECONDS:g} s: "
                f"{_held(swarm.target.host)}, or Redis is another one (--redis), or the target does not "
                "carry --channel"
            )
        gevent.sleep(0.01)
