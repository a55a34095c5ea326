"""What is put on the wire, as a real browser reads it."""

import json
import urllib.request

import pytest

from apps.cut import PLACES
from parts.hostile import lines, nasty_events
from servers.browser import wait_for

HEAR = """
const [url, names, count] = arguments
window.heard = []
window.source = new EventSource(url)
const hear = event => heard.push([event.type, event.data, event.lastEventId])
for (const name of names) source.addEventListener(name, hear)
"""


@pytest.mark.parametrize("size", [3, 1460])
def test_chromium_reads_the_same(serve_app, page, size):
    """A few hundred nasty events on one stream, in small and large pieces, are to a browser what was sent."""
    cases = nasty_events()
    assert len(cases) > 400
    expected, id = [], ""
    for case in cases:
        id = case.get("id", id)
        expected.append([case.get("event") or "message", lines(case["data"]), id])
    process = serve_app("apps.nasty:app", env={"PIECE": str(size)})
    page.get(process.url)
    page.execute_script(HEAR, "/stream", sorted({name for name, _, _ in expected}))
    wait_for(page, f"heard.length >= {len(expected)}", timeout=30)
    heard = page.execute_script("return heard")
    for case, one, other in zip(cases, heard, expected, strict=True):
        assert one == other, {name: str(value)[:200] for name, value in case.items()}


COUNT = """
const [paths] = arguments
window.errors = {}, window.messages = 0
for (const path of paths) {
    const source = new EventSource(path)
    errors[path] = 0
    source.onerror = () => errors[path]++
    source.onmessage = () => messages++
}
"""


def test_chromium_that_is_cut_off_early(serve_app, page):
    """It heeds the retry as soon as that is there, and comes back with the last place that was complete.

    After three seconds, as without a retry, it would have come once.
    """
    process = serve_app("apps.cut:app")
    page.get(process.url)
    page.execute_script(COUNT, list(PLACES))
    wait_for(page, "Object.values(errors).every(count => count >= 4)", timeout=8)
    with urllib.request.urlopen(f"{process.url}/asked") as answer:
        asked = json.load(answer)
    assert {path: places[0] for path, places in asked.items()} == dict.fromkeys(PLACES, "")
    assert {path: set(places[1:]) for path, places in asked.items()} == {
        path: {str(place or "")} for path, place in PLACES.items()
    }
    assert page.execute_script("return messages") == 0
