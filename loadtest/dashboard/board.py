"""The dashboard's panels as deploy/grafana.json has them, and how Grafana shows a field and says a value."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"

SCALES: dict[str, dict[float, str]] = {
    "s": {1e-6: " µs", 1e-3: " ms", 1: " s", 60: " min"},
    "bytes": {1: " B", 2**10: " KiB", 2**20: " MiB", 2**30: " GiB"},
    "ops": {1: "/s", 1e3: " K/s", 1e6: " Mil/s"},
    "short": {1: "", 1e3: " K", 1e6: " Mil"},
    "none": {1: ""},
}
"""What the parts of a unit are called."""

Panel = Mapping[str, Any]


def panels(interval: str = "1m") -> list[Panel]:
    """Each of them, rows too, of all jobs, servers and workers; ``interval`` is what rates are over."""
    return list(json.loads(filled(BOARD.read_text(), interval))["panels"])


def filled(text: str, interval: str) -> str:
    """With its variables as they are when all is chosen."""
    return re.sub(r"\$(job|instance|worker)\b", ".*", text.replace("$__rate_interval", interval))


def named(query: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What a query's legend says of a series."""
    legend = re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), query["legendFormat"])
    return " ".join(legend.split())


def field(panel: Panel, name: str = "") -> dict[str, Any]:
    """How a panel shows a field of this name, or any other: property → value."""
    config = panel["fieldConfig"]
    found = dict(config["defaults"])
    found |= {f"custom.{key}": value for key, value in found.get("custom", {}).items()}
    for override in config["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def said(value: float, unit: str) -> str:
    """In the largest part of its unit that it has one of, with three digits."""
    if unit == "percentunit":
        return f"{said(100 * value, 'none')} %"
    scale = SCALES[unit]
    part = max((each for each in scale if each <= abs(value)), default=1)
    places = max(0, 3 - len(str(int(abs(value / part)))))
    return f"{round(value / part, places):g}{scale[part]}"
