"""Add the licences to an SBOM (CycloneDX 1.5), which uv leaves out.

    .ci/licences.py SBOM list          the components as pip takes them; those of one line can go together
    .ci/licences.py SBOM add WHEEL…    a wheel of each

Fails where there is no wheel of a component, or where it says nothing of its licence.
"""

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from itertools import zip_longest
from pathlib import Path
from typing import Any

Licences = list[dict[str, Any]]


def name(text: str) -> str:
    """A project's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", text).lower()


def licences(project: Distribution) -> Licences:
    """What a project says of its licence: an SPDX expression, classifiers, or words of its own."""
    told = project.metadata
    if expression := told["License-Expression"]:
        return [{"expression": expression}]
    classified = [
        each.rpartition(" :: ")[2] for each in told.get_all("Classifier", []) if each.startswith("License ::")
    ]
    # Some put the whole text into this field; its first line is the name.
    words = [each.strip().splitlines()[0] for each in [told["License"] or ""] if each.strip()]
    return [{"license": {"name": each}} for each in classified or words]


def lines(bom: dict[str, Any]) -> list[list[str]]:
    """The components: of one that has two versions, for older and newer Pythons, each on another line."""
    found: dict[str, list[str]] = {}
    for each in bom["components"]:
        found.setdefault(each["name"], []).append(f"{each['name']}=={each['version']}")
    return [[each for each in line if each] for line in zip_longest(*found.values())]


def add(bom: dict[str, Any], known: dict[tuple[str, str], Distribution]) -> None:
    """Give each component its licences.  Raises ValueError for one that is not known, or has none."""
    for component in (bom["metadata"]["component"], *bom["components"]):
        project = known.get((component["name"], component["version"]))
        component["licenses"] = licences(project) if project else []
        if not component["licenses"]:
            raise ValueError(
                f"nothing says what the licence of {component['name']} {component['version']} is"
            )


if __name__ == "__main__":
    file, what, *wheels = sys.argv[1:]
    bom = json.loads(Path(file).read_text())
    if what == "list":
        for line in lines(bom):
            print(*line)
    else:
        try:
            add(bom, {(name(each.name), each.version): each for each in distributions(path=wheels)})
        except ValueError as error:
            sys.exit(str(error))
        Path(file).write_text(json.dumps(bom, indent=2) + "\n")
