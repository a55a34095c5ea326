"""What may be asked for: by ``python -m loadtest``, by ``locust``, and in Locust's own page."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from typing import Any

from ..client.addresses import PER_SOURCE
from ..scenarios import SCENARIOS

MOST_STREAMS = 1_000_000


def crowd(streams: int) -> tuple[int, int]:
    """How many users Locust has for so many streams, and how many streams each holds: an address's worth."""
    users = math.ceil(streams / PER_SOURCE)
    return users, math.ceil(streams / users)


def count(value: str) -> int:
    """A positive whole number."""
    if not value.isdecimal() or not 1 <= int(value) <= MOST_STREAMS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_STREAMS}: {value!r}")
    return int(value)


def steps(value: str) -> list[int]:
    """Numbers of streams."""
    return [count(step) for step in value.split(",")]


def share(value: str) -> float:
    """A part of all."""
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"must be a share, more than 0 and less than 1: {value!r}")
    return found


def positive(value: str) -> float:
    """Seconds, or events per second."""
    try:
        found = float(value)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be a number more than 0 and up to 1000000: {value!r}")
    return found


def scenario(value: str) -> str:
    """A scenario's name."""
    if value not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"there is no scenario {value!r}: {', '.join(SCENARIOS)}")
    return value


def declare(add: Callable[..., Any]) -> None:
    """The options that every process of a run knows; ``add`` is a parser's ``add_argument``."""
    add("--streams", type=count, metavar="N", default=1000, help="how many streams (default: 1000)")
    add("--seconds", type=positive, default=None, help="of the main part (default: the scenario's)")
    add("--rate", type=positive, default=None, help="events a second (default: the scenario's)")
    add(
        "--idle",
        type=positive,
        default=None,
        help="seconds of silence first (default: the scenario's)",
    )
    add("--share", type=share, default=0.1, help="slow: of the clients that stop reading (default: 0.1)")
    add("--drop", action="store_true", help="storm: cut every connection at once, and kill no worker")
    add(
        "--steps",
        type=steps,
        default=None,
        metavar="N,N,…",
        help="capacity: of streams (default: a tenth, three tenths, all)",
    )
    add("--pause", type=positive, default=5.0, help="deploy: seconds between two restarts (default: 5)")
    add("--target", default="", help="a running deployment, as https://localhost/events/me")
    add("--redis", default="redis://127.0.0.1:6379/0", help="where the target's events come from")
    name = os.environ.get("SSE_EDGE_COOKIE_NAME", "session")
    add(
        "--cookie", default=name, help="the name of the app's cookie (SSE_EDGE_COOKIE_NAME; default: session)"
    )
    add("--cacert", default="", help="certificate of the target's private authority")
    add("--channel", default="news", help="a channel that every stream of the target hears (default: news)")
    add("--own-channel", default="user:{user}", help="personal: the one that only this user hears")
    add("--disturb", default="", help="with --target: a command that kills or restarts a worker")


def secret() -> str:
    """The app's secret: SSE_EDGE_SECRET, so that no list of processes and no page shows it."""
    return os.environ.get("SSE_EDGE_SECRET", "")
