"""Figures in Prometheus' text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from .figures import FIGURES, Figure, Figures


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
        registry.register(_Family(figure, rows))
        parts.append(generate_latest(registry))
        await asyncio.sleep(0)
    return b"".join(parts)


class _Family:
    """One figure as a metric family."""

    def __init__(self, figure: Figure, rows: Sequence[Row]) -> None:
        self._figure = figure
        self._rows = rows

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        from prometheus_client import core, utils  # noqa: PLC0415

        kinds = {
            "counter": core.CounterMetricFamily,
            "gauge": core.GaugeMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        figure = self._figure
        labels = [figure.label] if figure.label else []
        if self._rows and self._rows[0].worker is not None:
            labels.append("worker")
        family = kinds[figure.kind](f"sse_edge_{figure.metric}", figure.help, labels=labels)
        for row in self._rows:
            if figure.kind == "gauge" and not row.lives:
                continue
            whose = [] if row.worker is None else [row.worker]
            value = row.figures[figure.name]
            for of, one in [([key], value[key]) for key in value] if figure.label else [([], value)]:
                if figure.kind == "histogram":
                    bounds = [*map(utils.floatToGoString, figure.buckets), "+Inf"]
                    buckets = list(zip(bounds, accumulate(map(float, one["counts"])), strict=True))
                    family.add_metric([*of, *whose], buckets, one["sum"])
                else:
                    family.add_metric([*of, *whose], float(one))
        yield family
