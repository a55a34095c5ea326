"""How long a revocation lasts: as long as the session can live, whatever changes meanwhile."""

import pytest

from sse_edge.admission.cookies import SignedCookie
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request
from sse_edge.backends.base import LONGEST_LIFE
from sse_edge.backends.memory.sessions import DAY, Sessions

NOW = 1_700_000_000.0
HOUR = 3600.0


@pytest.fixture
def sessions():
    return Sessions()


@pytest.mark.parametrize(
    ("said", "life"),
    [
        ([], LONGEST_LIFE),
        ([0.0], LONGEST_LIFE),  # a worker without sessions says nothing
        ([HOUR], HOUR),
        ([HOUR, 30 * DAY], 30 * DAY),
        ([30 * DAY, HOUR], 30 * DAY),
        ([500 * DAY], 500 * DAY),
    ],
    ids=str,
)
def test_the_longest_life_counts(sessions, said, life):
    """Of several applications or versions the one whose sessions live longest decides; of none, browsers."""
    for seconds in said:
        sessions.revoked(seconds, NOW)
    assert sessions.revoke("s", None, NOW) == NOW + life
    assert sessions.revoked(0.0, NOW + life - 1) == {"s": NOW + life}
    assert sessions.revoked(0.0, NOW + life + 1) == {}


def test_a_life_that_was_shortened_counts_as_long_as_its_cookies_live(sessions):
    """A cookie from before the change may be as old as the last word about it, and a day younger."""
    sessions.revoked(30 * DAY, NOW)
    for day in range(1, 32):
        sessions.revoked(HOUR, NOW + day * DAY - 1)
    assert sessions.revoke("early", None, NOW + 31 * DAY - 1) == NOW + 61 * DAY - 1
    assert sessions.revoke("late", None, NOW + 31 * DAY) == NOW + 31 * DAY + HOUR


def test_a_life_that_was_lengthened_counts_for_what_was_revoked_before(sessions):
    """The revoked session's cookie lives longer now, and so does the revocation."""
    sessions.revoked(HOUR, NOW)
    sessions.revoke("s", None, NOW)
    assert sessions.revoked(30 * DAY, NOW + 10) == {"s": NOW + 30 * DAY}


@pytest.mark.parametrize(
    "hours",
    [[1, 720], [720, 1], [720, 1, 720], [1, 720, 1, 720], [24, 48, 720], [48, 24, 48]],
    ids=lambda hours: "-".join(map(str, hours)),
)
@pytest.mark.parametrize("revoked_after", [0, 1, 23, 47, 71, 100])
def test_no_change_brings_a_revoked_session_back(sessions, hours, revoked_after):
    """However max_age changes after a cookie was issued, it is refused as long as it would be valid."""
    auths = [SignedCookie("a secret of the tests", max_age=each * HOUR) for each in hours]
    value = auths[0].issue("u42", session="s", now=NOW)
    request = Request("GET", "/", ((b"cookie", f"session={value}".encode()),))
    for hour in range(800):
        now = NOW + hour * HOUR
        auth = auths[min(hour // 36, len(auths) - 1)]
        refused = sessions.revoked(session_life(auth), now)
        if hour > revoked_after:
            assert "s" in refused or auth.identify(request, now) is None
        sessions.revoke("s" if hour == revoked_after else f"s{hour}", None, now)


def test_a_life_is_said_again(sessions):
    """A worker that runs for long repeats it, and it goes on counting."""
    for hour in range(500):
        sessions.revoked(HOUR, NOW + hour * HOUR)
    assert sessions.revoke("s", None, NOW + 500 * HOUR) == NOW + 501 * HOUR
    assert sessions._lives == {HOUR: NOW + 500 * HOUR + DAY}


@pytest.mark.parametrize("order", [(None, NOW + 60), (NOW + 60, None)], ids=["for a time last", "first"])
def test_of_two_revocations_the_longer_counts(sessions, order):
    """A time that is given shortens nothing."""
    sessions.revoked(HOUR, NOW)
    for until in order:
        sessions.revoke("s", until, NOW)
    assert sessions.revoked(0.0, NOW) == {"s": NOW + HOUR}
    sessions.revoke("s", NOW + 2 * HOUR, NOW)
    assert sessions.revoked(0.0, NOW) == {"s": NOW + 2 * HOUR}


def test_memory(sessions):
    """Memory follows the sessions that are still refused, and the lives that still count."""
    for second in range(1000):
        sessions.revoked(5.0, NOW + second)
        sessions.revoke(f"s{second}", None, NOW + second)
        sessions.revoke(f"u{second}", NOW + second + 5, NOW + second)
    assert len(sessions._since) == len(sessions._until) == 5
    assert len(sessions._lives) == 1
