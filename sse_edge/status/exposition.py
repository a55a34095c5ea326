"""Figures in Prometheus' text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ..figures import FIGURES, Figure, Figures


class Row(NamedTuple):
    """Complete figures that are told together: of a ``worker``, or of all.  Where nobody ``lives`` any more
    only what was counted is told."""

    figures: Figures
    lives: bool = True
    worker: str | None = None


def content_type() -> bytes:
    """What the text is.  Raises ImportError where prometheus_client, an extra, is not installed."""
    from prometheus_client.exposition import CONTENT_TYPE_LATEST  # noqa: PLC0415

    return CONTENT_TYPE_LATEST.encode()


async def text(rows: Sequence[Row]) -> bytes:
    """All of it.  Others get turns meanwhile, however many workers there are."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    parts = []
    for figure in FIGURES:
        registry = CollectorRegistry()
        registry.register(_Collector(family(figure, rows)))
        parts.append(generate_latest(registry))
        await asyncio.sleep(0)
    return b"".join(parts)


def family(figure: Figure, rows: Sequence[Row]) -> Any:
    """A figure of ``rows`` as a metric family of prometheus_client."""
    from prometheus_client import core, utils  # noqa: PLC0415

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    labels = [figure.label] if figure.label else []
    if rows and rows[0].worker is not None:
        labels.append("worker")
    made = kinds[figure.kind](f"sse_edge_{figure.metric}", figure.help, labels=labels)
    for row in rows:
        if figure.kind == "gauge" and not row.lives:
            continue
        whose = [] if row.worker is None else [row.worker]
        value = row.figures[figure.name]
        for of, one in [([key], value[key]) for key in value] if figure.label else [([], value)]:
            if figure.kind == "histogram":
                bounds = [*map(utils.floatToGoString, figure.buckets), "+Inf"]
                buckets = list(zip(bounds, accumulate(map(float, one["counts"])), strict=True))
                made.add_metric([*of, *whose], buckets, one["sum"])
            else:
                made.add_metric([*of, *whose], float(one))
    return made


class _Collector:
    def __init__(self, family: Any) -> None:
        self.family = family

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        yield self.family
