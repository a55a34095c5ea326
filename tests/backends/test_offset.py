"""How far the time of ids is from a worker's clock."""

import pytest

from sse_edge.backends.redis.offset import MOST, SURE, TRIPS, Offset

AHEAD = 1_764_316_618.0
"""Seconds by which the clock of ids is ahead of ours in these tests: any number."""


def learned(*trips, ahead=AHEAD):
    """``trips`` are (asked for at, on its way for, back after) by our clock."""
    offset = Offset()
    for trip in trips:
        learn(offset, *trip, ahead=ahead)
    return offset


def learn(offset, sent, there=0.001, back=0.001, ahead=AHEAD):
    """One trip more."""
    offset.learn(sent, sent + there + back, round((sent + there + ahead) * 1000))


def age(offset, made, now, ahead=AHEAD):
    """What is said at ``now`` of an id that was made at ``made``, by our clock."""
    return offset.since(round((made + ahead) * 1000), now)


def test_nothing_is_known_without_a_trip():
    """Before the first id came back nobody can say how old one is."""
    assert Offset().since(1000, 5.0) is None


@pytest.mark.parametrize("ahead", [AHEAD, 0.0, -3600.0 + 7200, 86_400.0])
def test_whatever_the_clocks_say(ahead):
    """A clock that is hours ahead or behind makes no event older or younger."""
    offset = learned((10.0, 0.001, 0.001), ahead=ahead)
    assert age(offset, 11.0, 11.25, ahead) == pytest.approx(0.25, abs=0.002)


def test_the_shortest_trip_is_believed():
    """One that was held up on one way says less than one that was not."""
    offset = learned((10.0, 0.001, 0.001), (15.0, 0.001, 0.9), (20.0, 0.6, 0.001))
    assert age(offset, 21.0, 21.25) == pytest.approx(0.25, abs=0.002)


def test_no_event_is_from_the_future():
    """Where the estimate is wrong by a little, an event is as old as nothing."""
    assert age(learned((10.0, 0.0, 0.1)), 11.0, 11.0) >= 0


@pytest.mark.parametrize("jump", [30.0, -30.0])
def test_a_clock_that_jumps(jump):
    """From the first trip that contradicts those before it, what it says counts."""
    offset = learned((10.0, 0.001, 0.001), (15.0, 0.001, 0.001))
    offset.learn(20.0, 20.01, round((20.005 + AHEAD + jump) * 1000))
    assert age(offset, 21.0, 21.25, AHEAD + jump) == pytest.approx(0.25, abs=0.006)


def test_a_clock_that_drifts():
    """Old trips are forgotten, though they were shorter."""
    offset = Offset()
    for n in range(3 * TRIPS):
        slower = AHEAD - n * 0.0001
        offset.learn(5.0 * n, 5.0 * n + 0.001 + 0.001 * (n > 0), round((5.0 * n + 0.0005 + slower) * 1000))
    assert age(offset, 120.0, 120.5, slower) == pytest.approx(0.5, abs=0.004)


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3600.0])
def test_an_id_that_is_ahead_of_its_clock_does_not_tell_the_time(seconds):
    """While the clock is behind the ids they stand still, and nothing is made of them."""
    offset = learned((10.0, 0.001, 0.001))
    assert age(offset, 11.0 + seconds, 11.0) is None
    assert measured(offset, 11.0 + seconds, 11.0) == []
    assert age(offset, 11.001, 11.0) == 0  # as wrong as an estimate may be


def test_what_is_late_is_sure_once_a_trip_has_confirmed_it():
    """Of what seems to be late a trip is to tell that begins afterwards; all else is measured at once."""
    offset = learned((10.0, 0.001, 0.001))
    assert measured(offset, 11.0, 11.0 + SURE / 2) == pytest.approx([SURE / 2], abs=0.002)
    said = measured(offset, 11.0, 13.0)
    assert said == []
    learn(offset, 12.999)  # was on its way
    assert said == []
    learn(offset, 13.001)
    assert said == pytest.approx([2.0], abs=0.002)
    learn(offset, 14.0)
    assert len(said) == 1


@pytest.mark.parametrize("jump", [-20.0, -0.3, 0.3])
def test_what_seemed_to_be_late_since_the_clock_jumped_is_not_measured(jump):
    """A trip that contradicts those before takes back what was made of them."""
    offset = learned((10.0, 0.001, 0.001))
    said = measured(offset, 11.0, 14.0)
    learn(offset, 15.0, ahead=AHEAD + jump)
    assert said == []
    assert measured(offset, 15.0, 15.01, AHEAD + jump) == pytest.approx([0.01], abs=0.003)


def test_no_more_than_some_wait_to_be_sure():
    """While no trip comes back the oldest of them are let go of."""
    offset, said = learned((10.0, 0.001, 0.001)), []
    for _ in range(2 * MOST):
        assert offset.measure(round((11.0 + AHEAD) * 1000), 12.0, said.append)
    learn(offset, 13.0)
    assert len(said) == MOST


def measured(offset, made, now, ahead=AHEAD):
    """Where it is said at ``now`` how old an id is that was made at ``made``."""
    said = []
    offset.measure(round((made + ahead) * 1000), now, said.append)
    return said
