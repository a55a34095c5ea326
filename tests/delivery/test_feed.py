import pytest

from sse_edge.delivery.feed import Feed
from sse_edge.delivery.heard import Heard
from sse_edge.delivery.sink import framed


def feed_of(*numbers):
    """A feed that was given events with these numbers."""
    feed = Feed()
    for number in numbers:
        feed.append(number, heard(number))
    return feed


def heard(number):
    """What was heard with this number."""
    return Heard(None, b"<%d>" % number)


class Early:
    """A stream that is owed history since it came."""

    def __init__(self, seen):
        self.seen = seen
        self.gzip = None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (0, [2, 5, 9]),
        (1, [2, 5, 9]),
        (2, [5, 9]),
        (4, [5, 9]),
        (5, [9]),
        (8, [9]),
        (9, []),
        (12, []),
    ],
)
def test_what_has_not_been_seen(seen, expected):
    """A stream is owed the events with higher numbers than it has seen."""
    feed = feed_of(2, 5, 9)
    assert feed.after(seen) == [(number, heard(number)) for number in expected]
    if expected:
        piece = b"".join(b"<%d>" % number for number in expected)
        cut = feed.cut(seen)
        assert (cut.data, cut.events, cut.chunk) == (piece, len(expected), framed(piece))


def test_streams_that_have_seen_as_much_share_the_bytes():
    """The events are joined once, and a single one is not copied at all."""
    frames = [b"a" * 50, b"b" * 50]
    feed = Feed()
    feed.append(1, Heard(None, frames[0]))
    assert feed.cut(0).data is frames[0]
    feed.append(2, Heard(None, frames[1]))
    assert feed.cut(0) is feed.cut(0)
    assert feed.cut(1).data is frames[1]
    assert feed.cut(0).data == frames[0] + frames[1]


def test_a_round_gives_every_stream_once():
    """The streams come some at a time, each once, and the events are let go of at the end."""
    feed = feed_of(1, 2)
    feed.live = dict.fromkeys(range(10))
    given = []
    for _ in range(3):
        given += feed.next(4)
    assert sorted(given) == list(range(10))
    assert feed.end_round()
    assert not feed.waits
    assert feed.after(0) == []


def test_what_comes_during_a_round_waits_for_the_next():
    """A newer event stays for the streams that had their turn; older ones go with the round."""
    feed = feed_of(1, 2)
    feed.live = dict.fromkeys("ab")
    feed.next(1)
    assert not feed.end_round()
    feed.append(3, heard(3))
    feed.next(1)
    assert feed.end_round()
    assert feed.waits
    assert feed.after(0) == [(3, heard(3))]
    feed.next(2)
    assert feed.end_round()
    assert not feed.waits


def test_events_do_not_pile_up_while_they_never_cease():
    """With an event for every turn the feed keeps those of one round and a little more, not all."""
    feed = Feed()
    feed.live = dict.fromkeys(range(100))
    for number in range(1, 10_000):
        feed.append(number, heard(number))
        feed.next(10)
        feed.end_round()
    assert len(feed.after(0)) <= 25


def test_what_a_stream_that_is_owed_history_has_not_seen_stays():
    """Rounds end, and for a stream that is still owed history all since it came is kept, and no more."""
    feed = Feed()
    feed.live = dict.fromkeys("a")
    first, second = Early(1), Early(3)
    for number in range(1, 6):
        if number == 2:
            feed.join(first)
        if number == 4:
            feed.join(second)
        feed.append(number, heard(number))
        feed.next(5)
        assert feed.end_round()
        assert not feed.waits
    assert [number for number, _ in feed.after(0)] == [2, 3, 4, 5]
    first.seen = 5
    feed.let_live(first)
    feed.append(6, heard(6))
    feed.next(5)
    assert feed.end_round()
    assert [number for number, _ in feed.after(0)] == [4, 5, 6]
    assert not feed.leave(second)
    assert feed.after(0) == []


def test_a_stream_that_leaves_in_a_round_takes_nothing_away():
    """What others of the round have not seen stays when the last stream that is owed history goes."""
    feed = Feed()
    feed.live = dict.fromkeys("ab")
    early = Early(0)
    feed.join(early)
    feed.append(1, heard(1))
    feed.waits = True
    feed.next(1)
    feed.leave(early)
    assert feed.after(0) == [(1, heard(1))]


@pytest.mark.parametrize("kind", ["late", "reset"])
def test_what_is_not_the_same_for_all(kind):
    """Up to a reset, or an event that comes late, each stream is looked at by itself."""
    feed = feed_of(1, 2)
    assert feed.turn == 0
    feed.append(3, Heard(None, b"", kind))
    feed.append(4, heard(4))
    assert feed.turn == 3


@pytest.mark.parametrize(("streams", "keeps"), [(0, False), (1, False), (4, False), (5, True)])
def test_a_window_is_kept_for_many(monkeypatch, streams, keeps):
    """What is compressed after what came before takes that some streams hear the same, and ends with them."""
    monkeypatch.setattr("sse_edge.delivery.feed.MANY", 5)
    feed = Feed()
    for number in range(streams):
        feed.let_live(number + 1)
    feed.keep_window()
    assert (feed._window is not None) is keeps
    if keeps:
        feed.leave(1)
        feed.keep_window()
        assert feed._window is None
