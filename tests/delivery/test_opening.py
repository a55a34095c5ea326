"""What a stream without a place is given before what it has heard: at whatever byte its client is cut off."""

import random

import pytest

from sse_edge.backends.base import Replay
from sse_edge.backends.redis.retelling import retold
from sse_edge.delivery import frames
from sse_edge.delivery.heard import Heard, place_of
from sse_edge.delivery.history import opening
from sse_edge.event import EventId, Place, without_id

TAG = "abcde"


def at(ms):
    return EventId(ms, 1)


def body(ms, which=0):
    return b"data: %d %d\n\n" % (ms, which)


def first(*events, slowest):
    """A replay of these as several partitions give it: a place is said up to where the slowest is."""
    entries = sorted((ms, 1, at(ms).__str__().encode() and body(ms, which)) for ms, which in events)
    placed = sum(ms <= slowest for ms, _, _ in entries)
    return Replay(retold(entries, placed, TAG), [], Place(EventId(slowest, 1), TAG))


def given(replay, begin, heard=()):
    """What is written of it."""
    return frames.replay(opening(replay, Place(EventId(begin, 1), TAG), heard), begins=True)


def test_a_place_comes_after_what_is_before_it():
    """Also where the slowest of several partitions has not come as far, and so said no place."""
    said = given(first((3, 0), (5, 0), (7, 0), slowest=2), begin=5)
    assert said == [
        b"id: 3-1.abcde\n" + body(3),
        b"id: 5-1.abcde\n" + body(5),
        b"id: 5-1.abcde\nevent: edge-position\ndata: {}\n\n",
        body(7),
    ]


def test_what_was_heard_is_not_given_first():
    """It comes afterwards, as it was heard."""
    replay = first((3, 0), (7, 0), slowest=9)
    said = given(replay, begin=5, heard=[Heard(at(7), b"id: 7-1.abcde\n" + body(7))])
    assert said == [b"id: 3-1.abcde\n" + body(3), b"id: 5-1.abcde\nevent: edge-position\ndata: {}\n\n"]


@pytest.mark.parametrize("seed", range(200))
def test_at_every_cut_a_place_owes_the_rest(seed):
    """What a client has a place after, it was given: whatever comes first, from however many partitions."""
    chance = random.Random(seed)
    events = [(chance.randrange(1, 12), which) for which in range(chance.randrange(1, 9))]
    slowest, begin = chance.randrange(12), chance.randrange(1, 12)
    heard = [Heard(at(ms), body(ms, which)) for ms, which in events if ms > begin and chance.random() < 0.5]
    said = given(first(*events, slowest=slowest), begin, heard)
    told = {each.frame for each in heard}
    bodies = {body(ms, which): ms for ms, which in events if body(ms, which) not in told}
    assert [without_id(one) for one in said if without_id(one) in bodies] == sorted(
        bodies, key=lambda one: (bodies[one], one)
    )
    known, place = set(), None
    for one in said:
        known.add(without_id(one))
        place = place_of(one) or place
        if place is not None:
            assert {each for each, ms in bodies.items() if at(ms) <= place.id} <= known
