"""Events of several orders, told with one place: made once for all who missed the same, and bounded."""

from hypothesis import example, given
from hypothesis import strategies as st

from sse_edge.backends.redis.retelling import Retelling
from sse_edge.event import EventId, Place

TAG = "abcdefghij"

IDS = st.tuples(st.integers(1, 6), st.integers(1, 2))
EVENTS = st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=8, unique=True)
"""Ids, and the partition of each: one id may be in several of them."""


def event(id, part=0, size=1):
    """An event as its partition's log has it."""
    line = b"id: %d-%d.%b\n" % (*id, b"part%d" % part)
    return (*id, line + b"data: %d %b\n\n" % (part, b"x" * size))


def at(ms, n=0, tag=TAG):
    return Place(EventId(ms, n), tag)


def told(events, place):
    """What a client is to be told, found out one event after the other."""
    said = []
    for number, (ms, n, frame) in enumerate(ordered := sorted(events)):
        body = frame.partition(b"\n")[2]
        repeats = number + 1 < len(ordered) and ordered[number + 1][:2] == (ms, n)
        line = b"" if repeats or (ms, n) > place.id else b"id: %d-%d.%b\n" % (ms, n, place.tag.encode())
        said.append((ms, n, line + body))
    return said


@given(st.lists(st.tuples(EVENTS, IDS, st.sampled_from([TAG, "klmnopqrst"])), max_size=12), st.integers(0, 3))
@example([([((1, 1), 0), ((1, 1), 1)], (1, 1), TAG)] * 2, 2)
def test_what_is_shared_is_what_everybody_would_be_told_alone(asked, count):
    """Whatever was asked before, and however little is kept."""
    retelling = Retelling(count, 200)
    for pairs, id, tag in asked:
        events = [event(*pair) for pair in pairs]
        place = Place(EventId(*id), tag)
        assert list(retelling.of(events, place)) == told(events, place)
        assert len(retelling) <= count


def test_who_missed_the_same_shares_it():
    """From wherever between two events it comes back, and wherever all are by now."""
    retelling = Retelling()
    events = [event((n, 1)) for n in range(1, 6)]
    first = retelling.of(events, at(5, 1))
    assert retelling.of(list(events), at(99)) is first
    assert retelling.of(events[::-1], at(5, 2)) is first
    assert retelling.of(events[1:], at(99)) is not first
    assert retelling.of(events, at(4, 1)) is not first
    assert retelling.of(events, at(99, tag="klmnopqrst")) is not first


def test_it_keeps_the_newest_answers():
    """What was asked for last stays, and no more than so many."""
    retelling = Retelling(count=3)
    herd = [event((1, 1))]
    first = retelling.of(herd, at(99))
    for n in range(2, 50):
        retelling.of([event((n, 1))], at(99))
        assert retelling.of(herd, at(99)) is first
        assert len(retelling) <= 3


def test_it_is_bounded_in_bytes():
    """Answers of many bytes push out older ones; one that is too large for all is not kept, and pushes out
    nothing."""
    retelling = Retelling(size=10_000)
    for n in range(1, 20):
        retelling.of([event((n, 1), size=1000)], at(99))
    assert 3 <= len(retelling) <= 4
    kept = len(retelling)
    large = [event((50, 1), size=20_000)]
    assert retelling.of(large, at(99)) is not retelling.of(large, at(99))
    assert len(retelling) == kept
