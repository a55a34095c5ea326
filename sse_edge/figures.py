"""The catalogue of figures: what is counted and measured of workers, and those of several as of one.

A worker's figures are a mapping of the names below: without a label to a number or a histogram, with one to
a mapping of its values to those, or a list of the values that are 1.  All of it is JSON: ``status`` says it
to Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from .outcome import ENDINGS, REFUSALS

Figures = Mapping[str, Any]
"""See above."""

LARGEST = 1e18
"""No number is larger."""


class Figure(NamedTuple):
    """One of them: as Prometheus knows it, ``sse_edge_`` and ``metric``; counters get ``_total`` besides.

    ``values`` are the ``label``'s that are there from the start; of patterns, which others choose, none.
    ``over`` says how those of several workers are one.  ``buckets`` are a histogram's upper bounds.
    """

    name: str
    metric: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str = ""
    values: tuple[str, ...] = ()
    over: Literal["sum", "min", "max"] = "sum"
    buckets: tuple[float, ...] = ()


_CODES = tuple(each.code for each in REFUSALS)

SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
"""Of what a client waits for while it is let in."""

LATENCY = (0.005, 0.025, 0.1, 0.5, 2.0, 10.0)
"""Of what takes longer: an event on its way, history."""

BYTES = (1024.0, 16_384.0, 131_072.0, 1_048_576.0)
"""Of what waits for one client."""

FIGURES = (
    Figure("workers", "workers", "gauge", "Workers that answer"),
    Figure("streams", "streams", "gauge", "Open streams"),
    Figure("users", "users", "gauge", "Users with a stream, counted by every worker that has one"),
    Figure("channels", "channels", "gauge", "Channels with a stream, likewise"),
    Figure("connected", "connected", "gauge", "1 while events arrive from the backend", over="min"),
    Figure("ready", "ready", "gauge", "1 while new streams should be sent here", over="min"),
    Figure("settling", "settling", "gauge", "Channels that are subscribed, and not known to be heard yet"),
    Figure("held", "held", "gauge", "Messages that wait until those before them are there"),
    Figure(
        "position_age", "position_age_seconds", "gauge",
        "How long ago everything was known to be delivered up to then, where that is longest", over="max",
    ),
    Figure(
        "degraded", "degraded", "gauge", "1 while limits count in each worker alone, or no writes are taken",
        "limit", ("leases", "connect-rate", "writes"), over="max",
    ),
    Figure("opened", "streams_opened", "counter", "Streams opened"),
    Figure("delivered", "events_delivered", "counter", "Events written, for each stream"),
    Figure("refusals", "refusals", "counter", "Requests that were refused, by code", "code", _CODES),
    Figure(
        "endings", "endings", "counter", "Streams that have ended, by reason",
        "reason", tuple(each.reason for each in ENDINGS),
    ),
    Figure(
        "dropped", "dropped", "counter", "Messages from the backend that were no events",
        "reason", ("malformed", "foreign"),
    ),
    Figure(
        "publishes", "publishes", "counter", "Requests to publish, by what came of them",
        "outcome", ("published", "client-gone", *_CODES),
    ),
    Figure("pattern_streams", "pattern_streams", "gauge", "Open streams by channel pattern", "pattern"),
    Figure(
        "pattern_events", "pattern_events", "counter",
        "Events written as they were heard, by channel pattern", "pattern",
    ),
    Figure(
        "admission", "admission_seconds", "histogram",
        "From a request to its stream's first bytes, or to its refusal",
        "outcome", ("accepted", "refused"), buckets=SECONDS,
    ),
    Figure(
        "delivery", "delivery_seconds", "histogram",
        "From an event's publishing until its round of streams is written", buckets=LATENCY,
    ),
    Figure(
        "replay", "replay_seconds", "histogram",
        "To find what a client that came back has missed", buckets=LATENCY,
    ),
    Figure("unsent", "unsent_bytes", "histogram", "What waits for a client, now and then", buckets=BYTES),
)  # fmt: skip
"""All, in the order in which they are told."""


class Histogram:
    """How many values were up to each of ``buckets``, and above all of them, and their sum."""

    __slots__ = ("buckets", "counts", "sum")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.buckets, value)] += 1
        self.sum += value

    def told(self) -> dict[str, Any]:
        """Its figure: ``counts``, each of one bucket alone, and ``sum``."""
        return {"counts": list(self.counts), "sum": self.sum}


def complete(figures: Figures) -> dict[str, Any]:
    """The same with everything of the catalogue: what is not there is 0."""
    return {each.name: _complete(each, figures.get(each.name)) for each in FIGURES}


def fits(figure: Figure, value: object) -> bool:
    """Whether ``value``, which another process said, is what the figure should be."""
    if not figure.label:
        return _is_one(figure, value)
    if isinstance(value, list):
        return figure.kind != "histogram" and all(isinstance(each, str) for each in value)
    return isinstance(value, dict) and all(_is_one(figure, each) for each in value.values())


def is_number(value: object) -> bool:
    """Whether it is one to reckon with: NaN is none, nor what is larger than ``LARGEST``."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST


def together(several: Iterable[Figures]) -> dict[str, Any]:
    """The figures of several workers, as of one."""
    known = [complete(each) for each in several]
    return {each.name: _together(each, [one[each.name] for one in known]) for each in FIGURES if known}


def accumulated(before: Figures, now: Figures) -> dict[str, Any]:
    """``now`` with what was counted ``before`` in the same place: so that no counter goes back."""
    counted, both = complete(now), together([before, now])
    return {each.name: (counted if each.kind == "gauge" else both)[each.name] for each in FIGURES}


def _is_one(figure: Figure, value: object) -> bool:
    if figure.kind != "histogram":
        return is_number(value)
    if not isinstance(value, dict) or not is_number(value.get("sum")):
        return False
    counts = value.get("counts")
    return isinstance(counts, list) and len(counts) == len(figure.buckets) + 1 and all(map(is_number, counts))


def negated(figures: Figures) -> dict[str, Any]:
    """What takes away, in ``together``, all that was counted."""
    known = complete(figures)
    counters = [each for each in FIGURES if each.kind != "gauge"]
    return {each.name: _negated(each, known[each.name]) for each in counters}


def _negated(figure: Figure, value: Any) -> Any:
    if figure.label:
        return {key: _minus(each) for key, each in value.items()}
    return _minus(value)


def _minus(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {"counts": [-each for each in value["counts"]], "sum": -value["sum"]}
    return -value


def _complete(figure: Figure, value: Any) -> Any:
    if not figure.label:
        return _one(figure, value)
    given = value if isinstance(value, Mapping) else dict.fromkeys(value or (), 1)
    return {key: _one(figure, given.get(key)) for key in dict.fromkeys((*figure.values, *given))}


def _one(figure: Figure, value: Any) -> Any:
    if value is None:
        return Histogram(figure.buckets).told() if figure.kind == "histogram" else 0
    return value


def _together(figure: Figure, values: list[Any]) -> Any:
    if not figure.label:
        return _as_one(figure, values)
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: _as_one(figure, [value[key] for value in values if key in value]) for key in keys}


def _as_one(figure: Figure, values: list[Any]) -> Any:
    if figure.kind == "histogram":
        counts = [sum(each) for each in zip(*(value["counts"] for value in values), strict=True)]
        return {"counts": counts, "sum": sum(value["sum"] for value in values)}
    if figure.over == "sum":
        return sum(values)
    return min(values) if figure.over == "min" else max(values)
