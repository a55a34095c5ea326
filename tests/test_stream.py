"""What one stream hears between its subscription and being live, as a table."""

import pytest

from delivery import ListSink, at, frame
from sse_edge.delivery.stream import Stream
from sse_edge.outcome import MAX_DURATION


def stream():
    return Stream(("c",), ListSink(), opened=0.0, deadline=9.0, last_ending=MAX_DURATION, silence=1.0)


@pytest.mark.parametrize(
    ("held", "upto", "after", "heard", "live"),
    [
        ([], 5, [], [], False),
        ([], 5, [4, 5], [], False),
        ([], 5, [6], [6], True),
        ([4, 5, 6, 7], 5, [], [6, 7], True),
        ([4, 5], 5, [5, 6, 7], [6, 7], True),
        ([6], 5, [7, 8], [6, 7, 8], True),
    ],
)
def test_each_event_once(held, upto, after, heard, live):
    """What history gave is dropped when it is heard again; the first newer event makes the stream live."""
    it = stream()
    for n in held:
        it.hold(at(n), frame(n))
    it.go_live(at(upto))
    for n in after:
        if it.held is None:
            it.queue(frame(n))
        else:
            it.hold(at(n), frame(n))
    assert (it.pending or []) == [frame(n) for n in heard]
    assert (it.held is None) is live


def test_events_without_an_id_are_never_dropped():
    """A live-only event that came during the replay follows it."""
    it = stream()
    it.hold(None, b"plain")
    it.hold(at(3), frame(3))
    it.go_live(at(5))
    it.hold(None, b"later")
    assert it.pending == [b"plain", b"later"]


def test_without_numbering_everything_held_follows():
    """On a backend without history, what came meanwhile follows at once."""
    it = stream()
    it.hold(None, b"one")
    it.go_live(None)
    assert it.pending == [b"one"]
    assert it.held is None


def test_flush_writes_once():
    """Everything pending goes out as one write, and the clock of silence starts anew."""
    it = stream()
    it.queue(b"a")
    it.queue(b"b")
    it.flush(3.0)
    it.flush(4.0)
    assert it.sink.writes == [b"ab"]
    assert (it.last_write, it.events, it.size) == (3.0, 2, 2)
