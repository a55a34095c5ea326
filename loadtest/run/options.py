"""What may be asked for: by ``python -m loadtest``, by ``locust``, and in Locust's own page."""

import argparse
import contextlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

MOST = 1_000_000  # of streams, and of anything else that can be given as a number

OURS = ("proxy", "workers", "tls")
"""What is said of what ``python -m loadtest`` starts."""

THEIRS = ("redis", "cookie", "cacert", "channel", "own_channel", "disturb")
"""What is said of a target, and is known of what is started here."""

Number = TypeVar("Number", int, float)


def _number(kind: type[Number], holds: Callable[[Number], bool], must: str) -> Callable[[str], Number]:
    """What reads a number of which this holds; who gives another is told what it must be."""

    def read(value: str) -> Number:
        with contextlib.suppress(ValueError):
            if holds(found := kind(value)):
                return found
        raise argparse.ArgumentTypeError(f"must be {must}: {value!r}")

    return read


count = _number(int, lambda found: 1 <= found <= MOST, f"a whole number from 1 to {MOST}")
positive = _number(float, lambda found: 0 < found <= MOST, f"a number more than 0 and up to {MOST}")
share = _number(float, lambda found: 0 < found < 1, "a share, more than 0 and less than 1")


def steps(value: str) -> list[int]:
    """Numbers of streams."""
    found = [count(step) for step in value.split(",")]
    if found != sorted(set(found)):
        raise argparse.ArgumentTypeError(f"each must be more than the one before: {value!r}")
    return found


def declare(add: Callable[..., Any]) -> None:
    """The options that every process of a run knows; ``add`` is a parser's ``add_argument``."""
    add("--streams", type=count, metavar="N", default=1000, help="how many streams (default: 1000)")
    add("--seconds", type=positive, help="of the main part (default: the scenario's)")
    add("--rate", type=positive, help="events a second (default: the scenario's)")
    add("--idle", type=positive, help="seconds of silence first (default: the scenario's)")
    add("--share", type=share, default=0.1, help="slow: of the clients that stop reading (default: 0.1)")
    add("--drop", action="store_true", help="storm: cut every connection at once, and kill no worker")
    often = "capacity: of streams, rising (default: a tenth, three tenths, all)"
    add("--steps", type=steps, metavar="N,N,…", help=often)
    add("--pause", type=positive, default=5.0, help="deploy: seconds between two restarts (default: 5)")
    add("--target", default="", help="a running deployment, as https://localhost/events/me")
    add("--redis", default="redis://127.0.0.1:6379/0", help="where the target's events come from")
    name = os.environ.get("SSE_EDGE_COOKIE_NAME", "session")
    add("--cookie", default=name, help="the app's cookie's name (SSE_EDGE_COOKIE_NAME; default: session)")
    add("--cacert", default="", help="certificate of the target's private authority")
    add("--channel", default="news", help="a channel that every stream of the target hears (default: news)")
    add("--own-channel", default="user:{user}", help="personal: the one that only this user hears")
    add("--disturb", default="", help="with --target: a command that kills or restarts a worker")


def secret() -> str:
    """The app's secret: SSE_EDGE_SECRET, so that no list of processes and no page shows it."""
    return os.environ.get("SSE_EDGE_SECRET", "")
