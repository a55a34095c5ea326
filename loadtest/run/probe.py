"""Is there a stream to load at all?  One is opened at each address, and an event sent, before all are."""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Any

import gevent

from sse_edge import SyncPublisher
from sse_edge.errors import ConfigError, EdgeError

from ..checker import payload
from ..client.swarm import Swarm
from .member import target as named
from .options import secret

SECONDS = 5.0  # within which a stream begins, and an event arrives

REASONS = {
    "401": "SSE_EDGE_SECRET is not the secret of the app, or --cookie not its cookie",
    "403": "the app does not let this origin or user in",
    "404": "there is no stream at this path",
}

DOCTOR = "`sse-edge doctor` with the same URL says more"


def examine(options: Any) -> None:
    """Raises RuntimeError, which says what to change."""
    if not secret():
        raise RuntimeError("no secret: set SSE_EDGE_SECRET to the one of the app's SignedCookie")
    try:
        target = named(options)
    except ValueError as error:
        raise RuntimeError(f"--target: {error}") from error
    except OSError as error:
        raise RuntimeError(f"--cacert: {options.cacert}: {error.strerror or error}") from error
    try:
        publisher = SyncPublisher(options.redis)
    except ConfigError as error:
        raise RuntimeError(f"--redis: {error}") from error
    channel, redis = options.channel, options.redis.rpartition("@")[2]  # what is before that is secret
    place = f"{target.host}:{'/'.join(str(port) for _, port in target.addresses)}"
    held = f"a proxy on the way to {place} holds the stream back (proxy_buffering on, or a compressor)"
    swarm = Swarm(target, index=700)  # no other process has the users of that one
    with contextlib.closing(publisher), contextlib.closing(swarm):
        swarm.add(len(target.addresses))
        if not _comes(swarm, place, lambda: swarm.behind({})["live"] == swarm.wanted):
            raise RuntimeError(f"nothing came within {SECONDS:g} s: {held}; {DOCTOR}")
        at = time.time()
        try:
            publisher.publish(channel, payload(channel, 1, at))
        except EdgeError as error:
            raise RuntimeError(f"--redis: {redis}: {error}") from error
        if not _comes(swarm, place, lambda: not swarm.behind({channel: (1, at)})["behind"]):
            raise RuntimeError(
                f"an event published to {channel!r} on {redis} did not arrive within {SECONDS:g} s: "
                f"{held}, or Redis is another one (--redis), or the target does not carry --channel"
            )


def _comes(swarm: Swarm, place: str, holds: Callable[[], bool]) -> bool:
    """Whether it holds in time.  RuntimeError when a stream is refused or fails before."""
    with gevent.Timeout(SECONDS, False):
        while not holds():
            for second in swarm.tally.seconds.values():
                for code in second.errors:
                    raise RuntimeError(f"--target: {_failed(code, place)}")
                for code in second.refusals:
                    raise RuntimeError(_refused(code, place))
            gevent.sleep(0.01)
        return True
    return False


def _failed(code: str, place: str) -> str:
    if (number := getattr(errno, code, None)) is not None:
        return f"{place} cannot be reached: {os.strerror(number)}"
    if code.startswith("TLS: "):
        return f"no TLS with {place}: {code[5:]}; a private authority needs --cacert"
    return f"{place} sends no event stream: {code.removeprefix('no stream: ')}; {DOCTOR}"


def _refused(code: str, place: str) -> str:
    if code == "proxy":
        return f"the proxy at {place} answers by itself: the app behind it cannot be reached"
    if code.startswith("status "):
        status = code.removeprefix("status ")
        return f"{place} answers {status}: {REASONS.get(status, 'that is no stream')}; {DOCTOR}"
    return f"{place} refuses streams: {code}; {DOCTOR}"
