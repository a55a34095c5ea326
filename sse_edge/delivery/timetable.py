"""When the streams of a worker that drains end."""

from __future__ import annotations

from collections.abc import Iterator

EACH = 0.1
"""Seconds of a drain's window for each stream, until it is used up: a few are no herd, and soon over."""

NOTICE = 0.2
"""The part of that time in which nobody is ended: who sends streams here has to notice that it is over."""


def moments(count: int, seconds: float) -> Iterator[float]:
    """Seconds after a drain's beginning at which each of ``count`` streams ends, none later than ``seconds``.

    A client that comes back before a proxy, a health check or Kubernetes has taken the worker out is sent to
    it again, and refused.  So many streams take all of ``seconds``, and none ends before a fifth is over.
    """
    whole = min(seconds, count * EACH)
    wait = whole * NOTICE
    return (wait + (whole - wait) * number / count for number in range(count))
