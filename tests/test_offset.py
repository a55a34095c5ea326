"""How far the time of ids is from a worker's clock."""

import pytest

from sse_edge.backends.redis.offset import TRIPS, Offset

AHEAD = 1_764_316_618.0
"""Seconds by which the clock of ids is ahead of ours in these tests: any number."""


def learned(*trips, ahead=AHEAD):
    """``trips`` are (asked for at, on its way for, back after) by our clock."""
    offset = Offset()
    for sent, there, back in trips:
        offset.learn(sent, sent + there + back, round((sent + there + ahead) * 1000))
    return offset


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
