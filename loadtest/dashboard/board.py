"""The dashboard's panels, and what each asks Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

BOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"


class Query(NamedTuple):
    """One of a panel: in PromQL, for all jobs, servers and workers; ``legend`` has ``{{label}}`` in it."""

    ref: str
    expr: str
    legend: str
    instant: bool

    def name(self, labels: Mapping[str, str]) -> str:
        """What the legend says of a series."""
        told = re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), self.legend)
        return " ".join(told.split())


class Panel(NamedTuple):
    """A panel: ``kind`` as Grafana calls it, its place in 24 columns, and all that it says of itself."""

    id: int
    kind: str
    title: str
    x: int
    y: int
    w: int
    h: int
    queries: tuple[Query, ...]
    told: dict[str, Any]

    @property
    def defaults(self) -> dict[str, Any]:
        """How its fields are shown."""
        found: dict[str, Any] = self.told.get("fieldConfig", {}).get("defaults", {})
        return found

    def overrides(self, name: str) -> dict[str, Any]:
        """How the field of this name is shown otherwise: property → value."""
        return {
            each["id"]: each["value"]
            for override in self.told.get("fieldConfig", {}).get("overrides", ())
            if override["matcher"] == {"id": "byName", "options": name}
            for each in override["properties"]
        }


def panels(interval: str = "1m", path: Path = BOARD) -> Iterator[Panel]:
    """Each of them, rows too; ``interval`` is what rates are taken over."""
    for told in json.loads(path.read_text())["panels"]:
        queries = tuple(
            Query(
                each["refId"],
                filled(each["expr"], interval),
                each["legendFormat"],
                each.get("instant", False),
            )
            for each in told.get("targets", ())
        )
        grid = told["gridPos"]
        place = (grid["x"], grid["y"], grid["w"], grid["h"])
        yield Panel(told["id"], told["type"], told["title"], *place, queries, told)


def filled(expr: str, interval: str) -> str:
    """With its variables as they are when all is chosen."""
    expr = expr.replace("$__rate_interval", interval)
    return re.sub(r'"\$(job|instance|worker)"', '".*"', expr)
