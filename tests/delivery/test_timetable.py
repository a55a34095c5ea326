"""When the streams of a drain end, as a table."""

from itertools import pairwise

import pytest

from sse_edge.delivery.timetable import moments


@pytest.mark.parametrize(
    ("count", "seconds", "first", "last"),
    [
        (0, 10.0, None, None),
        (1, 10.0, 0.02, 0.02),  # a developer's Ctrl-C
        (3, 10.0, 0.06, 0.22),
        (10, 10.0, 0.2, 0.92),
        (50, 10.0, 1.0, 4.92),
        (100, 10.0, 2.0, 9.92),  # from here on all of the window
        (300, 10.0, 2.0, 9.97),
        (15_000, 10.0, 2.0, 9.99),
        (300, 2.0, 0.4, 1.99),  # a server that waits for less
        (15_000, 60.0, 12.0, 59.99),
        (300, 0.0, 0.0, 0.0),  # edge.drain(0)
    ],
)
def test_moments(count, seconds, first, last):
    """Few streams end soon and many over the window, none in its first fifth and all within it."""
    found = list(moments(count, seconds))
    assert len(found) == count
    assert found == sorted(found)
    if found:
        assert (found[0], found[-1]) == (pytest.approx(first), pytest.approx(last, abs=0.01))
        assert found[-1] <= seconds
    gaps = [after - before for before, after in pairwise(found)]
    assert not gaps or max(gaps) - min(gaps) < 1e-6
