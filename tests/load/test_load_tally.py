"""What a load test counts, second by second, and what Locust makes of it."""

import pytest

from apps.locust_process import Locusts


@pytest.fixture(scope="module")
def locusts():
    """A process that has Locust, which is not to come into this one."""
    process = Locusts()
    yield process
    process.close()


def test_times_are_rounded_as_locust_rounds_them(locusts):
    """Two digits, from a millisecond to an hour; a clock that goes back is no time at all."""
    found = locusts.play("rounding")
    assert found["checked"] > 30_000
    assert found["wrong"] == []
    assert found["negative"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("script", "given", "kept", "told"),
    [
        ([[7.2, "take"]], [[[6, 0, 0]]], [], 0),
        ([[7.2, "event"], [7.9, "take"]], [[[6, 0, 0]]], [7], 0),  # it is not over
        ([[7.2, "event"], [8.0, "take"]], [[[7, 1, 0]]], [], 1),
        (
            [[7.2, "event"], [7.3, "event"], [8.0, "event"], [8.1, "take"], [8.2, "event"], [9.1, "take"]],
            [[[7, 2, 0]], [[8, 2, 0]]],
            [],
            4,
        ),
        # Where nothing happened, and twice in a second.
        (
            [[7.2, "event"], [8.1, "take"], [11.1, "take"], [11.9, "take"], [12.0, "take"]],
            [[[7, 1, 0]], [[8, 0, 0], [9, 0, 0], [10, 0, 0]], [], [[11, 0, 0]]],
            [],
            1,
        ),
        # What happened long before the first time is given too.
        ([[3.0, "event"], [5.0, "event"], [7.2, "take"]], [[[3, 1, 0], [5, 1, 0], [6, 0, 0]]], [], 2),
        # The clock goes back: no second is given empty again, and what happened in it is not kept for long.
        (
            [[7.2, "event"], [8.1, "take"], [7.5, "event"], [5.9, "take"], [8.5, "event"], [9.1, "take"]],
            [[[7, 1, 0]], [[7, 1, 0]], [[8, 1, 0]]],
            [],
            3,
        ),
        # Streams are those that are open.
        (
            [[7.2, "open"], [8.1, "take"], [8.2, "open"], [8.3, "open"], [10.1, "take"]],
            [[[7, 0, 1]], [[8, 0, 3], [9, 0, 3]]],
            [],
            0,
        ),
    ],
)
def test_every_second_is_given_once(locusts, script, given, kept, told):
    """Each second that is over, also an empty one; the one that is not stays."""
    assert locusts.play("take", script) == {"given": given, "kept": kept, "told": told}


LATENCIES = [
    [[]],
    [[0]],
    [[5]],
    [[1, 2, 300], [], [5, 20_000]],
    [list(range(0, 3000, 7)), [99, 100, 101, 995, 1005, 9999, 10_500], [42] * 100],
]

COUNTS = [
    [],
    [[["errors", "ECONNREFUSED", 3]]],
    [[["endings", "cut", 2]], [["refusals", "proxy", 5], ["refusals", "status 401", 1]]],
    [
        [["errors", "EPIPE", 1], ["errors", "ECONNREFUSED", 40]],
        [["errors", "EPIPE", 2], ["endings", "end", 1]],
    ],
]


@pytest.mark.parametrize("latencies", LATENCIES)
@pytest.mark.parametrize("counts", COUNTS)
def test_locust_knows_what_it_would_know(locusts, latencies, counts):
    """Seconds as a whole leave what each event, ending, refusal and error by itself would have left."""
    found = locusts.play("tell", latencies, counts)
    assert found["told"] == found["single"]
    events = [len(values) for values in latencies]
    assert found["per_second"] == {
        str(1_000_000 + number): count for number, count in enumerate(events) if count
    }
    counted = sum(number for rows in counts for _, _, number in rows)
    assert found["told"]["entries"]["all"]["requests"] == sum(events) + counted


def test_errors_are_listed_with_their_number(locusts):
    """Locust's page of failures names each error once, and how often it was."""
    found = locusts.play("tell", [[5]], COUNTS[3])
    assert sorted(found["told"]["errors"].values()) == [
        ["SSE", "error ECONNREFUSED", "ECONNREFUSED", 40],
        ["SSE", "error EPIPE", "EPIPE", 3],
    ]
    assert sorted(found["shown"]) == [3, 40]
    assert found["told"]["entries"]["SSE error EPIPE"]["failures"] == 3
    assert found["told"]["entries"]["all"]["failures"] == 43


@pytest.mark.parametrize(
    ("histogram", "part", "expected"),
    [
        ({}, 0.5, None),
        ({7: 1}, 0.01, 0.007),
        ({7: 1}, 1, 0.007),
        ({10: 1, 20: 1}, 0.5, 0.01),
        ({20: 1, 10: 1}, 0.51, 0.02),
        ({10: 99, 500: 1}, 0.99, 0.01),
        ({10: 98, 500: 2}, 0.99, 0.5),
        ({0: 5, 3000: 5}, 0.95, 3.0),
    ],
)
def test_percentiles_are_of_all(locusts, histogram, part, expected):
    """So large a part is no longer than that; of nothing there is none."""
    found = locusts.play("percentiles", histogram, part)
    assert found["percentile"] == expected
    assert found["together"]


@pytest.mark.parametrize(
    ("histogram", "expected"),
    [
        ({}, None),
        ({7: 2}, {"count": 2, "p50": 0.007, "p95": 0.007, "p99": 0.007, "longest": 0.007}),
        (
            {10: 90, 20: 5, 30: 4, 9900: 1},
            {"count": 100, "p50": 0.01, "p95": 0.02, "p99": 0.03, "longest": 9.9},
        ),
    ],
)
def test_a_spread_says_how_long_it_took(locusts, histogram, expected):
    """How many, three percentiles, and the longest."""
    assert locusts.play("percentiles", histogram, 0.5)["spread"] == expected


def test_two_processes_are_one_second(locusts):
    """Everything is added up, and what the other process said is not touched."""
    found = locusts.play("add")
    both = found["both"]
    assert {both[name] for name in ("attempts", "reconnects", "opened", "events", "streams")} == {30}
    assert both["latency"] == {"5": 3, "6": 1, "7": 1}
    assert both["endings"] == {"cut": 3}
    assert both["refusals"] == {"status 1": 1, "status 2": 1}
    assert both["errors"] == both["connect"] == {}
    assert found["untouched"]
