"""How long streams live and how they spread over time, as tables."""

import pytest

from sse_edge.delivery.lifetime import NEVER, Lifetime
from sse_edge.errors import ConfigError
from sse_edge.outcome import MAX_DURATION, SESSION_EXPIRED


@pytest.mark.parametrize(
    ("max_duration", "remaining", "chance", "seconds", "ending"),
    [
        (100.0, None, 0.0, 80.0, MAX_DURATION),
        (100.0, None, 0.5, 90.0, MAX_DURATION),
        (100.0, 3600.0, 0.999999, pytest.approx(100.0, abs=1e-3), MAX_DURATION),
        (100.0, 79.0, 0.0, 79.0, SESSION_EXPIRED),
        (100.0, 81.0, 0.0, 80.0, MAX_DURATION),
        (100.0, -5.0, 0.5, 0.0, SESSION_EXPIRED),
        (None, None, 0.5, NEVER, MAX_DURATION),
        (None, 60.0, 0.5, 60.0, SESSION_EXPIRED),
    ],
)
def test_deadline(max_duration, remaining, chance, seconds, ending):
    """A stream ends at 80 to 100 % of the maximum duration, and never after its session."""
    assert Lifetime(max_duration=max_duration).deadline(remaining, chance) == (seconds, ending)


@pytest.mark.parametrize(
    ("keep_alive", "chance", "seconds"), [(10.0, 0.0, 8.0), (10.0, 1.0, 10.0), (None, 0.5, NEVER)]
)
def test_silence(keep_alive, chance, seconds):
    """A keep-alive is due after 80 to 100 % of the setting, so that proxies never wait longer than it."""
    assert Lifetime(keep_alive=keep_alive).silence(chance) == seconds


@pytest.mark.parametrize(
    ("retry", "chance", "ms"), [(3.0, 0.0, 1500), (3.0, 0.5, 3000), (3.0, 0.999, 4497), (0.0001, 0.0, 1)]
)
def test_retry(retry, chance, ms):
    """The reconnection time is 50 to 150 % of the setting and never 0, which browsers take at its word."""
    assert Lifetime(retry=retry).retry_ms(chance) == ms


@pytest.mark.parametrize("field", ["keep_alive", "max_duration", "retry"])
@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf"), 1e12, "15", True, [15]])
def test_refused_settings(field, value):
    """A setting that is no positive number of seconds is refused by name, with its value."""
    with pytest.raises(ConfigError, match=f"^{field}: ") as caught:
        Lifetime(**{field: value})
    assert caught.value.field == field
    assert repr(value) in str(caught.value)


def test_retry_cannot_be_off():
    """There is always a reconnection time."""
    with pytest.raises(ConfigError, match="retry"):
        Lifetime(retry=None)
