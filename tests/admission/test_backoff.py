import pytest

from sse_edge.admission.backoff import LONGEST, REMEMBERED, Backoff
from sse_edge.errors import ConfigError

MIDDLE = 0.5
"""The chance that gives the mean."""


def refuse_in_a_row(backoff, times, *, now=0.0, chance=MIDDLE, key="k"):
    """The waits of a client that comes back each time exactly when it was told to."""
    waits = []
    for _ in range(times):
        waits.append(backoff.wait(key, now, chance))
        now += waits[-1]
    return waits


@pytest.mark.parametrize(
    ("first", "longest", "waits"),
    [
        (3.0, 30.0, [3, 6, 12, 24, 30, 30, 30]),
        (1.0, 30.0, [1, 2, 4, 8, 16, 30, 30]),
        (0.001, 1.0, [0.001, 0.002, 0.004, 0.008, 0.016]),
        (60.0, 30.0, [60, 60, 60]),  # nobody is told to come sooner than after an ordinary end
    ],
)
def test_doubling(first, longest, waits):
    """The mean doubles with each refusal in a row, up to the longest."""
    assert refuse_in_a_row(Backoff(first, longest), len(waits)) == pytest.approx(waits)


def test_default():
    """Nobody waits for longer than half a minute on average."""
    assert refuse_in_a_row(Backoff(3.0), 100)[-1] == LONGEST == 30


def test_thousands_in_a_row():
    """The longest row there is overflows nothing."""
    assert refuse_in_a_row(Backoff(0.001, 1e9), 5000)[-1] < 1e9


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, 0.999_999])
def test_jitter(chance):
    """Chance spreads each wait over 50 to 150 % of its mean, at the cap as well."""
    waits = refuse_in_a_row(Backoff(2.0, 16.0), 6, chance=chance)
    assert waits == pytest.approx([mean * (0.5 + chance) for mean in (2, 4, 8, 16, 16, 16)])


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_row_needs_no_punctuality(chance):
    """A client that comes after its wait, or at once, goes on in its row; the wait itself is not counted
    against it."""
    for late in (0.0, 1.0, 1.99):
        backoff = Backoff(2.0)
        first = backoff.wait("k", 0.0, chance)
        assert backoff.wait("k", first * late, MIDDLE) == 4


@pytest.mark.parametrize("times", [1, 3, 10])
def test_forgotten(times):
    """Whoever was not refused for twice its last wait starts anew."""
    backoff = Backoff(2.0)
    waits = refuse_in_a_row(backoff, times)
    last = sum(waits[:-1])
    assert backoff.wait("k", last + 2 * waits[-1] + 0.001, MIDDLE) == 2


def test_apart():
    """Each client has a row of its own."""
    backoff = Backoff(2.0)
    refuse_in_a_row(backoff, 3)
    assert backoff.wait("other", 3.0, MIDDLE) == 2


def test_bounded():
    """Beyond so many clients the one that was refused longest ago is forgotten."""
    backoff = Backoff(2.0, remembered=3)
    for key in ("a", "b", "c", "a", "d"):
        backoff.wait(key, 0.0, MIDDLE)
    assert set(backoff._refused) == {"c", "a", "d"}
    assert backoff.wait("b", 0.0, MIDDLE) == 2
    assert backoff.wait("a", 0.0, MIDDLE) == 8


def test_a_flood():
    """A flood of addresses takes no more memory than stated."""
    backoff = Backoff(2.0)
    for n in range(3 * REMEMBERED):
        backoff.wait(str(n), 0.0, MIDDLE)
    assert len(backoff._refused) == REMEMBERED


@pytest.mark.parametrize("remembered", [0, -1])
def test_refused_settings(remembered):
    """It remembers somebody, or it is no back-off."""
    with pytest.raises(ConfigError) as caught:
        Backoff(2.0, remembered=remembered)
    assert (caught.value.field, caught.value.value) == ("remembered", remembered)
