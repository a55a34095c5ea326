"""docs/HOW.md: its drawings name what is there, and are readable where they are looked at."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from parts.gates import COOKIE, admit, asking, make
from servers.processes import TESTS
from sse_edge import outcome
from sse_edge.admission.limits import Limits

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


class Full:
    """Leases of which there are none."""

    def __init__(self, subject):
        self.subject = subject

    async def acquire(self, caps):
        """Whose cap it is that says no."""
        return self.subject


async def test_the_gate_asks_in_the_drawings_order():
    """A request with everything wrong is refused for each thing in turn, as one after the other is mended."""
    request = asking(
        "/events/nowhere/7", ("sec-fetch-site", "cross-site"), ("content-length", "1"), cookie=None
    )
    request = replace(request, method="POST")
    headers = dict(request.headers)
    leases = Full("user:u42")
    gate = make(leases, limits=Limits(per_worker=1, connects_per_ip="1/hour"), authorize=lambda *_: False)
    assert await gate.rate.hit("192.0.2.1") is None
    at = {"streams": 1, "draining": True}
    order = []
    while True:
        asked = replace(request, headers=tuple(headers.items()))
        refusal = await admit(gate, asked, **at)
        if not isinstance(refusal, outcome.Refusal):
            break
        order.append(refusal.code)
        match refusal.code:
            case "method":
                request = replace(request, method="GET")
            case "bad-request":
                del headers[b"content-length"]
            case "not-found":
                request = replace(request, path="/events/one")
            case "origin":
                del headers[b"sec-fetch-site"]
            case "draining":
                at["draining"] = False
            case "worker-full":
                at["streams"] = 0
            case "connect-rate":
                request = replace(request, peer="192.0.2.2")
                gate = make(leases, authorize=lambda *_: False)
            case "unauthenticated":
                headers[b"cookie"] = f"session={COOKIE}".encode()
            case "forbidden":
                gate = make(leases, authorize=lambda *_: True)
            case "user-limit":
                leases.subject = "ip:192.0.2.2"
            case _:
                leases.subject = None
    drawn = ET.parse(DOCS / "request.svg").iter(f"{SVG}text")
    assert [text.text for text in drawn if text.get("class") == "code end"] == order


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_it_fits_a_phone(drawing):
    """It is no wider than a phone's screen, has colours for a dark one, and words for who cannot see it."""
    root = ET.parse(DOCS / drawing).getroot()
    assert int(root.get("width")) <= 400
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}desc").text
    assert len(DRAWINGS) == 2
