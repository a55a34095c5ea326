import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import limits.storage.memory
import pytest

import sse_edge.admission.limits
from sse_edge.admission.limits import ConnectRate, Limits
from sse_edge.errors import ConfigError


@pytest.fixture
def clock(monkeypatch):
    """The clock that ``limits`` reads, standing still at the beginning of a minute until it is moved."""
    clock = SimpleNamespace(now=1_000_000_020.0)
    stopped = SimpleNamespace(time=lambda: clock.now, monotonic=time.monotonic)
    monkeypatch.setattr(limits.storage.memory, "time", stopped)
    monkeypatch.setattr(sse_edge.admission.limits, "time", stopped)
    return clock


def test_defaults():
    """The defaults are valid and on."""
    expected = Limits(10, 100, 15_000, connects_per_ip="300/minute", publishes="6000/minute")
    assert Limits() == expected


def test_all_off():
    """Every limit can be off."""
    off = Limits(per_user=None, per_ip=None, per_worker=None, connects_per_ip=None, publishes=None)
    assert off.per_user is None


@pytest.mark.parametrize("rate", ["1/second", "60/minute", "10 per 5 minutes", "1000/hour", "5/DAY"])
def test_rates(rate):
    """A rate is written the way the ``limits`` library reads it."""
    assert Limits(connects_per_ip=rate).connects_per_ip == rate
    assert Limits(publishes=rate).publishes == rate


@pytest.mark.parametrize("field", ["per_user", "per_ip", "per_worker"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
def test_bad_caps(field, value):
    """A cap that is no positive whole number is refused by name."""
    with pytest.raises(ConfigError) as caught:
        Limits(**{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize(
    "rate",
    [
        "",
        "fast",
        "10",
        "10/fortnight",
        "-1/second",
        "0/minute",
        "1/second;10/minute",
        10,
        1.5,
        True,
        b"1/second",
    ],
)
def test_bad_rates(rate):
    """A rate that cannot be read, allows nothing, or is several is refused by name."""
    for field in ("connects_per_ip", "publishes"):
        with pytest.raises(ConfigError) as caught:
            Limits(**{field: rate})
        assert (caught.value.field, caught.value.value) == (field, rate)


def test_rate_off():
    """Without a rate everything is allowed."""
    rate = ConnectRate(None)
    assert [rate.hit("192.0.2.1") for _ in range(1000)] == [None] * 1000


def test_rate_is_kept_per_address(clock):
    """Each address has its own allowance."""
    rate = ConnectRate("3/minute")
    assert [rate.hit("192.0.2.1") is None for _ in range(5)] == [True, True, True, False, False]
    assert rate.hit("192.0.2.2") is None
    assert rate.hit("2001:db8::/64") is None


@pytest.mark.parametrize("early", [0, 10, 30, 59, 60])
def test_wait_is_what_it_takes(clock, early):
    """After the seconds that a refusal names the next attempt passes, and not long before."""
    rate = ConnectRate("60/minute")
    assert [rate.hit("a") for _ in range(early)] == [None] * early
    clock.now += 60.5
    while (wait := rate.hit("a")) is None:
        clock.now += 0.001
    assert 0 < wait <= 60
    refused = clock.now
    clock.now = refused + wait * 0.9
    assert rate.hit("a") is not None
    clock.now = refused + wait + 0.001
    assert rate.hit("a") is None


def test_refused_attempts_do_not_count(clock):
    """Hammering does not push the next allowed attempt away."""
    rate = ConnectRate("2/second")
    for _ in range(100):
        rate.hit("a")
    clock.now += 2
    assert rate.hit("a") is None


def test_expired_addresses_are_forgotten(clock):
    """Memory follows the addresses of the last windows, not of all time."""
    rate = ConnectRate("5/second")
    for second in range(20):
        clock.now += 1
        for n in range(1000):
            assert rate.hit(f"{second}.{n}") is None
    assert 1000 <= len(rate._windows._known) < 8000


def test_hits_start_no_threads():
    """The connect path starts no thread: the library's own sweep would, for nearly every connection."""
    rate = ConnectRate("5/second")
    before = threading.active_count()
    for n in range(100):
        rate.hit(str(n))
        assert threading.active_count() == before
        time.sleep(0.0002)


def test_process_ends():
    """Nothing of it keeps a process from ending."""
    script = "from sse_edge.admission.limits import ConnectRate; ConnectRate('1/second').hit('a')"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, timeout=30, check=False).returncode == 0
