"""The log of one channel: what it has, and how far back it is complete."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_edge.backends.log import Log
from sse_edge.event import FINISHED, REOPENED, EventId


def at(n):
    return EventId(1000, n)


def log_of(*numbers, floor=0, reason="epoch"):
    log = Log(at(floor), reason)
    for n in numbers:
        log.append(at(n), b"x" * 10)
    return log


@pytest.mark.parametrize(
    ("numbers", "after", "since"),
    [
        ((), 0, []),
        ((), 5, []),
        ((2, 4, 6), 0, [2, 4, 6]),
        ((2, 4, 6), 2, [4, 6]),
        ((2, 4, 6), 3, [4, 6]),
        ((2, 4, 6), 6, []),
        ((2, 4, 6), 9, []),
    ],
)
def test_since(numbers, after, since):
    """The events after an id are those above it, whether or not it is in the log."""
    assert [n for _, n, _ in log_of(*numbers).since(at(after))] == since


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), unique=True).map(sorted),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.integers(0, 30),
)
def test_since_any_place(ids, after, kept):
    """Whatever the log has and was trimmed to, and whatever place a client names."""
    log = Log(EventId(0, 0), "epoch")
    for id in ids:
        log.append(id, b"%d-%d" % id)
    log.trim(kept, 1000)
    held = ids[len(ids) - log.count :]
    assert log.since(EventId(*after)) == [(*id, b"%d-%d" % id) for id in held if id > after]


@pytest.mark.parametrize(
    ("count", "size", "kept", "floor", "reason"),
    [
        (5, 1000, [1, 2, 3], 0, "epoch"),
        (2, 1000, [2, 3], 1, "trimmed"),
        (5, 25, [2, 3], 1, "trimmed"),
        (5, 5, [], 3, "trimmed"),
    ],
)
def test_trim(count, size, kept, floor, reason):
    """Trimming drops the oldest and raises the floor to the newest it dropped."""
    log = log_of(1, 2, 3)
    log.trim(count, size)
    assert [event.id.n for event in log.events] == kept
    assert (log.floor, log.reason) == (at(floor), reason)
    assert log.size == 10 * len(kept)


@pytest.mark.parametrize(("after", "covered"), [(1, False), (2, True), (3, True), (99, True)])
def test_covers(after, covered):
    """A log is complete from its floor on."""
    assert log_of(3, floor=2).covers(at(after)) is covered


def test_head():
    """The head is the newest event, or the floor of an empty log."""
    assert log_of(floor=4).head == at(4)
    assert log_of(5, 7, floor=4).head == at(7)


LAST, ON = b"id: x\ndata: 1" + FINISHED, b"id: x\n" + REOPENED


@pytest.mark.parametrize(
    ("frames", "finished", "newest"),
    [
        ([], None, []),
        ([b"a"], None, [1]),
        ([LAST], 1, [1]),
        ([b"a", LAST], 2, [1, 2]),
        ([b"a", b"b", LAST], 3, [2, 3]),
        ([b"a", LAST, ON], None, [1, 2]),
        ([b"a", LAST, ON, b"b"], None, [2, 4]),
        ([LAST, ON, LAST], 3, [1, 3]),
        ([b"id: x\ndata: : finished\n\n", b"id: x\ndata: : reopened\n\n"], None, [1, 2]),
    ],
)
def test_the_end_of_a_channel(frames, finished, newest):
    """The newest entry says whether it has finished; what says that it goes on is no event."""
    log = Log(at(0), "epoch")
    for n, bytes in enumerate(frames, 1):
        log.append(at(n), bytes)
    assert log.finished == (None if finished is None else at(finished))
    assert [n for _, n, _ in log.newest(2)] == newest
    assert log.newest(0) == []
