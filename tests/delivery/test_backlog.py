import pytest

from sse_edge.delivery.backlog import Backlog, Bounds
from sse_edge.errors import ConfigError

BOUNDS = Bounds(max_unsent=1000, max_unsent_age=10.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # (now, written, unsent) after 500 bytes were written at 0
        ([(1, 500, 500)], False),
        ([(1, 1500, 1000)], False),
        ([(1, 1600, 1001)], True),
        ([(10, 500, 500)], False),
        ([(10.1, 500, 500)], True),
        ([(10.1, 500, 1)], True),
        ([(10.1, 700, 200)], False),  # the first 500 have left
        ([(10.1, 700, 201)], True),  # one of them has not
        ([(5, 600, 100), (14, 600, 100)], False),  # the next mark was set at 5
        ([(5, 600, 100), (15.1, 600, 1)], True),
        ([(9, 600, 100), (18, 700, 100), (27, 800, 100), (36, 900, 100)], False),
    ],
)
def test_too_much_or_too_long(steps, expected):
    """A backlog is too large beyond max_unsent bytes, too old when one byte stays beyond max_unsent_age."""
    backlog = Backlog(500, 0.0)
    *before, (now, written, unsent) = steps
    for earlier in before:
        assert not backlog.exceeds(BOUNDS, earlier[1], earlier[2], earlier[0])
    assert backlog.exceeds(BOUNDS, written, unsent, now) is expected


def test_a_replay_does_not_count():
    """Bytes of history are allowed on top of max_unsent, but not for longer than others."""
    backlog = Backlog(50_000, 0.0, replayed=50_000)
    assert not backlog.exceeds(BOUNDS, 51_000, 51_000, 1.0)
    assert backlog.exceeds(BOUNDS, 51_001, 51_001, 1.0)
    assert backlog.exceeds(BOUNDS, 50_000, 50_000, 10.1)


def test_any_progress_is_enough_for_a_replay():
    """While history is left, a client that goes on reading may take as long as it likes; then no more."""
    backlog = Backlog(50_000, 0.0, replayed=50_000)
    for left in range(1, 10):
        assert not backlog.exceeds(BOUNDS, 50_000, 50_000 - left, 9.0 * left)
    assert not backlog.exceeds(BOUNDS, 50_900, 900, 90.0)  # all of it has left, and more came
    assert not backlog.exceeds(BOUNDS, 50_900, 1, 99.0)
    assert backlog.exceeds(BOUNDS, 50_900, 1, 100.1)


def test_no_bound_on_the_age():
    """None lets bytes wait for ever."""
    assert not Backlog(5, 0.0).exceeds(Bounds(1000, None), 5, 5, 1e9)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("max_unsent", {"max_unsent": 0}),
        ("max_unsent", {"max_unsent": True}),
        ("max_unsent", {"max_unsent": 1.5}),
        ("max_unsent_age", {"max_unsent_age": 0}),
        ("max_unsent_age", {"max_unsent_age": -1}),
        ("max_unsent_age", {"max_unsent_age": True}),
        ("max_unsent_age", {"max_unsent_age": "30"}),
        ("max_unsent_age", {"max_unsent_age": float("nan")}),
        ("max_unsent_age", {"max_unsent_age": 1e9}),
    ],
)
def test_bad_bounds(field, settings):
    """A bound that is none is refused by name."""
    with pytest.raises(ConfigError) as caught:
        Bounds(**settings)
    assert caught.value.field == field
