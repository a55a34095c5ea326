"""What one stream hears between its subscription and being live, as a table."""

import pytest

from parts.delivery import ListSink, at, frame, place
from sse_edge.delivery.heard import Heard
from sse_edge.delivery.stream import PIECE, Stream
from sse_edge.event import Place
from sse_edge.outcome import MAX_DURATION


def stream():
    return Stream(("c",), ListSink(), opened=0.0, deadline=9.0, last_ending=MAX_DURATION, silence=1.0)


def event(n):
    return Heard(at(n), frame(n))


def late(n):
    return Heard(at(n), b"late%d" % n, "late")


def reset(n, *tag):
    return Heard(None, b"reset%d" % n, "reset", place(n, *tag))


def said(it):
    """What it is to be written, in short."""
    return [text if text[:1] in b"lr" else int(text.rpartition(b"c")[2]) for text in it.pending or []]


@pytest.mark.parametrize(
    ("meanwhile", "upto", "then", "heard", "wary"),
    [
        ([], 5, [], [], True),
        ([], 5, [4, 5], [], True),
        ([], 5, [6], [6], False),
        ([4, 5, 6, 7], 5, [], [6, 7], False),
        ([4, 5], 5, [5, 6, 7], [6, 7], False),
        ([6], 5, [7, 8], [6, 7, 8], False),
    ],
)
def test_each_event_once(meanwhile, upto, then, heard, wary):
    """What history gave is dropped when it is heard again; past the first newer event nothing repeats."""
    it = stream()
    it.go_live(place(upto), None, [event(n) for n in meanwhile])
    for n in then:
        it.take(event(n))
    assert said(it) == heard
    assert it.wary is wary


@pytest.mark.parametrize(
    ("meanwhile", "then", "heard"),
    [
        # upto is 5, and history began after 3
        ([reset(5)], [], []),  # it happened before history was read
        ([reset(6)], [], [b"reset6"]),
        ([reset(6)], [event(6)], [b"reset6", 6]),
        ([late(4)], [], []),  # history had it
        ([late(9)], [], []),
        ([], [late(3)], []),  # before all that is owed
        ([], [late(4)], [b"late4"]),
        ([], [event(6), late(4), event(7)], [6, b"late4", 7]),
        ([], [late(4), event(5), event(6)], [b"late4", 6]),  # it proves nothing about others
        ([], [reset(5), event(5)], [b"reset5"]),
        ([], [reset(2), event(3)], [b"reset2", 3]),  # another data set begins below
        ([], [reset(9), event(4)], [b"reset9", 4]),
        ([], [event(6), reset(2), event(3)], [6, b"reset2", 3]),
    ],
)
def test_resets_and_what_comes_late(meanwhile, then, heard):
    """A reset counts if history does not include it; what comes late is given to whom it is owed."""
    it = stream()
    it.go_live(place(5), place(3), meanwhile)
    for each in then:
        it.take(each)
    assert said(it) == heard


@pytest.mark.parametrize(
    ("upto", "then", "position", "proves"),
    [
        (None, [], None, False),
        (None, [], place(6), False),
        (place(5), [], None, False),
        (place(5), [], place(4), False),
        (place(5), [], place(5), False),
        (place(5), [], place(6), True),
        (place(5), [], place(4, "other"), True),
        (place(5), [reset(2)], place(3), True),
        (place(5), [reset(2)], place(2), False),
        (place(5), [reset(9)], place(6), True),
        (place(5), [reset(2, "other")], place(3, "other"), True),
        (place(5), [reset(2, "other")], place(2, "other"), False),
    ],
)
def test_what_a_position_proves(upto, then, position, proves):
    """A position is told to a client only if it lies past what its history led to, or in other data."""
    it = stream()
    assert not it.proves(position)
    it.go_live(upto)
    for each in then:
        it.take(each)
    assert it.proves(position) is proves


def test_events_without_an_id_are_never_dropped():
    """A live-only event that came during the replay follows it."""
    it = stream()
    it.go_live(place(5), None, [Heard(None, b"plain"), event(3)])
    it.take(Heard(None, b"later"))
    assert it.pending == [b"plain", b"later"]


def test_without_numbering_everything_held_follows():
    """On a backend without history, what came meanwhile follows at once."""
    it = stream()
    it.go_live(None, None, [Heard(None, b"one")])
    assert it.pending == [b"one"]
    assert not it.wary


