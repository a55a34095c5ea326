"""What a load balancer, an orchestrator and Prometheus are told, on allowed networks only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from .admission.address import TrustedProxies
from .asgi import Headers, Request, Send, respond
from .errors import ConfigError
from .figures import FIGURES, Figures, complete

TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]

PROXIED = frozenset(
    (
        b"cf-connecting-ip",
        b"forwarded",
        b"true-client-ip",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
    )
)
"""Headers by which proxies say that they are one, each some of them."""


class Status:
    """Answers ``<path>/live``, ``<path>/ready`` and ``<path>/metrics`` for one worker.

    ``live`` is 200 while the process answers.  ``ready`` is 200 while new streams should be sent here,
    and 503 while it drains or the backend is away.  ``metrics`` is the Prometheus text format, and needs
    ``sse_edge[metrics]``.  Peers outside ``allow`` (networks, or ``"unix"``) get 404 as if there were
    nothing, and so does what came through a proxy, by a header of ``PROXIED``: a proxy on this machine has
    an allowed address, and whoever is behind it has not.
    """

    def __init__(self, path: str, allow: Sequence[str]) -> None:
        if not isinstance(path, str) or not path.startswith("/") or path.endswith("/"):
            raise ConfigError("status_path", "must begin with / and not end with it", path)
        self._path = path
        try:
            self._allowed = TrustedProxies(allow)
        except ConfigError as error:
            raise ConfigError("status_allow", "must be a list of networks, or unix", error.value) from error

    def under(self, path: str) -> bool:
        """Whether ``path`` is answered here."""
        return path.startswith(self._path + "/")

    async def answer(self, request: Request, send: Send, figures: Figures) -> None:
        """Answer one request about a worker's ``figures``."""
        asked = request.path.removeprefix(self._path)
        proxied = any(name in PROXIED for name, _ in request.headers)
        allowed = self._allowed.trusts_peer(request) and not proxied
        if not allowed or asked not in ("/live", "/ready", "/metrics"):
            await respond(send, 404, TEXT, b"not found\n")
        elif asked == "/live":
            await respond(send, 200, TEXT, b"live\n")
        elif asked == "/ready":
            ready = bool(figures["ready"])
            await respond(send, 200 if ready else 503, TEXT, b"ready\n" if ready else b"not ready\n")
        else:
            await _metrics(figures, send)


async def _metrics(figures: Figures, send: Send) -> None:
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra
        from prometheus_client.exposition import CONTENT_TYPE_LATEST  # noqa: PLC0415
    except ImportError:
        await respond(send, 501, TEXT, b"metrics need: pip install 'sse_edge[metrics]'\n")
        return
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    headers: Headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"cache-control", b"no-store")]
    await respond(send, 200, headers, generate_latest(registry))


class _Collector:
    """Figures as metric families."""

    def __init__(self, figures: Figures) -> None:
        self._figures = complete(figures)

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        from prometheus_client import core  # noqa: PLC0415 - an extra

        kinds = {
            "counter": core.CounterMetricFamily,
            "gauge": core.GaugeMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        for figure in FIGURES:
            labels = [figure.label] if figure.label else []
            family = kinds[figure.kind](f"sse_edge_{figure.metric}", figure.help, labels=labels)
            value = self._figures[figure.name]
            for of, one in [([key], value[key]) for key in value] if labels else [([], value)]:
                if figure.kind == "histogram":
                    bounds = [*(f"{bound:g}" for bound in figure.buckets), "+Inf"]
                    buckets = list(zip(bounds, accumulate(map(float, one["counts"])), strict=True))
                    family.add_metric(of, buckets, one["sum"])
                else:
                    family.add_metric(of, float(one))
            yield family
