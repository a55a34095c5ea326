"""What is put on the wire, as a real browser reads it."""

import pytest

from hostile import lines, nasty_events
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
