"""What each worker says of itself with its heartbeats, and reading what others wrote."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ..figures import FIGURES, fits, is_number

Report = dict[str, Any]
"""JSON, as ``report.Reporter`` composes it.  Where it was read it has ``heard`` besides: when it was written,
in Unix seconds of the backend's clock."""

Tell = Callable[[], Awaitable[Report]]
"""Composes a worker's report as of now."""


class Reports(NamedTuple):
    """The reports of all workers, at ``now`` by the backend's clock.

    ``silent`` are the workers that say how many streams they have, and nothing else that can be read: of
    another version.
    """

    told: list[Report]
    silent: int
    now: float


def parse(text: bytes, heard: float) -> Report | None:
    """A report that was written at ``heard``; None for what is none: garbage, or another version's."""
    try:
        report = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not _fits(report, _SHAPE):
        return None
    figures = report["figures"]  # one that is not there counts as 0
    if not all(fits(each, figures[each.name]) for each in FIGURES if each.name in figures):
        return None
    return {**report, "heard": heard}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_SHAPE = {
    "worker": {
        "name": str, "host": str, "pid": int, "server": str, "version": str, "python": str,
        "began": float, "now": float, "path": str,
    },
    "settings": {},
    "figures": {},
    "channels": [(str, int)],
    "slowest": [
        {
            "user": (str, None), "address": str, "path": str, "channels": [str], "unsent": int,
            "waits": float,
        }
    ],
}  # fmt: skip


def _fits(value: object, shape: Any) -> bool:
    """Whether it has at least what ``shape`` says: of a mapping each key, of a list each item, of a tuple as
    many, or one that may be None."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(_fits(value.get(key), one) for key, one in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(each, shape[0]) for each in value)
    if isinstance(shape, tuple) and shape[1] is None:
        return value is None or _fits(value, shape[0])
    if isinstance(shape, tuple):
        return isinstance(value, list) and len(value) == len(shape) and all(map(_fits, value, shape))
    if shape in (int, float):
        return is_number(value) and (shape is float or type(value) is int)
    return type(value) is shape
