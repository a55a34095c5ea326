import pytest

from sse_edge.admission.revocations import Revocations

NOW = 1_700_000_000.0


@pytest.fixture
def revocations():
    return Revocations()


@pytest.mark.parametrize(
    ("session", "at", "covered"),
    [
        ("s", NOW, True),
        ("s", NOW + 59.9, True),
        ("s", NOW + 60, False),
        ("s", NOW + 1e6, False),
        ("S", NOW, False),
        ("", NOW, False),
        (None, NOW, False),
    ],
)
def test_until(revocations, session, at, covered):
    """A session is refused until its cookie would have expired, and nobody else's is."""
    revocations.add("s", NOW + 60, NOW)
    assert revocations.covers(session, at) is covered


@pytest.mark.parametrize("order", [(60, 10), (10, 60)])
def test_twice(revocations, order):
    """Of two orders for one session the later end counts."""
    for seconds in order:
        revocations.add("s", NOW + seconds, NOW)
    assert revocations.covers("s", NOW + 59)
    assert not revocations.covers("s", NOW + 61)


def test_merge(revocations):
    """What others know comes on top of what is known here."""
    revocations.add("a", NOW + 60, NOW)
    revocations.add("b", NOW + 60, NOW)
    revocations.merge({"b": NOW + 10, "c": NOW + 90, "old": NOW - 1}, NOW)
    assert [revocations.covers(name, NOW + 50) for name in ("a", "b", "c", "old")] == [
        True,
        True,
        True,
        False,
    ]


def test_memory(revocations):
    """Memory follows the sessions that are still refused, not all that ever were."""
    for second in range(100):
        for n in range(100):
            revocations.add(f"{second}.{n}", NOW + second + 5, NOW + second)
    assert len(revocations._until) < 2000
    assert all(revocations.covers(f"{second}.{n}", NOW + 99) for second in range(95, 100) for n in range(100))


def test_none_that_counts_is_forgotten(revocations):
    """However many are refused at the same time, all of them are."""
    for n in range(5000):
        revocations.add(str(n), NOW + 60, NOW)
    assert all(revocations.covers(str(n), NOW + 59) for n in range(5000))
