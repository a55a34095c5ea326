"""What one stream hears between its subscription and being live, as a table."""

import pytest

from delivery import ListSink, at, frame, place
from sse_edge.delivery.stream import Stream
from sse_edge.event import Place
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
    it.go_live(place(upto))
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
    it.go_live(place(5))
    it.hold(None, b"later")
    assert it.pending == [b"plain", b"later"]


def test_without_numbering_everything_held_follows():
    """On a backend without history, what came meanwhile follows at once."""
    it = stream()
    it.hold(None, b"one")
    it.go_live(None)
    assert it.pending == [b"one"]
    assert it.held is None


@pytest.mark.parametrize(
    ("upto", "position", "proven"),
    [
        (None, None, False),
        (None, place(9), False),
        (place(5), None, False),
        (place(5), place(4), False),
        (place(5), place(5), False),
        (place(5), place(6), True),
        (place(5), place(4, "other"), True),
        (place(5), place(6, "other"), True),
    ],
)
def test_a_place_that_may_be_told(upto, position, proven):
    """Only one newer than what its history led to, or in another data set, moves the client on."""
    it = stream()
    it.go_live(upto)
    assert it.proven(position) is proven


def test_no_place_may_be_told_before_history():
    """While the stream is still owed history, no place is proven."""
    assert not stream().proven(place(9))


@pytest.mark.parametrize(
    ("told", "line"),
    [(place(4), False), (place(5), False), (place(6), True), (place(4, "other"), True)],
)
def test_nothing_held_takes_the_client_back(told, line):
    """A held event whose own place is not past what the client was told goes out without its id."""
    it = stream()
    it.hold(at(7), told.line() + b"data: x\n\n")
    it.hold(at(8), b"data: without\n\n")
    it.go_live(place(5))
    assert it.pending == [told.line() * line + b"data: x\n\n", b"data: without\n\n"]


@pytest.mark.parametrize(
    ("after", "upto", "missing"),
    [
        (None, None, [1, 9]),
        (None, place(5), [6, 9]),
        (place(3), place(5), [4, 5, 9]),
        (place(3, "other"), place(5), [6, 9]),
        (Place(at(0), ""), place(5), [6, 9]),
    ],
)
def test_what_it_lacks_if_it_went_missing(after, upto, missing):
    """An event that comes late is for the streams whose history began before it, in this data set."""
    it = stream()
    assert not any(it.lacks(at(n)) for n in range(10))
    it.go_live(upto, after)
    lacked = [n for n in range(1, 10) if it.lacks(at(n))]
    assert (lacked[0], lacked[-1]) == (missing[0], missing[-1])
    assert set(missing) <= set(lacked)


@pytest.mark.parametrize(
    ("upto", "head", "then", "heard"),
    [
        # In the same data set: nothing that history gave is repeated.
        (place(5), place(5), [4, 5, 6], [6]),
        # Newer: history gave nothing beyond, all that follows is new.
        (place(5), place(9), [10], [10]),
        # Ids went back, or mean nothing here: all that follows is new.
        (place(5), place(2), [3, 4], [3, 4]),
        (place(5), place(2, "other"), [3, 4], [3, 4]),
        (place(5), place(9, "other"), [10], [10]),
        # Nothing is numbered any more.
        (place(5), None, [], []),
        (None, place(2), [3], [3]),
        (None, None, [], []),
    ],
)
def test_a_reset_and_what_follows(upto, head, then, heard):
    """After a reset everything newer than its head is heard, whatever its ids were before."""
    it = stream()
    it.go_live(upto)
    it.restart(head, b"reset")
    for n in then:
        if it.held is None:
            it.queue(frame(n))
        else:
            it.hold(at(n), frame(n))
    assert it.pending == [b"reset", *(frame(n) for n in heard)]


@pytest.mark.parametrize("head", [place(2), place(2, "other")])
def test_a_reset_to_where_ids_are_lower(head):
    """Places before what the client was told are told again, and what is late counts from there."""
    it = stream()
    it.go_live(place(5), place(3))
    it.restart(head, b"reset")
    assert it.proven(place(3, head.tag))
    assert not it.proven(head)
    assert [n for n in range(1, 10) if it.lacks(at(n))] == [3, 4, 5, 6, 7, 8, 9]


def test_flush_writes_once():
    """Everything pending goes out as one write, and the clock of silence starts anew."""
    it = stream()
    it.queue(b"a")
    it.queue(b"b")
    it.flush(3.0)
    it.flush(4.0)
    assert it.sink.writes == [b"ab"]
    assert (it.last_write, it.events, it.size) == (3.0, 2, 2)