@pytest.mark.parametrize(
    ("told", "line"),
    [(place(4), False), (place(5), False), (place(6), True), (place(9, "other"), False)],
)
def test_nothing_held_takes_the_client_back(told, line):
    """What came meanwhile and is not past what the client was told goes out without its id."""
    it = stream()
    frames = [told.line() + b"data: x\n\n", b"data: without\n\n"]
    it.go_live(place(5), None, [Heard(at(7 + n), frame) for n, frame in enumerate(frames)])
    assert it.pending == [told.line() * line + b"data: x\n\n", b"data: without\n\n"]


@pytest.mark.parametrize(
    ("told", "lines", "wary"),
    [
        ([None, None], [False, False], True),
        ([place(4), place(5)], [False, False], True),
        ([place(5), place(6), place(4)], [False, True, True], False),
        ([None, place(6), None], [False, True, False], False),
        ([place(2, "other"), None], [True, False], False),
    ],
)
def test_a_client_that_was_told_more(told, lines, wary):
    """Until a place is newer than what its client was told, events go out without: of other partitions,
    and on a worker that is behind the one it comes from."""
    it = stream()
    it.go_live(place(5))
    frames = [b"" if each is None else each.line() for each in told]
    for n, line in enumerate(frames):
        it.take(Heard(at(6 + n), line + b"data: x\n\n"))
    assert it.pending == [line * says + b"data: x\n\n" for line, says in zip(frames, lines, strict=True)]
    assert it.wary is wary


@pytest.mark.parametrize(
    ("after", "upto", "missing"),
    [
        (None, None, range(1, 10)),
        (None, place(5), range(6, 10)),
        (place(3), place(5), range(4, 10)),
        (place(3, "other"), place(5), range(6, 10)),
        (Place(at(0), ""), place(5), range(6, 10)),
    ],
)
def test_what_it_lacks_if_it_went_missing(after, upto, missing):
    """An event that comes late is for the streams whose history began before it, in this data set."""
    it = stream()
    it.go_live(upto, after)
    for n in range(1, 10):
        it.take(late(n))
    assert (it.pending or []) == [late(n).frame for n in missing]


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
    it.take(Heard(None, b"reset", "reset", head))
    for n in then:
        it.take(event(n))
    assert it.pending == [b"reset", *(frame(n) for n in heard)]


def test_a_reset_into_other_data_while_history_is_owed():
    """History of the old data was read before, or that of the new: what is not said yet is said."""
    for upto, heard in ((place(5), [b"reset2", 3]), (place(2, "other"), [3])):
        it = stream()
        it.go_live(upto, None, [reset(2, "other"), Heard(at(3), frame(3))])
        assert said(it)[: len(heard)] == heard


def test_flush_writes_once():
    """Everything pending goes out as one write, and the clock of silence starts anew."""
    it = stream()
    it.queue(b"a")
    it.queue(b"b")
    it.flush(3.0)
    it.flush(4.0)
    assert it.sink.writes == [b"ab"]
    assert (it.last_write, it.events, it.size) == (3.0, 2, 2)


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [
        ([PIECE], [1]),
        ([PIECE + 1], [1]),
        ([PIECE, 1], [1, 1]),
        ([1, PIECE], [1, 1]),
        ([PIECE + 1, PIECE + 1], [1, 1]),
        ([PIECE // 2] * 5, [2, 2, 1]),
        ([100] * (PIECE // 100 + 7), [PIECE // 100, 7]),
    ],
)
def test_flush_by_pieces(sizes, pieces):
    """More than a piece is written in several, none larger but a single event, and all in order."""
    it = stream()
    frames = [b"%d" % (number % 10) * size for number, size in enumerate(sizes)]
    it.queue(*frames)
    assert it.queued == sum(sizes)
    assert [it.flush(1.0) for _ in pieces] == pieces
    assert it.flush(1.0) == 0
    assert it.sink.data == b"".join(frames)
    assert (it.pending, it.queued, it.size, it.events) == (None, 0, sum(sizes), len(sizes))


def test_what_is_pending_is_shared():
    """What waits for a stream is the very bytes that it was given, and so is a piece of one event."""
    it = stream()
    frames = [b"x" * PIECE, b"y" * PIECE]
    it.queue(*frames)
    it.flush(1.0)
    assert it.sink.writes[0] is frames[0]
    assert it.pending[0] is frames[1]
