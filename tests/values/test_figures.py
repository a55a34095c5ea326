"""The catalogue of figures, and those of several workers as of one."""

import pytest

from sse_edge.figures import FIGURES, Histogram, accumulated, complete, together


def histogram(*values, buckets=(1, 10)):
    made = Histogram(buckets)
    for value in values:
        made.observe(value)
    return made.told()


def test_everything_is_there_from_the_start():
    """Of a worker that has told nothing yet every series has its 0; patterns are not known before."""
    figures = complete({})
    assert [*figures] == [each.name for each in FIGURES]
    assert figures["refusals"]["origin"] == figures["endings"]["slow"] == figures["streams"] == 0
    assert figures["pattern_streams"] == {}
    assert figures["admission"]["refused"] == {"counts": [0] * 7, "sum": 0.0}


def test_a_histogram_counts_up_to_and_with_each_bound():
    """A value that is a bound is in its bucket, and what is above all of them in the last."""
    assert histogram(0.5, 1, 1.5, 10, 11) == {"counts": [2, 2, 1], "sum": 24.0}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("streams", [2, 3], 5),
        ("connected", [True, False], 0),
        ("ready", [1, 0], 0),
        ("ready", [1, 1], 1),
        ("position_age", [0.5, 7.0], 7.0),
        ("degraded", [[], ["leases"]], {"leases": 1, "connect-rate": 0, "writes": 0}),
        ("pattern_streams", [{"a": 1}, {"b": 2, "a": 3}], {"a": 4, "b": 2}),
    ],
)
def test_several_workers_as_one(name, values, expected):
    """Counts are added, and of what is 1 while all is well the worst is told."""
    assert together([{name: value} for value in values])[name] == expected


def test_histograms_of_several_workers():
    """Each bucket is added, for each value of the label."""
    one, other = histogram(0.002, buckets=(0.001, 0.005)), histogram(7, buckets=(0.001, 0.005))
    both = together([{"replay": one}, {"replay": other}])
    assert both["replay"] == {"counts": [0, 1, 1], "sum": 7.002}


def test_no_counter_goes_back():
    """Who takes a dead worker's place goes on with its counters, and has gauges of its own."""
    before = {"opened": 5, "streams": 4, "endings": {"slow": 2}}
    now = accumulated(before, {"opened": 1, "streams": 1, "endings": {"drain": 1}})
    assert (now["opened"], now["streams"]) == (6, 1)
    assert (now["endings"]["slow"], now["endings"]["drain"]) == (2, 1)
