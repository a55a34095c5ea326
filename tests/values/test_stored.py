"""Events read back from their bytes."""

import pytest

from sse_edge import Event
from sse_edge.event import REOPENED, finishing
from sse_edge.stored import StoredEvent, stored

PLACE = b"id: 5-1.abcde\n"


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (Event("text").encode(), ("", "message", "text")),
        (PLACE + Event("text", event="status").encode(), ("5-1.abcde", "status", "text")),
        (PLACE + Event("two\nlines\n").encode(), ("5-1.abcde", "message", "two\nlines\n")),
        (PLACE + Event("").encode(), ("5-1.abcde", "message", "")),
        (PLACE + Event("data: x: y", event="id: z", retry=5).encode(), ("5-1.abcde", "id: z", "data: x: y")),
        (PLACE + finishing(Event("end", event="complete").encode()), ("5-1.abcde", "complete", "end")),
        (PLACE + Event("unnamed", event="").encode(), ("5-1.abcde", "message", "unnamed")),
    ],
)
def test_an_event_is_read_back(frame, event):
    """Whatever it was made of; a name that is empty is none, as for browsers."""
    id, name, data = event
    assert stored("c", frame) == StoredEvent(id, "c", name, data)


@pytest.mark.parametrize(
    "frame", [PLACE + b"event: edge-position\n\n", b": keep-alive\n", PLACE + REOPENED, b"retry: 5\n\n"]
)
def test_what_is_no_event(frame):
    """Nothing that an application would be told of."""
    assert stored("c", frame) is None
