"""docs/HOW.md: its drawings name what is there, and are readable where they are looked at."""

import re
import xml.etree.ElementTree as ET

import pytest

from servers.processes import TESTS
from sse_edge import outcome

DOCS = TESTS.parent / "docs"
SVG = "{http://www.w3.org/2000/svg}"
DRAWINGS = sorted(set(re.findall(r"\]\((\w+\.svg)\)", (DOCS / "HOW.md").read_text())))


def texts(drawing, kind):
    """What a drawing says in this class of text."""
    found = ET.parse(DOCS / drawing).iter(f"{SVG}text")
    return {text.text for text in found if kind in text.get("class", "").split()}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_every_module_is_there(drawing):
    """What is called a module is a file or a folder of the package."""
    named = texts(drawing, "module")
    assert len(named) >= 6
    for module in named:
        path = DOCS.parent / "sse_edge" / module
        assert path.is_dir() or path.with_suffix(path.suffix or ".py").is_file(), module


def test_every_refusal_is_there():
    """What is told on the right of the gate are codes of the catalogue."""
    codes = texts("request.svg", "end") - texts("request.svg", "module") - {"no: to your app"}
    assert len(codes) >= 8
    assert codes <= {one.code for one in vars(outcome).values() if isinstance(one, outcome.Refusal)}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_it_fits_a_phone(drawing):
    """It is no wider than a phone's screen, has colours for a dark one, and words for who cannot see it."""
    root = ET.parse(DOCS / drawing).getroot()
    assert int(root.get("width")) <= 400
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}desc").text
    assert len(DRAWINGS) == 2
